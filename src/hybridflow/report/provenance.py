"""A record of how the results came to be: software, hardware, settings, seeds, time, and who measured each result.

It holds no absolute path, user name or host name, so that it can be published as it is.
"""

from __future__ import annotations

import csv
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from hybridflow.io.records import read_record
from hybridflow.report.histories import read_history
from hybridflow.report.results import Model, Results
from hybridflow.runtime.revision import code_revision

PACKAGE = "hybridflow"
ABSOLUTE = re.compile(r"(file://|[\w.-]+@[\w.-]+:|[A-Za-z]:)?[/\\~]")
URL_USER = re.compile(r"(\w+://)[^\s/@]+@")


def collect_provenance(results: Results, config: Mapping[str, Any], benchmarks: str | Path) -> dict[str, Any]:
    """Gathers everything that is needed to judge or repeat a run, as JSON values.

    Args:
        config: the configuration as it was given.
        benchmarks: folder of Snakemake's benchmark files; one that does not exist gives none.

    Returns:
        ``revision`` is that of the code which wrote the report. ``checkpoints`` and ``measured_by`` say, model by
        model, which revision computed each result.

    Raises:
        UserError: a checkpoint is missing, damaged, or of another training.
    """
    settings, folder = results.settings, Path(benchmarks)
    files = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.tsv"))}
    rules = {name: read_benchmark(path) for name, path in files.items()}
    return anonymise(
        {
            "experiment": settings.experiment,
            "software": describe_software(),
            "hardware": describe_hardware(),
            "revision": code_revision(),
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "seeds": {
                "training": list(settings.seeds),
                "sampling": settings.sampling.seed,
                "likelihood": settings.evaluation.likelihood.seed,
                "extractors": {n: e.seed for n, e in settings.evaluation.extractors.items() if hasattr(e, "seed")},
            },
            "settings": settings.model_dump(mode="json"),
            "config": dict(config),
            "protocol": {"likelihood": results.likelihood, "fidelity": results.fidelity},
            "seconds_total": round(sum(rule["s"] for rule in rules.values()), 1),
            "rules": rules,
            "checkpoints": {model.files.name: describe_checkpoint(model) for model in results.models},
            "measured_by": {model.files.name: _revisions(model) for model in results.models},
        }
    )


def describe_checkpoint(model: Model) -> dict[str, Any]:
    """What the record of a checkpoint says; compares its files with it.

    Returns:
        ``training_seconds`` among it: a checkpoint from the store costs its rule seconds, and this is what its
        training took.
    """
    record = read_record(model.files.checkpoint_record, key=model.key)
    hashes = record.pop("files")
    seconds = float(read_history(model.files.history)["seconds"].iloc[-1])
    return record | {"sha256": hashes[Path(model.files.checkpoint).name], "training_seconds": seconds}


def _revisions(model: Model) -> dict[str, str | None]:
    samples = read_record(model.files.samples_record, (), checkpoint=model.key)
    return {"samples": samples["revision"], **model.measured_by}


def read_benchmark(path: Path) -> dict[str, Any]:
    """A Snakemake benchmark file: ``s``, wall time, ``max_rss``, MiB.

    ``max_rss`` is None for a job too short to be measured.
    """
    with path.open(encoding="utf-8", newline="") as handle:
        (row,) = csv.DictReader(handle, delimiter="\t")
    memory = row["max_rss"]
    return {"s": round(float(row["s"]), 3), "max_rss": None if memory in ("-", "NA") else float(memory)}


def describe_software() -> dict[str, Any]:
    """Versions of Python, the operating system, this package and the packages it requires."""
    lines = [line for line in metadata.requires(PACKAGE) or [] if "extra ==" not in line]
    names = sorted(re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines)
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: metadata.version(name) for name in [PACKAGE, *names]},
    }


def describe_hardware() -> dict[str, Any]:
    """CPU model and count, memory (GiB) and GPUs of this machine."""
    import torch  # slow to import, and needed here alone

    devices = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count(),
        "cpus_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "gpus": [{"name": gpu.name, "memory_gib": round(gpu.total_memory / 2**30, 1)} for gpu in devices],
        "cuda": torch.version.cuda if devices else None,
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # of Linux
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def anonymise(value: Any) -> Any:
    """JSON values with absolute paths cut down to their last name and users removed from URLs."""
    if isinstance(value, Mapping):
        return {anonymise(str(key)): anonymise(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [anonymise(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = URL_USER.sub(r"\1", str(value))
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1] if ABSOLUTE.match(text) else text
