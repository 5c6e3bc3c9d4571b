"""Pulling over HTTP, which needs no account, and cannot write."""

from __future__ import annotations

import pytest
from checkout import Project
from published import add_remote, forget, hybridflow, stored_bytes
from servers import web

pytestmark = pytest.mark.remotes


def test_pull_over_http(project: Project, tmp_path):
    before = stored_bytes(project)
    served = tmp_path / "served"
    served.mkdir()
    with web(served) as url:
        add_remote(project, "web", url)
        said = hybridflow(project, "publish", "--remote", "web")
        assert said.startswith(
            "error: publish: the remote 'web' only reads over HTTP; publish where its files come from"
        )

        add_remote(project, "web", served)  # as who has the server's folder
        hybridflow(project, "publish", "--remote", "web")
        add_remote(project, "web", url)
        forget(project)
        hybridflow(project, "pull")
        assert stored_bytes(project) == before

        next(path for path in served.rglob("*") if path.is_file()).unlink()
        forget(project)
        said = hybridflow(project, "pull")
        assert "error: pull: the remote 'web' lacks some of these files, or over HTTP does not answer" in said
    assert "lacks some of these files, or over HTTP does not answer" in hybridflow(project, "pull")


def test_results_on_several_remotes(project: Project, tmp_path):
    """Small results in the repository's own folder, large ones elsewhere: a plain pull finds each."""
    before = stored_bytes(project)
    add_remote(project, "elsewhere", tmp_path / "elsewhere")
    hybridflow(project, "publish", "--remote", "elsewhere")
    (note,) = (project.path / "store").glob("baseline-*.safetensors.dvc")
    assert "remote: elsewhere" in note.read_text()
    forget(project)
    project.dvc("pull", str(note))
    hybridflow(project, "pull")
    assert stored_bytes(project) == before
    assert "already published: 1 of 1 results" in hybridflow(project, "publish")
    assert "remote: elsewhere" in note.read_text(), "it stays where it is"


def test_a_remote_that_needs_a_package(project: Project):
    add_remote(project, "google", "gs://bucket/hybridflow")
    said = hybridflow(project, "publish", "--remote", "google")
    assert "the remote 'google' needs a package that is not here; `pip install dvc-gs` installs it.\n" in said
