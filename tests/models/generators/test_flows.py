"""NICE, RealNVP and Glow: laws of every flow, published sizes, and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hybridflow.config.generators import GeneratorSettings, GlowSettings, NiceSettings, RealNVPSettings
from hybridflow.models.generators.base import Flow, bits_per_dim
from hybridflow.models.generators.registry import build_generator
from hybridflow.models.layers.zero_conv import ZeroConv2d
from hybridflow.models.transforms.actnorm import ActNorm
from hybridflow.models.transforms.coupling import SigmoidCoupling
from hybridflow.models.transforms.masks import TanhScaleCoupling
from hybridflow.models.transforms.priors import LogisticPrior
from hybridflow.runtime.noise import GeneratorNoise, standard_normal_log_prob

F64 = torch.float64
TINY: dict[str, GeneratorSettings] = {
    "nice": NiceSettings(hidden_layers=(1, 2), width=6),
    "nice-released": NiceSettings(hidden_layers=(1, 2, 1), width=6, partition="halves", prior="normal"),
    "realnvp": RealNVPSettings(scales=2, width=3, blocks=1),
    "realnvp-actnorm": RealNVPSettings(scales=3, width=2, blocks=1, actnorm=True),
    "glow": GlowSettings(levels=2, steps=1, width=4),
    "glow-published": GlowSettings(levels=1, steps=2, width=4, top_prior="zero_input"),
    "glow-additive": GlowSettings(levels=3, steps=1, width=4, coupling="additive", top_prior="normal"),
}
every_flow = pytest.mark.parametrize("name", TINY)


Shape = tuple[int, int, int]


def tiny(settings: str | GeneratorSettings, shape: Shape = (3, 8, 8), scale: float = 0.1) -> Flow:
    """In double precision, with every parameter and statistic away from its initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = build_generator(TINY[settings] if isinstance(settings, str) else settings, shape).double()
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += scale * torch.randn_like(parameter)
            for buffer_name, buffer in flow.named_buffers():
                if buffer_name.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)
                elif buffer_name.endswith("running_mean"):
                    buffer.normal_(0, 0.1)
    return flow.eval()


