"""The workflows of .github run commands and Pythons that exist, and every Python that the package declares."""

from __future__ import annotations

import re
import tomllib

import yaml
from checkout import ROOT

WORKFLOWS = [
    yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github" / "workflows").glob("*.yml")
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_they_run_targets_of_the_makefile() -> None:
    steps = [step for workflow in WORKFLOWS for job in workflow["jobs"].values() for step in job["steps"]]
    named = {name for step in steps for name in re.findall(r"^make ([\w-]+)", step.get("run", ""), re.MULTILINE)}
    assert {"lint", "test", "test-slow", "test-remotes", "test-cluster", "demo", "image", "test-image"} <= named
    assert named <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


def test_they_and_make_test_every_declared_python() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    first, end = (int(minor) for minor in re.fullmatch(r">=3\.(\d+),<3\.(\d+)", declared).groups())
    expected = [f"3.{minor}" for minor in range(first, end)]
    (tests,) = (workflow for workflow in WORKFLOWS if workflow["name"] == "tests")
    assert tests["jobs"]["test"]["strategy"]["matrix"]["python"] == expected
    assert re.search(r"^PYTHONS \?= (.*)$", MAKEFILE, re.MULTILINE)[1].split() == [f"python{name}" for name in expected]
