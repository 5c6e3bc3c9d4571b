"""How the workflow reads its configuration files and --config."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT, Project

pytestmark = pytest.mark.workflow


def dry_run(project: Project, *arguments: str) -> tuple[int, str]:
    done = project.run(*project.snakemake_command("-n", *arguments), check=False)
    return done.returncode, done.stdout


def test_a_key_that_is_there_twice_is_named(project: Project) -> None:
    project.write("twice.yaml", "variants:\n  x: {}\n  x: {}\n")
    status, output = dry_run(project, "--configfile", "micro.yaml", "twice.yaml")
    assert status != 0
    assert "config: twice.yaml, line 3: the key `x` is there a second time (first in line 2)" in output
    assert "Traceback" not in output


def test_a_syntax_error_is_named_with_file_and_line(project: Project) -> None:
    project.write("config.yaml", project.read("config.yaml") + "\nseeds: [0\n")
    status, output = dry_run(project)
    assert status != 0
    assert f"config: config.yaml, line {len(project.read('config.yaml').splitlines()) + 1}: " in output
    assert "Traceback" not in output


def test_values_of_the_command_line_are_those_of_a_file(project: Project) -> None:
    status, output = dry_run(project, "--config", "small=false", "seeds=[0,1]", "training={lr_decay: 5e-1}")
    assert status == 0, output
    assert re.search(r"train_variant +4\b", output), "two variants, two seeds"


def test_a_python_whose_path_has_a_space_is_refused(project: Project, tmp_path: Path) -> None:
    """Snakemake does not quote it. `make` says so before it installs anything."""
    code = "import sys; sys.executable = '/my envs/python'; from snakemake.cli import main; main(['-n'])"
    done = project.run(sys.executable, "-c", code, check=False)
    assert "Snakemake cannot start jobs with a Python whose path has a space (/my envs/python)" in done.stdout
    folder = tmp_path / "my folder"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    made = subprocess.run(["make", "setup"], cwd=folder, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "error: Snakemake cannot start a Python whose path has a space" in made.stderr
    assert not (folder / ".venv").exists()
