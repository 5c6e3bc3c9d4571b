"""The job's side of a training: in its own process on one device, under torchrun on several."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from pydantic import TypeAdapter

from hybridflow.runtime.errors import UserError
from hybridflow.training.loop import train
from hybridflow.training.state import Job
from hybridflow.training.worker import Work, error_file, line_file, stop_file


def train_on(job: Job, images: Path, holdout: int, devices: list[torch.device], threads: int) -> None:
    """Trains ``job.variant`` with one process per device (:func:`hybridflow.training.loop.train`).

    Args:
        images: the training split, a ``.npy`` file.
        holdout: how many of its last images are kept back.
        devices: of this machine.
        threads: CPU threads of each process.

    Raises:
        UserError: a process found something wrong, or died.
        SystemExit: 128 + the number of the signal that stopped the training; its state is saved.
    """
    work = Work(job, images.absolute(), holdout, [str(device) for device in devices], threads)
    if len(devices) == 1:
        train(job, work.prepare(0), devices[0])
        return
    with tempfile.TemporaryDirectory(prefix="hybridflow-train-") as name:
        folder = Path(name)
        (folder / "work.json").write_bytes(TypeAdapter(Work).dump_json(work))
        for rank in range(len(devices)):
            os.mkfifo(line_file(folder, rank))
        with _lines(folder, len(devices)) as received:
            status = _torchrun(folder, len(devices), threads)
        for rank in range(len(devices)):
            if error_file(folder, rank).exists():
                raise UserError(error_file(folder, rank).read_text(encoding="utf-8"))
        if stop_file(folder).exists():
            raise SystemExit(128 + int(stop_file(folder).read_text(encoding="utf-8")))
    if status != 0:
        if received:  # before the processes were ready to save anything new
            raise SystemExit(128 + received[-1])
        raise UserError(
            f"{job.label}: one of its {len(devices)} processes died (status and messages stand above and in the job's "
            "log), and the others were ended; run the workflow again to go on from the last saved state."
        )


def _torchrun(folder: Path, processes: int, threads: int) -> int:
    """Runs :mod:`hybridflow.training.worker` in every process, passes on what they print, and returns torchrun's status."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr=127.0.0.1"]
    command += [f"--nproc-per-node={processes}", f"--log-dir={folder / 'torchrun'}"]
    command += ["--module", "hybridflow.training.worker", str(folder)]
    # All processes are on this machine, which may have no other network.
    environment = {"GLOO_SOCKET_IFNAME": "lo"} | os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C comes to the job alone, which asks the workers to stop
    )
    for text in process.stdout:
        sys.stderr.write(text)
        sys.stderr.flush()
    return process.wait()


@contextmanager
def _lines(folder: Path, processes: int) -> Iterator[list[int]]:
    """Within the block, SIGTERM and SIGINT are passed on to the workers; yields the list of those that came.

    Each worker reads a pipe that this process holds open: a byte is a signal, and the pipe's end is this process's own
    end, whatever kills it. Not through torchrun, which allows its workers 30 seconds after a signal to save their
    state, and leaves them running when it is killed itself.
    """
    received: list[int] = []
    pipes = [os.open(line_file(folder, rank), os.O_RDWR) for rank in range(processes)]  # O_RDWR: waits for no reader

    def pass_on(number: int, frame: object) -> None:
        received.append(number)
        for pipe in pipes:
            os.write(pipe, bytes([number]))

    previous = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for pipe in pipes:
            os.close(pipe)
