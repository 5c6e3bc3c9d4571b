"""Laws that every transform obeys: a registry of constructors times a list of laws.

A new transform gets all of them by one line in ``TRANSFORMS``. Everything runs in double precision with randomised
parameters, since at their initialisation couplings are the identity and most laws hold vacuously.
"""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from hybridflow.config.generators import CouplingSettings, GlowSettings
from hybridflow.models.generators.denseflow import DenseBlock, FlowStep
from hybridflow.models.generators.glow import GlowStep
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.coupling_net import CouplingNet
from hybridflow.models.layers.precision import network_precision
from hybridflow.models.layers.skip_net import SkipNet
from hybridflow.models.transforms.actnorm import ActNorm, initializing
from hybridflow.models.transforms.composite import Composite, Rearranged
from hybridflow.models.transforms.conv1x1 import InvertibleConv1x1
from hybridflow.models.transforms.coupling import (
    AdditiveCoupling,
    AffineCoupling,
    SigmoidCoupling,
    bounded_log_scale,
    scale_and_shift,
)
from hybridflow.models.transforms.dequantization import UniformDequantization, VariationalDequantization, quantise
from hybridflow.models.transforms.masks import ChannelCoupling, CheckerboardCoupling
from hybridflow.models.transforms.multiscale import Transition
from hybridflow.models.transforms.noise_channels import Augment
from hybridflow.models.transforms.priors import (
    ChannelPrior,
    LogisticPrior,
    SplitPrior,
    ZeroInputPrior,
)
from hybridflow.models.transforms.scaling import FixedAffine, LearnedScale, LogitScaling
from hybridflow.models.transforms.squeeze import Flatten, OrderedSqueeze, ReverseChannels, Squeeze, SwapHalves
from hybridflow.runtime.noise import GeneratorNoise, GivenNoise, standard_normal_log_prob

SMALL = CouplingSettings(mid_channels=(4,), depth=2, growth=3)
PLAIN = CouplingSettings(mid_channels=(4,), depth=1, growth=3, attention=False, batch_norm=False)


def convolution(in_channels: int, out_channels: int) -> nn.Module:
    return nn.Conv2d(in_channels, out_channels, 3, padding=1)


