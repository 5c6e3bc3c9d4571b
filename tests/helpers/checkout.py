"""A copy of the project to run the real snakemake, dvc and git in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pictures import IMAGES, LABELS

from hybridflow.io.records import write_record

ROOT = Path(__file__).parents[2]
MICRO = ROOT / "tests" / "data" / "micro.yaml"


@dataclass(frozen=True)
class Project:
    """A checkout of the project in a folder of its own."""

    path: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """This process's environment for commands in the checkout: its own package, one thread, a name for git."""
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        names = {f"GIT_{role}_NAME": "Test" for role in ("AUTHOR", "COMMITTER")}
        names |= {f"GIT_{role}_EMAIL": "test@example.org" for role in ("AUTHOR", "COMMITTER")}
        own = {"PYTHONPATH": str(self.path / "src"), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
        return kept | names | own | changes

    def copy(self, target: Path) -> Project:
        """A copy of the checkout with everything it has made."""
        return Project(shutil.copytree(self.path, target, symlinks=True))

    def run(self, *command: str, check: bool = True, **kwargs: object) -> subprocess.CompletedProcess[str]:
        """Runs a command in the checkout; its output is text, errors included."""
        done = subprocess.run(
            command,
            cwd=self.path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **({"env": self.environment()} | kwargs),
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def snakemake(self, *arguments: str, check: bool = True) -> str:
        """Runs snakemake on the micro experiment and returns its output."""
        return self.run(*self.snakemake_command(*arguments), check=check).stdout

    def snakemake_command(self, *arguments: str) -> list[str]:
        base = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "micro.yaml"]
        return [*base, *arguments]

    def dvc(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "dvc", *arguments, check=check)

    def hybridflow(self, command: str, *files: str, check: bool = True) -> str:
        """Runs a command of the package on the micro experiment and returns its output."""
        base = [sys.executable, "-m", "hybridflow.cli.main", command, "--configfile", "micro.yaml"]
        return self.run(*base, *files, check=check).stdout

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    def read(self, name: str) -> str:
        return (self.path / name).read_text(encoding="utf-8")


def copy_project(target: Path) -> Project:
    """Copies what git tracks (with changes not committed yet) into a fresh repository at ``target``."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source = ROOT / name
        if name and source.is_file() and not name.startswith("tests/"):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
    shutil.copyfile(MICRO, target / "micro.yaml")
    project = Project(target)
    project.git("init", "--quiet")
    # Objects that ROOT has need not be compressed again: published weights are tens of megabytes.
    known = subprocess.run(
        ["git", "rev-parse", "--path-format=absolute", "--git-path", "objects"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (target / ".git" / "objects" / "info" / "alternates").write_bytes(known.stdout)
    project.git("add", "--all")
    project.git("commit", "--quiet", "--message", "start")
    return project


def write_dataset(project: Project) -> None:
    """Puts 64 real training images where the prepared CIFAR-10 would be; test images are the same, flipped."""
    folder = project.path / "resources" / "cifar10"
    folder.mkdir(parents=True)
    np.save(folder / "train.npy", IMAGES)
    np.save(folder / "test.npy", IMAGES[..., ::-1].copy())
    np.save(folder / "train_labels.npy", LABELS)
    np.save(folder / "test_labels.npy", LABELS)
    write_record(folder / "manifest.json", {"source": "cifar10"}, sorted(folder.glob("*.npy")))
