"""The frontier: which variants no other beats in both bits/dim and a Frechet distance, recipe by recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hybridflow.config.experiment import Settings
from hybridflow.config.metrics import METRICS
from hybridflow.report.recipes import LIKELIHOOD, recipes
from hybridflow.report.tables.render import MISSING, escape_markdown, markdown_table

BPD = ("bpd", "bpd_sd", "bpd_min", "bpd_max")
COLUMNS = ("metric", "variant", "family", "recipe", "weight", "seeds", *BPD, "value", "value_sd", "on_front")


def distances(settings: Settings) -> list[str]:
    """The Frechet distances that Table 1 prints: panels and sections of the frontier."""
    return [name for name in settings.evaluation.printed if METRICS[name].needs == "moments"]


def frontier_table(table: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """One row a distance and variant that has it and bits/dim, by recipe and weight.

    Args:
        table: content of ``table1.csv``.

    Returns:
        Columns ``COLUMNS``; ``on_front``: no other variant is as good in both and better in one.
    """
    recipe, rows = recipes(settings.variants), []
    for metric in distances(settings):
        known = table[table.bpd.notna() & table[metric].notna()].to_dict("records")
        for row in known:
            beaten = any(_beats(other, row, metric) for other in known)
            rows.append(
                {
                    "metric": metric,
                    "recipe": recipe[row["variant"]],
                    "weight": row["factor"],
                    "value": row[metric],
                    "value_sd": row[f"{metric}_sd"],
                    "on_front": not beaten,
                    **{name: row[name] for name in ("variant", "family", "seeds", *BPD)},
                }
            )
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    first = sorted(dict.fromkeys(recipe.values()), key=lambda name: not name.startswith(LIKELIHOOD))  # stable
    keys = {"metric": distances(settings), "recipe": first}
    return found.sort_values(
        ["metric", "recipe", "weight"],
        key=lambda column: column.map(keys[column.name].index) if column.name in keys else column,
        kind="stable",
        ignore_index=True,
    )


def _beats(other: Mapping[str, Any], row: Mapping[str, Any], metric: str) -> bool:
    better = [other[name] < row[name] for name in ("bpd", metric)]
    worse = [other[name] > row[name] for name in ("bpd", metric)]
    return any(better) and not any(worse)


def to_markdown(frontier: pd.DataFrame, experiment: str) -> str:
    """The table as text, a section a distance."""
    lines = [f"# The frontier of {escape_markdown(experiment)}", ""]
    if frontier.empty:
        lines.append("No variant has both bits/dim and a Fréchet distance of its samples.")
    for name, rows in frontier.groupby("metric", sort=False):
        metric = METRICS[str(name)]
        cells = [
            [
                row.recipe,
                f"{row.weight:g}",
                row.variant,
                _pm(row.bpd, row.bpd_sd, 3),
                _pm(row.value, row.value_sd, metric.digits),
                "yes" if row.on_front else MISSING,
            ]
            for row in rows.itertuples(index=False)
        ]
        headings = ("Recipe", "Weight", "Variant", "BPD ↓", f"{metric.heading} ↓", "On the front")
        lines += [f"## {escape_markdown(metric.heading)}", ""]
        lines += [*markdown_table(headings, cells, ("Recipe", "Variant")), ""]
    return "\n".join(lines).rstrip() + "\n"


def _pm(value: float, deviation: float, digits: int) -> str:
    return f"{value:.{digits}f}" + (f" ± {deviation:.{digits}f}" if pd.notna(deviation) else "")
