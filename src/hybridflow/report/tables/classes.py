"""How many of each model's samples the CIFAR-10 classifier assigns to each class."""

from __future__ import annotations

import pandas as pd

from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.report.results import Results


def class_table(results: Results) -> pd.DataFrame:
    """Counts by class, one row per model and set of samples; empty if nothing counted them."""
    rows = [
        [model.files.variant, model.files.seed, number, sum(counts), *counts]
        for model in results.models
        for number, counts in enumerate(model.class_counts or [])
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "set", "images", *CLASS_NAMES])


def class_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Shares of the classes over all sets of each model, and how far they are from equal shares.

    Returns:
        Indexed by (variant, seed): ``images``, one column per class (shares, which sum to 1), and ``imbalance``, the
        total variation distance from equal shares: the share of images that would have to change class.
    """
    shares = counts.groupby(["variant", "seed"], sort=False)[["images", *CLASS_NAMES]].sum().astype({"images": int})
    values = shares[list(CLASS_NAMES)].div(shares["images"], axis=0)
    shares[list(CLASS_NAMES)] = values
    shares["imbalance"] = (values - 1 / len(CLASS_NAMES)).abs().sum(axis=1) / 2
    return shares
