"""What the project says of itself to archives and catalogues is the same in every file."""

from __future__ import annotations

import json
import re
import tomllib

import yaml
from checkout import ROOT

from hybridflow import __version__

CFF = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CODEMETA = json.loads((ROOT / "codemeta.json").read_text(encoding="utf-8"))
ZENODO = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_names_agree() -> None:
    assert CFF["title"] == CODEMETA["name"] == ZENODO["title"]
    assert CFF["title"].startswith(f"{PYPROJECT['name']}: ")
    assert CODEMETA["identifier"] == PYPROJECT["name"]
    assert CFF["abstract"] == CODEMETA["description"] == ZENODO["description"]


def test_versions_and_dates_agree() -> None:
    assert CFF["version"] == CODEMETA["version"] == ZENODO["version"] == __version__
    assert PYPROJECT["dynamic"] == ["version"]  # __version__
    assert CFF["date-released"] == CODEMETA["datePublished"] == ZENODO["publication_date"]


def test_licences_agree() -> None:
    assert CFF["license"] == ZENODO["license"] == PYPROJECT["license"] == "MIT"
    assert CODEMETA["license"] == f"https://spdx.org/licenses/{CFF['license']}"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("MIT License")


def test_keywords_and_authors_agree() -> None:
    assert CFF["keywords"] == CODEMETA["keywords"] == ZENODO["keywords"] == PYPROJECT["keywords"]
    names = [author["name"] for author in CFF["authors"]]
    for others in (CODEMETA["author"], ZENODO["creators"], PYPROJECT["authors"]):
        assert [author["name"] for author in others] == names


def test_the_citation_file_has_what_its_format_asks_for() -> None:
    """https://github.com/citation-file-format/citation-file-format/blob/main/schema-guide.md, version 1.2.0."""
    assert CFF["cff-version"] == "1.2.0"
    assert CFF.keys() >= {"message", "title", "authors"}
    assert CFF["type"] == "software"
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", CFF["date-released"])
    for work in (CFF, *CFF["references"]):
        assert work.keys() >= {"type", "title", "authors"}
        assert work["authors"]
        for author in work["authors"]:
            assert "name" in author or {"family-names", "given-names"} <= author.keys()