def pixels(count: int = 2, shape: Shape = (3, 8, 8)) -> Tensor:
    x = torch.randint(0, 256, (count, *shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x[0, 0, 0, :2] = torch.tensor([0, 255])
    return x


def noise(seed: int = 2) -> GeneratorNoise:
    return GeneratorNoise(seed, dtype=F64)


# --- laws -------------------------------------------------------------------------------------------------------------


@every_flow
def test_log_prob_is_the_change_of_variables(name):
    shape = (3, 8, 8) if name == "glow-additive" else (3, 4, 4)
    flow, x = tiny(name, shape), pixels(2, shape)
    encoding = flow.encode(x, noise())
    e = noise()(x.shape)

    def latents(u: Tensor) -> Tensor:
        found = flow.encode(x[1:], lambda _: u.reshape(1, *shape)).latents
        return torch.cat([latent.flatten() for latent in found])

    jacobian = torch.autograd.functional.jacobian(latents, e[1].flatten())
    log_normal = torch.distributions.Normal(0, 1).log_prob
    expected = (
        log_normal(latents(e[1].flatten())).sum()
        + torch.linalg.slogdet(jacobian).logabsdet
        - log_normal(e[1]).sum()  # of the noise that u = Phi(e) came from
    )
    torch.testing.assert_close(encoding.log_prob[1], expected, rtol=1e-10, atol=1e-8)


@every_flow
def test_decoding_is_the_inverse_of_encoding(name):
    flow, x = tiny(name), pixels()
    encoding = flow.encode(x, noise())
    assert [tuple(latent.shape[1:]) for latent in encoding.latents] == flow.latent_shapes
    assert sum(map(math.prod, flow.latent_shapes)) == flow.dimensions
    assert torch.equal(torch.floor(256 * encoding.y), x.double())
    assert flow.round_trip_error(x, noise()).max() < 1e-8
    drawn = flow.draw_latents(2, noise())
    assert flow.decode(drawn).shape == x.shape


@every_flow
def test_an_image_does_not_depend_on_its_batch(name):
    flow, x = tiny(name), pixels(3)
    latents = flow.draw_latents(3, noise())
    draw = noise()(x.shape)
    together, decoded = flow.encode(x, lambda _: draw), flow.decode(latents)
    alone = flow.encode(x[1:2], lambda _: draw[1:2])
    torch.testing.assert_close(alone.log_prob[0], together.log_prob[1], rtol=1e-12, atol=0)
    torch.testing.assert_close(flow.decode([latent[1:2] for latent in latents])[0], decoded[1], rtol=1e-11, atol=1e-11)


@every_flow
@pytest.mark.parametrize("way", ["likelihood", "sample"])
def test_every_parameter_that_trains_learns(name, way):
    flow = tiny(name)
    if way == "likelihood":
        flow.log_prob(pixels(), noise()).sum().backward()
    else:
        flow.decode(flow.draw_latents(2, noise())).pow(3).sum().backward()
    for parameter_name, parameter in flow.named_parameters():
        moved = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
        assert moved == parameter.requires_grad, parameter_name


@every_flow
def test_initialisation_makes_it_ready_and_a_copy_is_the_same(name):
    flow, x = tiny(name).train(), pixels(8)
    flow.initialize(x, 3)
    assert flow.ready
    flow.eval()
    assert all(torch.isfinite(flow.log_prob(x, noise())))
    fresh = build_generator(TINY[name], (3, 8, 8)).double().eval()
    fresh.load_state_dict(flow.state_dict())
    assert torch.equal(flow.log_prob(x, noise()), fresh.log_prob(x, noise()))


@every_flow
def test_a_fresh_flow_is_finite_in_single_precision(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = build_generator(TINY[name], (3, 8, 8)).train()
    x = pixels(8)
    flow.initialize(x, 0)
    encoding = flow.eval().encode(x, GeneratorNoise(0))
    assert encoding.log_prob.dtype == torch.float32
    assert all(latent.dtype == torch.float32 for latent in encoding.latents)
    assert 3 < bits_per_dim(encoding.log_prob, flow.dimensions).mean() < 15
    assert flow.round_trip_error(x, GeneratorNoise(0)).max() < 0.1


class Continuous(torch.nn.Module):
    """In place of the dequantization, for images that are continuous already."""

    def forward(self, y: Tensor, noise: object) -> tuple[Tensor, Tensor]:
        return y, y.new_full((len(y),), -y[0].numel() * math.log(256))


@pytest.mark.parametrize(
    ("settings", "shape", "low", "high", "steps"),
    [
        (NiceSettings(hidden_layers=(1, 1), width=4), (1, 1, 2), -30, 31, 400),
        (RealNVPSettings(scales=1, width=3, blocks=1), (1, 2, 1), -0.0555, 1.0555, 200),
        (GlowSettings(levels=1, steps=1, width=3, top_prior="zero_input"), (1, 2, 2), -9, 9, 30),
    ],
    ids=["nice", "realnvp", "glow"],
)
def test_the_density_of_a_tiny_image_integrates_to_one(settings, shape, low, high, steps):
    # A midpoint rule over all images, beyond the unit interval too: log_prob is that of y, less D ln 256.
    flow = tiny(settings, shape, scale=0.2)
    flow.dequantization = Continuous()
    step = (high - low) / steps
    axis = low + step * (torch.arange(steps, dtype=F64) + 0.5)
    values = math.prod(shape)
    total = 0.0
    with torch.no_grad():
        for y in torch.cartesian_prod(*[axis] * values).reshape(-1, *shape).split(100_000):
            log_density = flow.encode(y, torch.zeros).log_prob + values * math.log(256)
            total += log_density.exp().sum().item() * step**values
    assert total == pytest.approx(1, abs=2e-3)


# --- published sizes --------------------------------------------------------------------------------------------------

RELEASED = {"hidden_layers": (1, 1, 3, 3, 2, 2, 1, 1), "width": 2400, "partition": "halves", "prior": "normal"}
CHECKERED, DEEP = [(6, 16, 16), (6, 16, 16)], [(12, 8, 8), (12, 8, 8), (6, 16, 16)]
GLOW = [(48, 4, 4), (12, 8, 8), (6, 16, 16)]


@pytest.mark.parametrize(
    ("settings", "parameters", "fixed", "shapes"),
    [
        (NiceSettings(), 72_617_216, 0, [(3, 32, 32)]),
        (NiceSettings(**RELEASED), 93_591_360, 0, [(3, 32, 32)]),
        (NiceSettings(hidden_layers=(2, 2, 2, 2), width=72), 915_264, 0, [(3, 32, 32)]),
        (RealNVPSettings(), 19_631_640, 3 * 3 + 3 * 6 + 4 * 6, CHECKERED),
        (RealNVPSettings(scales=3, width=16, blocks=1), 856_472, 3 * 3 + 6 * 6 + 3 * 12 + 4 * 12, DEEP),
        (GlowSettings(), 44_052_816, 0, GLOW),
        (GlowSettings(top_prior="zero_input"), 44_135_856, 96 * 96 * 9, GLOW),
        (GlowSettings(steps=8, width=64), 715_344, 0, GLOW),
    ],
    ids=["nice", "nice-released", "nice-small", "realnvp", "realnvp-small", "glow", "glow-published", "glow-small"],
)
def test_parameters_and_latents(settings, parameters, fixed, shapes):
    # fixed: counted by the published programs too, but without effect or a mere sign
    with torch.device("meta"):
        flow = build_generator(settings)
    assert sum(parameter.numel() for parameter in flow.parameters()) == parameters
    assert sum(parameter.numel() for parameter in flow.parameters() if not parameter.requires_grad) == fixed
    assert flow.latent_shapes == shapes
    assert sum(map(math.prod, shapes)) == flow.dimensions == 3072


@pytest.mark.parametrize(("name", "multiple"), [("realnvp-actnorm", 4), ("glow", 4), ("glow-additive", 8)])
def test_sides_must_halve_often_enough(name, multiple):
    build_generator(TINY[name], (3, multiple, 2 * multiple))
    with pytest.raises(ValueError, match=rf"needs sides that are multiples of {multiple}; got \(3, {multiple}, 6\)"):
        build_generator(TINY[name], (3, multiple, 6))


# --- closed forms -----------------------------------------------------------------------------------------------------


def test_nice_units():
    # couplings start as zero and scales as one: y -> 2y - 1 under a logistic density
    flow, x = build_generator(TINY["nice"], (3, 8, 8)).double(), pixels()
    encoding = flow.encode(x, noise())
    v = 2 * encoding.y - 1
    logistic = torch.log(torch.sigmoid(v) * torch.sigmoid(-v)).flatten(1).sum(1)
    torch.testing.assert_close(encoding.log_prob, logistic - flow.dimensions * math.log(128))
    torch.testing.assert_close(torch.special.ndtr(encoding.latents[0]), torch.sigmoid(v))
    # the paper's test likelihood is that of v
    published = torch.tensor(5371.78 - 3072 * math.log(128))
    assert bits_per_dim(published, 3072).item() == pytest.approx(4.4773, abs=5e-5)


def test_nice_latents_far_from_zero():
    h = torch.tensor([-40, -3, -1e-3, 0, 1e-3, 3, 40]).reshape(1, -1, 1, 1)
    e, _ = LogisticPrior()(h)
    torch.testing.assert_close(LogisticPrior().inverse(e), h, rtol=1e-6, atol=1e-6)
    wild, log_det = LogisticPrior()(torch.tensor([600.0, -600.0]).reshape(1, 2, 1, 1))
    assert (log_det + standard_normal_log_prob(wild)).item() == pytest.approx(-1200)


def test_realnvp_units():
    flow, x = build_generator(TINY["realnvp"], (3, 8, 8)).double().eval(), pixels()
    with torch.no_grad():
        for module in flow.modules():
            if isinstance(module, TanhScaleCoupling):  # zero filters: neither scale nor shift
                module.net.output.gain.zero_()
                module.net.output.bias.zero_()
    encoding = flow.encode(x, noise())
    p = 0.05 + 0.9 * encoding.y
    logits = torch.log(p / (1 - p))
    slope = (math.log(0.9) - torch.log(p) - torch.log(1 - p)).flatten(1).sum(1)
    expected = standard_normal_log_prob(logits) + slope - flow.dimensions * math.log(256)
    torch.testing.assert_close(encoding.log_prob, expected)
    sample = flow.decode([torch.full((1, *shape), 50.0, dtype=F64) for shape in flow.latent_shapes])
    torch.testing.assert_close(sample, torch.full_like(sample, 0.95 / 0.9))  # the whole range, not the logit's


def test_realnvp_keeps_one_colour_of_the_checkerboard():
    flow = build_generator(TINY["realnvp"], (3, 4, 4)).double().eval()
    with torch.no_grad():
        for module in flow.modules():
            if isinstance(module, TanhScaleCoupling):
                module.net.output.gain.zero_()
                module.net.output.bias.zero_()
        last, left = flow.encode(pixels(1, (3, 4, 4)), noise()).latents
        black = flow.decode([torch.zeros_like(last), 10 * torch.ones_like(left)])
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")
    stays = (rows + columns) % 2 == 0
    torch.testing.assert_close(black[0][:, stays], torch.full((3, 8), 0.5, dtype=F64))
    assert (black[0][:, ~stays] > 1).all()


def test_glow_starts_with_scales_of_sigmoid_two():
    flow = build_generator(TINY["glow"], (3, 8, 8)).double().eval()
    found = []
    for module in flow.modules():
        if isinstance(module, SigmoidCoupling):
            module.register_forward_hook(lambda _m, inputs, out: found.append((inputs[0].shape, out[1])))
    flow.encode(pixels(), noise())
    assert len(found) == 2
    for (_, channels, height, width), log_det in found:
        expected = channels // 2 * height * width * -0.126928
        torch.testing.assert_close(log_det, torch.full((2,), expected, dtype=F64), rtol=1e-5, atol=0)


def test_glow_initialises_the_actnorms_of_its_networks_too():
    flow = build_generator(TINY["glow"], (3, 8, 8)).train()
    assert not flow.ready
    flow.initialize(pixels(16), 0)
    inside = [module for module in flow.modules() if isinstance(module, ActNorm)]
    assert len(inside) == 2 * 3
    assert all(module.initialized for module in inside)
    assert all(module.log_scale.abs().max() > 0 for module in inside)


def test_zero_convolution():
    layer = ZeroConv2d(2, 3)
    assert torch.equal(layer(torch.ones(1, 2, 4, 4)), torch.zeros(1, 3, 4, 4))
    with torch.no_grad():
        layer.bias.fill_(1)
        layer.log_gain.fill_(math.log(2))
    torch.testing.assert_close(layer(torch.zeros(1, 2, 4, 4)), torch.full((1, 3, 4, 4), 8.0))
