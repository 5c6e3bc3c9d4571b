"""Assembles the report page from the files of a finished experiment."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment
from markdown import markdown

from hybridflow.data.images import load_images
from hybridflow.evaluation.sampling import image_grid
from hybridflow.io.files import write_text
from hybridflow.report.page.images import embed_file, embed_grid, is_still
from hybridflow.report.page.tradeoff import recipe_colors, tradeoff_panels
from hybridflow.report.results import Results
from hybridflow.report.tables.columns import Column, printed_columns
from hybridflow.report.tables.costs import describe_machine
from hybridflow.report.tables.notes import describe_row, describe_table
from hybridflow.report.tables.render import MISSING
from hybridflow.report.works import WORKS

GRID = 64  # samples of a variant in the page


def write_page(
    path: str | Path,
    results: Results,
    frontier: pd.DataFrame,
    figures: Sequence[tuple[str | Path, str]],
    details: str,
    provenance: Mapping[str, Any],
) -> None:
    """Writes one HTML file that needs no network and no other file.

    Args:
        frontier: content of ``frontier.csv``.
        figures: picture files, each with what it shows in words; an animation of one frame is left out.
        details: Markdown that follows the figures; its first line is a title that the page has already.
        provenance: content of ``provenance.json``.

    Raises:
        UserError: samples are missing or damaged.
    """
    columns = printed_columns(results)
    first = {row.variant.name: row.models[0].files for row in results.rows}
    grids = {name: embed_grid(image_grid(load_images(files.samples)[:GRID], 8)) for name, files in first.items()}
    notes = [*describe_table(results), *filter(None, (describe_row(row, results) for row in results.rows))]
    text = _template().render(
        name=results.settings.experiment,
        small=results.settings.small,
        summary=_summary(results),
        columns=columns,
        rows=[[_cell(column, row) for column in columns] for row in results.rows],
        notes=notes,
        panels=tradeoff_panels(frontier, {row.variant.name: row.reference for row in results.rows if row.reference}),
        recipes=recipe_colors(frontier),
        figures=[vars(embed_file(Path(file))) | {"alt": words} for file, words in figures if not is_still(Path(file))],
        details=_with_boxes(markdown(details.partition("\n")[2], extensions=["tables"])),
        provenance=_provenance(provenance),
        citations=WORKS,
        grids=json.dumps(grids).replace("</", "<\\/"),
        style=_read("style.css"),
        script=_read("script.js"),
    )
    write_text(path, text)


def _read(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _template() -> Any:
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_read("template.html"))


def _cell(column: Column, row: Any) -> dict[str, Any]:
    value = column.fill(row)
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return {"text": column.text, "value": "" if missing else value, "shown": column.printed(row, MISSING)}


def _summary(results: Results) -> str:
    settings = results.settings
    names, seeds = list(settings.variants), len(settings.seeds)
    families = ", ".join(dict.fromkeys(variant.generator.family for variant in settings.variants.values()))
    adversarial = sum(variant.discriminator is not None for variant in settings.variants.values())
    data = "CIFAR-10" if settings.dataset.source == "cifar10" else "a folder of images"
    return (
        f"{len(names)} variants of generative models ({families}) on {data}, {adversarial} of them with an adversarial "
        f"loss beside the likelihood or in its place, each trained from {seeds} seed{'s' * (seeds > 1)}: "
        f"{', '.join(names)}. From every model {settings.sampling.images:,} images were drawn and compared with the "
        "dataset's."
    )


def _with_boxes(html: str) -> str:
    """Tables scroll inside a box of their own, so that the page is no wider than the screen."""
    opening = '<div class="wide" tabindex="0" role="region" aria-label="Table"><table>'
    return html.replace("<table>", opening).replace("</table>", "</table></div>")


def _provenance(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    software = record["software"]
    packages = ", ".join(f"{name} {version}" for name, version in software["packages"].items())
    return [
        ("Revision", record["revision"] or "not in a git repository"),
        ("Machine", describe_machine(record["hardware"])),
        ("System", f"{software['system']}, Python {software['python']}"),
        ("Packages", packages),
        ("Seeds", json.dumps(record["seeds"])),
    ]
