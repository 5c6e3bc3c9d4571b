"""Table 1: bits/dim and Frechet distances of every variant beside the thesis's values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import pandas as pd

from hybridflow.io.files import atomic_path, write_text
from hybridflow.report.results import Key, Measurement, Protocol, VariantInfo, read_measurements
from hybridflow.report.tables.render import to_latex, to_markdown
from hybridflow.runtime.errors import UserError

COLUMNS = (
    "variant",
    "discriminator",
    "factor",
    "seeds",
    "bpd",
    "bpd_sd",
    "fid",
    "fid_sd",
    "fd_cifar",
    "fd_cifar_sd",
    "thesis_bpd",
    "thesis_fid",
)
SAMPLING_COLUMNS = ("fid_sampling_sd", "fd_cifar_sampling_sd")
"""Follow the others when distances were measured on several sets of samples; never mixed with ``*_sd``."""

TEXT_COLUMNS = ("variant", "discriminator")


def load_thesis() -> pd.DataFrame:
    """The thesis's table (FER Zagreb, 2022): columns discriminator, factor, bpd, fid; four rows."""
    with (files("hybridflow.report") / "thesis.csv").open(encoding="utf-8") as handle:
        return pd.read_csv(handle, dtype={"discriminator": str}, keep_default_na=False)


def build_table(
    variants: Sequence[VariantInfo], measurements: Iterable[Measurement], *, official_fid: bool = True, repeats: int = 1
) -> pd.DataFrame:
    """One row per variant, in the given order, with the columns :data:`COLUMNS`.

    ``bpd`` is the importance-weighted bound, the mean over training seeds like the distances; ``*_sd`` is the sample
    standard deviation over seeds, NaN for a single one. ``thesis_*`` is NaN where the thesis has no such row.

    Args:
        official_fid: False when the Inception weights are not the official ones; ``fid`` stays empty then,
            because such a distance must not be called FID.
        repeats: sets of samples. With more than one the table also has :data:`SAMPLING_COLUMNS`: the sample standard
            deviation over sets (over several training seeds: the root of the mean variance).

    Raises:
        UserError: a variant has no measurement, or a measurement belongs to no variant.
    """
    by_variant: dict[str, list[Measurement]] = {variant.name: [] for variant in variants}
    for measurement in measurements:
        if measurement.variant not in by_variant:
            raise UserError(f"table: there are numbers for {measurement.variant!r}, which is not a variant.")
        by_variant[measurement.variant].append(measurement)
    thesis = load_thesis()
    rows = []
    for variant in variants:
        models = by_variant[variant.name]
        if not models:
            raise UserError(f"table: no seed of variant {variant.name!r} has been evaluated; run the workflow for it.")
        kind = variant.discriminator or "none"
        published = thesis[(thesis.discriminator == kind) & ((thesis.factor - variant.factor).abs() < 1e-9)]
        row = {"variant": variant.name, "discriminator": kind, "factor": variant.factor, "seeds": len(models)}
        row["bpd"], row["bpd_sd"] = mean_and_deviation([model.iwbo_bpd for model in models])
        row["fid"], row["fid_sd"] = mean_and_deviation([model.fid if official_fid else None for model in models])
        row["fd_cifar"], row["fd_cifar_sd"] = mean_and_deviation([model.fd_cifar for model in models])
        row["thesis_bpd"] = float(published.bpd.iloc[0]) if len(published) else math.nan
        row["thesis_fid"] = float(published.fid.iloc[0]) if len(published) else math.nan
        row["fid_sampling_sd"] = _pooled([model.fid_sd if official_fid else None for model in models])
        row["fd_cifar_sampling_sd"] = _pooled([model.fd_cifar_sd for model in models])
        rows.append(row)
    return pd.DataFrame(rows, columns=[*COLUMNS, *(SAMPLING_COLUMNS if repeats > 1 else ())])


def _pooled(deviations: Sequence[float | None]) -> float:
    """Root of the mean square of deviations that rest on equally many values; NaN where one is missing."""
    squares = [math.nan if deviation is None else deviation**2 for deviation in deviations]
    return math.sqrt(sum(squares) / len(squares))


def mean_and_deviation(values: Sequence[float | None]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1); NaN where undefined or where a value is missing."""
    series = pd.Series([math.nan if value is None else value for value in values], dtype=float)
    return float(series.mean(skipna=False)), float(series.std(ddof=1, skipna=False))


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Writes plain numbers with ten significant digits; what is missing stays empty."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")


def read_csv(path: str | Path) -> pd.DataFrame:
    """Reads what :func:`write_csv` wrote; a variant called ``NA`` or ``007`` keeps its name.

    Raises:
        UserError: the file cannot be read or has other columns.
    """
    try:
        table = pd.read_csv(path, dtype={name: str for name in TEXT_COLUMNS}, keep_default_na=False, na_values={})
    except (OSError, ValueError) as error:
        raise UserError(f"table: cannot read {path}: {error}; build the table again.") from None
    if tuple(table.columns) not in (COLUMNS, COLUMNS + SAMPLING_COLUMNS):
        raise UserError(f"table: {path} must have the columns {', '.join(COLUMNS)}; build the table again.")
    for name in table.columns:
        if name not in TEXT_COLUMNS:
            table[name] = pd.to_numeric(table[name].replace("", math.nan))
    return table


def write_table(
    out_csv: str | Path,
    out_md: str | Path,
    out_tex: str | Path,
    variants: Sequence[VariantInfo],
    likelihoods: Mapping[Key, str | Path],
    fidelities: Mapping[Key, str | Path],
    experiment: str,
    small: bool,
    ruler: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Writes the table as CSV, Markdown and LaTeX (package ``booktabs``) and returns it.

    Args:
        variants: the rows, in the configuration's order.
        likelihoods, fidelities: ``likelihood.json`` and ``fidelity.json`` of every (variant, training seed).
        experiment: the experiment's name.
        small: the experiment is a scaled-down preset; a note then says that its numbers cannot be compared with
            the thesis's.
        ruler: FD-CIFAR values that give its scale a meaning, e.g. ``{"test split": 0.02, "noise": 6.7}``.

    Raises:
        UserError: see :func:`read_measurements` and :func:`build_table`.
    """
    measurements, protocol = read_measurements(likelihoods, fidelities)
    table = build_table(variants, measurements, official_fid=protocol.official_fid, repeats=protocol.repeats)
    notes = describe_protocol(measurements, protocol, experiment, small, ruler)
    details = describe_variants(variants, measurements, protocol)
    caption = f"Density estimation and sample quality of the experiment {experiment}."
    write_csv(out_csv, table)
    write_text(out_md, to_markdown(table, f"Table 1: {caption}", notes, details))
    write_text(out_tex, to_latex(table, caption, notes, details))
    return table


