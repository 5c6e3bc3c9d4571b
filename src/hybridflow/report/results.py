"""Everything measured on an experiment's models, read from their records; what cannot be compared is not mixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridflow.config.evaluation import LIKELIHOOD_VERSION
from hybridflow.config.experiment import ReferenceSettings, Settings, Variant
from hybridflow.config.extractors import INCEPTION_SHA256
from hybridflow.config.metrics import METRICS
from hybridflow.data.cifar10.layout import CIFAR10
from hybridflow.io.records import read_record
from hybridflow.io.repair import repair_hint
from hybridflow.io.run_folder import RunFolder
from hybridflow.runtime.errors import UserError
from hybridflow.store.keys import training_key

LIKELIHOOD_PROTOCOL = ("version", "split", "images", "importance_samples", "seed")
NOTED = (("noise", 25), ("average", 4), ("jpeg", 40))  # the corruptions that notes below a table repeat
FIDELITY_PROTOCOL = ("images", "sampling", "reference_images", "weights_sha256", "extractors")


@dataclass(frozen=True)
class Measured:
    """A metric's value, and its standard error over images (None where the metric knows none)."""

    value: float
    se: float | None


@dataclass(frozen=True)
class Bounds:
    """Bits/dim, and standard errors of the mean over images."""

    elbo_bpd: float
    elbo_bpd_se: float
    iwbo_bpd: float
    iwbo_bpd_se: float


@dataclass(frozen=True)
class Model:
    """The numbers of one trained model.

    Attributes:
        files: where its files are.
        key: of its checkpoint.
        bounds: None for a generator without a likelihood.
        metrics: by name.
        class_counts: samples by class; None if nothing counts them.
        measured_by: git revision of the code that measured it, by record.
    """

    files: RunFolder
    key: str
    bounds: Bounds | None
    metrics: dict[str, Measured]
    class_counts: list[int] | None
    measured_by: dict[str, str | None]


@dataclass(frozen=True)
class Row:
    """A variant with its models, one a seed."""

    variant: Variant
    models: list[Model]
    reference: ReferenceSettings | None


@dataclass(frozen=True)
class Results:
    """An experiment's results.

    Attributes:
        likelihood: how bits/dim were measured, see :func:`likelihood_protocol`; None without a likelihood.
        fidelity: how samples were measured, see :func:`fidelity_protocol`.
        calibrations: metrics of images whose quality is known, by extractor: rows of
            :func:`~hybridflow.evaluation.calibration.calibrate`.
    """

    settings: Settings
    rows: list[Row]
    likelihood: dict[str, Any] | None
    fidelity: dict[str, Any]
    calibrations: dict[str, list[dict[str, Any]]]

    @property
    def models(self) -> list[Model]:
        """All of them, in the order of the table."""
        return [model for row in self.rows for model in row.models]

    def scale(self, metric: str) -> list[dict[str, Any]]:
        """A metric of as many test images as a set of samples has, and of corrupted ones; empty if not calibrated."""
        rows = [row for row in self.calibrations.get(METRICS[metric].extractor, []) if metric in row]
        fewer = [row for row in rows if row["kind"] == "clean" and row["count"] <= self.settings.sampling.images]
        return fewer[-1:] + [row for row in rows if (row["kind"], row["strength"]) in NOTED]

    def has_standin(self, metric: str) -> bool:
        """Whether a metric was measured with Inception weights that do not define FID; its numbers are not FID."""
        extractor = METRICS[metric].extractor
        return extractor == "inception" and self.fidelity["weights_sha256"][extractor] != INCEPTION_SHA256


