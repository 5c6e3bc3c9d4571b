"""A Markdown page as one HTML file, for Snakemake's report, which shows Markdown as raw text."""

from __future__ import annotations

from html import escape
from pathlib import Path

from markdown import markdown

from hybridflow.io.files import write_text

STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 72em; margin: 2em auto; padding: 0 1em; color: #222; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: 0.25em 0.75em; white-space: nowrap; }
"""


def write_page(path: str | Path, text: str) -> None:
    """Writes Markdown with tables as HTML, atomically; the title is the first heading."""
    title = text.lstrip().partition("\n")[0].lstrip("# ")
    body = markdown(text, extensions=["tables"])
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    write_text(path, f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n')
