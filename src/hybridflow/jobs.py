"""What every job of the workflow does around its own work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from hybridflow.config.experiment import Settings
from hybridflow.config.loading import parse_settings
from hybridflow.io.files import remove_partial, write_error, writing
from hybridflow.io.locks import exclusive_lock
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import log_only
from hybridflow.runtime.revision import code_revision

LESS_MEMORY = {
    "train_variant": "set training.checkpointing: true (same result) or lower training.batch_size (another model)",
    "prepare_extractor": "use a machine with more memory, or lower train_batch_size of the classifier (another one)",
    "evaluate_likelihood": "lower evaluation.likelihood.batch_size",
    "sample_images": "lower sampling.batch_size (same images up to rounding)",
    "sample_temperature": "lower sampling.batch_size (same images up to rounding)",
    "measure_temperature": "lower batch_size of the extractor under evaluation.extractors (same result)",
    "evaluate_temperature": "lower evaluation.features (other values of metrics that need features)",
    "measure_reference": "lower batch_size of the extractor under evaluation.extractors (same result)",
    "measure_calibration": "lower batch_size of the extractor under evaluation.extractors (same result)",
    "measure_reference_vectors": "lower batch_size of the extractor under evaluation.extractors (same result)",
    "evaluate_fidelity": "lower evaluation.features (other values of metrics that need features)",
    "probe_likelihood": "lower evaluation.likelihood.batch_size",
    "measure_reconstruction": "lower evaluation.likelihood.batch_size",
    "measure_samples": "lower batch_size of the extractor under evaluation.extractors (same result)",
}
"""What to lower when a job runs out of memory, by rule."""


class _Tee:
    """A text stream that writes to the terminal and to the job's log file, as long as the disk takes that."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self.terminal = terminal
        self.log: TextIO | None = log

    def write(self, text: str) -> int:
        self._log(text)
        with suppress(OSError):  # a terminal may be closed; the work goes on
            self.terminal.write(text)
        return len(text)

    def flush(self) -> None:
        self._log("")
        with suppress(OSError):
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
def workflow_job(snakemake: Any, lock: Path | None = None) -> Iterator[Settings]:
    """Yields the experiment's settings; messages also go to the job's log file.

    Snakemake that is killed leaves its jobs running, and the next one starts them again: the second process waits
    until the first has ended, so that no two write into the same files.

    A :class:`UserError` ends the job with its sentence and status 1, without a traceback; so does a disk that is full
    or read-only, and a lack of memory.

    Args:
        snakemake: the object Snakemake gives to scripts.
        lock: the lock file, of a job that several experiments share; the default lies beside the log file.
    """
    log = Path(snakemake.log[0])
    code_revision()
    try:
        with exclusive_lock(lock or log.with_name(f".{log.name}.lock"), f"is still doing this job ({log.stem})"):
            # Opened inside: Snakemake has deleted the log of the process that was waited for.
            with writing(log):
                file = log.open("w", encoding="utf-8", buffering=1)
            sys.stderr = _Tee(sys.stderr, file)
            for output in snakemake.output:
                remove_partial(Path(output))
            yield parse_settings(snakemake.config)
    except Exception as error:
        message = error if isinstance(error, UserError) else out_of_memory(error, snakemake.rule) or write_error(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print(f"{log.stem}: stopped; run the workflow again to go on", file=sys.stderr, flush=True)
        raise SystemExit(130) from None


def out_of_memory(error: BaseException, rule: str) -> UserError | None:
    """The sentence for an exception that says that memory is used up; None for any other."""
    message = str(error)
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        where = "the GPU"
    elif isinstance(error, MemoryError) or "can't allocate memory" in message:
        where = "this machine"
    else:
        return None
    lower = LESS_MEMORY.get(rule, "end other programs, or use a machine with more")
    return UserError(f"{rule}: the memory of {where} is used up; {lower} and run the same command again.")


@contextmanager
def torch_job(snakemake: Any, device: str) -> Iterator[tuple[Settings, Any]]:
    """Like :func:`workflow_job`, for jobs that compute: yields settings and the claimed torch device."""
    with workflow_job(snakemake) as settings, job_device(snakemake, device) as claimed:
        yield settings, claimed


@contextmanager
def job_device(snakemake: Any, device: str) -> Iterator[Any]:
    """Yields the job's claimed torch device.

    A job that makes an entry of the store claims the entry first and the device after it: while it waits for the
    entry, others can use the device.
    """
    import torch

    from hybridflow.runtime.devices import claim_device

    torch.set_num_threads(snakemake.threads)
    with claim_device(device) as claimed:
        _say_where(snakemake.rule, [claimed], snakemake.threads)
        yield claimed


@contextmanager
def several_devices(snakemake: Any, device: str, count: int) -> Iterator[tuple[list[Any], int]]:
    """Yields ``count`` claimed torch devices, and the CPU threads for a process on each."""
    from hybridflow.runtime.devices import claim_devices

    threads = max(1, snakemake.threads // count)  # Snakemake gives a job no more than --cores
    with claim_devices(device, count) as claimed:
        _say_where(snakemake.rule, claimed, threads)
        yield claimed, threads


def _say_where(rule: str, devices: list[Any], threads: int) -> None:
    import torch

    for device in devices:
        name = f"{threads} CPU threads" if device.type == "cpu" else torch.cuda.get_device_name(device)
        log_only(f"{rule}: computing on {device} ({name})")
