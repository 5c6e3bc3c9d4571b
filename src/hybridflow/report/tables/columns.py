"""The columns of Table 1, one object each: what fills it, and how it is printed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.results import Results, Row

Value = str | float | None
ARROWS = {"lower": "↓", "higher": "↑"}


def always(values: Sequence[Value]) -> bool:
    return True


def if_known(values: Sequence[Value]) -> bool:
    """For a column that is left out where no row has a value."""
    return any(value is not None for value in values)


def if_rows_differ(values: Sequence[Value]) -> bool:
    """For a column that is left out where it says the same of all rows."""
    return len({value for value in values if value is not None}) > 1


@dataclass(frozen=True)
class Column:
    """One quantity of the table.

    Attributes:
        name: in the CSV file.
        heading: in print; None for one that only the CSV file has.
        fill: its value in a row, None where there is none.
        show: a value in print.
        deviations: standard deviations by suffix: further columns of the CSV file, ``fid_sd`` say. In print the first
            one that is known follows ±.
        text: whether it holds words, on the left side.
        shown: whether it is printed, given the values of all rows.
    """

    name: str
    heading: str | None
    fill: Callable[[Row], Value]
    show: Callable[..., str] = str
    deviations: Mapping[str, Callable[[Row], float | None]] = field(default_factory=dict)
    text: bool = False
    shown: Callable[[Sequence[Value]], bool] = always

    def printed(self, row: Row, missing: str) -> str:
        """The cell of a row."""
        value = self.fill(row)
        if value is None:
            return missing
        known = [sd for sd in (fill(row) for fill in self.deviations.values()) if sd is not None]
        return self.show(value) + (f" ± {self.show(known[0])}" if known else "")


def mean(values: Sequence[float | None]) -> float | None:
    """None if there is no value, or one is missing."""
    return None if not values or None in values else statistics.fmean(values)


def deviation(values: Sequence[float | None]) -> float | None:
    """Sample standard deviation (n − 1); None where undefined."""
    return None if len(values) < 2 or None in values else statistics.stdev(values)


def pooled(deviations: Sequence[float | None]) -> float | None:
    """Root of the mean square of deviations that rest on equally many values; None where one is missing."""
    return None if None in deviations else math.sqrt(statistics.fmean(value**2 for value in deviations))


def _decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _bpd(row: Row) -> list[float | None]:
    return [model.bounds and model.bounds.iwbo_bpd for model in row.models]


def _loss(row: Row) -> str | None:
    return row.variant.adversarial.loss if row.variant.discriminator else None


MODEL_COLUMNS: list[Column] = [
    Column("variant", "Variant", lambda row: row.variant.name, text=True),
    Column(
        "discriminator",
        "Discriminator",
        lambda row: row.variant.discriminator.kind if row.variant.discriminator else "none",
        text=True,
    ),
    Column("loss", "Loss", _loss, text=True, shown=if_rows_differ),
    Column("factor", "Factor", lambda row: row.variant.adversarial_weight, "{:g}".format),
    Column("family", "Family", lambda row: row.variant.generator.family, text=True, shown=if_rows_differ),
    Column("seeds", None, lambda row: len(row.models)),
    Column(
        "bpd",
        "BPD ↓",
        lambda row: mean(_bpd(row)),
        _decimals(3),
        {"sd": lambda row: deviation(_bpd(row))},
        shown=if_known,
    ),
]
"""Which model it is, and its bits/dim (the importance-weighted bound)."""

REFERENCE_COLUMNS: list[Column] = [
    Column(
        "reference_bpd",
        "Reference BPD",
        lambda row: row.reference and row.reference.bpd,
        "{:g}".format,
        shown=if_known,
    ),
    Column(
        "reference_fid",
        "Reference FID",
        lambda row: row.reference and row.reference.fid,
        "{:g}".format,
        shown=if_known,
    ),
]
"""What others report."""


def metric_column(metric: Metric, results: Results) -> Column:
    """The column of a metric: mean over seeds; deviations over seeds and, with several sets of samples, over these.

    Over several seeds the deviation over sets is the root of the mean variance.
    """

    def measured(row: Row, part: str = "value") -> list[float | None]:
        if results.has_standin(metric.name):
            return [None] * len(row.models)
        return [getattr(model.metrics[metric.name], part) for model in row.models]

    deviations = {"sd": lambda row: deviation(measured(row))}
    if results.fidelity["sets"] > 1:
        deviations["sampling_sd"] = lambda row: pooled(measured(row, "sd"))
    heading = f"{metric.heading} {ARROWS[metric.better]}" if metric.in_table else None
    return Column(metric.name, heading, lambda row: mean(measured(row)), _decimals(metric.digits), deviations)


def table_columns(results: Results) -> list[Column]:
    """All columns, in their order."""
    metrics = [metric_column(METRICS[name], results) for name in results.settings.evaluation.metrics]
    return [*MODEL_COLUMNS, *metrics, *REFERENCE_COLUMNS]
