"""The distance of samples during a training: it is there, always of the same latents, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from trainings import CPU, IMAGES, TINY, job, rows

from hybridflow.config.loading import load_settings, parse_settings
from hybridflow.config.training import DistanceSettings
from hybridflow.evaluation.extractors.base import compute_features
from hybridflow.evaluation.metrics.frechet import frechet_distance, save_moments
from hybridflow.evaluation.sampling import quantise
from hybridflow.models.checkpoint import load_generator
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.loop import train
from hybridflow.training.sample_distance import Ruler, SampleDistance
from hybridflow.training.state import Job

DISTANCE = {"extractor": "cifar_classifier", "every": 4, "images": 150}


class Colours:
    """An extractor: the mean of every colour."""

    @classmethod
    def load(cls, weights: Path, settings: object, device: object) -> Colours:
        return cls()

    def __call__(self, images: Tensor) -> Tensor:
        return images.float().mean((2, 3))


@pytest.fixture
def ruler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ruler:
    monkeypatch.setattr("hybridflow.training.sample_distance.extractor_class", lambda name: Colours)
    moments = compute_features(IMAGES, Colours(), 16, CPU, "reference").moments
    save_moments(tmp_path / "reference.npz", moments, {})
    return Ruler(parse_settings(TINY), tmp_path / "weights", tmp_path / "reference.npz")


def measured(folder: Path, ruler: Ruler | None, name: str = "hybrid", **training: object) -> Job:
    folder.mkdir()
    work = job(folder, name, distance=DISTANCE, log_every=2, **training)
    return replace(work, ruler=ruler)


def test_the_history_has_it_and_the_weights_do_not_know(ruler: Ruler, tmp_path: Path) -> None:
    work, plain = measured(tmp_path / "a", ruler), measured(tmp_path / "b", None)
    for one in (work, plain):
        train(one, IMAGES, CPU)
    assert work.checkpoint.read_bytes() == plain.checkpoint.read_bytes()
    found = {row["step"]: row["distance"] for row in rows(work.history) if "distance" in row}
    assert list(found) == [4, 8, 12]
    assert not any("distance" in row for row in rows(plain.history))

    # the last value, by hand: of the averaged weights, which are the stored ones
    flow, _ = load_generator(work.checkpoint, CPU)
    latents = [
        flow.draw_latents(count, GeneratorNoise(derive_seed(0, "distance", start), CPU))
        for start, count in ((0, 100), (100, 50))
    ]
    with torch.no_grad():
        samples = np.concatenate([quantise(flow.decode(one)).numpy() for one in latents])
    moments = compute_features(samples, Colours(), 50, CPU, "samples").moments
    reference = SampleDistance(DistanceSettings(**DISTANCE), ruler, 0, CPU).reference
    assert found[12] == pytest.approx(frechet_distance(moments, reference), rel=1e-3)


def test_a_run_that_was_stopped_has_the_same_values(
    ruler: Ruler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = measured(tmp_path / "a", ruler), measured(tmp_path / "b", ruler)
    train(whole, IMAGES, CPU)
    from hybridflow.training import loop

    step, calls = loop.training_step, []

    def stops(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return step(*arguments)

    monkeypatch.setattr(loop, "training_step", stops)
    with pytest.raises(KeyboardInterrupt):
        train(parts, IMAGES, CPU)
    train(parts, IMAGES, CPU)
    assert rows(parts.history) == rows(whole.history)
    assert parts.checkpoint.read_bytes() == whole.checkpoint.read_bytes()


def test_it_is_due_once_after_every_multiple(ruler: Ruler) -> None:
    distance = SampleDistance(DistanceSettings(extractor="cifar_classifier", every=100), ruler, 0, CPU)
    assert [step for step in range(30, 331, 30) if distance.due(step, step - 30)] == [120, 210, 300]


def test_a_ruler_that_is_not_measured_with_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "{training: {distance: {extractor: efficientnet_lite0}}, evaluation: {metrics: [fd_cifar]}}"
    )
    root = Path(__file__).parents[2]
    with pytest.raises(UserError, match=r"training.distance.extractor` is 'efficientnet_lite0', but no metric of"):
        load_settings(root / "config.yaml", tmp_path / "mine.yaml")