Shape = tuple[int, int, int]
TRANSFORMS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "actnorm": (lambda: ActNorm(3), (3, 2, 4)),
    "conv1x1": (lambda: InvertibleConv1x1(5), (5, 2, 2)),
    "squeeze": (Squeeze, (2, 2, 4)),
    "swap": (SwapHalves, (4, 2, 2)),
    "swap-odd": (SwapHalves, (5, 1, 2)),
    "coupling": (lambda: AffineCoupling(CouplingNet(2, 4, 4, 2, 3)), (4, 2, 2)),
    "coupling-odd": (lambda: AffineCoupling(CouplingNet(3, 4, 4, 1, 3)), (5, 2, 2)),
    "coupling-plain": (
        lambda: AffineCoupling(CouplingNet(1, 2, 4, 1, 3, attention=False, batch_norm=False)),
        (2, 3, 2),
    ),
    "step": (lambda: FlowStep(4, 4, SMALL), (4, 2, 2)),
    "step-odd": (lambda: FlowStep(3, 4, SMALL), (3, 2, 2)),
    "sigmoid-coupling": (lambda: SigmoidCoupling(convolution(2, 4)), (4, 2, 2)),
    "additive": (lambda: AdditiveCoupling(convolution(2, 3), slice(0, 2), slice(2, None)), (5, 2, 2)),
    "additive-alternate": (
        lambda: AdditiveCoupling(convolution(3, 3), slice(1, None, 2), slice(0, None, 2)),
        (6, 1, 2),
    ),
    "checkerboard-odd": (lambda: CheckerboardCoupling(SkipNet(2, 4, 3, 1, gain=2), 2, parity=1), (2, 3, 2)),
    "checkerboard-even": (lambda: CheckerboardCoupling(SkipNet(2, 4, 3, 2, gain=2), 2, parity=0), (2, 2, 2)),
    "channels-second": (lambda: ChannelCoupling(SkipNet(2, 4, 3, 1), 4, second_passes=True), (4, 2, 2)),
    "channels-first": (lambda: ChannelCoupling(SkipNet(2, 4, 3, 1), 4, second_passes=False), (4, 2, 2)),
    "ordered-squeeze": (OrderedSqueeze, (2, 4, 2)),
    "reverse": (ReverseChannels, (5, 1, 2)),
    "flatten": (lambda: Rearranged(Flatten((2, 2, 3)), LearnedScale(12), ReverseChannels()), (2, 2, 3)),
    "fixed-affine": (lambda: FixedAffine(2, -1), (2, 2, 2)),
    "logit": (lambda: LogitScaling(0.9), (2, 2, 2)),
    "learned-scale": (lambda: LearnedScale(4), (4, 2, 1)),
    "logistic-prior": (LogisticPrior, (2, 2, 2)),
    "channel-prior": (lambda: ChannelPrior(3), (3, 2, 2)),
    "zero-input-prior": (lambda: ZeroInputPrior(3), (3, 2, 2)),
    "split-prior": (lambda: SplitPrior(4), (4, 2, 2)),
    "glow-step": (lambda: GlowStep(4, GlowSettings(width=3)), (4, 2, 2)),
    "glow-step-additive": (lambda: GlowStep(4, GlowSettings(width=3, coupling="additive")), (4, 2, 2)),
    "rearranged": (lambda: Rearranged(Squeeze(), ActNorm(8)), (2, 2, 4)),
    "composite": (lambda: Composite(FlowStep(3, 4, PLAIN), Squeeze(), FlowStep(12, 4, SMALL)), (3, 4, 4)),
}
UNIT_INTERVAL = {"logit"}
"""Transforms of values in (0, 1); all others take any real numbers."""
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def randomise(model: nn.Module, seed: int = 0, scale: float = 0.3) -> nn.Module:
    """Moves every parameter and every running statistic away from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer += 0.3 * torch.randn(buffer.shape, generator=generator, dtype=buffer.dtype)
            if name.endswith("running_var"):
                buffer *= 0.5 + torch.rand(buffer.shape, generator=generator, dtype=buffer.dtype)
    return model


def built(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TRANSFORMS[name][0]().double()
    return randomise(model, seed).eval()


def batch(name: str, count: int = 3, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((count, *TRANSFORMS[name][1]), generator=generator, dtype=torch.float64)
    return torch.sigmoid(x) if name in UNIT_INTERVAL else x


def log_abs_det(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """ln |det| of the Jacobian of a function of one flat vector, by autograd."""
    jacobian = torch.autograd.functional.jacobian(function, x)
    assert jacobian.shape == (x.numel(), x.numel())
    return torch.linalg.slogdet(jacobian).logabsdet


# --- laws of invertible transforms ------------------------------------------------------------------------------------


@every_transform
def test_round_trips(name):
    model, x = built(name), batch(name)
    z, _ = model(x)
    torch.testing.assert_close(model.inverse(z), x, rtol=0, atol=1e-10)
    z = torch.randn(z.shape, dtype=z.dtype, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(model(model.inverse(z))[0], z, rtol=0, atol=1e-10)
    if name not in ("composite",):
        assert not torch.equal(model(x)[0].flatten(), x.flatten()), "the identity would pass every law"


@every_transform
def test_log_det_is_that_of_the_jacobian(name):
    model, x = built(name), batch(name)
    _, log_det = model(x)
    for image, value in zip(x, log_det, strict=True):
        expected = log_abs_det(lambda v, like=image: model(v.reshape(1, *like.shape))[0].flatten(), image.flatten())
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


@every_transform
def test_inverse_has_the_inverse_jacobian(name):
    model, x = built(name), batch(name, 1)
    z, log_det = model(x)
    expected = log_abs_det(lambda v: model.inverse(v.reshape(z.shape)).flatten(), z.detach().flatten())
    torch.testing.assert_close(-log_det[0], expected, rtol=1e-9, atol=1e-9)


@every_transform
@pytest.mark.parametrize("way", ["forward", "inverse"])
def test_every_parameter_gets_a_gradient(name, way):
    model, x = built(name), batch(name)
    if way == "forward":
        z, log_det = model(x)
        loss = z.pow(3).sum() + log_det.sum()
    else:
        z = model(x)[0].detach().requires_grad_()
        loss = model.inverse(z).pow(3).sum()
    if loss.requires_grad:
        loss.backward()
    for parameter_name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # says of itself that nothing moves it
            continue
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name
    if way == "inverse":
        assert z.grad.abs().max() > 0


@every_transform
def test_input_is_not_changed(name):
    model, x = built(name), batch(name)
    before = x.clone()
    z, _ = model(x)
    kept = z.clone()
    model.inverse(z)
    assert torch.equal(x, before)
    assert torch.equal(z, kept)


@every_transform
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_precision(name, dtype):
    model, x = built(name).to(dtype), batch(name).to(dtype)
    z, log_det = model(x)
    assert z[0].numel() == x[0].numel()
    assert z.dtype == log_det.dtype == dtype
    assert log_det.shape == (3,)
    assert model.inverse(z).shape == x.shape
    assert model.inverse(z).dtype == dtype


@every_transform
def test_state_dict_carries_everything(name):
    model, x = built(name, seed=0), batch(name)
    with initializing(model), running_statistics(model):
        model(3 * x + 2)
    fresh = built(name, seed=7)
    fresh.load_state_dict(model.state_dict())
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    for ours, theirs in zip(model(x), fresh(x), strict=True):
        assert torch.equal(ours, theirs)
    assert torch.equal(model.inverse(x.reshape(model(x)[0].shape)), fresh.inverse(x.reshape(model(x)[0].shape)))
    for key, value in fresh.state_dict().items():  # a forward pass of a loaded model initialises nothing
        assert torch.equal(value, before[key]), key


@every_transform
def test_an_image_does_not_depend_on_its_batch(name):
    model, x = built(name), batch(name, 4)
    z, log_det = model(x)
    inverse = model.inverse(z)
    for i in range(4):
        torch.testing.assert_close(model(x[i : i + 1])[0][0], z[i], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model(x[i : i + 1])[1][0], log_det[i], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(model.inverse(z[i : i + 1])[0], inverse[i], rtol=1e-12, atol=1e-12)


# --- particular transforms --------------------------------------------------------------------------------------------


def test_actnorm_initialises_only_when_asked():
    layer, x = ActNorm(3).double(), 5 * batch("actnorm", 6) + 2
    layer(x)
    assert not layer.initialized
    with initializing(nn.Sequential(layer)):
        z, _ = layer(x)
    assert layer.initialized
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(z.std((0, 2, 3)), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)
    shift = layer.shift.clone()
    layer(7 * x)
    assert torch.equal(layer.shift, shift)


def test_actnorm_leaves_initialisation_after_an_error():
    layer = ActNorm(1)
    with pytest.raises(RuntimeError, match="stop"), initializing(layer):
        raise RuntimeError("stop")
    layer(torch.randn(4, 1, 2, 2))
    assert not layer.initialized


def test_squeeze_order():
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    z, _ = Squeeze()(x)
    assert z.flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    z, _ = Squeeze()(x)
    assert z[0, :, 0, 0].tolist() == [0, 1, 4, 5]
    assert z[0, :, 1, 0].tolist() == [8, 9, 12, 13]


def test_swap_of_odd_channels_brings_the_untouched_part_to_the_front():
    x = torch.arange(5.0).reshape(1, 5, 1, 1)
    assert SwapHalves()(x)[0].flatten().tolist() == [3, 4, 0, 1, 2]


def test_coupling_parameters_are_interleaved_and_scales_bounded():
    log_scale, shift = scale_and_shift(torch.tensor([1.0, 2, 3, 4]).reshape(1, 4, 1, 1))
    assert shift.flatten().tolist() == [2, 4]
    torch.testing.assert_close(log_scale.flatten(), 2 * torch.tanh(torch.tensor([0.5, 1.5])))
    assert bounded_log_scale(torch.tensor(1e9)) == 2
    assert bounded_log_scale(torch.tensor(-1e9)) == -2


def test_couplings_start_as_the_identity():
    model = AffineCoupling(CouplingNet(2, 4, 4, 2, 3)).double().eval()
    x = batch("coupling")
    z, log_det = model(x)
    assert torch.equal(z, x)
    assert torch.equal(log_det, torch.zeros(3, dtype=torch.float64))


def test_networks_in_bfloat16_leave_the_flow_in_its_own_precision():
    model, x = built("coupling").float(), batch("coupling").float()
    exact, exact_log_det = model(x)
    with network_precision(torch.bfloat16):
        z, log_det = model(x)
        assert z.dtype == log_det.dtype == torch.float32
        assert torch.equal(z[:, :2], x[:, :2])  # the passed half was never rounded
        assert not torch.equal(z, exact)
        torch.testing.assert_close(model.inverse(z), x, rtol=0, atol=1e-5)  # same network, same rounding
    torch.testing.assert_close(log_det, exact_log_det, rtol=0.1, atol=0.1)
    assert torch.equal(model(x)[0], exact)


# --- stochastic transforms: the weight against the density of the produced noise --------------------------------------
#
# For a map e -> v with e ~ N(0, I), ln q(v) = ln N(e) - ln |dv/de|. A transform that adds noise weighs the bound with
# -ln q(v): its log_weight is ln |dv/de| - ln N(e), whatever way it was computed.


def normal(*shape: int, seed: int = 3) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def log_normal(e: torch.Tensor) -> torch.Tensor:
    return torch.distributions.Normal(0, 1).log_prob(e).sum()


def check_weight(
    run: Callable[[int, torch.Tensor], torch.Tensor], draws: torch.Tensor, log_weight: torch.Tensor
) -> None:
    """``run(i, e)`` gives the part of image i's output that the flat draw ``e`` determines."""
    for i, (e, value) in enumerate(zip(draws, log_weight, strict=True)):
        expected = log_abs_det(lambda v, i=i: run(i, v).flatten(), e.flatten()) - log_normal(e)
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


