"""The page beside Table 1: paired differences, classes of the samples, the scale of the metrics, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.io.files import write_text
from hybridflow.report.results import Results
from hybridflow.report.tables.classes import class_shares, class_table
from hybridflow.report.tables.costs import cost_table, describe_machine
from hybridflow.report.tables.notes import describe_extractor
from hybridflow.report.tables.paired import paired_table
from hybridflow.report.tables.render import MISSING, escape_markdown, markdown_table
from hybridflow.report.tables.table import write_csv


def write_details(
    out_md: str | Path,
    out_paired: str | Path,
    out_classes: str | Path,
    out_costs: str | Path,
    results: Results,
    hardware: Mapping[str, Any],
) -> None:
    """Writes the page and the numbers behind it.

    Args:
        hardware: from ``provenance.json``.

    Raises:
        UserError: a file is missing, damaged, or does not belong to the checkpoints of the results.
    """
    paired, classes, costs = paired_table(results), class_table(results), cost_table(results)
    sections = [
        [f"# Details of the experiment {escape_markdown(results.settings.experiment)}"],
        _paired_section(paired, results),
        _class_section(classes, results),
        *(_calibration_section(name, results) for name in results.settings.evaluation.metrics),
        _cost_section(costs, hardware),
    ]
    write_csv(out_paired, paired)
    write_csv(out_classes, classes)
    write_csv(out_costs, costs)
    write_text(out_md, "\n\n".join("\n".join(section) for section in sections if section) + "\n")


def _paired_section(paired: pd.DataFrame, results: Results) -> list[str]:
    lines = ["## Differences of bits/dim, image by image", ""]
    variants = results.settings.variants
    parents = {name: entry.init_from for name, entry in variants.items()}
    # Stable sorting: the references of likelihood training alone come first, variants keep the table's order.
    references = {name: place for place, name in enumerate(variants) if variants[name].adversarial_weight == 0}
    shown = [
        row
        for row in paired.itertuples(index=False)
        if row.reference in references or parents[row.variant] == row.reference
    ]
    shown.sort(key=lambda row: references.get(row.reference, len(variants)))
    if not shown or results.likelihood is None:
        return [*lines, "There is no second variant with a likelihood to compare with."]
    protocol = results.likelihood
    lines += [
        f"Both models on the same {protocol['images']:,} images of the {protocol['split']} split; mean of variant − "
        "reference in bits/dim, ± its paired standard error over images, and z, their ratio. Positive: the variant is "
        f"worse. BPD is the importance-weighted bound with K = {protocol['importance_samples']:,}. Beyond |z| ≈ 2 the "
        "difference of these two models is more than the choice of test images explains (chance alone: one "
        "comparison of twenty); how much another training seed changes is not in it. References are variants of "
        "likelihood training alone, and the one a variant started from. Every pair: `paired_bpd.csv`.",
        "",
    ]
    rows = [
        [
            row.variant,
            row.reference + (" (its start)" if parents[row.variant] == row.reference else ""),
            str(row.seed),
            f"{row.iwbo_difference:+.4f} ± {row.iwbo_se:.4f}",
            _z(row.iwbo_z),
            f"{row.elbo_difference:+.4f} ± {row.elbo_se:.4f}",
            _z(row.elbo_z),
        ]
        for row in shown
    ]
    return lines + markdown_table(
        ("Variant", "Reference", "Seed", "Δ BPD", "z", "Δ ELBO", "z"), rows, ("Variant", "Reference")
    )


def _z(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:+.1f}"


def _class_section(classes: pd.DataFrame, results: Results) -> list[str]:
    lines = ["## Classes of the samples", ""]
    if classes.empty:
        return [*lines, "Not counted: no metric uses the CIFAR-10 classifier, which counts them."]
    shares = class_shares(classes)
    lines += [
        "Share of a model's samples, in per cent, that the CIFAR-10 classifier"
        f"{describe_extractor(results, 'cifar_classifier')} assigns to each class. The dataset has 10 % of each; "
        f"chance alone moves a share by {100 * math.sqrt(0.09 / shares['images'].min()):.1f} (one standard deviation). "
        "Imbalance: the share of samples that would have to change class for all to be equal (total variation "
        "distance). The classifier has to choose a class, also for what shows none. Counts: `classes.csv`.",
        "",
    ]
    rows = [
        [variant, str(seed), f"{row['images']:,.0f}"]
        + [f"{100 * row[name]:.1f}" for name in (*CLASS_NAMES, "imbalance")]
        for (variant, seed), row in shares.iterrows()
    ]
    return lines + markdown_table(("Variant", "Seed", "Samples", *CLASS_NAMES, "Imbalance"), rows, ("Variant",))


def _calibration_section(name: str, results: Results) -> list[str]:
    """The metric of images whose quality is known; nothing if it was not measured, or is no column of the table."""
    metric = METRICS[name]
    calibration = results.calibration(name) if metric.in_table else []
    if not calibration:
        return []
    split = "training" if metric.reference == "train" else metric.reference
    lines = [
        f"## The scale of {metric.heading}",
        "",
        f"{metric.heading} of other images against the {calibration[0]['reference_count']:,} {split} images. "
        "Undisturbed test images show what a perfect model would reach with as many samples; of fewer images a "
        "distance is larger.",
        "",
    ]
    rows = [[row["images"], f"{row['count']:,}", f"{row[name]:.{metric.digits}f}"] for row in calibration]
    return lines + markdown_table(("Images", "N", metric.heading), rows, ("Images",))


def _cost_section(costs: pd.DataFrame, hardware: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Costs of training",
        "",
        "Wall time of each training itself, without pauses and without that of the variant it starts from. The machine "
        f"that wrote `provenance.json`: {escape_markdown(describe_machine(hardware))}. A model that came from the "
        "store may have been trained on another one; of its own, a checkpoint names only the kind of device. Other "
        "jobs may have run at the same time. The same as numbers: `costs.csv`.",
        "",
    ]
    rows = [
        [
            row.variant,
            row.starts_from or MISSING,
            row.device,
            str(row.seed),
            f"{row.steps:,}",
            f"{row.images:,}",
            _duration(row.seconds),
            f"{row.images_per_second:.1f}",
            f"{row.generator_parameters:,}",
            f"{row.discriminator_parameters:,}" if row.discriminator_parameters else MISSING,
        ]
        for row in costs.itertuples(index=False)
    ]
    left = ("Variant", "Starts from", "Device")
    headings = (*left, "Seed", "Steps", "Images", "h:mm:ss", "Images/s", "Generator parameters")
    return lines + markdown_table((*headings, "Discriminator parameters"), rows, left)


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds; hours may be more than 24."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
