"""What the processes of a training on several devices do in the tests: gloo on the CPU."""

from __future__ import annotations

import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from test_host_sync import HostReads
from test_training import CPU, IMAGES

from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.models.layers.compiling import compile_networks
from hybridflow.runtime.distributed import Replicas
from hybridflow.runtime.errors import UserError
from hybridflow.training.batches import Batches
from hybridflow.training.launch import train_on
from hybridflow.training.loop import train
from hybridflow.training.schedule import Schedule
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import training_step


class Group:
    """Processes that train together.

    Args:
        context: of multiprocessing.
        size: how many.
        folder: where they meet; a new one for every group.
        target: called as ``target(replicas, *arguments)`` in each of them.
    """

    def __init__(self, context: Any, size: int, folder: Path, target: Any, *arguments: Any) -> None:
        folder.mkdir(parents=True)
        self.processes = [
            context.Process(target=_enter, args=(Replicas(rank, size), folder, target, arguments))
            for rank in range(size)
        ]
        for process in self.processes:
            process.start()

    def join(self, seconds: float = 60) -> list[int | None]:
        """Waits for all; returns their exit codes, None for one that still runs."""
        deadline = time.monotonic() + seconds
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            process.kill()
        return codes


def _enter(replicas: Replicas, folder: Path, target: Any, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=replicas.rank, world_size=replicas.size)
    target(replicas, *arguments)
    dist.destroy_process_group()


def train_replica(replicas: Replicas, work: Job) -> None:
    """The whole training."""
    train(work, IMAGES, CPU, replicas)


def steps(replicas: Replicas, work: Job, count: int, target: Path) -> None:
    """Some steps in double precision; every replica saves its state, figures and reads of the host."""
    settings = work.variant.training
    batches = Batches(IMAGES, settings, work.seed, CPU, replicas)
    state = initial_state(work, batches, CPU)
    for model in state.models:
        model.double()
    if settings.compile:
        compile_networks(state.flow, backend="aot_eager")
    figures, schedule, reads = [], Schedule(settings, len(IMAGES)), HostReads()
    # torch compiles nothing while operations are watched.
    with network_checkpointing(settings.checkpointing), nullcontext() if settings.compile else reads:
        for step in range(count):
            figures.append(training_step(state, batches, work.variant, schedule.learning_rate(step), work.seed))
            state.step += 1
    state.sums, state.seconds = {}, 0.0
    torch.save(
        {"state": state.state_dict(), "figures": figures, "reads": reads.places}, target / f"rank-{replicas.rank}.pt"
    )


def launch(work: Job, images: Path, devices: int, scratch: Path) -> None:
    """A job that trains under torchrun; the sentence of its error goes to ``scratch``."""
    torch.set_num_threads(1)
    tempfile.tempdir = str(scratch)
    try:
        train_on(work, images, 0, [CPU] * devices, threads=1)
    except UserError as error:
        (scratch / "error").write_text(str(error))
        raise SystemExit(1) from None


def worker_ids(scratch: Path) -> dict[int, int]:
    """The running workers of :func:`launch`: process id by rank."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            if b"hybridflow.training.worker" in command and b"torch.distributed.run" not in command:
                if not any(part.startswith(bytes(scratch)) for part in command):
                    continue
                environment = dict(
                    entry.split(b"=", 1) for entry in (folder / "environ").read_bytes().split(b"\0") if b"=" in entry
                )
                found[int(environment[b"RANK"])] = int(folder.name)
    return found
