"""The page beside Table 1: differences, classes of the samples, the scale of the metrics, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.io.files import write_text
from hybridflow.report.results import Results
from hybridflow.report.tables.calibration import calibration_section
from hybridflow.report.tables.classes import class_shares, class_table
from hybridflow.report.tables.costs import cost_table, describe_machine
from hybridflow.report.tables.differences import against_references, difference_table
from hybridflow.report.tables.notes import describe_extractor
from hybridflow.report.tables.render import MISSING, escape_markdown, markdown_table
from hybridflow.report.tables.table import write_csv


def write_details(
    out_md: str | Path,
    out_differences: str | Path,
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
    differences, classes, costs = difference_table(results), class_table(results), cost_table(results)
    sections = [
        [f"# Details of the experiment {escape_markdown(results.settings.experiment)}"],
        _difference_section(differences, results),
        _class_section(classes, results),
        calibration_section(results),
        _cost_section(costs, hardware),
    ]
    write_csv(out_differences, differences)
    write_csv(out_classes, classes)
    write_csv(out_costs, costs)
    write_text(out_md, "\n\n".join("\n".join(section) for section in sections if section) + "\n")


def _difference_section(differences: pd.DataFrame, results: Results) -> list[str]:
    lines = ["## Differences", ""]
    printed = ["bpd", *results.settings.evaluation.printed]
    shown = [row for row in against_references(differences, results) if row.metric in printed]
    if not shown:
        return [*lines, "There is no second variant to compare with."]
    scope = (
        "over training seeds (Student's, of the differences of models of the same seed)"
        if len(results.settings.seeds) > 1
        else "over images, paired; how much another training seed changes is not in it"
    )
    lines += [
        f"Variant − reference, with its 95 % interval {scope}. Chance alone puts one interval in twenty beside 0. "
        "References are variants of likelihood training alone, and the one a variant started from. Every pair and "
        "every metric: `differences.csv`.",
        "",
    ]
    rows = [
        [row.heading, row.variant, row.reference, f"{row.difference:+.4g}", _interval(row), row.sentence]
        for row in shown
    ]
    left = ("Metric", "Variant", "Reference", "What it says")
    headings = ("Metric", "Variant", "Reference", "Difference", "95 % interval", "What it says")
    return lines + markdown_table(headings, rows, left)


def _interval(row: Any) -> str:
    return MISSING if math.isnan(row.low) else f"{row.low:+.4g} to {row.high:+.4g}"


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