def describe_protocol(
    measurements: Sequence[Measurement],
    protocol: Protocol,
    experiment: str,
    small: bool,
    ruler: Mapping[str, float] | None = None,
) -> list[str]:
    """The sentences below the table: what was measured, on how many images, and how far to trust it."""
    error = max(measurement.iwbo_bpd_se for measurement in measurements)
    reference = protocol.reference_images or 0  # none without a distance, and then not mentioned
    against = f"{protocol.generated_images:,} generated images against {reference:,} training images"
    if protocol.repeats > 1:
        against = f"{protocol.repeats} sets of {against}"
    notes = []
    if small:
        notes.append(
            f"The experiment {experiment} is a small run: its numbers are not comparable with the thesis's, which come "
            "from a far larger model and a far longer training."
        )
    notes.append(
        f"BPD: bits per dimension of {protocol.test_images:,} images of the {protocol.split} split, "
        f"importance-weighted bound with K = {protocol.importance_samples:,} samples; the standard error over images "
        f"is at most {error:.4f}."
    )
    notes.append(_describe_spread(measurements, protocol))
    if measurements[0].fid is None:
        notes.append("FID was not measured in this experiment.")
    elif protocol.official_fid:
        notes.append(f"FID: {against}, Inception weights of pytorch-fid; it depends on both numbers of images.")
    else:
        notes.append(
            "FID is left out: the Inception weights of this experiment (SHA-256 "
            f"{str(protocol.fid_weights_sha256)[:8]}...) are a stand-in, not the file that defines FID."
        )
    if measurements[0].fd_cifar is None:
        notes.append("FD-CIFAR was not measured in this experiment.")
    else:
        accuracy = protocol.classifier_accuracy
        trained = "" if accuracy is None else f" (test accuracy {100 * accuracy:.1f} %)"
        notes.append(
            f"FD-CIFAR: {against}, Fréchet distance in the features of a CIFAR-10 classifier{trained}. It is not FID; "
            "its scale is arbitrary, so compare it only within this table."
        )
        if ruler:
            scale = ", ".join(f"{name} {value:.3g}" for name, value in ruler.items())
            notes.append(f"FD-CIFAR of other images against the training images, as a ruler: {scale}.")
    notes.append(
        "Thesis: the values published for CIFAR-10 (FER Zagreb, 2022). Published DenseFlow-74-10 (arXiv 2106.04627) "
        "reaches BPD 2.98 and FID 34.9; the thesis's baseline was trained for less."
    )
    return notes


def _describe_spread(measurements: Sequence[Measurement], protocol: Protocol) -> str:
    """What ± means in the table: it is either over training seeds or over sampling seeds."""
    if protocol.repeats == 1:
        return (
            "Means over training seeds; ± is the sample standard deviation over seeds and is given for two or more "
            "seeds."
        )
    sets = f"{protocol.repeats} sets of samples from different sampling seeds"
    if len({measurement.variant for measurement in measurements}) == len(measurements):
        return (
            f"One training seed. Distances are means over {sets}, and their ± is the sample standard deviation over "
            "these sets: it says nothing about other trainings. BPD has no ±."
        )
    return (
        "Means over training seeds; ± is the sample standard deviation over training seeds. Each model's distances are "
        f"means over {sets}; the deviation over sets is in the CSV file."
    )


def describe_variants(
    variants: Sequence[VariantInfo], measurements: Sequence[Measurement], protocol: Protocol
) -> list[str]:
    """One short line per variant with the numbers that have no column: ELBO, and FD-CIFAR to the test split."""
    lines = []
    for variant in variants:
        models = [measurement for measurement in measurements if measurement.variant == variant.name]
        elbo, deviation = mean_and_deviation([model.elbo_bpd for model in models])
        spread = f" ± {deviation:.3f}" if len(models) > 1 else ""
        error = max(model.elbo_bpd_se for model in models)
        line = f"{variant.name}: ELBO {elbo:.3f}{spread} BPD (standard error over images {error:.4f})"
        if models[0].fd_cifar_test is not None:
            distance, _ = mean_and_deviation([model.fd_cifar_test for model in models])
            line += f", FD-CIFAR against the test images {distance:.3f}"
        if models[0].fid is not None and not protocol.official_fid:
            distance, _ = mean_and_deviation([model.fid for model in models])
            line += f", Fréchet distance with the stand-in weights {distance:.2f} (not FID)"
        lines.append(line)
    return lines
