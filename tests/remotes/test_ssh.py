"""Publishing to a folder behind SSH and pulling from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from checkout import Project
from published import add_remote, forget, hybridflow, stored_bytes
from runs import wait_until
from servers import SSHD, sshd

pytestmark = [pytest.mark.remotes, pytest.mark.skipif(SSHD is None, reason="needs sshd: apt install openssh-server")]


def test_publish_and_pull(project: Project, tmp_path):
    before = stored_bytes(project)
    with sshd(tmp_path, read_only=True) as server:
        add_remote(project, "server", f"{server.url}/hybridflow", keyfile=server.key)
        said = hybridflow(project, "publish", "--remote", "server")
        assert said.startswith("error: publish: the remote 'server' may not be written by this user; ask its owner")
    with sshd(tmp_path) as server:
        add_remote(project, "server", f"{server.url}/hybridflow", keyfile=server.stranger)
        said = hybridflow(project, "publish", "--remote", "server")
        assert said.startswith("error: publish: the remote 'server' does not accept this SSH key for the user ")
        assert "`dvc remote modify --local server keyfile PATH`" in said
        add_remote(project, "server", f"{server.url}/hybridflow", keyfile=server.key)
        assert "pushed to the remote 'server'" in hybridflow(project, "publish", "--remote", "server")
        forget(project)
        hybridflow(project, "pull")
        assert stored_bytes(project) == before
    for note in (project.path / "store").glob("*.dvc"):  # what is published already is not pushed again
        note.unlink()
    said = hybridflow(project, "publish", "--remote", "server")
    assert said.startswith("error: publish: the remote 'server' does not answer; check that its server runs")


def test_an_upload_that_is_killed_leaves_no_partial_object(project: Project, tmp_path):
    large = next((project.path / "store").glob("baseline-*.safetensors"))
    large.write_bytes(os.urandom(1 << 20) * 200)
    project.dvc("add", str(large))
    push = [sys.executable, "-m", "dvc", "push", "--remote", "server", f"{large}.dvc"]
    with sshd(tmp_path) as server:
        add_remote(project, "server", f"{server.url}/hybridflow", keyfile=server.key)
        process = subprocess.Popen(
            push, cwd=project.path, env=project.environment(), stdout=subprocess.DEVNULL, start_new_session=True
        )
        wait_until(lambda: [path for path in server.folder.rglob("*.tmp") if path.stat().st_size], "a partial file")
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert all(path.suffix == ".tmp" for path in server.folder.rglob("*") if path.is_file())
        project.run(*push)
        (whole,) = (path for path in server.folder.rglob("*") if path.is_file() and path.suffix != ".tmp")
        assert whole.stat().st_size == large.stat().st_size
