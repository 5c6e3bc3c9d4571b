"""The page beside Table 1: paired differences, classes of the samples, the ruler of FD-CIFAR, costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hybridflow.config.experiment import Settings
from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.io.files import write_text
from hybridflow.io.records import read_record, record_of
from hybridflow.report.results import Key, Protocol, read_measurements
from hybridflow.report.tables.classes import class_shares, class_table
from hybridflow.report.tables.costs import cost_table, describe_machine
from hybridflow.report.tables.paired import load_bpd, paired_table, pairs_of
from hybridflow.report.tables.render import MISSING, escape_markdown, markdown_table
from hybridflow.report.tables.table import write_csv
from hybridflow.runtime.errors import UserError


@dataclass(frozen=True)
class ModelFiles:
    """What was written about one trained model."""

    likelihood: str | Path
    bounds: str | Path
    fidelity: str | Path
    checkpoint: str | Path
    history: str | Path


def write_details(
    out_md: str | Path,
    out_paired: str | Path,
    out_classes: str | Path,
    out_costs: str | Path,
    settings: Settings,
    models: Mapping[Key, ModelFiles],
    ruler: pd.DataFrame | None,
    hardware: Mapping[str, Any],
) -> None:
    """Writes the page and the numbers behind it.

    Args:
        models: files of every (variant, training seed), variants in the order of the table.
        ruler: content of ``ruler.csv``; None if FD-CIFAR is switched off.
        hardware: from ``provenance.json``.

    Raises:
        UserError: models that were not evaluated alike or not trained on the same images, or files that do not
            belong together.
    """
    measurements, protocol = read_measurements(
        {key: files.likelihood for key, files in models.items()},
        {key: files.fidelity for key, files in models.items()},
    )
    _check_checkpoints(models)
    parents = {name: entry.init_from for name, entry in settings.variants.items()}
    bpd = {}
    for measurement in measurements:
        key = (measurement.variant, measurement.seed)
        bpd[key] = load_bpd(models[key].bounds, measurement, protocol.test_images)
    paired = paired_table(pairs_of(list(settings.variants), parents), bpd)
    classes = class_table({key: files.fidelity for key, files in models.items()})
    costs = cost_table(
        {key: files.checkpoint for key, files in models.items()},
        {key: files.history for key, files in models.items()},
        parents,
    )
    likelihood_only = [name for name, entry in settings.variants.items() if entry.adversarial_weight == 0]
    sections = [
        [f"# Details of the experiment {escape_markdown(settings.experiment)}"],
        _paired_section(paired, likelihood_only, parents, protocol),
        _class_section(classes, protocol),
        _ruler_section(ruler),
        _cost_section(costs, hardware),
    ]
    write_csv(out_paired, paired)
    write_csv(out_classes, classes)
    write_csv(out_costs, costs)
    write_text(out_md, "\n\n".join("\n".join(section) for section in sections) + "\n")


def _check_checkpoints(models: Mapping[Key, ModelFiles]) -> None:
    """Makes sure that numbers and weights belong together, and that all models know the same dataset."""
    first: tuple[str | Path, str] | None = None
    for measured in models.values():
        metadata = read_record(record_of(measured.checkpoint))
        # read_measurements has made sure that likelihood.json and fidelity.json name the same checkpoint.
        key = read_record(measured.likelihood, ())["checkpoint"]
        if metadata["key"] != key:
            raise UserError(
                f"details: {measured.likelihood} was measured on checkpoint {key}, but {measured.checkpoint} is "
                f"{metadata['key']}; delete the former and run the workflow again."
            )
        first = first or (measured.checkpoint, metadata["dataset"])
        if metadata["dataset"] != first[1]:
            raise UserError(
                f"details: {measured.checkpoint} was trained on another dataset than {first[0]}; delete the older of "
                "the two and run the workflow again."
            )


def _paired_section(
    paired: pd.DataFrame, likelihood_only: list[str], parents: Mapping[str, str | None], protocol: Protocol
) -> list[str]:
    lines = ["## Differences of bits/dim, image by image", ""]
    shown = [
        row
        for row in paired.itertuples(index=False)
        if row.reference in likelihood_only or parents[row.variant] == row.reference
    ]
    if not shown:
        return [*lines, "There is no second variant to compare with."]
    lines += [
        f"Both models on the same {protocol.test_images:,} images of the {protocol.split} split; mean of variant − "
        "reference in bits/dim, ± its paired standard error over images, and z, their ratio. Positive: the variant is "
        f"worse. BPD is the importance-weighted bound with K = {protocol.importance_samples:,}. Beyond |z| ≈ 2 the "
        "difference of these two models is more than the choice of test images explains (chance alone: one "
        "comparison of twenty); how much another training seed changes is not in it. References are variants of "
        "likelihood training alone, and the one a variant started from. Every pair: `paired_bpd.csv`.",
        "",
    ]
    order = {name: place for place, name in enumerate(likelihood_only)}
    shown.sort(key=lambda row: order.get(row.reference, len(order)))  # stable: variants keep the table's order
    rows = [
        [
            row.variant,
            row.reference + (" (its start)" if parents[row.variant] == row.reference else ""),
            str(row.seed),
            _difference(row.iwbo_difference, row.iwbo_se),
            _z(row.iwbo_z),
            _difference(row.elbo_difference, row.elbo_se),
            _z(row.elbo_z),
        ]
        for row in shown
    ]
    headings = ("Variant", "Reference", "Seed", "Δ BPD", "z", "Δ ELBO", "z")
    return lines + markdown_table(headings, rows, text_columns=2)


def _difference(mean: float, error: float) -> str:
    return f"{mean:+.4f} ± {error:.4f}"


def _z(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:+.1f}"


def _class_section(classes: pd.DataFrame, protocol: Protocol) -> list[str]:
    lines = ["## Classes of the samples", ""]
    if classes.empty:
        return [*lines, "Not counted: FD-CIFAR, whose classifier counts them, is switched off."]
    shares = class_shares(classes)
    accuracy = protocol.classifier_accuracy
    trained = "" if accuracy is None else f" (test accuracy {100 * accuracy:.1f} %)"
    spread = 100 * math.sqrt(0.09 / shares["images"].min())
    lines += [
        f"Share of a model's samples, in per cent, that the CIFAR-10 classifier{trained} assigns to each class. The "
        f"dataset has 10 % of each; chance alone moves a share by {spread:.1f} (one standard deviation). Imbalance: "
        "the share of samples that would have to change class for all to be equal (total variation distance). The "
        "classifier has to choose a class, also for what shows none. Counts: `classes.csv`.",
        "",
    ]
    rows = [
        [variant, str(seed), f"{row['images']:,.0f}"]
        + [f"{100 * row[name]:.1f}" for name in (*CLASS_NAMES, "imbalance")]
        for (variant, seed), row in shares.iterrows()
    ]
    return lines + markdown_table(("Variant", "Seed", "Samples", *CLASS_NAMES, "Imbalance"), rows, text_columns=1)


def _ruler_section(ruler: pd.DataFrame | None) -> list[str]:
    lines = ["## The scale of FD-CIFAR", ""]
    if ruler is None:
        return [*lines, "FD-CIFAR is switched off."]
    lines += [
        f"FD-CIFAR of other images against the {ruler.reference_count.iloc[0]:,} training images. The undisturbed test "
        "images are the floor: what a perfect model would reach with as many samples. Of fewer images the distance is "
        "larger.",
        "",
    ]
    rows = [[row["images"], f"{row['count']:,}", f"{row['fd_cifar']:.3f}"] for row in ruler.to_dict("records")]
    return lines + markdown_table(("Images", "N", "FD-CIFAR"), rows, text_columns=1)


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
            f"{row.flow_parameters:,}",
            f"{row.discriminator_parameters:,}" if row.discriminator_parameters else MISSING,
        ]
        for row in costs.itertuples(index=False)
    ]
    headings = ("Variant", "Starts from", "Device", "Seed", "Steps", "Images", "h:mm:ss", "Images/s", "Flow parameters")
    return lines + markdown_table((*headings, "Discriminator parameters"), rows, text_columns=3)


def _duration(seconds: float) -> str:
    """Hours, minutes and seconds; hours may be more than 24."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
