"""A checkout's stored results, as a test of remotes handles them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

from checkout import Project
from configobj import ConfigObj  # what DVC reads its settings with


def hybridflow(project: Project, command: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What a command on the micro experiment prints, whatever its exit status."""
    base = [sys.executable, "-m", "hybridflow.cli.main", command, "--configfile", "micro.yaml"]
    return project.run(*base, *arguments, check=False, env=project.environment(**(env or {}))).stdout


def add_remote(project: Project, name: str, url: object, *, local: bool = False, **options: object) -> None:
    """Gives a checkout a remote, or other settings of it, for all or for this clone alone: `dvc remote add`, faster."""
    path = project.path / ".dvc" / ("config.local" if local else "config")
    config = ConfigObj(str(path), list_values=False, encoding="utf-8")
    config[f'remote "{name}"'] = {"url": str(url), **options}
    config.write()


def stored_bytes(project: Project) -> dict[str, bytes]:
    """The baseline's stored files."""
    files = (project.path / "store").glob("baseline-*")
    return {path.name: path.read_bytes() for path in files if path.suffix != ".dvc"}


def forget(project: Project) -> None:
    """Makes the checkout as a fresh clone is: no results, and no cache of DVC."""
    for name in stored_bytes(project):
        (project.path / "store" / name).unlink()
    shutil.rmtree(project.path / ".dvc" / "cache", ignore_errors=True)
