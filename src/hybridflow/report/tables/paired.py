"""Differences of two models' bits/dim, image by image.

Both models see the same test images, and some images are hard for every model. That common part cancels in the
difference of an image's two values, so the mean difference has a far smaller standard error than the means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hybridflow.io.arrays import read_array
from hybridflow.io.records import read_record
from hybridflow.report.results import Model, Results

DIMENSIONS = 3 * 32 * 32  # values of an image; the datasets have no other size
BOUNDS = ("elbo", "iwbo")  # columns of likelihood.npy


def load_bpd(model: Model) -> np.ndarray:
    """Bits/dim of every test image, (N, 2) float64: ELBO and importance-weighted bound.

    Raises:
        UserError: the file is missing, damaged, or not the one that ``likelihood.json`` speaks for.
    """
    read_record(model.files.likelihood, [Path(model.files.bounds).name], checkpoint=model.key)
    return -read_array(model.files.bounds) / (DIMENSIONS * math.log(2))


def paired_difference(ours: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Mean over images of ours − reference, its standard error, and z, their ratio (NaN when no image differs).

    Args:
        ours, reference: (N,), the same images in the same order.
    """
    difference = ours - reference
    mean, error = float(difference.mean()), float(difference.std(ddof=1)) / math.sqrt(len(difference))
    return mean, error, mean / error if error > 0 else math.nan


def pairs_of(variants: Sequence[str], parents: Mapping[str, str | None]) -> list[tuple[str, str]]:
    """Every pair once, as (variant, reference): the later one against the earlier, a variant against its start.

    Args:
        variants: in the order of the table.
        parents: which variant's weights each one started from.
    """
    pairs = [(later, earlier) for i, later in enumerate(variants) for earlier in variants[:i]]
    return [(b, a) if parents[b] == a else (a, b) for a, b in pairs]


def paired_table(results: Results) -> pd.DataFrame:
    """One row per pair of variants with a likelihood and training seed; differences in bits/dim.

    All were measured by the same version of the code and on the same images: :func:`read_results` refuses any other.
    """
    bpd = {(model.files.variant, model.files.seed): load_bpd(model) for model in results.models if model.bounds}
    variants = list(dict.fromkeys(variant for variant, _ in bpd))
    parents = {name: entry.init_from for name, entry in results.settings.variants.items()}
    columns = [f"{bound}_{part}" for bound in reversed(BOUNDS) for part in ("difference", "se", "z")]
    rows = []
    for variant, reference in pairs_of(variants, parents):
        for seed in results.settings.seeds:
            ours, theirs = bpd[variant, seed], bpd[reference, seed]
            row = {"variant": variant, "reference": reference, "seed": seed, "images": len(ours)}
            for place, bound in enumerate(BOUNDS):
                found = paired_difference(ours[:, place], theirs[:, place])
                row |= dict(zip((f"{bound}_difference", f"{bound}_se", f"{bound}_z"), found, strict=True))
            rows.append(row)
    return pd.DataFrame(rows, columns=["variant", "reference", "seed", "images", *columns])
