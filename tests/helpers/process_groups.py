"""Processes of a group in the tests: gloo on the CPU."""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from trainings import CPU, IMAGES, HostReads, start

from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.models.layers.compiling import compile_networks
from hybridflow.runtime.distributed import ProcessGroup
from hybridflow.runtime.errors import UserError
from hybridflow.training.loop import train
from hybridflow.training.optim import Schedule
from hybridflow.training.processes import train_on
from hybridflow.training.state import Job
from hybridflow.training.step import training_step


class Group:
    """Processes that train together.

    Args:
        context: of multiprocessing.
        size: how many.
        folder: where they meet; a new one for every group.
        target: called as ``target(group, *arguments)`` in each of them.
    """

    def __init__(self, context: Any, size: int, folder: Path, target: Any, *arguments: Any) -> None:
        folder.mkdir(parents=True)
        self.processes = [
            context.Process(target=_enter, args=(ProcessGroup(rank, size), folder, target, arguments))
            for rank in range(size)
        ]
        for process in self.processes:
            process.start()

    def join(self, seconds: float = 300) -> list[int | None]:
        """Waits for all; returns their exit codes, None for one that still runs."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        return codes


def _enter(group: ProcessGroup, folder: Path, target: Any, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=group.rank, world_size=group.size)
    target(group, *arguments)
    dist.destroy_process_group()


def train_in_group(group: ProcessGroup, work: Job) -> None:
    """The whole training."""
    train(work, IMAGES, CPU, group)


def steps(group: ProcessGroup, work: Job, count: int, target: Path) -> None:
    """Some steps in double precision; every process saves its state, metrics and reads of the host."""
    settings = work.variant.training
    batches, state = start(work, group)
    for model in state.models:
        model.double()
    if settings.compile:
        compile_networks(state.generator, backend="aot_eager")
    metrics, schedule, reads = [], Schedule.of(work.variant, len(IMAGES)), HostReads()
    # torch compiles nothing while operations are watched.
    with network_checkpointing(settings.checkpointing), nullcontext() if settings.compile else reads:
        for step in range(count):
            metrics.append(training_step(state, batches, work.variant, schedule.learning_rate(step), work.seed))
            state.step += 1
    state.sums, state.seconds = {}, 0.0
    torch.save(
        {"state": state.state_dict(), "metrics": metrics, "reads": reads.places}, target / f"rank-{group.rank}.pt"
    )


def launch(work: Job, images: Path, devices: int, scratch: Path) -> None:
    """A job that trains on several devices; the sentence of its error goes to ``scratch``."""
    torch.set_num_threads(1)
    tempfile.tempdir = str(scratch)
    try:
        train_on(work, images, 0, [CPU] * devices, threads=1)
    except UserError as error:
        (scratch / "error").write_text(str(error))
        raise SystemExit(1) from None


def workers_of(parent: int) -> list[int]:
    """The process ids of the running workers that a job started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            status = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if b"hybridflow.training.processes" in command and int(status[1]) == parent:
                found.append(int(folder.name))
    return sorted(found)


def running(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    with suppress(OSError):
        return (Path("/proc") / str(process) / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False
