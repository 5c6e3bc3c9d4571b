"""How many of each model's samples the CIFAR-10 classifier assigns to each class."""

from __future__ import annotations

import pandas as pd

from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.report.results import Results


def class_table(results: Results) -> pd.DataFrame:
    """Counts by class, one row a model; empty if nothing counted them."""
    rows = [
        [model.files.variant, model.files.seed, sum(model.class_counts), *model.class_counts]
        for model in results.models
        if model.class_counts
    ]
    return pd.DataFrame(rows, columns=["variant", "seed", "images", *CLASS_NAMES])


def class_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Shares of the classes of each model's samples, and how far they are from equal shares.

    Returns:
        Indexed by (variant, seed): ``images``, one column per class (shares, which sum to 1), and ``imbalance``, the
        total variation distance from equal shares: the share of images that would have to change class.
    """
    shares = counts.groupby(["variant", "seed"], sort=False)[["images", *CLASS_NAMES]].sum().astype({"images": int})
    values = shares[list(CLASS_NAMES)].div(shares["images"], axis=0)
    shares[list(CLASS_NAMES)] = values
    shares["imbalance"] = (values - 1 / len(CLASS_NAMES)).abs().sum(axis=1) / 2
    return shares
