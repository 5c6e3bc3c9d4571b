"""`dvc pull` into a store that a training is writing, into one that holds newer work, and from a damaged remote."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from checkout import Project

pytestmark = pytest.mark.workflow
TARGET = "results/micro/baseline/seed0/checkpoint.safetensors"


@pytest.fixture(scope="module")
def published(finished, tmp_path_factory) -> Project:
    """A checkout whose results are published."""
    path = tmp_path_factory.mktemp("published") / "project"
    project = finished.copy(path)
    project.run(sys.executable, "-m", "hybridflow.cli.main", "publish", "--configfile", "micro.yaml")
    return project


def pull(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return project.run(sys.executable, "-m", "dvc", "pull", *arguments, check=False)


def stored(project: Project, suffix: str = ".safetensors") -> Path:
    (path,) = (project.path / "store").glob(f"baseline-*{suffix}")
    return path


def test_pull_while_a_training_writes_the_same_entry(published, tmp_path):
    project = published.copy(tmp_path / "project")
    expected = stored(project).read_bytes()
    for suffix in (".safetensors", ".jsonl", ".json"):
        stored(project, suffix).unlink()
    shutil.rmtree(project.path / "results" / "micro" / "baseline")
    project.write("often.yaml", "training: {resume_every_minutes: 1.0e-6, log_every: 1}")
    command = [sys.executable, "-m", "snakemake", TARGET, "--cores", "1", "--configfile", "micro.yaml", "often.yaml"]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            command, cwd=project.path, stdout=output, stderr=subprocess.STDOUT, env=project.environment()
        )
        deadline = time.monotonic() + 120
        while not list((project.path / "store").glob("baseline-*.resume-*.json")):
            assert process.poll() is None, (tmp_path / "output").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        done = pull(project)
        # The history that the training writes is not what was published: DVC does not touch it.
        assert process.wait(120) == 0, (tmp_path / "output").read_text()
    assert "Traceback" not in done.stdout
    assert stored(project).read_bytes() == expected
    assert (project.path / TARGET).read_bytes() == expected
    again = project.run(*command)
    assert "Nothing to be done" in again.stdout


def test_pull_does_not_take_newer_work_away(published, tmp_path):
    project = published.copy(tmp_path / "project")
    path = stored(project)
    path.chmod(0o644)
    path.write_bytes(b"newer work that nobody published")
    done = pull(project)
    assert done.returncode != 0
    assert "unsaved files" in done.stdout
    assert path.name in done.stdout
    assert path.read_bytes() == b"newer work that nobody published"


def test_a_damaged_object_of_the_remote_does_not_get_into_the_store(published, tmp_path):
    project = published.copy(tmp_path / "project")
    path = stored(project)
    content = path.read_bytes()
    path.unlink()
    shutil.rmtree(project.path / ".dvc" / "cache")
    (remote,) = (o for o in (project.path / "dvc-remote").rglob("*") if o.is_file() and o.read_bytes() == content)
    remote.chmod(0o644)
    remote.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    remote.chmod(0o444)  # as DVC leaves it, which it takes for a sign of soundness unless told to verify
    assert pull(project, f"{path}.dvc").returncode != 0
    assert not path.exists()


def test_half_an_entry_from_each_side_is_named(published, tmp_path):
    """A training that was killed after `dvc pull` had brought the finished weights: its history is shorter."""
    project = published.copy(tmp_path / "project")
    history = stored(project, ".jsonl")
    whole = history.read_bytes()
    history.unlink()
    history.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    (project.path / TARGET).unlink()
    command = [sys.executable, "-m", "snakemake", TARGET, "--cores", "1", "--configfile", "micro.yaml"]
    said = project.run(*command, check=False).stdout
    name = f"store/{history.name}"
    assert f"error: {name} is damaged or was exchanged: store/{stored(project, '.json').name} describes" in said
    assert f"`rm {name} && dvc pull {name}.dvc`" in said
    assert "Traceback" not in said
    project.run("sh", "-c", f"rm {name} && {sys.executable} -m dvc pull {name}.dvc")  # what the sentence says
    project.run(*command)
    assert (project.path / TARGET).read_bytes() == stored(project).read_bytes()
