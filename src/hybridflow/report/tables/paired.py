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

from hybridflow.data.images import check_array
from hybridflow.io.arrays import read_array
from hybridflow.report.results import Key, Measurement
from hybridflow.runtime.errors import UserError

DIMENSIONS = 3 * 32 * 32  # values of an image; the datasets have no other size
BOUNDS = ("elbo", "iwbo")  # columns of likelihood.npy
COLUMNS = (
    "variant",
    "reference",
    "seed",
    "images",
    "iwbo_difference",
    "iwbo_se",
    "iwbo_z",
    "elbo_difference",
    "elbo_se",
    "elbo_z",
)


def load_bpd(path: str | Path, summary: Measurement, images: int) -> np.ndarray:
    """Bits/dim of every test image from ``likelihood.npy``.

    Args:
        summary: what ``likelihood.json`` of the same model says.
        images: how many it was measured on.

    Returns:
        (N, 2) float64: ELBO and importance-weighted bound.

    Raises:
        UserError: the file cannot be read, or it is not the one that ``likelihood.json`` summarises.
    """
    check_array(path)
    try:
        bounds = read_array(path)
    except (OSError, ValueError) as error:
        raise UserError(f"details: cannot read {path}: {error}; delete it and run its evaluation again.") from None
    if bounds.shape != (images, 2) or bounds.dtype != np.float64 or not np.isfinite(bounds).all():
        raise UserError(
            f"details: {path} must hold {images} rows of two finite numbers, but has {bounds.dtype} {bounds.shape}; "
            "delete it and run its evaluation again."
        )
    bpd = -bounds / (DIMENSIONS * math.log(2))
    if not np.allclose(bpd.mean(0), (summary.elbo_bpd, summary.iwbo_bpd), rtol=1e-9, atol=0):
        raise UserError(
            f"details: {path} has other means than the likelihood.json beside it; delete both and run the evaluation "
            "again."
        )
    return bpd


def paired_difference(ours: np.ndarray, reference: np.ndarray) -> tuple[float, float, float]:
    """Mean over images of ours - reference, its standard error, and z, their ratio (NaN when no image differs).

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


def paired_table(pairs: Sequence[tuple[str, str]], bpd: Mapping[Key, np.ndarray]) -> pd.DataFrame:
    """One row per pair and training seed, with the columns :data:`COLUMNS`; differences in bits/dim.

    Args:
        bpd: of every model, (N, 2) as from :func:`load_bpd`.
    """
    rows = []
    for variant, reference in pairs:
        for seed in sorted(seed for name, seed in bpd if name == variant and (reference, seed) in bpd):
            ours, theirs = bpd[variant, seed], bpd[reference, seed]
            row = {"variant": variant, "reference": reference, "seed": seed, "images": len(ours)}
            for column, bound in enumerate(BOUNDS):
                names = (f"{bound}_difference", f"{bound}_se", f"{bound}_z")
                row |= dict(zip(names, paired_difference(ours[:, column], theirs[:, column]), strict=True))
            rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))
