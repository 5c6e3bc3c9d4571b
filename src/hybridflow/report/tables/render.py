"""The table as text for people: Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pandas as pd

HEADINGS = ("Variant", "Discriminator", "Factor", "BPD ↓", "FID ↓", "FD-CIFAR ↓", "Thesis BPD", "Thesis FID")
MISSING = "–"
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "–": "--",
    "é": r"\'e",
    "=": "$=$",
}


def format_cells(table: pd.DataFrame) -> list[list[str]]:
    """The table's cells as text, one list per row, in the order of :data:`HEADINGS`.

    ± is over training seeds; with a single one, and several sets of samples, it is over these. One table has one kind.
    """
    kind = "sampling_sd" if (table.seeds == 1).all() and "fd_cifar_sampling_sd" in table else "sd"
    return [
        [
            row.variant,
            row.discriminator,
            f"{row.factor:g}",
            _measured(row.bpd, row.bpd_sd, 3),
            _measured(row.fid, getattr(row, f"fid_{kind}"), 2),
            _measured(row.fd_cifar, getattr(row, f"fd_cifar_{kind}"), 3),
            _published(row.thesis_bpd),
            _published(row.thesis_fid),
        ]
        for row in table.itertuples(index=False)
    ]


def _measured(mean: float, deviation: float, digits: int) -> str:
    if math.isnan(mean):
        return MISSING
    return f"{mean:.{digits}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{digits}f}")


def _published(value: float) -> str:
    return MISSING if math.isnan(value) else f"{value:g}"


def to_markdown(table: pd.DataFrame, caption: str, notes: Sequence[str] = (), details: Sequence[str] = ()) -> str:
    """A GitHub-flavoured Markdown table: caption above, notes and one line of details per variant below."""
    lines = [f"**{escape_markdown(caption)}**", "", *markdown_table(HEADINGS, format_cells(table), text_columns=2)]
    for paragraph in (notes, details):
        if paragraph:
            lines += ["", *(f"- {escape_markdown(line)}" for line in paragraph)]
            lines += ["", "<!-- -->"] if paragraph is notes and details else []  # keeps the two lists apart
    return "\n".join(lines) + "\n"


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int) -> list[str]:
    """The lines of a Markdown table; the first ``text_columns`` columns stand left, the others right."""
    alignment = [":--"] * text_columns + ["--:"] * (len(headings) - text_columns)
    cells = [list(headings), alignment, *([escape_markdown(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def to_latex(table: pd.DataFrame, caption: str, notes: Sequence[str] = (), details: Sequence[str] = ()) -> str:
    """A LaTeX ``table`` (needs ``\\usepackage{booktabs}``): caption above, notes and details below."""
    body = [" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in format_cells(table)]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(caption)}}}",
        r"\begin{tabular}{ll" + "r" * (len(HEADINGS) - 2) + "}",
        r"\toprule",
        " & ".join(escape_latex(heading) for heading in HEADINGS) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    if notes or details:
        lines += ["", r"\medskip", r"\begin{minipage}{\linewidth}", r"\footnotesize\raggedright"]
        lines += [escape_latex(line) + r"\par" for line in (*notes, *details)]
        lines += [r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def escape_markdown(text: str) -> str:
    """Text with Markdown's special characters taken literally."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters taken literally; symbols the table uses become commands."""
    return "".join(LATEX.get(character, character) for character in text)
