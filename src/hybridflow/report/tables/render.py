"""Tables as text for people: Markdown and LaTeX."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

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
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "σ": r"$\sigma$",
    "≤": r"$\leq$",
    "–": "--",
    "é": r"\'e",
    "=": "$=$",
}


@dataclass(frozen=True)
class Printed:
    """A table in print.

    Attributes:
        headings, rows: text, one entry a column.
        left: headings of the columns that are aligned left.
        caption: above the table.
        notes, details: lines below it.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Sequence[str]
    caption: str
    notes: Sequence[str]
    details: Sequence[str]


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[str]) -> list[str]:
    """The lines of a Markdown table; columns with the headings ``left`` are aligned left, others right."""
    alignment = [":--" if heading in left else "--:" for heading in headings]
    first, *others = ([escape_markdown(cell) for cell in row] for row in (headings, *rows))
    return ["| " + " | ".join(row) + " |" for row in (first, alignment, *others)]


def to_markdown(table: Printed) -> str:
    """A GitHub-flavoured Markdown table."""
    caption = escape_markdown(f"Table 1: {table.caption}")
    lines = [f"**{caption}**", "", *markdown_table(table.headings, table.rows, table.left)]
    lines += ["", *(f"- {escape_markdown(line)}" for line in table.notes)]
    if table.details:
        lines += ["", "<!-- -->", "", *(f"- {escape_markdown(line)}" for line in table.details)]  # two lists, not one
    return "\n".join(lines) + "\n"


def to_latex(table: Printed) -> str:
    """A LaTeX ``table``; needs ``\\usepackage{booktabs}``."""
    alignment = "".join("l" if heading in table.left else "r" for heading in table.headings)
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.caption)}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        " & ".join(escape_latex(heading) for heading in table.headings) + r" \\",
        r"\midrule",
        *(" & ".join(escape_latex(cell) for cell in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        "",
        r"\medskip",
        r"\begin{minipage}{\linewidth}",
        r"\footnotesize\raggedright",
        *(escape_latex(line) + r"\par" for line in (*table.notes, *table.details)),
        r"\end{minipage}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_markdown(text: str) -> str:
    """Text with Markdown's special characters taken literally; ``<`` is an entity, since the page knows no ``\\<``."""
    return re.sub(r"([\\`*_|\[\]])", r"\\\1", html.escape(text, quote=False))


def escape_latex(text: str) -> str:
    """Text with LaTeX's special characters taken literally; symbols the table uses become commands."""
    return "".join(LATEX.get(character, character) for character in text)
