"""Checkouts of the project for the tests that run the real snakemake; one thread for all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from checkout import Project, copy_project, write_dataset
from filelock import FileLock

# Workers run side by side, and results are bit-identical on one thread alone.
torch.set_num_threads(1)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh checkout without data."""
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout in which the micro experiment has run to its end. Tests must leave it as it is.

    One worker makes it, for all.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    path, made = shared / "ein Ort – 場所", shared / "finished"  # any path must do
    with FileLock(shared / "finished.lock"):
        if not made.exists():
            shutil.rmtree(path, ignore_errors=True)  # of a worker that failed
            project = copy_project(path)
            write_dataset(project)
            project.write("first.log", project.snakemake())
            made.touch()
    return Project(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests that run snakemake first: with one file a worker, the long file must not start last."""
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)
