"""Discriminators, their input, and the adversarial losses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridflow.config.adversarial import (
    DCGANDiscriminatorSettings,
    LayerNormDiscriminatorSettings,
    NonSaturatingSettings,
    NormFreeDiscriminatorSettings,
    PatchGANDiscriminatorSettings,
    ResNet18DiscriminatorSettings,
    SNGANResNetDiscriminatorSettings,
)
from hybridflow.config.training import OptimizerSettings
from hybridflow.models.discriminators.dcgan import DCGANDiscriminator
from hybridflow.models.discriminators.inputs import discriminator_input, inward_gradient, straight_through_levels
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.discriminators.resnet import BasicBlock, ResNet18Discriminator
from hybridflow.models.discriminators.spectral_norm import fixed_spectra
from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.models.layers.precision import network_precision
from hybridflow.training.losses.non_saturating import NonSaturatingLoss
from hybridflow.training.losses.penalties import zero_centred_penalty
from hybridflow.training.optim import build_optimizer
from hybridflow.training.step import discriminator_step

torch.set_num_threads(1)

SETTINGS = {
    "dcgan": DCGANDiscriminatorSettings,
    "resnet18": ResNet18DiscriminatorSettings,
    "sngan_resnet": SNGANResNetDiscriminatorSettings,
}
PLAIN = NonSaturatingSettings(label_smoothing=0.1)
LOSS = NonSaturatingLoss(PLAIN)


def with_r1(gamma: float | None) -> NonSaturatingSettings:
    return NonSaturatingSettings(penalties={"r1": gamma})


@pytest.mark.parametrize(
    ("kind", "width", "count"),
    [
        # 4*4*(3*32 + 32*64 + 64*128 + 128) weights, two BatchNorms of 64 and 128 channels
        ("dcgan", 32, 16 * (96 + 2048 + 8192 + 128) + 2 * (64 + 128)),
        # torchvision's count for ten classes at this stem is 11,173,962; one output instead of ten
        ("resnet18", 64, 11_173_962 - 9 * 513),
    ],
)
def test_parameter_counts_at_the_thesis_width(kind, width, count):
    model = build_discriminator(SETTINGS[kind](width=width))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        # 3x3 stem; per block two 3x3 convolutions and a 1x1 one; 4x4 linear; all with biases
        (
            NormFreeDiscriminatorSettings(),
            448 + sum(9 * a * b + b + 9 * b * b + b + a * b + b for a, b in ((16, 32), (32, 64), (64, 64))) + 1025,
        ),
        (NormFreeDiscriminatorSettings(widths=(8, 8, 8, 8), full_resolution=True), 224 + 4 * (2 * 584 + 72) + 129),
        # the official code's count, whose last layer has no bias
        (SNGANResNetDiscriminatorSettings(), 151_680 + 311_680 + 2 * 295_168 + 128),
        (SNGANResNetDiscriminatorSettings(width=64), 264_768),
        # from the layers of Flow-GAN's published program
        (LayerNormDiscriminatorSettings(), 4_310_529),
        # those of the taming-transformers implementation
        (PatchGANDiscriminatorSettings(layers=1), 136_513),
        (PatchGANDiscriminatorSettings(layers=2), 663_361),
        (PatchGANDiscriminatorSettings(layers=3), 2_765_633),
    ],
)
def test_parameter_counts_of_other_implementations(settings, count):
    assert sum(parameter.numel() for parameter in build_discriminator(settings).parameters()) == count


@pytest.mark.parametrize("full_resolution", [False, True])
def test_norm_free_blocks_start_as_their_shortcut_and_keep_the_size_of_the_logits(full_resolution):
    torch.manual_seed(0)
    settings = NormFreeDiscriminatorSettings(full_resolution=full_resolution)
    model, x = build_discriminator(settings), torch.randn(64, 3, 32, 32)
    block, h = model[1 + full_resolution], torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(block(h), block.skip(F.avg_pool2d(h, 2)) / 2**0.5)
    torch.testing.assert_close(model(x)[:2], model(x[:2]), msg="images influence each other")
    assert 0.02 < model(x).std() < 2


def test_sngan_block_by_block():
    model = build_discriminator(SNGANResNetDiscriminatorSettings(width=4, spectral_norm=False))
    x = torch.randn(2, 3, 32, 32)
    first, second, third, _ = model.blocks
    h = first.conv2(F.relu(first.conv1(x)))
    h = F.avg_pool2d(h, 2) + first.shortcut(F.avg_pool2d(x, 2))
    torch.testing.assert_close(first(x), h)
    torch.testing.assert_close(
        second(h), F.avg_pool2d(second.conv2(F.relu(second.conv1(F.relu(h)))) + second.shortcut(h), 2)
    )
    assert third(second(h)).shape == (2, 4, 8, 8)
    features = F.relu(model.blocks(x)).sum((2, 3))
    torch.testing.assert_close(model(x), (features @ model.linear.weight.T)[:, 0])


def test_layer_norm_normalises_each_image_over_all_its_values():
    model, x = build_discriminator(LayerNormDiscriminatorSettings(width=4)), torch.randn(3, 3, 32, 32)
    h = model[0](x)
    assert h.shape == (3, 4, 16, 16)
    torch.testing.assert_close(h, F.layer_norm(F.leaky_relu(model[0][0](x), 0.2), h.shape[1:]))
    torch.testing.assert_close(model(x[:1]), model(x)[:1], msg="images influence each other")


@pytest.mark.parametrize(("layers", "side", "field"), [(1, 14, 16), (2, 6, 34), (3, 2, 70)])
def test_patchgan_judges_patches(layers, side, field):
    model = build_discriminator(PatchGANDiscriminatorSettings(width=4, layers=layers)).eval()
    x = torch.randn(2, 3, 32, 32, requires_grad=True)
    logits = model(x)
    assert logits.shape == (2, side**2)
    logits[0].view(side, side)[side // 2, side // 2].backward()
    seen = (x.grad[0].abs().sum(0) > 0).nonzero()
    assert x.grad[1].abs().max() == 0
    assert (seen.amax(0) - seen.amin(0) + 1).tolist() == [min(field, 32)] * 2 or field > 32


SMALL = {
    "dcgan": DCGANDiscriminatorSettings(width=4),
    "resnet18": ResNet18DiscriminatorSettings(width=4),
    "norm_free": NormFreeDiscriminatorSettings(widths=(4, 4, 6, 8)),
    "full_resolution": NormFreeDiscriminatorSettings(widths=(4, 4, 6, 8), full_resolution=True),
    "sngan_resnet": SNGANResNetDiscriminatorSettings(width=4, spectral_norm=False),
    "layer_norm": LayerNormDiscriminatorSettings(width=4),
}


@pytest.mark.parametrize("kind", SMALL)
def test_one_logit_an_image_and_every_parameter_learns(kind):
    torch.manual_seed(0)
    model = build_discriminator(SMALL[kind])
    x = torch.randn(5, 3, 32, 32)
    if isinstance(
        SMALL[kind], NormFreeDiscriminatorSettings
    ):  # the branches start at 0: their first layers get a gradient after one step
        model(x).square().sum().backward()
        torch.optim.SGD(model.parameters(), lr=1e-2).step()
        model.zero_grad()
    logits = model(x)
    assert logits.shape == (5,)
    assert model(x[:1].repeat(2, 1, 1, 1)).shape == (2,)
    assert logits.min() < 0 or logits.max() > 1, "logits, not probabilities"
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    model.eval()
    torch.testing.assert_close(model(x[2:3])[0], model(x)[2], rtol=1e-4, atol=1e-5)


def test_dcgan_has_the_layers_of_the_thesis():
    layers = list(DCGANDiscriminator(DCGANDiscriminatorSettings()))
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 32), (32, 64), (64, 128), (128, 1)]
    assert [(c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions] == [(4, 2, 1)] * 3 + [(4, 1, 0)]
    assert all(c.bias is None for c in convolutions)
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2] * 3
    assert [layer.num_features for layer in layers if isinstance(layer, nn.BatchNorm2d)] == [64, 128]


def test_resnet18_stages():
    model = ResNet18Discriminator(ResNet18DiscriminatorSettings(width=4)).eval()
    shapes = []
    for layer in model:
        if isinstance(layer, BasicBlock):
            layer.register_forward_hook(lambda _m, _i, out: shapes.append(tuple(out.shape[1:])))
    model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(4, 32, 32)] * 2 + [(8, 16, 16)] * 2 + [(16, 8, 8)] * 2 + [(32, 4, 4)] * 2
    shortcuts = [type(layer.shortcut) for layer in model if isinstance(layer, BasicBlock)]
    assert shortcuts == [nn.Identity, nn.Identity] + [nn.Sequential, nn.Identity] * 3
    first = next(iter(model))
    assert (first.kernel_size, first.stride, first.bias) == ((3, 3), (1, 1), None)


def test_basic_block_adds_its_shortcut():
    block = BasicBlock(3, 3, 1).eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(block(x), F.relu(x))


def test_input_range():
    assert discriminator_input(torch.tensor([0.0, 127.5, 255.0])).tolist() == [-1, 0, 1]


def test_straight_through_levels():
    y = torch.tensor([-0.7, 0.0, 0.5 / 256, 1.5 / 256, 100.99 / 256, 0.99999, 1.0, 3.2], dtype=torch.float64)
    y.requires_grad_()
    levels = straight_through_levels(y)
    assert levels.tolist() == [0, 0, 0, 1, 100, 255, 255, 255]
    levels.sum().backward()
    assert y.grad.tolist() == [256] * 8


def test_inward_gradient_is_dropped_only_where_descent_would_leave_the_range():
    y = torch.tensor([-0.1, -0.1, 0.0, 0.5, 0.5, 1.0, 1.3, 1.3], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1], dtype=torch.float64)
    found = inward_gradient(y)
    assert torch.equal(found, y)
    (weights * found).sum().backward()
    assert y.grad.tolist() == [0, -1, 1, 1, -1, -1, 1, 0]


def test_straight_through_levels_lie_on_the_grid_in_single_precision():
    y = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    levels = straight_through_levels(y)
    expected = torch.floor(256 * y).clamp(0, 255)
    torch.testing.assert_close(levels, expected, rtol=0, atol=1e-4)


def test_losses_by_hand():
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([2.0, -0.5])
    p, q = torch.sigmoid(real), torch.sigmoid(fake)
    torch.testing.assert_close(LOSS.generator(fake), -q.log().mean())
    expected = -(0.9 * p.log() + 0.1 * (1 - p).log()).mean() - (1 - q).log().mean()
    torch.testing.assert_close(LOSS.discriminator(real, fake), expected)
    as_in_the_thesis = F.binary_cross_entropy(p, torch.full((2,), 0.9)) + F.binary_cross_entropy(q, torch.zeros(2))
    torch.testing.assert_close(LOSS.discriminator(real, fake), as_in_the_thesis)
    torch.testing.assert_close(LOSS.generator(fake), F.binary_cross_entropy(q, torch.ones(2)))


def test_losses_stay_finite_where_a_sigmoid_would_not():
    far = torch.tensor([1e3, -1e3])
    assert torch.isfinite(LOSS.generator(far))
    assert LOSS.generator(far).item() == pytest.approx(500)
    assert torch.isfinite(NonSaturatingLoss(NonSaturatingSettings(label_smoothing=0)).discriminator(far, far))


def test_a_discriminator_step_learns_to_separate():
    torch.manual_seed(0)
    model = build_discriminator(DCGANDiscriminatorSettings(width=4))
    optimizer = build_optimizer(model, OptimizerSettings(name="adam", lr=2e-3, betas=(0.5, 0.999)))
    real = torch.randint(128, 256, (16, 3, 32, 32), dtype=torch.uint8)
    fake = torch.randint(0, 128, (16, 3, 32, 32)).float()
    history = [discriminator_step(model, optimizer, real, fake, PLAIN) for _ in range(12)]
    assert history[-1]["discriminator_loss"] < history[0]["discriminator_loss"]
    assert history[-1]["discriminator_real"] > 0.6 > 0.4 > history[-1]["discriminator_fake"]
    assert all(not value.requires_grad for value in history[0].values())


# --- spectral normalisation -------------------------------------------------------------------------------------------


def normalised(kind: str = "dcgan") -> nn.Module:
    torch.manual_seed(0)
    return build_discriminator(SETTINGS[kind](width=4, spectral_norm=True))


def layers(model: nn.Module) -> list[nn.Module]:
    return [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def power_vectors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.named_buffers() if name.endswith(("._u", "._v"))}


@pytest.mark.parametrize("kind", SETTINGS)
def test_spectral_norm_brings_the_largest_singular_value_of_every_layer_to_one(kind):
    model = normalised(kind)
    with torch.no_grad():
        for layer in layers(model):
            layer.parametrizations.weight.original.mul_(7)
    for _ in range(50):
        with fixed_spectra(model, iterate=True):
            pass
    with fixed_spectra(model, iterate=False):
        for layer in layers(model):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
            assert largest == pytest.approx(1, abs=0.02)
            assert torch.linalg.matrix_norm(layer.parametrizations.weight.original.flatten(1), 2) > 2


def test_without_spectral_norm_the_layers_are_plain():
    torch.manual_seed(0)
    plain = build_discriminator(DCGANDiscriminatorSettings(width=4))
    assert not [name for name in plain.state_dict() if "parametrizations" in name]
    same_start = normalised().state_dict()
    assert torch.equal(plain[0].weight, same_start["0.parametrizations.weight.original"])


def test_power_iteration_moves_once_an_update_and_only_there():
    model = normalised()
    x = torch.randn(3, 3, 32, 32)
    before = power_vectors(model)
    with fixed_spectra(model, iterate=False):
        first = model(x)
        model(x).sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in power_vectors(model).items())
    weight = layers(model)[0].parametrizations.weight.original.detach().flatten(1)
    with fixed_spectra(model, iterate=True):
        assert not torch.equal(model(x), first)
        torch.testing.assert_close(model(x), model(x), rtol=0, atol=0)
    u = F.normalize(weight @ before["0.parametrizations.weight.0._v"], dim=0)
    torch.testing.assert_close(power_vectors(model)["0.parametrizations.weight.0._u"], u)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_a_discriminator_step_with_everything_iterates_once(checkpointing, dtype):
    """Neither a network that is computed twice nor a second batch may iterate again; the estimate stays exact."""
    model, twin = normalised(), normalised()
    optimizer = build_optimizer(model, OptimizerSettings(name="adam", lr=1e-3, betas=(0.5, 0.999)))
    real, fake = torch.randint(0, 256, (8, 3, 32, 32)), torch.randint(0, 256, (8, 3, 32, 32)).float()
    with network_checkpointing(checkpointing), network_precision(dtype):
        discriminator_step(model, optimizer, real, fake, with_r1(1.0))
    with fixed_spectra(twin, iterate=True):
        pass
    found = power_vectors(twin)
    assert all(torch.equal(value, found[name]) for name, value in power_vectors(model).items())


# --- the gradient penalty ---------------------------------------------------------------------------------------------


def test_r1_of_a_quadratic_function():
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    a = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    penalty = zero_centred_penalty(a * x.square().flatten(1).sum(1), x, gamma=3.0)  # grad = 2 a x
    torch.testing.assert_close(penalty, 1.5 * (4 * 0.49 * x.square().flatten(1).sum(1)).mean())
    penalty.backward()
    torch.testing.assert_close(a.grad, 1.5 * (8 * 0.7 * x.detach().square().flatten(1).sum(1)).mean())


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_penalty_of_a_step_is_that_of_the_input_in_its_own_scale(checkpointing):
    def parts() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
        torch.manual_seed(0)
        model = build_discriminator(DCGANDiscriminatorSettings(width=4))
        return model, torch.randint(0, 256, (6, 3, 32, 32)), torch.randint(0, 256, (6, 3, 32, 32)).float()

    # By finite differences: along the gradient g of f(x) = sum of the logits, f grows by eps ||g||^2
    model, real, fake = parts()
    model.double()
    x = discriminator_input(real.double()).requires_grad_()
    (slope,) = torch.autograd.grad(model(x).sum(), x)
    with torch.no_grad():
        grown = [(model(x + sign * 1e-6 * slope)).sum() for sign in (1, -1)]
    expected = 5.0 / 2 * (grown[0] - grown[1]) / 2e-6 / len(x)

    model, real, fake = parts()
    x = discriminator_input(real.float()).requires_grad_()
    real_logits = model(x)
    loss = LOSS.discriminator(real_logits, model(discriminator_input(fake)))
    (loss + zero_centred_penalty(real_logits, x, 5.0)).backward()

    twin, real, fake = parts()
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.0)
    with network_checkpointing(checkpointing):
        figures = discriminator_step(twin, optimizer, real, fake, with_r1(5.0))
    torch.testing.assert_close(figures["gradient_penalty"], expected.float(), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(figures["discriminator_loss"], loss.detach())
    for ours, theirs in zip(twin.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(twin.buffers(), model.buffers(), strict=True):  # BatchNorm saw each batch once
        torch.testing.assert_close(ours, theirs)


def test_the_penalty_flattens_the_discriminator():
    def slope(gamma: float | None) -> float:
        torch.manual_seed(0)
        model = build_discriminator(DCGANDiscriminatorSettings(width=4))
        optimizer = build_optimizer(model, OptimizerSettings(name="adam", lr=2e-3, betas=(0.5, 0.999)))
        real = torch.randint(100, 256, (16, 3, 32, 32))
        fake = torch.randint(0, 156, (16, 3, 32, 32)).float()
        for _ in range(10):
            figures = discriminator_step(model, optimizer, real, fake, with_r1(gamma))
        assert ("gradient_penalty" in figures) == (gamma is not None)
        x = discriminator_input(real.float()).requires_grad_()
        return zero_centred_penalty(model(x), x, 1.0).item()

    assert slope(100.0) < 0.5 * slope(None)


def test_without_the_options_a_step_is_the_plain_one():
    results = []
    for plain in (True, False):
        torch.manual_seed(0)
        model = build_discriminator(DCGANDiscriminatorSettings(width=4))
        optimizer = build_optimizer(model, OptimizerSettings(name="adam", lr=2e-3, betas=(0.5, 0.999)))
        real, fake = torch.randint(0, 256, (4, 3, 32, 32)), torch.randint(0, 256, (4, 3, 32, 32)).float()
        for _ in range(3):
            if plain:
                optimizer.zero_grad()
                logits = [model(discriminator_input(images.float())) for images in (real, fake)]
                LOSS.discriminator(*logits).backward()
                optimizer.step()
            else:
                discriminator_step(model, optimizer, real, fake, PLAIN)
        results.append(model.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamax", "Adamax"), ("adamw", "AdamW")])
def test_optimizers(name, kind):
    optimizer = build_optimizer(
        nn.Linear(1, 1), OptimizerSettings(name=name, lr=0.5, betas=(0.1, 0.2), weight_decay=0.3)
    )
    assert type(optimizer).__name__ == kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.1, 0.2), 0.3)
