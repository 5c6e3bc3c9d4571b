"""One of the processes of a training on several devices; torchrun starts it with the folder of its work.

``python -m hybridflow.training.worker FOLDER`` is not meant to be typed: :mod:`hybridflow.training.launch` prepares the folder.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from pydantic import TypeAdapter

from hybridflow.data.images import load_images, split_holdout
from hybridflow.runtime.allocator import keep_freed_memory
from hybridflow.runtime.distributed import Replicas
from hybridflow.runtime.errors import UserError
from hybridflow.training.loop import train
from hybridflow.training.state import Job


@dataclass(frozen=True)
class Work:
    """What all processes are told.

    Attributes:
        job: the training.
        images: the training split, a ``.npy`` file.
        holdout: how many of its last images are kept back.
        devices: one for each process.
        threads: CPU threads of each process.
    """

    job: Job
    images: Path
    holdout: int
    devices: list[str]
    threads: int

    def prepare(self, rank: int) -> np.ndarray:
        """Sets torch up for the process ``rank``, and returns the images to train on, (N, C, H, W) uint8."""
        torch.set_num_threads(self.threads)
        device = torch.device(self.devices[rank])
        if device.type == "cuda":
            torch.cuda.set_device(device)
        else:
            keep_freed_memory()
        return split_holdout(load_images(self.images), self.holdout)[0]


def line_file(folder: Path, rank: int) -> Path:
    """The pipe on which a worker hears from its job."""
    return folder / f"line-{rank}"


def error_file(folder: Path, rank: int) -> Path:
    """Where a worker leaves the sentence of its :class:`UserError`."""
    return folder / f"error-{rank}"


def stop_file(folder: Path) -> Path:
    """Where the first worker leaves the number of the signal that stopped the training."""
    return folder / "stopped"


def main(folder: Path) -> int:
    """Trains this process's replica; returns the exit status. A stop that was asked for is no failure: 0."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    _listen(line_file(folder, rank))
    work = TypeAdapter(Work).validate_json((folder / "work.json").read_bytes())
    device = torch.device(work.devices[rank])
    try:
        images = work.prepare(rank)
        # Both: tensors on a GPU go through NCCL, and what the hosts tell each other through gloo.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
        train(work.job, images, device, Replicas(rank, size))
    except UserError as error:
        error_file(folder, rank).write_text(str(error), encoding="utf-8")
        return 1
    except SystemExit as stopped:
        if rank == 0:
            stop_file(folder).write_text(str(stopped.code - 128), encoding="utf-8")
    dist.destroy_process_group()
    return 0


def _listen(line: Path) -> None:
    """Raises here the signals that come on ``line``, and ends this process when the job has ended.

    Otherwise a worker would outlive a job that was killed, and write into the files of the next one.
    """
    pipe = os.open(line, os.O_RDONLY | os.O_NONBLOCK)  # does not wait for a job that is no longer there
    os.set_blocking(pipe, True)

    def listen() -> None:
        while number := os.read(pipe, 1):
            signal.raise_signal(number[0])
        os._exit(1)

    threading.Thread(target=listen, daemon=True).start()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
