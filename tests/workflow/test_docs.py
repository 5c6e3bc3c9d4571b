"""What the README and the other pages claim and point to, as far as a program can look it up."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from checkout import ROOT

from hybridflow.cli.main import main
from hybridflow.config.loading import load_settings
from hybridflow.io.records import read_record

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "config/README.md")), *DOCS]


def blocks(language: str, *pages: Path) -> list[str]:
    """The fenced blocks of a language, of all pages or of some."""
    texts = [page.read_text(encoding="utf-8") for page in pages or PAGES]
    return re.findall(rf"```{language}\n(.*?)```", "\n".join(texts), re.DOTALL)


def commands(word: str) -> list[list[str]]:
    """The words of every line of a shell block that starts with ``word``, without comments."""
    lines = [line.partition(" #")[0].split() for block in blocks("sh") for line in block.splitlines()]
    return [words for words in lines if words[:1] == [word]]


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get on code-hosting sites."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"https?:", target):
            continue
        name, _, anchor = target.partition("#")
        goal = (page.parent / name).resolve() if name else page
        assert goal.exists(), f"{page.name} points to {target}"
        assert not anchor or anchor in anchors(goal), f"{page.name} points to {target}"


def table(text: str) -> list[str]:
    """The lines of a text's tables."""
    return [line for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize(("page", "experiment"), [("README.md", "cpu"), ("docs/systems.md", "systems")])
def test_the_table_of_a_page_is_the_one_of_the_results(page: str, experiment: str) -> None:
    written = (ROOT / "results" / experiment / "table1.md").read_text(encoding="utf-8")
    marked = (ROOT / page).read_text(encoding="utf-8").partition(f"<!-- {experiment}-table -->")[2]
    assert table(marked.partition(f"<!-- /{experiment}-table -->")[0]) == table(written)


def test_the_scale_in_the_readme_is_the_one_of_the_results() -> None:
    shown = README.partition("<!-- cpu-table -->")[2].partition("<!-- /cpu-table -->")[0]
    accuracy = re.search(r"test accuracy ([\d.]+ %)", (ROOT / "results/cpu/table1.md").read_text(encoding="utf-8"))
    assert accuracy[0].removeprefix("test accuracy ") in shown
    calibration = read_record(ROOT / "results/cpu/reference/calibration-cifar_classifier.json")
    for value in (row["fd_cifar"] for row in calibration["rows"] if row["count"] == 10_000):
        assert re.search(rf"\s{value:#.{3 if value >= 1 else 2}g}".rstrip(".") + r"\b", shown), value


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.partition(":")[0])
def test_its_settings_are_settings(block: str, tmp_path: Path) -> None:
    assert isinstance(yaml.safe_load(block), dict)
    if "extensions" in yaml.safe_load(block):  # needs the file it names: test_add_a_metric.py, test_add_a_family.py
        return
    (tmp_path / "mine.yaml").write_text(block, encoding="utf-8")
    load_settings(ROOT / "config.yaml", tmp_path / "mine.yaml")


def test_the_example_takes_minutes(tmp_path: Path) -> None:
    (block,) = blocks("yaml", ROOT / "README.md")
    (tmp_path / "mine.yaml").write_text(block, encoding="utf-8")
    settings = load_settings(ROOT / "config.yaml", ROOT / "presets/smoke.yaml", tmp_path / "mine.yaml")
    epochs = [variant.training.epochs + variant.training.final_phase.epochs for variant in settings.variants.values()]
    assert len(epochs) == 5
    assert max(epochs) < 0.3


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_the_graph_names_the_rules() -> None:
    (graph,) = blocks("mermaid", ROOT / "README.md")
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow/rules").glob("*.smk"))
    rules = set(re.findall(r"^rule (\w+):", text, re.MULTILINE))
    assert set(re.findall(r"[a-z]+_\w+", graph)) == rules


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.splitlines()[0])
def test_its_python_is_python(block: str) -> None:
    if block.startswith("module "):  # Snakemake's
        return
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), node.module


def test_its_make_targets_exist() -> None:
    targets = {words[1] for words in commands("make") if "=" not in words[1]} | {
        "setup",
        "publish",
        "test-slow",
        "lint",
    }
    assert {"demo", "test", "smoke", "train-cpu", "test-slow"} <= targets
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets <= set(rules)


@pytest.mark.parametrize("words", commands("hybridflow"), ids=" ".join)
def test_its_commands_take_these_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:  # argparse reads from left to right, and help ends it
        main([*words[1:], "--help"])
    assert caught.value.code == 0
    options = {word for word in words if word.startswith("--")}
    assert options <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_it_names_exist(page: Path) -> None:
    named = re.findall(r"(?:presets|tests|workflow|profiles|src)/[\w./-]*\w", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_parameters_it_counts() -> None:
    """The number is checked against the model in tests/models/generators/test_paper_size.py."""
    paper = (ROOT / "tests/models/generators/test_paper_size.py").read_text(encoding="utf-8").replace("_", "")
    (count,) = set(re.findall(r"\(([\d,]{11}) parameters\)", README))
    assert count.replace(",", "") in paper
