"""Checkouts of the project for the tests that run the real snakemake."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkout import Project, copy_project, write_dataset


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh checkout without data."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout in which the micro experiment has run to its end. Tests must leave it as it is."""
    project = copy_project(tmp_path_factory.mktemp("finished") / "project")
    write_dataset(project)
    project.write("first.log", project.snakemake())
    return project
