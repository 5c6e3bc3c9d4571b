"""Differences between variants with 95 % intervals, and whether they are more than chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.metrics.features import Estimate, standard_error
from hybridflow.io.arrays import read_array
from hybridflow.io.records import read_record
from hybridflow.report.results import Model, Results
from hybridflow.report.tables.intervals import UNLIMITED, image_interval, seed_interval

DIMENSIONS = 3 * 32 * 32  # values of an image; the datasets have no other size
BOUNDS = {"bpd": ("BPD", 1), "elbo": ("ELBO (BPD)", 0)}  # heading, and column of likelihood.npy
COLUMNS = ("metric", "heading", "variant", "reference", "difference", "low", "high", "over", "supported", "sentence")


def load_bpd(model: Model) -> np.ndarray:
    """Bits/dim of every test image, (N, 2) float64: ELBO and importance-weighted bound.

    Raises:
        UserError: the file is missing, damaged, or not the one that ``likelihood.json`` speaks for.
    """
    read_record(model.files.likelihood, [Path(model.files.bounds).name], checkpoint=model.key)
    return -read_array(model.files.bounds) / (DIMENSIONS * math.log(2))


def load_contributions(model: Model) -> dict[str, np.ndarray]:
    """What every image adds to a metric, by the metric's name.

    Raises:
        UserError: the file is missing, damaged, or not the one that ``fidelity.json`` speaks for.
    """
    read_record(model.files.fidelity, [Path(model.files.contributions).name], checkpoint=model.key)
    with np.load(model.files.contributions, allow_pickle=False) as content:
        return {name: content[name].astype(np.float64) for name in content.files}


def pairs_of(variants: Sequence[str], parents: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Every pair once, as (variant, reference): the later one against the earlier, a variant against its start.

    Args:
        variants: in the order of the table.
        parents: which variant's weights each one started from.
    """
    pairs = [(later, earlier) for i, later in enumerate(variants) for earlier in variants[:i]]
    return [(b, a) if parents[b] == a else (a, b) for a, b in pairs]


def difference_table(results: Results) -> pd.DataFrame:
    """Every pair of variants and every metric, bits/dim among them: variant − reference.

    With several training seeds the interval is Student's, of the differences of models of the same seed. With one it is
    over images: those of both models are paired, since the likelihood sees the same test images, and image i of both is
    drawn from the same latents; what is common to them cancels.

    Returns:
        Columns ``COLUMNS``; ``low``, ``high`` and ``supported`` are empty for a metric without an error, and where all
        images or seeds have the same difference.
    """
    parents = {name: entry.init_from for name, entry in results.settings.variants.items()}
    models = {row.variant.name: row.models for row in results.rows}
    measured = {name: [_measured(model, results) for model in found] for name, found in models.items()}
    several = len(results.settings.seeds) > 1
    names = [*BOUNDS, *(n for n in results.settings.evaluation.metrics if not results.has_standin(n))]
    rows = []
    for name in names:
        for pair in pairs_of(list(models), parents):
            ours, theirs = ([model.get(name) for model in measured[variant]] for variant in pair)
            if None in ours or None in theirs:
                continue  # a generator without a likelihood
            values = [a.value - b.value for a, b in zip(ours, theirs, strict=True)]
            difference = float(np.mean(values))
            if several:
                interval = seed_interval(values, _span(name))
            else:
                interval = _paired_interval(difference, ours[0], theirs[0], _span(name))
            rows.append(_row(name, pair, difference, interval, "seeds" if several else "images"))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _measured(model: Model, results: Results) -> dict[str, Estimate]:
    """Every number of a model with what images add to it, by name."""
    contributions = load_contributions(model)
    found = {}
    for name, metric in model.metrics.items():
        count = results.fidelity["images"] if METRICS[name].needs == "moments" else None
        found[name] = Estimate(metric.value, contributions.get(name), count)
    if model.bounds:
        bpd = load_bpd(model)
        found |= {name: Estimate(float(bpd[:, at].mean()), bpd[:, at]) for name, (_, at) in BOUNDS.items()}
    return found


def _span(name: str) -> tuple[float, float]:
    """The least and the greatest difference that there can be."""
    low, high = UNLIMITED if name in BOUNDS else METRICS[name].limits
    return low - high, high - low


def _paired_interval(
    difference: float, ours: Estimate, theirs: Estimate, limits: tuple[float, float]
) -> tuple[float, float] | None:
    if ours.contributions is None or theirs.contributions is None:
        return None
    count = min(len(ours.contributions), len(theirs.contributions))
    error = standard_error(ours.contributions[:count] - theirs.contributions[:count], ours.count)
    return image_interval(difference, error, limits)


def _row(
    name: str, pair: tuple[str, str], difference: float, interval: tuple[float, float] | None, over: str
) -> dict[str, Any]:
    heading = BOUNDS[name][0] if name in BOUNDS else METRICS[name].heading
    better = "lower" if name in BOUNDS else METRICS[name].better
    low, high = interval or (math.nan, math.nan)
    supported = None if interval is None else bool(low > 0 or high < 0)
    variant, reference = pair
    gap = f"{abs(difference):.4g}"
    side = "lower" if difference < 0 else "higher"
    verdict = "better" if side == better else "worse"
    if supported:
        scope = "over training seeds" if over == "seeds" else "over images of these two models"
        sentence = f"{variant} is {verdict} than {reference}: {heading} {side} by {gap}, beyond chance {scope}."
    elif supported is None and difference != 0:
        sentence = f"{heading} of {variant} is {side} than that of {reference} by {gap}; its error is not known."
    else:
        sentence = f"{heading} of {variant} and {reference} cannot be told apart: {gap} is within chance."
    return dict(zip(COLUMNS, (name, heading, *pair, difference, low, high, over, supported, sentence), strict=True))


def against_references(table: pd.DataFrame, results: Results) -> Iterator[Any]:
    """The rows worth printing: against variants of likelihood training alone, and against a variant's start."""
    variants = results.settings.variants
    plain = {name for name, entry in variants.items() if entry.adversarial_weight == 0}
    for row in table.itertuples(index=False):
        if row.reference in plain or variants[row.variant].init_from == row.reference:
            yield row
