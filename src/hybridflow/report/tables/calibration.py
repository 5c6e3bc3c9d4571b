"""The scale of every metric: its values on images whose quality is known, all extractors in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.results import Results
from hybridflow.report.tables.render import MISSING, escape_markdown, markdown_table

KEYS = ["kind", "strength", "images", "count", "reference_count"]


def calibration_table(results: Results) -> pd.DataFrame:
    """One row a set of images, in the order of measurement: ``KEYS``, and a column a metric, NaN if not measured.

    What was measured with other Inception weights has no column, as in Table 1.
    """
    merged: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in (row for rows in results.calibrations.values() for row in rows):
        merged.setdefault(tuple(row[key] for key in KEYS), {}).update(row)
    measured = dict.fromkeys(name for row in merged.values() for name in row)
    names = [name for name in measured if name not in METRICS or not results.has_standin(name)]
    return pd.DataFrame(list(merged.values()), columns=names or KEYS).astype({"strength": float})


def calibration_section(results: Results) -> list[str]:
    """Lines of Markdown: the metrics that Table 1 prints; nothing if none was calibrated."""
    table = calibration_table(results)
    shown = [METRICS[name] for name in results.settings.evaluation.printed if name in table]
    if not shown:
        return []
    lines = [
        "## The scale of the metrics",
        "",
        f"The metrics of N test images against the training images (Against: how many{_exceptions(shown, results)}). "
        "Undisturbed test images show what a perfect model would reach with as many samples; of fewer images a "
        "distance is larger. Compare corrupted images with undisturbed ones of the same number. Every metric: "
        "`calibration.csv`.",
        "",
    ]
    rows = [
        [
            row["images"],
            f"{row['count']:,}",
            f"{row['reference_count']:,}",
            *(MISSING if pd.isna(row[one.name]) else f"{row[one.name]:.{one.digits}f}" for one in shown),
        ]
        for row in table.dropna(subset=[one.name for one in shown], how="all").to_dict("records")
    ]
    return lines + markdown_table(("Images", "N", "Against", *(one.heading for one in shown)), rows, ("Images",))


def _exceptions(shown: Sequence[Metric], results: Results) -> str:
    """What metrics of vectors are compared with, of which there are fewer than images."""
    kept, parts = results.fidelity["feature_images"].get("train", 0), ""
    for seen, words in (("equal", f"as many as N, {kept:,} at most"), ("kept", f"the first {kept:,}")):
        names = ", ".join(metric.heading for metric in shown if metric.seen == seen)
        parts += f"; {escape_markdown(names)}: {words}" if names else ""
    return parts