def test_standard_normal_log_prob():
    e = normal(3, 2, 2)
    expected = torch.stack([log_normal(row) for row in e])
    torch.testing.assert_close(standard_normal_log_prob(e), expected)


def test_augment_weight():
    torch.manual_seed(0)
    model = randomise(Augment(5, 2).double())
    x, history, e = normal(3, 4, 2, 2), normal(3, 5, 2, 2, seed=4), normal(3, 2, 2, 2, seed=5)
    z, log_weight = model(x, history, GivenNoise([e]))
    assert torch.equal(z[:, :4], x)
    assert torch.equal(model.inverse(z), x)
    check_weight(
        lambda i, v: model(x[i : i + 1], history[i : i + 1], GivenNoise([v.reshape(1, 2, 2, 2)]))[0][:, 4:],
        e,
        log_weight,
    )


def dequantizations() -> dict[str, tuple[nn.Module, Shape]]:
    torch.manual_seed(0)
    variational = VariationalDequantization(steps=2, mid_channels=3, context_channels=2, depth=1, growth=2, channels=1)
    return {"uniform": (UniformDequantization(), (1, 4, 2)), "variational": (variational.double(), (4, 2, 1))}


@pytest.mark.parametrize("kind", ["uniform", "variational"])
def test_dequantization_weight(kind):
    model, noise_shape = dequantizations()[kind]
    randomise(model, scale=0.1)  # a sigmoid of large values is 1 in floating point
    x = torch.tensor([[[[0, 255], [7, 128], [1, 2], [254, 30]]], [[[9, 8], [7, 6], [5, 4], [3, 2]]]]).double()
    e = normal(2, *noise_shape)
    y, log_weight = model(x, GivenNoise([e]))
    assert y.shape == x.shape
    assert torch.equal(quantise(model.inverse(y)).double(), x)
    check_weight(lambda i, v: model(x[i : i + 1], GivenNoise([v.reshape(1, *noise_shape)]))[0], e, log_weight)
    if kind == "uniform":  # q(u) = 1
        torch.testing.assert_close(log_weight, torch.full((2,), -8 * math.log(256), dtype=torch.float64))


