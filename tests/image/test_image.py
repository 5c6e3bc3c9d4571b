"""The image as somebody runs it: a checkout mounted, a training stopped and begun again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import Project, copy_project, write_dataset

pytestmark = pytest.mark.image

ENGINE = os.environ.get("ENGINE") or shutil.which("podman") or shutil.which("docker")
NAME = f"hybridflow-test-{os.getpid()}"
PATIENCE = 300  # seconds; machines may be busy
ENTRY = "store/baseline-seed0-*"


def engine(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ENGINE, *arguments], capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def image() -> None:
    if ENGINE is None:
        pytest.skip("there is neither podman nor docker")
    found = engine("image", "inspect", "hybridflow")
    if found.returncode != 0:
        pytest.skip(f"there is no image (`make image` builds it): {found.stderr.strip()}")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A checkout that the container's user may write to, with a training of a minute or so."""
    project = copy_project(tmp_path / "project")
    write_dataset(project)
    project.write("long.yaml", "training: {epochs: 100}")
    if os.getuid() == 0:  # the container's user is not root then, but the image's
        subprocess.run(["chown", "--recursive", "1000:1000", project.path], check=True)
    return project


@pytest.fixture
def started(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    process = start(project)
    yield process
    engine("rm", "--force", NAME)
    process.wait()


def start(project: Project) -> subprocess.Popen[bytes]:
    """The baseline's training in a container."""
    user = [] if os.getuid() == 0 else ["--user", f"{os.getuid()}:{os.getgid()}"]
    if user and Path(ENGINE).name == "podman":
        user += ["--userns", "keep-id"]
    options = ["--rm", "--name", NAME, "--volume", f"{project.path}:/hybridflow", *user]
    target = "results/micro/baseline/seed0/checkpoint.safetensors"
    command = ["snakemake", target, "--cores", "1", "--configfile", "micro.yaml", "long.yaml"]
    return subprocess.Popen([ENGINE, "run", *options, "hybridflow", *command])


def rows(project: Project) -> list[dict[str, float]]:
    """What was written of the losses, with wall times: what is computed again has others."""
    text = "".join(path.read_text(encoding="utf-8") for path in project.path.glob(f"{ENTRY}.jsonl"))
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_a_stopped_training_goes_on(project: Project, started: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not rows(project):
        assert started.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert list(project.path.glob(f"{ENTRY}.resume-*.json")) == []  # every half hour, or when it is stopped
    assert engine("stop", "--time", "60", NAME).returncode == 0
    assert started.wait() not in (0, 137)  # 137: it was killed
    assert list(project.path.glob(f"{ENTRY}.resume-*.json")) != []
    before = rows(project)

    assert start(project).wait() == 0
    assert (project.path / "results/micro/baseline/seed0/checkpoint.safetensors").exists()
    assert rows(project)[: len(before)] == before
