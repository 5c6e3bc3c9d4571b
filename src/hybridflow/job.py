"""What every job of the workflow does around its own work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from hybridflow.config import Settings, parse_settings
from hybridflow.disk import disk_error, writing
from hybridflow.errors import UserError


class _Tee:
    """A text stream that writes to the terminal and to the job's log file, as long as the disk takes that."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self.terminal = terminal
        self.log: TextIO | None = log

    def write(self, text: str) -> int:
        self._log(text)
        return self.terminal.write(text)

    def flush(self) -> None:
        self._log("")
        self.terminal.flush()

    def _log(self, text: str) -> None:
        """A log that cannot be written is given up: the sentence that says why must still reach the terminal."""
        if self.log is None:
            return
        try:
            self.log.write(text)
            self.log.flush()
        except OSError:
            log, self.log = self.log, None
            with suppress(OSError):
                log.close()

    def isatty(self) -> bool:
        return False  # jobs share the terminal: lines, no bars


@contextmanager
def workflow_job(snakemake: Any) -> Iterator[Settings]:
    """Yields the experiment's settings; messages also go to the job's log file.

    A :class:`UserError` ends the job with its sentence and status 1, without a traceback; so does a disk that is full
    or read-only.

    Args:
        snakemake: the object Snakemake gives to scripts.
    """
    try:
        with writing(snakemake.log[0]):
            log = Path(snakemake.log[0]).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115 (open to the end)
        sys.stderr = _Tee(sys.stderr, log)
        yield parse_settings(snakemake.config)
    except Exception as error:
        told = error if isinstance(error, UserError) else disk_error(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None


@contextmanager
def torch_job(snakemake: Any, device: str) -> Iterator[tuple[Settings, Any]]:
    """Like :func:`workflow_job`, for jobs that compute: yields settings and the claimed torch device."""
    with workflow_job(snakemake) as settings:
        import torch

        from hybridflow.devices import claim_device

        torch.set_num_threads(snakemake.threads)
        with claim_device(device) as claimed:
            _say_where(snakemake.rule, [claimed], snakemake.threads)
            yield settings, claimed


@contextmanager
def several_devices(snakemake: Any, device: str, count: int) -> Iterator[tuple[list[Any], int]]:
    """Yields ``count`` claimed torch devices, and the CPU threads for a process on each."""
    from hybridflow.devices import claim_devices

    threads = max(1, snakemake.threads // count)  # Snakemake gives a job no more than --cores
    with claim_devices(device, count) as claimed:
        _say_where(snakemake.rule, claimed, threads)
        yield claimed, threads


def _say_where(rule: str, devices: list[Any], threads: int) -> None:
    import torch

    for device in devices:
        name = f"{threads} CPU threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
        print(f"{rule}: computing on {device} ({name})", file=sys.stderr, flush=True)
