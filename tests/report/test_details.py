"""The page of details: paired differences, classes, the ruler, costs, and what it refuses to mix."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recorded import edit, record
from torch import nn

from hybridflow.config.experiment import Settings
from hybridflow.config.loading import load_settings
from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.evaluation.likelihood import summarise
from hybridflow.io.records import record_of, write_record
from hybridflow.models.checkpoint import save_checkpoint
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.generators.registry import build_generator
from hybridflow.report.details import ModelFiles, write_details
from hybridflow.report.tables.paired import DIMENSIONS, paired_difference, pairs_of
from hybridflow.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
IMAGES = 30
# Bits/dim that every image of a model costs more than of the baseline: (ELBO, importance-weighted bound).
OFFSETS = {"baseline": (0.0, 0.0), "control": (-0.02, -0.01), "dcgan-0.5": (0.5, 0.25)}
SPREAD = {"baseline": 0.0, "control": 0.001, "dcgan-0.5": 0.02}
FILES = ("likelihood.json", "likelihood.npy", "fidelity.json", "checkpoint.safetensors", "training.jsonl")
COUNTS = [22, 2, 2, 2, 2, 2, 2, 2, 2, 2]  # of one set of 40 images


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The micro experiment with a second likelihood-only variant."""
    control = tmp_path_factory.mktemp("config") / "control.yaml"
    control.write_text("variants: {control: {init_from: baseline}}")
    return load_settings(ROOT / "config.yaml", ROOT / "tests" / "data" / "micro.yaml", control)


