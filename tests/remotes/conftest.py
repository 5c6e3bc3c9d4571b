"""A checkout with results to publish, without the hours that real ones take."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from checkout import Project, copy_project, write_dataset

from hybridflow.config.loading import load_settings
from hybridflow.data.fingerprint import content_hash
from hybridflow.io.records import write_record
from hybridflow.store.entries import variant_entry


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout whose store has the baseline of the micro experiment: its files' content is made up."""
    project = copy_project(tmp_path_factory.mktemp("remotes") / "project")
    for note in (project.path / "store").glob("*.dvc"):  # of results that are published in the repository
        note.unlink()
    write_dataset(project)
    settings = load_settings(project.path / "config.yaml", project.path / "micro.yaml")
    entry = variant_entry(settings, "baseline", 0, content_hash(settings.dataset, Path()), project.path / "store")
    for file in entry.files[:-1]:
        file.write_bytes(os.urandom(100_000))
    write_record(entry.record, {"key": entry.key}, entry.files[:-1])
    return project


@pytest.fixture
def project(results: Project, tmp_path: Path) -> Project:
    return results.copy(tmp_path / "project")
