"""The sentences below Table 1: what was measured, on how many images, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.results import Results, Row
from hybridflow.report.tables.columns import deviation, mean


def describe_table(results: Results) -> list[str]:
    """One sentence or more about the experiment, every quantity, and ±."""
    notes, settings = [], results.settings
    if settings.small:
        notes.append(
            f"The experiment {settings.experiment} is a small run: its numbers are not comparable with those of "
            "full-size models, which are far larger and trained far longer."
        )
    if results.likelihood is not None:
        error = max(model.bounds.iwbo_bpd_se for model in results.models if model.bounds)
        notes.append(
            f"BPD: bits per dimension of {results.likelihood['images']:,} images of the {results.likelihood['split']} "
            f"split, importance-weighted bound with K = {results.likelihood['importance_samples']:,} samples; the "
            f"standard error over images is at most {error:.4f}."
        )
    notes.append(_describe_spread(results))
    shown = [METRICS[name] for name in settings.evaluation.printed]
    for metric in shown:
        notes += _describe_metric(metric, results)
    if not shown:
        notes.append("The samples were not compared with the dataset's images: the table has no such metric.")
    sources = dict.fromkeys(row.reference.source for row in results.rows if row.reference and row.reference.source)
    if sources:
        notes.append(f"Reference: what others report for CIFAR-10, as they measured it ({'; '.join(sources)}).")
    return notes


def _describe_metric(metric: Metric, results: Results) -> list[str]:
    protocol, name = results.fidelity, metric.heading
    if results.has_standin(metric.name):
        weights = protocol["weights_sha256"][metric.extractor]
        return [
            f"{name} is left out: the Inception weights of this experiment (SHA-256 {weights[:8]}...) are a stand-in, "
            "not the file that defines FID. The number is in every fidelity.json."
        ]
    if metric.needs == "classes":
        kept = min(protocol["images"], results.settings.evaluation.features)
        return [f"{name}: {metric.summary}, by the first {kept:,} generated images."]
    generated, others = _counts(metric, protocol)
    images = f"{_split(metric)} images"
    notes = [
        f"{name}: {metric.summary}{describe_extractor(results, metric.extractor)}. {generated:,} generated images "
        f"against {others:,} {images}: compare it only with values of the same features and as many images."
    ]
    evaluation = results.settings.evaluation
    if metric.name in evaluation.undersampled(protocol["images"]):
        features = evaluation.extractors[metric.extractor].features
        notes.append(
            f"{name} is of {protocol['images']:,} images with {features:,} features: the covariance of so few is "
            "singular, and the value says more about their number than about the images."
        )
    scale = results.scale(metric.name)
    if scale:
        against = "as many" if metric.seen == "equal" else f"the same {others:,}"
        values = "; ".join(
            f"{row[metric.name]:.{metric.digits}f} for {row['images']}, N = {min(row['count'], generated):,}"
            for row in scale
        )
        notes.append(f"{name} of other images against {against} {images}: {values}.")
    return notes


def _counts(metric: Metric, protocol: Mapping[str, Any]) -> tuple[int, int]:
    """How many generated images a metric sees, and how many of the dataset's."""
    vectors = protocol["feature_images"]
    generated = vectors["samples"] if metric.needs == "features" else protocol["images"]
    others = (protocol["reference_images"] if metric.seen == "all" else vectors)[metric.reference]
    return (generated, others) if metric.seen != "equal" else (min(generated, others),) * 2


def _split(metric: Metric) -> str:
    return "training" if metric.reference == "train" else metric.reference


def describe_extractor(results: Results, extractor: str) -> str:
    """What is worth knowing of an extractor's weights, in parentheses; empty if nothing is."""
    accuracy = results.fidelity["extractors"].get(extractor, {}).get("accuracy")
    return "" if accuracy is None else f" (test accuracy {100 * accuracy['test']:.1f} %)"


def _describe_spread(results: Results) -> str:
    """What ± means in the table."""
    if len(results.settings.seeds) == 1:
        return (
            "One training seed: ± is the standard error over images, and says nothing about other trainings. 95 % "
            "intervals are in the CSV file, those of differences in differences.csv."
        )
    return (
        "Means over training seeds; ± is the sample standard deviation over them. 95 % intervals are in the CSV file, "
        "those of differences in differences.csv."
    )


def describe_row(row: Row, results: Results) -> str | None:
    """The numbers of a variant that have no column in print; None if there are none."""
    parts = []
    if all(model.bounds for model in row.models):
        elbo = [model.bounds.elbo_bpd for model in row.models]
        spread = "" if len(elbo) == 1 else f" ± {deviation(elbo):.3f}"
        error = max(model.bounds.elbo_bpd_se for model in row.models)
        parts.append(f"ELBO {mean(elbo):.3f}{spread} BPD (standard error over images {error:.4f})")
    for metric in (METRICS[name] for name in results.settings.evaluation.metrics):
        if metric.name not in results.settings.evaluation.printed and not results.has_standin(metric.name):
            value = mean([model.metrics[metric.name].value for model in row.models])
            parts.append(f"{metric.heading} {value:.{metric.digits}f}")
    return f"{row.variant.name}: {', '.join(parts)}" if parts else None