class Models:
    """The files of one seed of each variant, and the page made of them."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder, self.settings, self.files = folder, settings, {}
        rng = np.random.default_rng(0)
        difficulty = rng.normal(4, 0.7, size=(IMAGES, 1))
        self.own = {name: SPREAD[name] * rng.normal(size=(IMAGES, 2)) for name in OFFSETS}
        for name in settings.variants:
            (folder / name).mkdir()
            files = ModelFiles(*(folder / name / file for file in FILES))
            self.files[name, 0] = files
            bounds = -(difficulty + np.array(OFFSETS[name]) + self.own[name]) * DIMENSIONS * math.log(2)
            np.save(files.bounds, bounds)
            self.summarise(name, bounds)
            distances = {"fid": None, "fd_cifar": 5.0, "fd_cifar_test": 5.5, "fid_weights_sha256": None}
            sets = [{"set": number, "class_counts": COUNTS} for number in range(2)]
            self.write(
                files.fidelity,
                {"checkpoint": name, "images": 40, "reference_images": 64, "classifier_accuracy": 0.5}
                | distances
                | {"repeats": 2, "fid_sd": None, "fd_cifar_sd": 0.5, "sets": sets},
            )
            rows = [{"step": step, "images": 16 * step, "seconds": 2.0 * step} for step in (2, 4, 5)]
            Path(files.history).write_text("".join(json.dumps(row) + "\n" for row in rows))
            self.train(name)

    def summarise(self, name: str, bounds: np.ndarray) -> None:
        values = {"checkpoint": name, "split": "test", "importance_samples": 2, "seed": 0}
        record(self.files[name, 0].bounds, **values, **vars(summarise(bounds, DIMENSIONS)))

    def train(self, name: str, **changes: object) -> None:
        variant = self.settings.variants[name]
        models: dict[str, nn.Module] = {"flow": build_generator(variant.generator)}
        metadata = {"key": name, "flow": variant.generator.model_dump(mode="json"), "discriminator": None}
        if variant.discriminator is not None:
            models["discriminator"] = build_discriminator(variant.discriminator)
            metadata["discriminator"] = variant.discriminator.model_dump(mode="json")
        metadata |= {"steps": 5, "images": 80, "device": "cpu", "dataset": "cifar10"} | changes
        files = self.files[name, 0]
        save_checkpoint(files.checkpoint, models, metadata, [files.history])

    @staticmethod
    def write(path: str | Path, content: dict[str, object]) -> None:
        write_record(path, content)

    def change(self, kind: str, name: str, **values: object) -> None:
        path = getattr(self.files[name, 0], kind)
        edit(path, **values)

    def page(self, ruler: bool = True) -> str:
        rows = [("test images as they are", 64, 64, 0.5), ("test images, as many as a set of samples", 40, 64, 1.25)]
        hardware = {"cpu": "A CPU", "cpus_usable": 2, "gpus": [{"name": "A GPU", "memory_gib": 24.0}]}
        write_details(
            self.folder / "details.md",
            *(self.folder / f"{name}.csv" for name in ("paired_bpd", "classes", "costs")),
            self.settings,
            self.files,
            pd.DataFrame(rows, columns=["images", "count", "reference_count", "fd_cifar"]) if ruler else None,
            hardware,
        )
        return (self.folder / "details.md").read_text()


@pytest.fixture
def models(tmp_path: Path, settings: Settings) -> Models:
    return Models(tmp_path, settings)


def test_paired_difference_is_that_of_the_images() -> None:
    mean, error, z = paired_difference(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 6.0]))
    assert (mean, error) == (1.0, pytest.approx(1 / math.sqrt(3)))  # differences 1, 2, 0: deviation 1
    assert z == pytest.approx(math.sqrt(3))
    assert math.isnan(paired_difference(np.ones(3), np.ones(3))[2])


def test_every_pair_stands_once_and_a_variant_against_its_start() -> None:
    parents = {"a": None, "b": "c", "c": None}
    assert pairs_of(["a", "b", "c"], parents) == [("b", "a"), ("c", "a"), ("b", "c")]


def test_the_pairs_have_their_differences(models: Models) -> None:
    page = models.page()
    paired = pd.read_csv(models.folder / "paired_bpd.csv").set_index(["variant", "reference"])
    assert list(paired.index) == [("control", "baseline"), ("dcgan-0.5", "baseline"), ("dcgan-0.5", "control")]
    assert (paired.images == IMAGES).all()
    for (variant, reference), row in paired.iterrows():
        elbo, iwbo = (models.own[variant] + OFFSETS[variant] - models.own[reference] - OFFSETS[reference]).T
        for name, values in (("elbo", elbo), ("iwbo", iwbo)):
            error = values.std(ddof=1) / math.sqrt(IMAGES)
            assert row[f"{name}_difference"] == pytest.approx(values.mean(), rel=1e-8)
            assert row[f"{name}_se"] == pytest.approx(error, rel=1e-8)
            assert row[f"{name}_z"] == pytest.approx(values.mean() / error, rel=1e-8)
            assert error < 0.01  # the images' difficulty, with a spread of 0.7, has cancelled
    first = paired.loc["dcgan-0.5", "baseline"]
    cells = f"{first.iwbo_difference:+.4f} ± {first.iwbo_se:.4f} | {first.iwbo_z:+.1f}"
    assert f"| dcgan-0.5 | baseline (its start) | 0 | {cells} |" in page
    assert "| dcgan-0.5 | control | 0 |" in page
    assert "same 30 images of the test split" in page


def test_the_classes_are_counted_over_all_sets(models: Models) -> None:
    page = models.page()
    classes = pd.read_csv(models.folder / "classes.csv")
    assert list(classes.columns) == ["variant", "seed", "set", "images", *CLASS_NAMES]
    assert list(classes["set"]) == [0, 1] * 3
    assert (classes[list(CLASS_NAMES)].sum(axis=1) == classes.images).all()
    # 22 of 40 are airplanes: 55 %; those above 10 % would have to change class
    assert "| baseline | 0 | 80 | 55.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 45.0 |" in page
    assert f"chance alone moves a share by {100 * math.sqrt(0.09 / 80):.1f}" in page


def test_the_ruler_has_its_numbers_of_images(models: Models) -> None:
    page = models.page()
    assert "against the 64 training images" in page
    assert "| test images, as many as a set of samples | 40 | 1.250 |" in page


def test_the_costs_are_those_of_training(models: Models) -> None:
    page = models.page()
    costs = pd.read_csv(models.folder / "costs.csv").set_index("variant")
    assert (costs.steps == 5).all()
    assert (costs.seconds == 10).all()
    assert (costs.images_per_second == 8).all()
    assert costs.starts_from.fillna("").to_dict() == {"baseline": "", "control": "baseline", "dcgan-0.5": "baseline"}
    variant = models.settings.variants["dcgan-0.5"]
    flow, discriminator = build_generator(variant.generator), build_discriminator(variant.discriminator)
    assert (costs.flow_parameters == sum(value.numel() for value in flow.parameters())).all()
    assert costs.discriminator_parameters["baseline"] == 0
    assert costs.discriminator_parameters["dcgan-0.5"] == sum(value.numel() for value in discriminator.parameters())
    assert "| control | baseline | cpu | 0 | 5 | 80 | 0:00:10 | 8.0 |" in page
    assert "A CPU, 2 usable CPUs, A GPU" in page


def test_long_trainings_have_their_hours(models: Models) -> None:
    row = {"step": 5, "images": 80, "seconds": 3600.0 * 250 + 61}
    Path(models.files["control", 0].history).write_text(json.dumps(row) + "\n")
    models.train("control")
    assert "| 250:01:01 |" in models.page()


def test_without_fd_cifar_the_rest_is_there(models: Models) -> None:
    for name, _ in models.files:
        nothing = {"fd_cifar": None, "fd_cifar_test": None, "classifier_accuracy": None, "fd_cifar_sd": None}
        models.change("fidelity", name, **nothing, sets=[{"set": 0, "class_counts": None}], repeats=1)
    page = models.page(ruler=False)
    assert "Not counted" in page
    assert "FD-CIFAR is switched off" in page
    assert "| dcgan-0.5 | control |" in page
    assert (models.folder / "classes.csv").read_text().count("\n") == 1


def test_one_variant_has_nobody_to_be_compared_with(models: Models) -> None:
    alone = models.settings.model_copy(update={"variants": {"baseline": models.settings.variants["baseline"]}})
    models.settings, models.files = alone, {("baseline", 0): models.files["baseline", 0]}
    assert "no second variant" in models.page()


def test_models_that_were_evaluated_differently_are_refused(models: Models) -> None:
    models.change("likelihood", "control", importance_samples=1000)
    with pytest.raises(UserError, match=r"'importance_samples' is 2 in .* must be evaluated alike"):
        models.page()
    assert not (models.folder / "details.md").exists()


def test_bounds_of_another_evaluation_are_refused(models: Models) -> None:
    path = models.files["control", 0].bounds
    bounds, values = np.load(path), json.loads(record_of(path).read_text())

    def replace(content: bytes | np.ndarray) -> None:
        path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
        record(path, **{name: value for name, value in values.items() if name != "record_sha256"})

    np.save(path, bounds + 1)
    with pytest.raises(UserError, match=r"control/likelihood.npy is damaged or was exchanged"):
        models.page()
    replace(bounds + 1)
    with pytest.raises(UserError, match=r"control/likelihood.npy has other means than the likelihood.json"):
        models.page()
    replace(bounds[:-1])
    with pytest.raises(UserError, match=r"control/likelihood.npy must hold 30 rows of two finite numbers"):
        models.page()
    replace(b"cut")
    with pytest.raises(UserError, match=r"cannot read .*control/likelihood.npy"):
        models.page()


def test_checkpoints_of_other_models_or_images_are_refused(models: Models) -> None:
    models.train("control", key="another")
    with pytest.raises(UserError, match=r"measured on checkpoint control, but .*control/checkpoint\S+ is another"):
        models.page()
    models.train("control", dataset="folder-1")
    with pytest.raises(UserError, match=r"control/checkpoint\S+ was trained on another dataset than .*baseline"):
        models.page()
    models.train("control", steps=7)
    with pytest.raises(UserError, match=r"control/training.jsonl ends at step 5, but .* for 7 steps"):
        models.page()


def test_wrong_class_counts_are_refused(models: Models) -> None:
    models.change("fidelity", "control", sets=[{"set": 0, "class_counts": [1] * 10}])
    with pytest.raises(UserError, match=r"must count 40 images in 10 classes"):
        models.page()
    models.change("fidelity", "control", sets=...)
    with pytest.raises(UserError, match=r"control/fidelity.json has no 'sets'"):
        models.page()
