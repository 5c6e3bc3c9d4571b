"""How many of each model's samples the CIFAR-10 classifier assigns to each class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.io.records import read_record
from hybridflow.report.results import Key
from hybridflow.runtime.errors import UserError

COLUMNS = ("variant", "seed", "set", "images", *CLASS_NAMES)


def class_table(fidelities: Mapping[Key, str | Path]) -> pd.DataFrame:
    """One row per model and set of samples, with the columns :data:`COLUMNS`; empty if classes were not counted.

    Raises:
        UserError: a file has no counts, or they are not those of its images.
    """
    rows = []
    for (variant, seed), path in fidelities.items():
        record = read_record(path, ())
        for one in _sets(record, path):
            if record["fd_cifar"] is None:  # no classifier, no classes
                continue
            counts = one["class_counts"]
            if counts is None or len(counts) != len(CLASS_NAMES) or sum(counts) != record["images"]:
                raise UserError(
                    f"details: {path} must count {record['images']} images in {len(CLASS_NAMES)} classes, but has "
                    f"{counts}; delete it and run its evaluation again."
                )
            rows.append([variant, seed, one["set"], record["images"], *counts])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _sets(record: dict[str, Any], path: str | Path) -> list[dict[str, Any]]:
    if "sets" not in record:
        raise UserError(f"details: {path} has no 'sets'; delete it and run its evaluation again.")
    return record["sets"]


def class_shares(counts: pd.DataFrame) -> pd.DataFrame:
    """Shares of the classes over all sets of each model, and how far they are from equal shares.

    Returns:
        Indexed by (variant, seed): ``images``, one column per class (shares, which sum to 1), and ``imbalance``, the
        total variation distance from equal shares: the share of images that would have to change class.
    """
    totals = counts.groupby(["variant", "seed"], sort=False)[["images", *CLASS_NAMES]].sum()
    shares = totals.copy()
    shares[list(CLASS_NAMES)] = totals[list(CLASS_NAMES)].div(totals["images"], axis=0)
    shares["imbalance"] = (shares[list(CLASS_NAMES)] - 1 / len(CLASS_NAMES)).abs().sum(axis=1) / 2
    return shares
