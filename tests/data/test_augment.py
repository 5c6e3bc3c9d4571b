"""Laws of the augmentation."""

import numpy as np
import pytest
import torch

from hybridflow.config.training import AugmentationSettings
from hybridflow.data.augment import augment

OFF = AugmentationSettings(horizontal_flip=False, pad=0, translate=0.0)
SHAPES = [(5, 3, 32, 32), (4, 1, 8, 6), (1, 2, 1, 1), (0, 3, 32, 32)]
CASES = [
    OFF,
    AugmentationSettings(),
    AugmentationSettings(horizontal_flip=False),
    AugmentationSettings(translate=0.0),
    AugmentationSettings(pad=0, translate=0.3),
    AugmentationSettings(pad=1, translate=0.5),
    AugmentationSettings(pad=16, translate=0.1),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_images(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(99))


def one_by_one(images, settings, generator):
    """The recipe in its published steps with numpy, one image at a time."""
    draws = torch.rand(len(images), 3, generator=generator)
    t, p = settings.translate, settings.pad
    result = []
    for image, (down, right, flip) in zip(images.numpy(), draws, strict=True):
        _, height, width = image.shape
        if settings.horizontal_flip and flip < 0.5:
            image = image[:, :, ::-1]
        shifts = [int(torch.round((2 * u - 1) * (t * (size + 2 * p)))) for u, size in ((down, height), (right, width))]
        far = 40  # wide enough for any shift
        padded = np.pad(image, ((0, 0), (far, far), (far, far)), mode="edge")
        moved = np.roll(padded, shifts, axis=(1, 2))
        result.append(moved[:, far : far + height, far : far + width])
    return torch.from_numpy(np.stack(result)) if result else images.clone()


@pytest.mark.parametrize("settings", CASES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_the_recipe_step_by_step(shape, settings):
    images = random_images(*shape)
    before = images.clone()
    result = augment(images, settings, seeded())
    assert result.dtype == torch.uint8
    assert result.shape == images.shape
    assert torch.equal(result, one_by_one(images, settings, seeded()))
    assert torch.equal(images, before)
    assert shape[0] == 0 or result.data_ptr() != images.data_ptr()


def test_identity_when_all_is_off():
    images = random_images(6, 3, 32, 32)
    assert torch.equal(augment(images, OFF, seeded()), images)


def test_half_of_the_images_are_flipped():
    images = random_images(1, 1, 4, 4).expand(4000, -1, -1, -1)
    result = augment(images, AugmentationSettings(pad=0, translate=0.0), seeded())
    flipped = (result == images.flip(3)).flatten(1).all(1)
    assert torch.equal(~flipped, (result == images).flatten(1).all(1))
    assert abs(flipped.double().mean() - 0.5) < 0.03  # 4 standard errors


def test_shifts_of_the_published_recipe():
    # Reach 0.04 * 36 = 1.44 pixels: 0 with probability 1 / 2.88, each of -1 and 1 with 0.94 / 2.88.
    count = 5000
    ramp = torch.arange(32, dtype=torch.uint8)
    images = torch.stack([ramp[:, None].expand(32, 32), ramp[None, :].expand(32, 32)]).expand(count, 2, 32, 32)
    result = augment(images, AugmentationSettings(horizontal_flip=False), seeded()).int()
    down, right = 16 - result[:, 0, 16, 16], 16 - result[:, 1, 16, 16]
    for shift in (down, right):
        values, counts = shift.unique(return_counts=True)
        assert values.tolist() == [-1, 0, 1]
        rates = (counts / count).tolist()
        assert rates == pytest.approx([0.94 / 2.88, 1 / 2.88, 0.94 / 2.88], abs=0.027)
    together = ((down == 1) & (right == 1)).double().mean().item()  # the axes are independent
    assert together == pytest.approx((0.94 / 2.88) ** 2, abs=0.02)


def test_the_generator_decides():
    images, settings = random_images(32, 3, 32, 32), AugmentationSettings()
    first = augment(images, settings, seeded(1))
    assert torch.equal(first, augment(images, settings, seeded(1)))
    assert not torch.equal(first, augment(images, settings, seeded(2)))
    generator = seeded(1)
    augment(images, settings, generator)
    assert not torch.equal(first, augment(images, settings, generator))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_same_images_without_waiting():
    images, settings = random_images(8, 3, 32, 32), AugmentationSettings()
    on_gpu = images.cuda()
    here = torch.Generator("cuda").manual_seed(0)
    expected = augment(images, settings, seeded())
    assert torch.equal(augment(on_gpu, settings, seeded()).cpu(), expected)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = augment(on_gpu, settings, here)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.device == on_gpu.device
