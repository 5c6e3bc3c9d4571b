"""The VAE: its pixel distribution, its bound against closed forms, and its samples."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hybridflow.config.generators import VAESettings
from hybridflow.evaluation.likelihood import image_bounds
from hybridflow.models.generators.registry import build_generator
from hybridflow.models.generators.vae import VAE
from hybridflow.models.transforms.dequantization import quantise
from hybridflow.models.transforms.discretized_logistic import discretized_logistic_log_prob
from hybridflow.runtime.noise import GeneratorNoise, standard_normal_log_prob

F64 = torch.float64
SHAPE = (3, 8, 8)


def tiny(sample: str = "pixel", scale: float = 0.3) -> VAE:
    """In double precision, away from its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_generator(VAESettings(width=6, latent_channels=2, sample=sample), SHAPE).double()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += scale * torch.randn_like(parameter)
    return model.eval()


def pixels(count: int = 2) -> Tensor:
    x = torch.randint(0, 256, (count, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x[0, 0, 0, :2] = torch.tensor([0, 255])
    return x


def noise(seed: int = 2) -> GeneratorNoise:
    return GeneratorNoise(seed, dtype=F64)


def log_masses(mean: float, scale: float, dtype: torch.dtype = F64) -> Tensor:
    """ln P of the 256 levels."""
    levels = torch.arange(256, dtype=dtype).reshape(256, 1, 1, 1)
    parts = torch.full_like(levels, mean), torch.full_like(levels, math.log(scale))
    return discretized_logistic_log_prob(levels, *parts)


@pytest.mark.parametrize("mean", [-3.0, 0.0, 0.2503, 0.5, 0.9999, 1.0, 40.0])
@pytest.mark.parametrize("scale", [math.exp(-7) / 2, 1e-2, 0.3, 20.0, 1e5])
def test_the_masses_of_all_levels_sum_to_one(mean, scale):
    assert log_masses(mean, scale).exp().sum().item() == pytest.approx(1, abs=1e-12)
    single = log_masses(mean, scale, torch.float32)
    assert torch.isfinite(single).all()
    assert single.double().exp().sum().item() == pytest.approx(1, abs=1e-3)


def test_a_mass_is_the_difference_of_two_sigmoids():
    found, edges = log_masses(0.4, 0.1), (torch.arange(257, dtype=F64) / 256 - 0.4) / 0.1
    cumulative = torch.sigmoid(edges)
    cumulative[0], cumulative[-1] = 0, 1
    torch.testing.assert_close(found.exp(), cumulative.diff())


@pytest.mark.parametrize(
    ("sizes", "parameters"),
    [((256, 16), 4_770_854), ((256, 32), 4_783_174), ((112, 16), 926_054), ((96, 16), 683_174)],
)
def test_parameters_and_latents(sizes, parameters):
    width, z = sizes
    with torch.device("meta"):
        model = build_generator(VAESettings(width=width, latent_channels=z))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.latent_shapes == [(z, 8, 8), (3, 32, 32)]
    assert model.dimensions == 3072


def test_log_prob_is_the_ratio_of_the_drawn_latent():
    model, x = tiny(scale=0.1), pixels()  # wide pixels: differences of sigmoids keep their digits
    e = noise()((2, 2, 2, 2))
    mean, log_sigma = model.condition(x).chunk(2, dim=1)
    posterior = torch.distributions.Normal(mean, log_sigma.exp())
    z = mean + log_sigma.exp() * e
    location, log_scale = model.pixels(z)
    logistic = torch.distributions.TransformedDistribution(  # y = location + s * logit(u)
        torch.distributions.Uniform(torch.tensor(0.0, dtype=F64), torch.tensor(1.0, dtype=F64)),
        [torch.distributions.SigmoidTransform().inv, torch.distributions.AffineTransform(location, log_scale.exp())],
    )
    upper = torch.where(x == 255, 1.0, logistic.cdf((x + 1.0).double() / 256))
    lower = torch.where(x == 0, 0.0, logistic.cdf(x.double() / 256))
    expected = (upper - lower).log().flatten(1).sum(1)
    expected += (torch.distributions.Normal(0, 1).log_prob(z) - posterior.log_prob(z)).flatten(1).sum(1)
    torch.testing.assert_close(model.log_prob(x, noise()), expected, rtol=1e-7, atol=1e-6)
    torch.testing.assert_close(model.log_prob(x, noise(), model.condition(x)), model.log_prob(x, noise()))


def without_use_of_the_latent(mean: float, log_sigma: float) -> tuple[VAE, Tensor]:
    """A VAE whose pixels do not depend on z and whose posterior is N(mean, sigma^2), with the images' ln P(x)."""
    model, x = tiny(), pixels(200)
    x[:] = x[:1]
    with torch.no_grad():
        model.decoder.net[0].weight.zero_()
        model.encoder.net[-1].weight.zero_()
        model.encoder.net[-1].bias.copy_(torch.tensor([mean, mean, log_sigma, log_sigma]))
    exact = discretized_logistic_log_prob(x.double(), *model.pixels(torch.zeros(len(x), 2, 2, 2, dtype=F64)))
    return model, exact


def test_with_the_prior_as_posterior_the_bound_is_exact_for_every_draw():
    model, exact = without_use_of_the_latent(0.0, 0.0)
    torch.testing.assert_close(model.log_prob(pixels(200)[:1].expand(200, -1, -1, -1), noise()), exact)


def test_the_gap_is_the_divergence_and_more_samples_close_it():
    mean, log_sigma = 0.4, 0.2
    model, exact = without_use_of_the_latent(mean, log_sigma)
    model.float()
    values = 2 * 2 * 2
    divergence = values * (0.5 * (mean**2 + math.exp(2 * log_sigma) - 1) - log_sigma)  # KL(q || N(0, 1))
    x = pixels(200)[:1].expand(200, -1, -1, -1)
    gaps = {}
    for k in (1, 10, 1000):
        bounds = image_bounds(model, x, k, seed=0, first=0)
        gap = exact - bounds[:, 1]
        gaps[k] = gap.mean().item(), gap.std().item() / math.sqrt(len(gap))
        elbo = (exact - bounds[:, 0]).mean().item()
        assert elbo == pytest.approx(divergence, abs=5 * math.sqrt(2 * values / len(x) / k))
    assert gaps[1][0] > gaps[10][0] + 3 * gaps[1][1]
    assert gaps[10][0] > gaps[1000][0] + 3 * gaps[10][1]
    assert abs(gaps[1000][0]) < 0.05


def test_samples_have_the_masses_that_the_likelihood_counts():
    model, n = tiny(), 20_000
    z = noise()((1, 2, 2, 2)).expand(n, -1, -1, -1)
    quantiles = torch.special.ndtri((torch.arange(n, dtype=F64) + 0.5) / n).reshape(n, 1, 1, 1).expand(n, *SHAPE)
    with torch.no_grad():
        levels = quantise(model.decode([z, quantiles]))[:, 1, 3, 4]
        mean, log_scale = (part[0, 1, 3, 4].item() for part in model.pixels(z[:1]))
    shares = torch.bincount(levels, minlength=256) / n
    torch.testing.assert_close(shares.double(), log_masses(mean, math.exp(log_scale)).exp(), rtol=0, atol=2 / n)


def test_what_discriminators_judge_has_no_noise_of_single_pixels():
    model, still = tiny(), tiny("mean")
    latents = model.draw_latents(3, noise())
    mean = model.decode_mean(latents)
    assert still.latent_shapes == [(2, 2, 2)]
    assert torch.equal(still.decode(latents[:1]), mean)
    assert torch.equal(model.decode([latents[0], torch.zeros_like(latents[1])]), mean)
    assert (model.decode(latents) - mean).abs().min() > 0


def test_every_parameter_learns_from_the_likelihood_and_the_decoder_from_samples():
    model = tiny()
    model.log_prob(pixels(), noise()).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())
    model.zero_grad()
    model.decode_mean(model.draw_latents(2, noise())).pow(3).sum().backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {name for name, _ in model.named_parameters() if name.startswith("decoder.")}


def test_an_image_does_not_depend_on_its_batch():
    model, x = tiny(), pixels(3)
    draw, latents = noise()((3, 2, 2, 2)), model.draw_latents(3, noise())
    torch.testing.assert_close(
        model.log_prob(x[1:2], lambda _: draw[1:2])[0], model.log_prob(x, lambda _: draw)[1], rtol=1e-12, atol=0
    )
    torch.testing.assert_close(model.decode([part[1:2] for part in latents])[0], model.decode(latents)[1])


def test_far_encodings_stay_finite_in_single_precision():
    model = tiny().float()
    with torch.no_grad():
        model.encoder.net[-1].bias.copy_(torch.tensor([1e3, -1e3, 1e4, -1e4]))
        model.decoder.net[-1].bias[3:] -= 1e4
    log_prob = model.log_prob(pixels(), GeneratorNoise(0))
    assert torch.isfinite(log_prob).all()
    assert standard_normal_log_prob(torch.zeros(1, 1)).item() > log_prob.max()


def test_sides_must_halve_twice():
    with pytest.raises(ValueError, match=r"needs sides that are multiples of 4; got \(3, 6, 8\)"):
        build_generator(VAESettings(width=2), (3, 6, 8))
