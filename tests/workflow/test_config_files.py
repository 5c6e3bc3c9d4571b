"""How the workflow reads its configuration files and --config."""

from __future__ import annotations

import re

import pytest
from checkout import Project

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
