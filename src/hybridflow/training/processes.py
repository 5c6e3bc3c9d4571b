"""A training on the devices of this machine: in this process on one, in one process for each on several.

The workers of several devices are ``python -m hybridflow.training.processes``, started here. They read their work from
standard input, whose end is the end of this process, however it ends: then they end too. A signal to this process is
passed on to them, and they save the state and stop together.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from hybridflow.config.loading import load_extensions
from hybridflow.data.images import load_images, split_holdout
from hybridflow.runtime.allocator import keep_freed_memory
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.revision import code_revision
from hybridflow.training.loop import train
from hybridflow.training.state import Job


@dataclass(frozen=True)
class Work:
    """The share of one process in a training.

    Attributes:
        job: the training.
        images: the training split, a ``.npy`` file.
        holdout: how many of its last images are kept back.
        device: of this process.
        threads: CPU threads of this process.
        extensions: files that register what the variant is made of (``extensions`` in the configuration).
        group: the processes.
        folder: where they meet, if there are several.
        shared: whether several of the processes compute on one device.
    """

    job: Job
    images: Path
    holdout: int
    device: torch.device
    threads: int
    extensions: tuple[str, ...] = ()
    group: ProcessGroup = SINGLE_PROCESS
    folder: Path | None = None
    shared: bool = False

    def run(self) -> None:
        torch.set_num_threads(self.threads)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        else:
            keep_freed_memory()
        images, _ = split_holdout(load_images(self.images), self.holdout)
        if self.group.size > 1:
            # Both: tensors on a GPU go through NCCL, which refuses two processes on one GPU, and what the hosts tell
            # each other through gloo.
            backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" and not self.shared else "gloo"
            store = dist.FileStore(str(self.folder / "rendezvous"), self.group.size)
            timeout = timedelta(minutes=30)
            dist.init_process_group(
                backend, store=store, rank=self.group.rank, world_size=self.group.size, timeout=timeout
            )
        train(self.job, images, self.device, self.group)

    @property
    def error(self) -> Path:
        """Where a worker leaves the sentence of its :class:`UserError`."""
        return self.folder / f"error-{self.group.rank}"


def train_on(
    job: Job,
    images: Path,
    holdout: int,
    devices: list[torch.device],
    threads: int,
    extensions: tuple[str, ...] = (),
) -> None:
    """Trains ``job.variant`` with one process per device (:func:`hybridflow.training.loop.train`).

    Args:
        images: the training split, a ``.npy`` file.
        holdout: how many of its last images are kept back.
        devices: of this machine.
        threads: CPU threads of each process.
        extensions: of the configuration.

    Raises:
        UserError: a process found something wrong, or died.
        SystemExit: 128 + the number of the signal that stopped the training; its state is saved.
    """
    if len(devices) == 1:
        Work(job, images, holdout, devices[0], threads).run()
        return
    with tempfile.TemporaryDirectory(prefix="hybridflow-train-") as folder:
        count, shared = len(devices), len(set(devices)) < len(devices)
        works = [
            Work(job, images, holdout, device, threads, extensions, ProcessGroup(rank, count), Path(folder), shared)
            for rank, device in enumerate(devices)
        ]
        with _started(works) as workers, _passed_on(workers) as received:
            status = _wait(workers)
        sentences = [work.error.read_text(encoding="utf-8") for work in works if work.error.exists()]
    if sentences:
        raise UserError(sentences[0])
    if status == 0:
        return
    if received or status > 128:
        raise SystemExit(128 + received[-1] if received else status)
    raise UserError(
        f"{job.label}: one of its {len(devices)} processes died with status {status} (its messages are in the job's "
        "log), and the others were ended; run the workflow again to go on from the last saved state."
    )


@contextmanager
def _started(works: list[Work]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Within the block, a process works on each of ``works``, and what they print appears on standard error."""
    reader, writer = os.pipe()
    # All processes are on this machine, which may have no other network.
    environment = {"GLOO_SOCKET_IFNAME": "lo"} | os.environ | {"OMP_NUM_THREADS": str(works[0].threads)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", __name__],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=writer,
            stderr=writer,
            start_new_session=True,  # Ctrl-C comes to this process alone, which passes it on
        )
        for _ in works
    ]
    os.close(writer)

    def copy_lines() -> None:
        with open(reader, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 (a descriptor)
            for line in lines:
                sys.stderr.write(line)
                sys.stderr.flush()

    copier = threading.Thread(target=copy_lines, daemon=True)
    copier.start()
    try:
        for worker, work in zip(workers, works, strict=True):
            # First the extensions: without them, settings that they define could not be read.
            worker.stdin.write(pickle.dumps(work.extensions) + pickle.dumps(work))
            worker.stdin.flush()
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
            worker.stdin.close()
        copier.join()


@contextmanager
def _passed_on(workers: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Within the block, SIGTERM and SIGINT ask the workers to stop; yields the list of those that came."""
    received: list[int] = []

    def pass_on(number: int, frame: object) -> None:
        received.append(number)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)  # SIGINT would print a traceback in one that is still starting

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _wait(workers: list[subprocess.Popen[bytes]]) -> int:
    """Waits for all workers, or for the first that fails; returns a status that is not 0 if there is one.

    A status above 128 is a stop with a saved state; the main process may still be saving it.
    """
    while True:
        statuses = [worker.poll() for worker in workers]
        for status in statuses:
            if status is not None and (status < 0 or 0 < status <= 128):
                return status
        if None not in statuses:
            return max(statuses)
        time.sleep(0.05)


def main() -> int:
    """A worker; returns its exit status."""
    load_extensions(pickle.load(sys.stdin.buffer))
    work = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code_revision()  # before the checkout can change
    try:
        work.run()
    except UserError as error:
        work.error.write_text(str(error), encoding="utf-8")
        return 1
    dist.destroy_process_group()
    return 0


def _end_with_parent() -> None:
    """Ends this process when the one that started it has ended: it must not write into files of the next one."""
    while os.read(sys.stdin.fileno(), 1):  # not through Python's buffer, whose lock would stop a regular exit
        pass
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main())
