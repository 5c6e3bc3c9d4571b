"""Text of a table that Markdown would take for something else."""

from __future__ import annotations

import re

from markdown import markdown

from hybridflow.report.tables.render import escape_markdown, markdown_table

ODD = "c < d & e > f | g_h *i* [j] `k` \\l &lt; <b>"


def test_the_page_shows_what_was_written() -> None:
    page = markdown("\n".join(markdown_table([ODD, "2"], [[ODD, "3"]], [])), extensions=["tables"])
    shown = "c &lt; d &amp; e &gt; f | g_h *i* [j] `k` \\l &amp;lt; &lt;b&gt;"
    assert re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", page) == [shown, "2", shown, "3"]


def test_entities_stand_for_what_only_github_escapes() -> None:
    assert escape_markdown("a < b & c") == "a &lt; b &amp; c"
