"""Bits per dimension and drawn images: bounds, standard errors, interrupted runs."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY_FLOW

from hybridflow.config.evaluation import LikelihoodSettings, SamplingSettings
from hybridflow.config.generators import DenseFlowSettings, DequantizationSettings
from hybridflow.evaluation.likelihood import (
    ROUND_TRIP_LIMIT,
    BoundAccumulator,
    evaluate_likelihood,
    image_bounds,
    round_trip_error,
    summarise,
)
from hybridflow.evaluation.sampling import image_grid, image_latents, sample_images, sample_to_file, save_png
from hybridflow.io.arrays import ResumableArray
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.transforms.dequantization import UniformDequantization
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.seeding import derive_seed

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def flow() -> DenseFlow:
    return built(TINY_FLOW)


def built(settings: DenseFlowSettings) -> DenseFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = DenseFlow(settings, (3, 8, 8))
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        flow.initialize(torch.from_numpy(pixels(16)), 0)
    return flow.eval()


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_bounds_of_a_logistic_flow_approach_its_known_bin_mass():
    # y has a logistic density; the mass of level x is a difference of two sigmoids. With uniform noise,
    # ELBO <= IWBO_10 <= IWBO_100 <= exact, and the last gap is small.
    copies, level, loc, scale = 20_000, 131, 130.2 / 256, 0.35 / 256
    edges = (torch.tensor([level, level + 1], dtype=torch.float64) / 256 - loc) / scale
    exact = torch.log(torch.sigmoid(edges[1]) - torch.sigmoid(edges[0])).item()
    x, layer = torch.full((copies, 1, 1, 1), float(level), dtype=torch.float64), UniformDequantization()
    bounds = {}
    for samples in (1, 10, 100):
        accumulator = BoundAccumulator(copies)
        for k in range(samples):
            y, log_weight = layer(x, GeneratorNoise(derive_seed(samples, k), dtype=torch.float64))
            s = (y.flatten() - loc) / scale
            density = torch.nn.functional.logsigmoid(s) + torch.nn.functional.logsigmoid(-s) - math.log(scale)
            accumulator.update(density + log_weight)
        bounds[samples] = accumulator.bounds().mean(0).tolist()
    elbo = bounds[1][0]
    assert bounds[1][1] == pytest.approx(elbo)
    assert bounds[100][0] == pytest.approx(elbo, abs=0.01)  # the ELBO does not depend on K
    assert elbo < bounds[10][1] < bounds[100][1] < exact
    assert exact - elbo > 0.05
    assert exact - bounds[100][1] < 0.005


def test_accumulator_is_exact_for_hopeless_weights():
    weights = torch.tensor([[-6300.0, -7000.0], [-6301.0, -6990.0], [-6290.0, -7010.0]])
    accumulator = BoundAccumulator(2)
    for row in weights:
        accumulator.update(row)
    bounds = accumulator.bounds()
    assert bounds.dtype == torch.float64
    torch.testing.assert_close(bounds[:, 0], weights.double().mean(0))
    torch.testing.assert_close(bounds[:, 1], torch.logsumexp(weights.double(), 0) - math.log(3))
    assert (bounds[:, 1] > bounds[:, 0]).all()


def test_image_bounds_draw_new_noise_for_every_sample(flow):
    x = torch.from_numpy(pixels(2))
    bounds = image_bounds(flow, x, 4, seed=3, first=10)
    with torch.no_grad():
        weights = torch.stack([flow.log_prob(x, GeneratorNoise(derive_seed(3, "evaluate", 10, k))) for k in range(4)])
    weights = weights.double()
    torch.testing.assert_close(bounds[:, 0], weights.mean(0))
    torch.testing.assert_close(bounds[:, 1], torch.logsumexp(weights, 0) - math.log(4))
    assert weights.std(0).min() > 1e-3
    assert not torch.equal(bounds, image_bounds(flow, x, 4, seed=4, first=10))
    assert not torch.equal(bounds, image_bounds(flow, x, 4, seed=3, first=11))


def test_summary_by_formula():
    bounds = np.array([[-10.0, -9.0], [-14.0, -12.0], [-13.0, -13.0]])
    result = summarise(bounds, 5)
    bpd = -bounds / (5 * math.log(2))
    assert result.images == 3
    assert result.elbo_bpd == pytest.approx(bpd[:, 0].mean())
    assert result.iwbo_bpd == pytest.approx(bpd[:, 1].mean())
    deviation = math.sqrt(((bpd[:, 0] - bpd[:, 0].mean()) ** 2).sum() / 2)
    assert result.elbo_bpd_se == pytest.approx(deviation / math.sqrt(3))
    assert result.iwbo_bpd_se == pytest.approx(np.std(bpd[:, 1], ddof=1) / math.sqrt(3))


def test_evaluation_equals_a_direct_computation(flow, tmp_path):
    images, settings = pixels(7), LikelihoodSettings(importance_samples=3, batch_size=3)
    result = evaluate_likelihood(flow, images, settings, tmp_path / "a.npy", CPU, "key")
    expected = [image_bounds(flow, torch.from_numpy(images[i : i + 3]), 3, 0, i) for i in (0, 3, 6)]
    expected = torch.cat(expected).numpy()  # 3 + 3 + 1 images, every image counts once
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected, rtol=1e-12)
    assert result == summarise(expected, 192)
    assert result.elbo_bpd == pytest.approx(-expected[:, 0].sum() / 7 / 192 / math.log(2))
    assert result.iwbo_bpd < result.elbo_bpd
    assert 6 < result.iwbo_bpd < 12  # uniform noise images: 8 and somewhat more


def test_the_first_images_are_used(flow, tmp_path):
    settings = LikelihoodSettings(importance_samples=1, batch_size=3, images=4)
    assert evaluate_likelihood(flow, pixels(7), settings, tmp_path / "a.npy", CPU, "key").images == 4
    more = LikelihoodSettings(importance_samples=1, batch_size=3, images=400)
    assert evaluate_likelihood(flow, pixels(7), more, tmp_path / "b.npy", CPU, "key").images == 7
    np.testing.assert_allclose(np.load(tmp_path / "b.npy")[:3], np.load(tmp_path / "a.npy")[:3])


class Stopped(Exception):
    pass


def stop_after(monkeypatch, target: str, calls: int) -> list[int]:
    """Makes the function at ``target`` raise on its call number ``calls``; gives the list of its calls."""
    import importlib

    module, name = target.rsplit(".", 1)
    original, made = getattr(importlib.import_module(module), name), []

    def counted(*args, **kwargs):
        made.append(len(made))
        if len(made) == calls:
            raise Stopped
        return original(*args, **kwargs)

    monkeypatch.setattr(target, counted)
    return made


def test_an_interrupted_evaluation_goes_on(flow, tmp_path, monkeypatch):
    images, settings = pixels(7), LikelihoodSettings(importance_samples=2, batch_size=2)
    whole = evaluate_likelihood(flow, images, settings, tmp_path / "whole.npy", CPU, "key")
    calls = stop_after(monkeypatch, "hybridflow.evaluation.likelihood.image_bounds", 3)
    with pytest.raises(Stopped):
        evaluate_likelihood(flow, images, settings, tmp_path / "part.npy", CPU, "key")
    assert not (tmp_path / "part.npy").exists()
    assert evaluate_likelihood(flow, images, settings, tmp_path / "part.npy", CPU, "key") == whole
    assert len(calls) == 3 + 2  # two batches were kept
    assert (tmp_path / "part.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.npy", "whole.npy"]


# --- several samples at once ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["variational", "uniform"])
def either(request) -> DenseFlow:
    """A flow whose dequantization is conditioned on the image, and one without a condition."""
    return built(TINY_FLOW.model_copy(update={"dequantization": KINDS[request.param]}))


KINDS = {"variational": TINY_FLOW.dequantization, "uniform": DequantizationSettings(kind="uniform")}


@torch.no_grad()
def test_one_sample_at_a_time_is_bit_for_bit_a_plain_loop(either):
    x = torch.from_numpy(pixels(3))
    plain, condition = BoundAccumulator(3), either.condition(x)
    for k in range(4):
        plain.update(either.log_prob(x, GeneratorNoise(derive_seed(1, "evaluate", 6, k)), condition))
    assert torch.equal(image_bounds(either, x, 4, seed=1, first=6), plain.bounds())


# --- resumable arrays -------------------------------------------------------------------------------------------------


def test_resumable_array(tmp_path):
    path = tmp_path / "folder" / "a.npy"
    first = ResumableArray(path, (5, 2), np.float32, {"key": "a"})
    first.append(np.ones((2, 2), np.float32))
    with pytest.raises(RuntimeError, match="2 of 5 rows are finished"):
        first.finish()
    again = ResumableArray(path, (5, 2), np.float32, {"key": "a"})
    assert again.done == 2
    again.append(np.full((3, 2), 2, np.float32))
    again.finish()
    assert np.load(path).tolist() == [[1, 1]] * 2 + [[2, 2]] * 3
    assert [p.name for p in path.parent.iterdir()] == ["a.npy"]


@pytest.mark.parametrize("change", ["key", "shape", "dtype", "note", "rows", "bit"])
def test_rows_of_another_computation_are_not_kept(tmp_path, change):
    path = tmp_path / "a.npy"
    ResumableArray(path, (5, 2), np.float32, {"key": "a"}).append(np.ones((2, 2), np.float32))
    arguments = {"shape": (5, 2), "dtype": np.float32, "identity": {"key": "a"}}
    if change == "key":
        arguments["identity"] = {"key": "b"}
    elif change == "shape":
        arguments["shape"] = (6, 2)
    elif change == "dtype":
        arguments["dtype"] = np.float64
    elif change == "note":
        (tmp_path / ".a.npy.rows.json").write_text("{cut")
    elif change == "bit":
        rows = tmp_path / ".a.npy.rows"
        content = bytearray(rows.read_bytes())
        content[0] ^= 1
        rows.write_bytes(content)
    else:
        (tmp_path / ".a.npy.rows").unlink()
    assert ResumableArray(path, **arguments).done == 0


# --- samples ----------------------------------------------------------------------------------------------------------


def test_latents_of_an_image_do_not_depend_on_its_batch(flow):
    together = image_latents(flow, range(0, 6), 1, 1.0)
    apart = [image_latents(flow, range(i, i + 1), 1, 1.0) for i in range(6)]
    assert [tuple(latent.shape[1:]) for latent in together] == flow.latent_shapes
    for which, latent in enumerate(together):
        for i in range(6):
            assert torch.equal(latent[i], apart[i][which][0])
    everything = torch.cat([latent.flatten() for latent in image_latents(flow, range(200), 1, 0.5)])
    assert everything.mean().abs() < 0.01
    assert everything.std().item() == pytest.approx(0.5, rel=0.02)
    assert not torch.equal(together[0], image_latents(flow, range(0, 6), 2, 1.0)[0])


def test_samples_do_not_depend_on_the_batch_size(flow, tmp_path):
    for size in (1, 4, 10):
        settings = SamplingSettings(images=10, batch_size=size, seed=5)
        sample_to_file(flow, settings, tmp_path / f"{size}.npy", CPU, "key")
    one, four, ten = (np.load(tmp_path / f"{size}.npy").astype(int) for size in (1, 4, 10))
    assert one.shape == (10, 3, 8, 8)
    assert np.load(tmp_path / "1.npy").dtype == np.uint8
    for other in (four, ten):  # sums in another order may move a value across a level's edge
        assert np.abs(one - other).max() <= 1
        assert (one != other).mean() < 1e-2
    assert len(np.unique(one.reshape(10, -1), axis=0)) == 10


def test_low_temperature_varies_less(flow):
    spread = [sample_images(flow, range(32), 0, t, CPU).astype(float).std(0).mean() for t in (1.0, 0.3, 1e-6)]
    assert spread[0] > 2 * spread[1] > 0
    assert spread[2] < 0.5


def test_samples_that_overflow_are_refused(flow, monkeypatch):
    decode = flow.decode

    def overflowing(latents):
        y = decode(latents)
        y[1, 0, 0, 0], y[3] = torch.inf, torch.nan
        return y

    monkeypatch.setattr(flow, "decode", overflowing)
    with pytest.raises(UserError, match="2 of 6 samples from number 4 on overflow"):
        sample_images(flow, range(4, 10), 0, 1.0, CPU)


def test_interrupted_sampling_continues_to_the_same_file(flow, tmp_path, monkeypatch):
    settings = SamplingSettings(images=10, batch_size=3)
    sample_to_file(flow, settings, tmp_path / "whole.npy", CPU, "key")
    part = tmp_path / "part.npy"
    calls = stop_after(monkeypatch, "hybridflow.evaluation.sampling.sample_images", 3)
    with pytest.raises(Stopped):
        sample_to_file(flow, settings, part, CPU, "key")
    assert not part.exists()
    sample_to_file(flow, settings, part, CPU, "key")
    assert len(calls) == 3 + 2
    assert part.read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_sampling_of_other_weights_starts_over(flow, tmp_path, monkeypatch):
    settings, part = SamplingSettings(images=10, batch_size=3), tmp_path / "part.npy"
    calls = stop_after(monkeypatch, "hybridflow.evaluation.sampling.sample_images", 3)
    with pytest.raises(Stopped):
        sample_to_file(flow, settings, part, CPU, "key")
    sample_to_file(flow, settings, part, CPU, "other key")
    assert len(calls) == 3 + 4


def test_image_grid_layout():
    y = np.arange(5, dtype=np.uint8)[:, None, None, None] * 10 + np.arange(3, dtype=np.uint8)[:, None, None] + 1
    images = np.broadcast_to(y, (5, 3, 2, 4)).copy()
    images[1, :, 0, 3] = 99  # top right pixel of the second image
    grid = image_grid(images, columns=3)
    assert grid.shape == (4, 12, 3)
    assert grid[0, 0].tolist() == [1, 2, 3]
    assert grid[1, 5].tolist() == [11, 12, 13]
    assert grid[0, 7].tolist() == [99, 99, 99]
    assert grid[2, 0].tolist() == [31, 32, 33]
    assert (grid[2:, 8:] == 0).all()
    np.testing.assert_array_equal(image_grid(torch.from_numpy(images), 3), grid)
    continuous = (torch.from_numpy(images).float() + 0.5) / 256
    np.testing.assert_array_equal(image_grid(continuous, 3), grid)


def test_save_png(tmp_path: Path):
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    save_png(tmp_path / "folder" / "a.png", picture, scale=3)
    found = np.asarray(Image.open(tmp_path / "folder" / "a.png"))
    assert found.shape == (12, 18, 3)
    np.testing.assert_array_equal(found[1::3, 2::3], picture)


# --- round trip -------------------------------------------------------------------------------------------------------


def test_a_sound_flow_comes_back(flow):
    error = round_trip_error(flow, pixels(8), LikelihoodSettings(batch_size=4), Path("x.safetensors"))
    assert 0 <= error < 0.05


@pytest.mark.parametrize("factor", [1e6, float("nan")])
def test_a_flow_that_its_inverse_does_not_invert_is_refused(flow, factor):
    broken = copy.deepcopy(flow)
    with torch.no_grad():
        layer = broken.blocks[0].units[0].transforms[0].transforms[1]
        layer.weight[0] = layer.weight[1] + layer.weight[0] / factor  # close to singular, or not a number
    with pytest.raises(UserError, match=r"the flow of x.safetensors is not inverted .* \(allowed: 0.5\)"):
        round_trip_error(broken, pixels(8), LikelihoodSettings(batch_size=4), Path("x.safetensors"))
    assert ROUND_TRIP_LIMIT == 0.5