def test_variational_dequantization_looks_at_the_image():
    model, noise_shape = dequantizations()["variational"]
    randomise(model)
    x, e = torch.zeros(2, 1, 4, 2, dtype=torch.float64), normal(1, *noise_shape).repeat(2, 1, 1, 1)
    x[1] = 200
    y, log_weight = model(x, GivenNoise([e]))
    u = 256 * y - x
    assert (u[0] - u[1]).abs().max() > 1e-3
    assert log_weight[0] != log_weight[1]


def test_variational_dequantization_trains_every_parameter():
    model, noise_shape = dequantizations()["variational"]
    randomise(model)
    y, log_weight = model(torch.full((2, 1, 4, 2), 100.0).double(), GivenNoise([normal(2, *noise_shape)]))
    (y.pow(3).sum() * 100 + log_weight.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_quantise_is_floor_with_clamped_ends():
    y = torch.tensor([-0.2, 0.0, 0.999 / 256, 1 / 256, 127.999 / 256, 0.9999, 1.0, 1.7])
    assert quantise(y).tolist() == [0, 0, 0, 1, 127, 255, 255, 255]


def test_transition_drops_the_second_half():
    model, x = Transition().double(), normal(3, 3, 2, 4)
    z, dropped = model(x)
    squeezed, _ = Squeeze()(x)
    assert torch.equal(z, squeezed[:, :6])
    assert torch.equal(dropped, squeezed[:, 6:])
    assert torch.equal(model.inverse(z, dropped), x)


@pytest.mark.parametrize(("units", "growth"), [(1, 0), (2, 1), (3, 2)])
def test_dense_block_weight(units, growth):
    torch.manual_seed(0)
    model = randomise(DenseBlock(3, units, 1, growth, 4, SMALL).double()).eval()
    x = normal(2, 3, 2, 2)
    draws = [normal(2, growth, 2, 2, seed=10 + k) for k in range(units - 1)]
    z, log_weight = model(x, GivenNoise(draws))
    assert z.shape == (2, 3 + growth * (units - 1), 2, 2)
    assert model.out_channels == z.shape[1]
    torch.testing.assert_close(model.inverse(z), x, rtol=0, atol=1e-10)

    def run(i: int, v: torch.Tensor) -> torch.Tensor:
        own, *noise = v.split([12] + [4 * growth] * (units - 1))
        noise = GivenNoise([part.reshape(1, growth, 2, 2) for part in noise])
        return model(own.reshape(1, 3, 2, 2), noise)[0].flatten()

    for i in range(2):
        noise = torch.cat([draw[i].flatten() for draw in draws]) if draws else torch.zeros(0, dtype=torch.float64)
        everything = torch.cat((x[i].flatten(), noise))
        expected = log_abs_det(lambda v, i=i: run(i, v), everything) - log_normal(noise)
        torch.testing.assert_close(log_weight[i], expected, rtol=1e-9, atol=1e-9)


def test_dense_block_conditions_noise_on_all_earlier_inputs():
    torch.manual_seed(0)
    model = DenseBlock(3, 4, 1, 2, 4, PLAIN)
    assert [augment.net[0].in_channels for augment in model.augments] == [3, 3 + 3, 3 + 3 + 5]


# --- noise ------------------------------------------------------------------------------------------------------------


def test_generator_noise_repeats():
    a, b, c = GeneratorNoise(1), GeneratorNoise(1), GeneratorNoise(2)
    first = a((2, 3))
    assert torch.equal(first, b((2, 3)))
    assert torch.equal(a((4,)), b((4,)))
    assert not torch.equal(first, c((2, 3)))


def test_given_noise_refuses_other_shapes():
    noise = GivenNoise([torch.zeros(2, 3)])
    with pytest.raises(ValueError, match=r"expected noise of shape \(3, 2\); got \(2, 3\)"):
        noise((3, 2))
    with pytest.raises(ValueError, match="no noise left"):
        noise((2, 3))
