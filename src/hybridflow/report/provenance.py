"""A record of how the results came to be: software, hardware, settings, seeds, time and checkpoints.

It holds no absolute path, user name or host name, so that it can be published as it is.
"""

from __future__ import annotations

import csv
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from hybridflow.config.experiment import Settings
from hybridflow.io.records import write_record
from hybridflow.runtime.errors import UserError

PACKAGE = "hybridflow"
# An absolute path in a text: optional file:// or host:, optional ~user, then folders, then the last name (kept).
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/~@-])(?:file://)?(?:[\w.@-]+:)?(?:~[\w.-]*)?/(?!/)(?:[^\s\"'/]+/)*([^\s\"'/]+)/?"
)
WINDOWS_PATH = re.compile(r"(?<!\w)[A-Za-z]:[\\/]+(?:[^\s\"'\\/]+[\\/]+)*([^\s\"'\\/]+)")
URL_USER = re.compile(r"(\w+://)[^\s/@]+@")


def collect_provenance(
    settings: Settings,
    config: Mapping[str, Any],
    benchmarks: Mapping[str, str | Path],
    checkpoints: Mapping[tuple[str, int], Mapping[str, Any]],
    repository: str | Path,
) -> dict[str, Any]:
    """Gathers everything that is needed to judge or repeat a run, as JSON values.

    Args:
        settings: the validated experiment, with every default filled in.
        config: the configuration as it was given.
        benchmarks: Snakemake benchmark files by rule label; one that does not exist gives null (its rule did not run).
        checkpoints: metadata of the checkpoint of every (variant, training seed).
        repository: the project's folder, whose git revision is recorded if it is a git checkout.

    Returns:
        Keys experiment, software, hardware, git, seeds, settings, config, seconds_total, rules, checkpoints.

    Raises:
        UserError: a benchmark file is not one of Snakemake's.
    """
    rules = {label: read_benchmark(path) if Path(path).is_file() else None for label, path in benchmarks.items()}
    record = {
        "experiment": settings.experiment,
        "software": describe_software(),
        "hardware": describe_hardware(),
        "git": describe_git(repository),
        "seeds": {
            "training": list(settings.seeds),
            "sampling": settings.sampling.seed,
            "likelihood": settings.evaluation.likelihood.seed,
            "extractors": {n: e.seed for n, e in settings.evaluation.extractors.items() if hasattr(e, "seed")},
        },
        "settings": settings.model_dump(mode="json"),
        "config": dict(config),
        "seconds_total": round(sum(rule["s"] for rule in rules.values() if rule), 1),
        "rules": rules,
        "checkpoints": {f"{variant}/seed{seed}": dict(values) for (variant, seed), values in checkpoints.items()},
    }
    return anonymise(record)


def write_provenance(path: str | Path, record: Mapping[str, Any]) -> None:
    """Writes the record (:mod:`hybridflow.io.records`)."""
    write_record(path, record)


def read_benchmark(path: str | Path) -> dict[str, Any]:
    """A Snakemake benchmark file: ``s`` and ``h:m:s`` (wall time, mean over repeats), ``max_rss`` (MiB, their maximum).

    ``max_rss`` is None for a job too short to be measured.

    Raises:
        UserError: the file has no such columns or no row.
    """
    with Path(path).open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    try:
        seconds = sum(float(row["s"]) for row in rows) / len(rows)
        memory = [_number(row["max_rss"]) for row in rows]
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        raise UserError(
            f"provenance: {path} is not a Snakemake benchmark file (columns s and max_rss); delete it and run its "
            "rule again."
        ) from None
    known = [value for value in memory if value is not None]
    return {
        "s": round(seconds, 3),
        "h:m:s": str(timedelta(seconds=round(seconds))),
        "max_rss": max(known) if known else None,
    }


def _number(text: str) -> float | None:
    """Snakemake writes ``-`` or ``NA`` for what it could not measure."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def describe_software() -> dict[str, Any]:
    """Versions of Python, the operating system, this package and the packages it requires."""
    try:
        requirements = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        requirements = []
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requirements if "extra ==" not in line]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: _version(name) for name in [PACKAGE, *sorted(names)]},
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def describe_hardware() -> dict[str, Any]:
    """CPU model and count, memory (GiB) and GPUs of this machine."""
    import torch  # slow to import, and needed here alone

    gpus = []
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            gpus.append({"name": properties.name, "memory_gib": round(properties.total_memory / 2**30, 1)})
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpus": gpus,
        "cuda": torch.version.cuda if gpus else None,
    }


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass  # no Linux
    return platform.processor() or platform.machine()


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def describe_git(repository: str | Path) -> dict[str, Any]:
    """The revision and whether files differ from it; None where the folder is no git checkout or git is missing."""
    # A copy that was unpacked inside somebody else's checkout must not take over that one's revision.
    top = _git(repository, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != Path(repository).resolve():
        return {"revision": None, "dirty": None}
    revision = _git(repository, "rev-parse", "--verify", "HEAD")
    changes = _git(repository, "status", "--porcelain")
    return {"revision": revision, "dirty": None if changes is None else bool(changes)}


def _git(repository: str | Path, *arguments: str) -> str | None:
    try:
        result = subprocess.run(
            ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def anonymise(value: Any) -> Any:
    """JSON values with absolute paths cut down to their last name and users removed from URLs.

    Numbers that are not finite become text, since JSON has none.
    """
    if isinstance(value, Mapping):
        return {anonymise(str(key)): anonymise(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [anonymise(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return _anonymise_text(str(value))


def _anonymise_text(text: str) -> str:
    if text.startswith(("/", "~/")) and "\n" not in text and '"' not in text:
        return Path(text).name  # also a path with spaces
    text = URL_USER.sub(r"\1", text)
    return ABSOLUTE_PATH.sub(r"\1", WINDOWS_PATH.sub(r"\1", text))
