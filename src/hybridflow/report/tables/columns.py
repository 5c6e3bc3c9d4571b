"""The columns of Table 1, one object each: what fills it, and how it is printed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.results import Results, Row
from hybridflow.report.tables.intervals import UNLIMITED, image_interval, seed_interval

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
        spread: what follows ± in print, if it is known.
        further: further columns of the CSV file by suffix, ``fid_sd`` say.
        text: whether it holds words, on the left side.
        shown: whether it is printed, given the values of all rows.
    """

    name: str
    heading: str | None
    fill: Callable[[Row], Value]
    show: Callable[..., str] = str
    spread: Callable[[Row], float | None] = lambda row: None
    further: Mapping[str, Callable[[Row], float | None]] = field(default_factory=dict)
    text: bool = False
    shown: Callable[[Sequence[Value]], bool] = always

    def printed(self, row: Row, missing: str) -> str:
        """The cell of a row."""
        value = self.fill(row)
        if value is None:
            return missing
        spread = self.spread(row)
        return self.show(value) + ("" if spread is None else f" ± {self.show(spread)}")


def mean(values: Sequence[float | None]) -> float | None:
    """None if there is no value, or one is missing."""
    return None if not values or None in values else statistics.fmean(values)


def deviation(values: Sequence[float | None]) -> float | None:
    """Sample standard deviation (n − 1); None where undefined."""
    return None if len(values) < 2 or None in values else statistics.stdev(values)


def _decimals(digits: int) -> Callable[[float], str]:
    return lambda value: f"{value:.{digits}f}"


def _loss(row: Row) -> str | None:
    return row.variant.adversarial.loss if row.variant.discriminator else None


def quantity(
    name: str,
    heading: str | None,
    digits: int,
    values: Callable[[Row], list[float | None]],
    errors: Callable[[Row], list[float | None]],
    shown: Callable[[Sequence[Value]], bool] = always,
    limits: tuple[float, float] = UNLIMITED,
) -> Column:
    """The column of a number that is measured: mean over seeds, deviation over them, 95 % interval, lowest and highest.

    Args:
        values: of every model of a row, one a seed.
        errors: their standard errors over images. With one seed the interval and ± are over images.
        limits: the least and the greatest value that there can be.
    """

    def spread(row: Row) -> float | None:
        return deviation(values(row)) if len(row.models) > 1 else errors(row)[0]

    def interval(row: Row, end: int) -> float | None:
        found, error = values(row), errors(row)[0]
        if None in found or (len(found) == 1 and error is None):
            return None
        several = len(found) > 1
        ends = seed_interval(found, limits) if several else image_interval(found[0], error, limits)
        return ends and ends[end]

    def extreme(row: Row, choose: Callable[[Sequence[float]], float]) -> float | None:
        found = values(row)
        return None if len(found) < 2 or None in found else choose(found)

    further = {
        "sd": lambda row: deviation(values(row)),
        "low": lambda row: interval(row, 0),
        "high": lambda row: interval(row, 1),
        "min": lambda row: extreme(row, min),
        "max": lambda row: extreme(row, max),
    }
    return Column(
        name, heading, lambda row: mean(values(row)), _decimals(digits), spread=spread, further=further, shown=shown
    )


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
    quantity(
        "bpd",
        "BPD ↓",
        3,
        lambda row: [model.bounds and model.bounds.iwbo_bpd for model in row.models],
        lambda row: [model.bounds and model.bounds.iwbo_bpd_se for model in row.models],
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
    """The column of a metric; empty where stand-in weights make it another number."""

    def measured(row: Row, part: str) -> list[float | None]:
        if results.has_standin(metric.name):
            return [None] * len(row.models)
        return [getattr(model.metrics[metric.name], part) for model in row.models]

    printed = metric.name in results.settings.evaluation.printed
    heading = f"{metric.heading} {ARROWS[metric.better]}" if printed else None
    return quantity(
        metric.name,
        heading,
        metric.digits,
        lambda row: measured(row, "value"),
        lambda row: measured(row, "se"),
        limits=metric.limits,
    )


def table_columns(results: Results) -> list[Column]:
    """All columns, in their order."""
    metrics = [metric_column(METRICS[name], results) for name in results.settings.evaluation.metrics]
    return [*MODEL_COLUMNS, *metrics, *REFERENCE_COLUMNS]


def printed_columns(results: Results) -> list[Column]:
    """Those that a reader sees."""
    columns = [column for column in table_columns(results) if column.heading is not None]
    return [column for column in columns if column.shown([column.fill(row) for row in results.rows])]
