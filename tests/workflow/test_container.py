"""The Containerfile and what is left out of the image, as far as they can be checked without building it."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import pytest
from checkout import ROOT
from packaging.specifiers import SpecifierSet

import hybridflow

CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
IGNORED = [
    line
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def instructions(name: str) -> list[str]:
    """What follows every instruction of that name, with its continued lines joined."""
    return re.findall(rf"^{name} (.*)$", re.sub(r"\s*\\\n\s*", " ", CONTAINERFILE), re.MULTILINE)


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names the path or a folder that it is in; ``**`` stands for any folders, or none."""

    def same(wanted: tuple[str, ...], found: tuple[str, ...]) -> bool:
        if not wanted:
            return True
        if wanted[0] == "**":
            return any(same(wanted[1:], found[skipped:]) for skipped in range(len(found)))
        return bool(found) and fnmatchcase(found[0], wanted[0]) and same(wanted[1:], found[1:])

    return same(PurePosixPath(pattern).parts, PurePosixPath(path).parts)


def is_left_out(path: str) -> bool:
    """The last pattern that matches decides."""
    verdicts = [not line.startswith("!") for line in IGNORED if matches(line.removeprefix("!"), path)]
    return verdicts[-1:] == [True]


def test_every_tracked_file_is_in_the_image() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    assert [path for path in listed.stdout.split("\0") if path and is_left_out(path)] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv-python3.12/bin/python",
        ".snakemake/log/x",
        "src/hybridflow/__pycache__/x.pyc",
        "resources/archives/cifar-10-python.tar.gz",
        "results/smoke/table1.md",
        "results/cpu/baseline/seed0/checkpoint.safetensors",
        "results/cpu/baseline/seed0/features/x.npy",
        "store/baseline-seed0-0d3fd7525f1b.safetensors",
        "store/baseline-seed0-0d3fd7525f1b.json",
        "store/baseline-seed0-0d3fd7525f1b.resume-a",
        "results/cpu/baseline/seed0/.samples.npy.rows",
        ".dvc/config.local",
    ],
)
def test_what_a_checkout_makes_is_not(path: str) -> None:
    assert is_left_out(path)


def test_what_it_copies_exists() -> None:
    copied = [word for line in instructions("COPY") for word in line.split()[:-1] if not word.startswith("--")]
    assert "constraints.txt" in copied
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_stopping_it_reaches_the_training() -> None:
    (entrypoint,) = instructions("ENTRYPOINT")
    assert json.loads(entrypoint) == ["/usr/bin/tini", "-g", "--"]


def test_its_user_is_a_number_and_not_root() -> None:
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_its_python_is_one_that_the_package_supports() -> None:
    (base,) = (line.removeprefix("BASE=") for line in instructions("ARG") if line.startswith("BASE="))
    debian = re.search(r"/debian:(\d+)\.\d+-slim$", base)[1]
    python = {"12": "3.11", "13": "3.13"}[debian]
    assert python in SpecifierSet(PROJECT["requires-python"])


def test_its_labels_say_what_it_is() -> None:
    labels = dict(re.findall(r'(\S+?)="([^"]*)"', instructions("LABEL")[0]))
    assert labels["org.opencontainers.image.title"] == PROJECT["name"]
    assert labels["org.opencontainers.image.description"] == PROJECT["description"]
    assert labels["org.opencontainers.image.licenses"] == PROJECT["license"]
    assert labels["org.opencontainers.image.version"] == hybridflow.__version__
    assert f"--output-file {labels['hybridflow.sbom']} " in " ".join(instructions("RUN"))
