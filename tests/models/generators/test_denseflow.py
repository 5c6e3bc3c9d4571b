"""DenseFlow as a whole: its weight, its inverse, its probabilities and the published sizes."""

import math

import pytest
import torch
from torch import Tensor, nn

from hybridflow.config.generators import CouplingSettings, DenseFlowSettings, DequantizationSettings
from hybridflow.models.generators.base import bits_per_dim
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.generators.registry import build_generator
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.transforms.actnorm import ActNorm
from hybridflow.models.transforms.coupling import AffineCoupling
from hybridflow.runtime.noise import GeneratorNoise, GivenNoise

COUPLING = CouplingSettings(mid_channels=(4, 4), depth=1, growth=3)
UNIFORM = DequantizationSettings(kind="uniform")
VARIATIONAL = DequantizationSettings(steps=1, mid_channels=3, context_channels=2, depth=1, growth=2)
SIZES = {"units": (2, 2), "steps_per_unit": (1, 1), "growth_rate": 2, "coupling": COUPLING}


def tiny(dequantization: DequantizationSettings = VARIATIONAL, seed: int = 0, side: int = 8, **sizes) -> DenseFlow:
    """A two-scale flow in double precision with every parameter and statistic away from its initial value."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = DenseFlow(DenseFlowSettings(**(SIZES | sizes), dequantization=dequantization), (3, side, side)).double()
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
            for name, buffer in flow.named_buffers():
                if name.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)
                elif name.endswith("running_mean"):
                    buffer.normal_(0, 0.1)
    return flow.eval()


def pixels(count: int = 2, side: int = 8, seed: int = 1) -> Tensor:
    return torch.randint(0, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(seed))


class RecordedNoise:
    """Draws noise and keeps it."""

    def __init__(self, seed: int) -> None:
        self.source, self.draws = GeneratorNoise(seed, dtype=torch.float64), []

    def __call__(self, shape):
        self.draws.append(self.source(shape))
        return self.draws[-1]


def latents_of(flow: DenseFlow, x: Tensor, draws: list[Tensor]) -> list[Tensor]:
    """The standardised latents of a forward pass, in the order ``decode`` takes them, seen from outside."""
    outputs: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda _m, _i, out: outputs.append(out[0])) for block in flow.blocks]
    flow.log_prob(x, GivenNoise(draws))
    for hook in hooks:
        hook.remove()
    dropped = []
    for z in outputs[:-1]:
        squeezed = nn.functional.pixel_unshuffle(z, 2)
        dropped.insert(0, squeezed[:, squeezed.shape[1] // 2 :])
    return [(outputs[-1] - flow.prior_loc) / flow.prior_log_scale.exp(), *dropped]


@pytest.mark.parametrize("dequantization", [UNIFORM, VARIATIONAL], ids=["uniform", "variational"])
def test_encoding_is_the_way_to_the_latents(dequantization):
    flow, x = tiny(dequantization), pixels()
    noise = RecordedNoise(2)
    encoding = flow.encode(x, noise)
    assert torch.equal(encoding.log_prob, flow.log_prob(x, GivenNoise(noise.draws)))
    assert [tuple(latent.shape[1:]) for latent in encoding.latents] == flow.latent_shapes
    for found, expected in zip(encoding.latents, latents_of(flow, x, noise.draws), strict=True):
        torch.testing.assert_close(found, expected)
    assert torch.equal(torch.floor(256 * encoding.y), x.double())


def test_round_trip_error_is_in_levels_and_notices_an_inverse_that_is_none(monkeypatch):
    flow, x = tiny(), pixels()
    error = flow.round_trip_error(x, GeneratorNoise(0, dtype=torch.float64))
    assert error.shape == (2,)
    assert error.max() < 1e-8
    decode = DenseFlow.decode
    monkeypatch.setattr(DenseFlow, "decode", lambda self, latents: decode(self, latents) + 1 / 256)
    torch.testing.assert_close(
        flow.round_trip_error(x, GeneratorNoise(0, dtype=torch.float64)), torch.ones(2, dtype=torch.float64)
    )


@pytest.mark.parametrize("dequantization", [UNIFORM, VARIATIONAL], ids=["uniform", "variational"])
def test_log_prob_is_the_change_of_variables_of_all_noise(dequantization):
    # For a fixed image the pass maps the dequantization's and the augmentations' noise to the latents, one to one:
    # ln w = ln p(latents) + ln |d latents / d noise| - ln N(noise).
    flow, x = tiny(dequantization), pixels()
    noise = RecordedNoise(2)
    log_prob = flow.log_prob(x, noise)
    assert log_prob.shape == (2,)
    shapes = [draw.shape[1:] for draw in noise.draws]
    sizes = [math.prod(shape) for shape in shapes]
    standard = torch.distributions.Normal(0, 1)
    for i in (1,):  # the second image of a batch

        def run(v: Tensor, i: int = i) -> Tensor:
            parts = [part.reshape(1, *shape) for part, shape in zip(v.split(sizes), shapes, strict=True)]
            return torch.cat([latent.flatten() for latent in latents_of(flow, x[i : i + 1], parts)])

        e = torch.cat([draw[i].flatten() for draw in noise.draws])
        jacobian = torch.autograd.functional.jacobian(run, e)
        assert jacobian.shape == (len(e), len(e))
        expected = (
            standard.log_prob(run(e)).sum() + torch.linalg.slogdet(jacobian).logabsdet - standard.log_prob(e).sum()
        )
        torch.testing.assert_close(log_prob[i], expected, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("dequantization", [UNIFORM, VARIATIONAL], ids=["uniform", "variational"])
def test_decode_inverts_the_latents(dequantization):
    flow, x, noise = tiny(dequantization), pixels(), RecordedNoise(2)
    flow.log_prob(x, noise)
    latents = latents_of(flow, x, noise.draws)
    assert [latent.shape[1:] for latent in latents] == [tuple(shape) for shape in flow.latent_shapes]
    y = flow.decode(latents)
    assert torch.equal(torch.floor(256 * y), x.double())
    expected, _ = flow.dequantization(x.double(), GivenNoise(noise.draws[:1]))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-9)


def test_probabilities_of_an_enumerated_image_space_sum_to_one():
    # ActNorm makes the density so narrow that 16 levels of each of the four pixels carry all mass; with uniform
    # dequantization at u = 1/2 (e = 0) the sum over images is a midpoint rule, exact for a smooth density. A
    # missing or doubled ln 256 is wrong by 256^4.
    torch.manual_seed(0)
    settings = DenseFlowSettings(
        units=(1,),
        steps_per_unit=(2,),
        growth_rate=0,
        coupling=CouplingSettings(mid_channels=(4,), depth=1, growth=3, attention=False, batch_norm=False),
        dequantization=UNIFORM,
    )
    flow = DenseFlow(settings, (1, 2, 2)).double().eval()
    with torch.no_grad():
        for module in flow.modules():
            if isinstance(module, AffineCoupling):
                module.net.output.weight.normal_(0, 0.2)
                module.net.output.bias.normal_(0, 0.1)
        flow.blocks[0].units[0].transforms[0].transforms[0].log_scale.fill_(math.log(1.1 / 256))
        flow.blocks[0].units[0].transforms[0].transforms[0].shift.copy_(
            torch.tensor([0, 2, -1, 1]).reshape(1, 4, 1, 1) / 256
        )
        flow.prior_loc.normal_(0, 0.2)
        flow.prior_log_scale.normal_(0, 0.05)
        levels = torch.arange(120, 137)
        x = torch.cartesian_prod(levels, levels + 2, levels - 1, levels + 1).reshape(-1, 1, 2, 2)
        log_prob = flow.log_prob(x, torch.zeros)
        everything = torch.logsumexp(log_prob, 0).exp()
    assert log_prob.std() > 1
    assert abs(everything - 1) < 2e-3


def test_every_parameter_learns_from_the_likelihood():
    flow = tiny()
    flow.log_prob(pixels(), GeneratorNoise(0, dtype=torch.float64)).sum().backward()
    for name, parameter in flow.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_are_those_of_finite_differences():
    # Along a random direction of all parameters; a detached tensor anywhere would be noticed.
    flow, x = tiny(units=(3, 1)), pixels()
    parameters = list(flow.parameters())
    directions = [
        torch.randn(p.shape, generator=torch.Generator().manual_seed(i)).double() for i, p in enumerate(parameters)
    ]

    def value() -> Tensor:
        return flow.log_prob(x, GeneratorNoise(0, dtype=torch.float64)).sum()

    value().backward()
    expected = sum((p.grad * d).sum() for p, d in zip(parameters, directions, strict=True))
    sides, h = [], 1e-7
    with torch.no_grad():
        for sign in (h, -2 * h):
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * direction
            sides.append(value())
    torch.testing.assert_close((sides[0] - sides[1]) / (2 * h), expected, rtol=1e-4, atol=1e-3)


def test_every_parameter_of_the_inverse_learns_from_a_sample():
    flow = tiny()
    flow.decode(flow.draw_latents(2, GeneratorNoise(0, dtype=torch.float64))).pow(3).sum().backward()
    for name, parameter in flow.named_parameters():
        used = not (name.startswith("dequantization.") or ".augments." in name)
        assert (parameter.grad is not None and bool(parameter.grad.abs().max() > 0)) == used, name


def test_a_loaded_flow_is_the_same_flow():
    flow, x = tiny(), pixels()
    with torch.random.fork_rng(devices=[]):
        flow.initialize(x, 3)
    assert all(m.initialized for m in flow.modules() if isinstance(m, ActNorm))
    fresh = tiny(seed=9)
    assert not all(m.initialized for m in fresh.modules() if isinstance(m, ActNorm))
    fresh.load_state_dict(flow.state_dict())
    assert all(m.initialized for m in fresh.modules() if isinstance(m, ActNorm))
    noise = [GeneratorNoise(4, dtype=torch.float64) for _ in range(2)]
    assert torch.equal(flow.log_prob(x, noise[0]), fresh.log_prob(x, noise[1]))
    for key, value in flow.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[key]), key


def test_initialisation_depends_on_data_and_seed_alone():
    states = []
    for other in (1, 2):
        flow = tiny()
        torch.manual_seed(other)
        flow.initialize(pixels(8), 3)
        states.append(flow.state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_batchnorm_makes_samples_of_a_training_flow_depend_on_the_batch_unless_frozen():
    flow = tiny().train()
    latents = flow.draw_latents(4, GeneratorNoise(0, dtype=torch.float64))
    before = {name: buffer.clone() for name, buffer in flow.named_buffers()}
    with running_statistics(flow):
        y = flow.decode(latents)
        one = flow.decode([latent[:1] for latent in latents])
    torch.testing.assert_close(one[0], y[0], rtol=1e-12, atol=1e-12)
    for name, buffer in flow.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert flow.blocks[0].units[0].transforms[0].transforms[2].net.block.norm.training
    assert (flow.decode(latents) - y).abs().max() > 1e-6


def test_log_prob_leaves_the_images_alone_and_takes_bytes():
    flow, x = tiny(), pixels().to(torch.uint8)
    before = x.clone()
    log_prob = flow.log_prob(x, GeneratorNoise(0, dtype=torch.float64))
    assert torch.equal(x, before)
    assert torch.equal(log_prob, flow.log_prob(x.double(), GeneratorNoise(0, dtype=torch.float64)))


def test_temperature_scales_latents():
    flow = tiny()
    latents = flow.draw_latents(2, GeneratorNoise(0, dtype=torch.float64))
    halves = flow.draw_latents(2, GeneratorNoise(0, dtype=torch.float64), temperature=0.5)
    for latent, half in zip(latents, halves, strict=True):
        torch.testing.assert_close(half, 0.5 * latent)


def test_bits_per_dim():
    assert bits_per_dim(torch.tensor([-8 * math.log(256.0)]), 8).item() == pytest.approx(8)  # uniform images


def test_sides_must_divide_into_the_scales():
    with pytest.raises(ValueError, match=r"2 scales needs sides that are multiples of 4; got \(3, 6, 8\)"):
        DenseFlow(DenseFlowSettings(**SIZES), (3, 6, 8))


@pytest.fixture(scope="module")
def paper_flow() -> DenseFlow:
    return build_generator(DenseFlowSettings())


def test_paper_model_has_the_published_sizes(paper_flow):
    assert sum(parameter.numel() for parameter in paper_flow.parameters()) == 130_647_294
    assert sum(isinstance(module, AffineCoupling) for module in paper_flow.modules()) == 74
    assert sum(isinstance(module, ActNorm) for module in paper_flow.modules()) == 74
    assert paper_flow.latent_shapes == [(308, 4, 4), (308, 4, 4), (124, 8, 8)]
    assert paper_flow.dimensions == 3072
