"""Table 1: bits/dim and the metrics of every variant, beside what others report."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from hybridflow.io.files import atomic_path, write_text
from hybridflow.report.results import Results
from hybridflow.report.tables.columns import printed_columns, table_columns
from hybridflow.report.tables.notes import describe_row, describe_table
from hybridflow.report.tables.render import MISSING, Printed, to_latex, to_markdown


def write_table(out_csv: str | Path, out_md: str | Path, out_tex: str | Path, results: Results) -> None:
    """Writes the table as CSV (every number), Markdown and LaTeX (package ``booktabs``)."""
    printed = printed_columns(results)
    details = [describe_row(row, results) for row in results.rows]
    table = Printed(
        headings=[column.heading for column in printed],
        rows=[[column.printed(row, MISSING) for column in printed] for row in results.rows],
        left=[column.heading for column in printed if column.text],
        caption=f"Density estimation and sample quality of the experiment {results.settings.experiment}.",
        notes=describe_table(results),
        details=[line for line in details if line is not None],
    )
    write_csv(out_csv, full_table(results))
    write_text(out_md, to_markdown(table))
    write_text(out_tex, to_latex(table))


def full_table(results: Results) -> pd.DataFrame:
    """Every column with its deviation and interval, one row a variant."""
    table = {}
    for column in table_columns(results):
        table[column.name] = [column.fill(row) for row in results.rows]
        for suffix, fill in column.further.items():
            table[f"{column.name}_{suffix}"] = [fill(row) for row in results.rows]
    return pd.DataFrame(table)


def write_csv(path: str | Path, table: pd.DataFrame) -> None:
    """Writes plain numbers with ten significant digits; what is missing stays empty."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n")


def read_csv(path: str | Path) -> pd.DataFrame:
    """Reads what :func:`write_csv` wrote; a variant called ``NA`` or ``007`` keeps its name."""
    return pd.read_csv(path, dtype={"variant": str}, keep_default_na=False, na_values=[""])
