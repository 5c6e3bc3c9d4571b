"""Discriminators, their input, and the adversarial losses."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hybridflow.config import DiscriminatorSettings, OptimizerSettings
from hybridflow.discriminators import (
    BasicBlock,
    DCGANDiscriminator,
    ResNet18Discriminator,
    build_discriminator,
    discriminator_input,
    straight_through_levels,
)
from hybridflow.losses import discriminator_loss, generator_adversarial_loss
from hybridflow.train import build_optimizer, discriminator_step

torch.set_num_threads(1)


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
    model = build_discriminator(DiscriminatorSettings(kind=kind, width=width))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("kind", ["dcgan", "resnet18"])
def test_one_logit_an_image_and_every_parameter_learns(kind):
    torch.manual_seed(0)
    model = build_discriminator(DiscriminatorSettings(kind=kind, width=4))
    x = torch.randn(5, 3, 32, 32)
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
    layers = list(DCGANDiscriminator())
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 32), (32, 64), (64, 128), (128, 1)]
    assert [(c.kernel_size[0], c.stride[0], c.padding[0]) for c in convolutions] == [(4, 2, 1)] * 3 + [(4, 1, 0)]
    assert all(c.bias is None for c in convolutions)
    assert [layer.negative_slope for layer in layers if isinstance(layer, nn.LeakyReLU)] == [0.2] * 3
    assert [layer.num_features for layer in layers if isinstance(layer, nn.BatchNorm2d)] == [64, 128]


def test_resnet18_stages():
    model = ResNet18Discriminator(4).eval()
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


def test_straight_through_levels_lie_on_the_grid_in_single_precision():
    y = torch.rand(10_000, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1
    levels = straight_through_levels(y)
    expected = torch.floor(256 * y).clamp(0, 255)
    torch.testing.assert_close(levels, expected, rtol=0, atol=1e-4)


def test_losses_by_hand():
    real, fake = torch.tensor([0.3, -1.2]), torch.tensor([2.0, -0.5])
    p, q = torch.sigmoid(real), torch.sigmoid(fake)
    torch.testing.assert_close(generator_adversarial_loss(fake), -q.log().mean())
    expected = -(0.9 * p.log() + 0.1 * (1 - p).log()).mean() - (1 - q).log().mean()
    torch.testing.assert_close(discriminator_loss(real, fake, 0.1), expected)
    as_in_the_thesis = F.binary_cross_entropy(p, torch.full((2,), 0.9)) + F.binary_cross_entropy(q, torch.zeros(2))
    torch.testing.assert_close(discriminator_loss(real, fake, 0.1), as_in_the_thesis)
    torch.testing.assert_close(generator_adversarial_loss(fake), F.binary_cross_entropy(q, torch.ones(2)))


def test_losses_stay_finite_where_a_sigmoid_would_not():
    far = torch.tensor([1e3, -1e3])
    assert torch.isfinite(generator_adversarial_loss(far))
    assert generator_adversarial_loss(far).item() == pytest.approx(500)
    assert torch.isfinite(discriminator_loss(far, far, 0.0))


def test_a_discriminator_step_learns_to_separate():
    torch.manual_seed(0)
    model = build_discriminator(DiscriminatorSettings(kind="dcgan", width=4))
    optimizer = build_optimizer(model, OptimizerSettings(name="adam", lr=2e-3, betas=(0.5, 0.999)))
    real = torch.randint(128, 256, (16, 3, 32, 32), dtype=torch.uint8)
    fake = torch.randint(0, 128, (16, 3, 32, 32)).float()
    history = [discriminator_step(model, optimizer, real, fake, 0.1) for _ in range(12)]
    assert history[-1]["discriminator_loss"] < history[0]["discriminator_loss"]
    assert history[-1]["discriminator_real"] > 0.6 > 0.4 > history[-1]["discriminator_fake"]
    assert all(not value.requires_grad for value in history[0].values())


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamax", "Adamax"), ("adamw", "AdamW")])
def test_optimizers(name, kind):
    optimizer = build_optimizer(
        nn.Linear(1, 1), OptimizerSettings(name=name, lr=0.5, betas=(0.1, 0.2), weight_decay=0.3)
    )
    assert type(optimizer).__name__ == kind
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.1, 0.2), 0.3)