def read_results(folder: str | Path, settings: Settings, dataset_hash: str) -> Results:
    """Reads the records of every model.

    Args:
        folder: ``results/<experiment>``.
        dataset_hash: of the dataset, which the keys of the checkpoints depend on.

    Raises:
        UserError: a record is missing or damaged, belongs to another checkpoint, was measured otherwise than the
            settings and this version of the code say, or otherwise than that of the first model.
    """
    wanted_likelihood, wanted_fidelity = _configured(settings)
    likelihood: tuple[dict[str, Any], str] | None = None
    fidelity: tuple[dict[str, Any], str] | None = None
    models: dict[str, list[Model]] = {name: [] for name in settings.variants}
    for name, seed in settings.models:
        files, key = RunFolder(folder, name, seed), training_key(settings, name, seed, dataset_hash)
        record = read_record(files.fidelity, (), checkpoint=key)
        protocol = fidelity_protocol(record, files.fidelity)
        fidelity = _compare(protocol, files.fidelity, wanted_fidelity, fidelity)
        measured_by, bounds = {"fidelity": record["revision"]}, None
        if settings.variants[name].generator.has_likelihood:
            found = read_record(files.likelihood, (), checkpoint=key)
            protocol = likelihood_protocol(found, files.likelihood)
            likelihood = _compare(protocol, files.likelihood, wanted_likelihood, likelihood)
            bounds = Bounds(*(found[part] for part in Bounds.__dataclass_fields__))
            measured_by["likelihood"] = found["revision"]
        metrics = {part: Measured(entry["value"], entry["se"]) for part, entry in record["metrics"].items()}
        models[name].append(Model(files, key, bounds, metrics, record["class_counts"], measured_by))
    cifar10 = settings.dataset.source == "cifar10"  # what others report is about CIFAR-10
    rows = [Row(entry, models[name], entry.reference if cifar10 else None) for name, entry in settings.variants.items()]
    calibrations = {}
    for extractor in settings.evaluation.calibrated:  # an earlier run may have left those of others
        path = Path(folder, "reference", f"calibration-{extractor}.json")
        if path.exists():
            calibrations[extractor] = read_record(path, ())["rows"]
    return Results(settings, rows, likelihood and likelihood[0], fidelity[0] if fidelity else {}, calibrations)


def likelihood_protocol(record: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """How the numbers of a ``likelihood.json`` were measured; numbers that were measured otherwise are other numbers.

    Raises:
        UserError: the record does not say it.
    """
    return _chosen(record, LIKELIHOOD_PROTOCOL, path)


def fidelity_protocol(record: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The same for a ``fidelity.json``; ``metrics`` holds the version of each."""
    versions = {name: entry["version"] for name, entry in _chosen(record, ("metrics",), path)["metrics"].items()}
    images = {"feature_images": record.get("feature_images", {})}  # of metrics on feature vectors, if there are any
    return _chosen(record, FIDELITY_PROTOCOL, path) | images | {"metrics": versions}


def differences(a: Any, b: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The dotted names at which two JSON values differ, with both values; ``"absent"`` for what one lacks."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from differences(a.get(key, "absent"), b.get(key, "absent"), f"{name}.{key}" if name else key)
    elif a != b or type(a) is not type(b):
        yield name, a, b


def _configured(settings: Settings) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of both protocols that the settings and this version of the code determine."""
    asked = settings.evaluation.likelihood
    likelihood = {name: getattr(asked, name) for name in ("split", "importance_samples", "seed")}
    likelihood["version"] = LIKELIHOOD_VERSION
    if settings.dataset.source == "cifar10" or asked.split == "holdout":
        present = CIFAR10.counts["test"] if asked.split == "test" else settings.dataset.holdout
        likelihood["images"] = present if asked.images is None else min(asked.images, present)
    metrics, sampling = settings.evaluation.metrics, settings.sampling
    return likelihood, {
        "images": sampling.images,
        "sampling": sampling.identity(),
        "metrics": {name: METRICS[name].version for name in metrics},
    }


def _compare(
    found: dict[str, Any], path: str, wanted: Mapping[str, Any], first: tuple[dict[str, Any], str] | None
) -> tuple[dict[str, Any], str]:
    """Compares a protocol with the configuration's and the first model's; returns the latter, with its path."""
    for name, ours, theirs in differences({name: found[name] for name in wanted}, wanted):
        raise UserError(f"{name!r} is {ours!r} in {path}, but {theirs!r} in the configuration; {repair_hint(path)}.")
    if first is None:
        return found, path
    for name, ours, theirs in differences(found, first[0]):
        raise UserError(
            f"{name!r} is {ours!r} in {path}, but {theirs!r} in {first[1]}; the rows of a table must be measured "
            "alike: delete the older of the two and run the workflow again."
        )
    return first


def _chosen(record: Mapping[str, Any], names: tuple[str, ...], path: str | Path) -> dict[str, Any]:
    for name in names:
        if name not in record:
            raise UserError(f"{path} does not say {name!r}; {repair_hint(path)}.")
    return {name: record[name] for name in names}
