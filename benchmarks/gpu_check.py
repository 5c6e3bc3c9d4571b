"""Is the pipeline right on this machine's GPU? A few minutes, without a network and without a dataset.

    python benchmarks/gpu_check.py                      every check; needs an NVIDIA GPU
    python benchmarks/gpu_check.py --checks steps sync  some of them
    python benchmarks/gpu_check.py --device cpu         the CPU stands in for the GPU: tries the checks, not a GPU

Exit status: 0 when all checks pass, 1 when one fails, 3 without a GPU. What a check means: docs/gpu.md.
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
for folder in ("src", "tests/helpers"):
    sys.path.append(str(ROOT / folder))

import torch  # noqa: E402
from recorded import save_array  # noqa: E402
from torch import Tensor  # noqa: E402
from trainings import CPU, IMAGES, HostReads, job, rows, take_steps  # noqa: E402

from hybridflow.config.adversarial import LOSSES  # noqa: E402
from hybridflow.config.loading import load_settings  # noqa: E402
from hybridflow.jobs import out_of_memory  # noqa: E402
from hybridflow.models.checkpoint import read_tensors  # noqa: E402
from hybridflow.models.generators.base import Generator, bits_per_dim  # noqa: E402
from hybridflow.models.generators.registry import build_generator  # noqa: E402
from hybridflow.models.layers.batchnorm import running_statistics  # noqa: E402
from hybridflow.models.layers.precision import network_precision  # noqa: E402
from hybridflow.runtime.devices import claim_device  # noqa: E402
from hybridflow.runtime.distributed import ProcessGroup  # noqa: E402
from hybridflow.runtime.errors import UserError  # noqa: E402
from hybridflow.runtime.noise import GeneratorNoise, Noise  # noqa: E402
from hybridflow.runtime.revision import code_revision  # noqa: E402
from hybridflow.training.batches import Batches  # noqa: E402
from hybridflow.training.loop import train  # noqa: E402
from hybridflow.training.processes import train_on  # noqa: E402
from hybridflow.training.resume import ResumeState  # noqa: E402
from hybridflow.training.state import Job, State, initial_state  # noqa: E402

NO_GPU = 3
ROUNDING = 2e-3
"""By how much, relatively, twelve steps in single precision may move a line of the history when sums are ordered
differently: what tests/training/test_distributed.py allows one process and two."""


class Disagreement(Exception):
    """A check failed; the message says by how much."""


class LeftOut(Exception):
    """A check that has no meaning on this device; the message says why."""


# --- GPU against CPU: values and gradients ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Arithmetic:
    """One way to compute, and how far it may be from double precision on the CPU.

    Attributes:
        dtype: of weights and data.
        networks: of the networks, or None for ``dtype``.
        tf32: whether products and convolutions may round to TF32 (10 bits).
        limit: of the bits/dim (absolute), of samples (relative to the range of images), of gradients (relative norm).
    """

    dtype: torch.dtype
    networks: torch.dtype | None
    tf32: bool
    limit: float


ARITHMETICS = {
    "fp64": Arithmetic(torch.float64, None, False, 1e-9),
    "fp32": Arithmetic(torch.float32, None, False, 1e-3),
    "tf32": Arithmetic(torch.float32, None, True, 0.1),
    "bf16": Arithmetic(torch.float32, torch.bfloat16, True, 0.3),  # 8 bits; its rounding, not a bug, is what is allowed
}


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within the block, a GPU's single-precision products and convolutions round to TF32, or do not."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def values(model: Generator, variant: Any, device: torch.device, arithmetic: Arithmetic) -> dict[str, Tensor]:
    """Bits/dim (N,), samples (N, C, H, W) and the gradient (P,) of one model, in double precision on the CPU.

    The draws are the CPU's, whatever the device.
    """
    twin = build_generator(variant.generator, model.image_shape).to(device, arithmetic.dtype).train()
    twin.load_state_dict(model.state_dict())
    draws = GeneratorNoise(0)

    def noise(shape: Any) -> Tensor:
        return draws(shape).to(device, arithmetic.dtype)

    x = torch.from_numpy(IMAGES[:4]).to(device)
    with tf32(arithmetic.tf32), network_precision(arithmetic.networks):
        bpd = bits_per_dim(twin.log_prob(x, noise), twin.dimensions)
        bpd.mean().backward()
        with torch.no_grad(), running_statistics(twin):
            images = twin.decode(twin.draw_latents(4, noise))
    gradient = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in twin.parameters()])
    found = {"bits/dim": bpd, "samples": images, "gradients": gradient}
    return {name: value.detach().to(CPU, torch.float64) for name, value in found.items()}


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """How far results of :func:`values` are from others, each in the unit of :class:`Arithmetic`'s limit."""
    return {
        "bits/dim": float((found["bits/dim"] - expected["bits/dim"]).abs().max()),
        "samples": float((found["samples"] - expected["samples"]).abs().mean()),
        "gradients": float((found["gradients"] - expected["gradients"]).norm() / expected["gradients"].norm()),
    }


def check_values(device: torch.device) -> str:
    """Log-probability, samples and gradients of one trained model on both devices."""
    said = []
    for size, work in trainings(device).items():
        batches, state = start(work, device)
        take_steps(work, batches, state, 8, lr=1e-2 if size == "micro" else 1e-3)  # away from initial zeros
        variant = work.variant
        expected = values(state.generator, variant, CPU, ARITHMETICS["fp64"])
        for name, arithmetic in ARITHMETICS.items():
            found = differences(values(state.generator, variant, device, arithmetic), expected)
            said.append(f"{size} {name}: " + ", ".join(f"{what} {value:.1e}" for what, value in found.items()))
            if not max(found.values()) <= arithmetic.limit:  # "not": NaN fails, too
                raise Disagreement(f"{said[-1]}; at most {arithmetic.limit:g} is allowed")
    return "\n".join(said)


def trainings(device: torch.device) -> dict[str, Job]:
    """The smallest flow that has every part; on a GPU also the cpu preset's and the paper's, with 16 images a step."""
    found = {"micro": job(Path(), "baseline")}
    for size, presets in {"cpu": ["presets/cpu.yaml"], "paper": []}.items() if device.type == "cuda" else ():
        variant = load_settings(*(ROOT / name for name in ["config.yaml", *presets])).variants["baseline"]
        training = variant.training.model_copy(update={"batch_size": 16, "ema_decay": None})
        variant = variant.model_copy(update={"training": training})
        found[size] = Job(variant, 0, "", None, *(Path(),) * 4, dataset_hash="")
    return found


def start(work: Job, device: torch.device) -> tuple[Batches, State]:
    """The batches of a training and its state before the first step."""
    batches = Batches(IMAGES, work.variant.training, work.seed, device)
    return batches, initial_state(work, batches, device)


# --- GPU against CPU: training steps ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class HostDraws(ProcessGroup):
    """A process alone, whose draws are made on the CPU: the same numbers for every device."""

    def noise(self, noise: Noise) -> Noise:
        host = GeneratorNoise(noise.generator.initial_seed())
        return lambda shape: host(shape).to(noise.device)


class HostBatches(Batches):
    """Batches that are augmented on the CPU."""

    def __init__(self, work: Job, device: torch.device) -> None:
        super().__init__(IMAGES, work.variant.training, work.seed, device, HostDraws())
        self.host = Batches(IMAGES, work.variant.training, work.seed, CPU)

    def whole(self, *arguments: Any) -> Tensor:
        return self.host.whole(*arguments).to(self.images.device)


def check_steps(device: torch.device) -> str:
    """Four hybrid steps with every registered loss, and with all options, in double precision on both devices."""
    works = {f"loss {name}": job(Path(), "two-steps", adversarial={"loss": name}) for name in LOSSES}
    works |= {name: job(Path(), name) for name in ("balanced", "stabilised", "everything")}
    largest = 0.0
    for label, work in works.items():
        results = []
        initial = None
        for place in (CPU, device):
            batches = HostBatches(work, place)
            state = initial_state(work, batches, place)
            for model in state.models:
                model.double()
            initial = initial or copy.deepcopy(state.state_dict())
            state.load_state_dict(initial, place)
            metrics = take_steps(work, batches, state, 4)
            weights = {f"{i}.{name}": v for i, m in enumerate(state.models[:2]) for name, v in m.state_dict().items()}
            results.append({name: value.to(CPU, torch.float64) for name, value in (metrics | weights).items()})
        for name, value in results[0].items():
            difference = float((results[1][name] - value).abs().max() / (1 + value.abs().max()))
            largest = max(largest, difference)
            if not difference <= 1e-7:
                raise Disagreement(f"{label}: {name} differs by {difference:.1e} after four steps; at most 1e-7")
    return f"{len(works)} recipes ({', '.join(works)}): largest relative difference {largest:.1e}"


# --- what a training does to the host ---------------------------------------------------------------------------------


@contextmanager
def no_synchronisation(device: torch.device) -> Iterator[None]:
    """Within the block, a host that waits for its GPU is an error; on a CPU, one that reads a tensor's value.

    Raises:
        Disagreement: it did.
    """
    if device.type == "cpu":
        with HostReads() as reads:
            yield
        if reads.places:
            raise Disagreement(f"{len(reads.places)} reads; the first:\n{reads.places[0]}")
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        where = traceback.format_list(traceback.extract_tb(error.__traceback__)[-4:])
        raise Disagreement(f"{error}\n{''.join(where)}") from None
    finally:
        torch.cuda.set_sync_debug_mode("default")


def check_sync(device: torch.device) -> str:
    """Steps of every recipe without one host synchronisation, once warm."""
    try:
        with no_synchronisation(device):
            float(torch.ones((), device=device))
    except Disagreement:
        pass
    else:
        raise Disagreement("reading a value on the host went unnoticed: this torch does not show synchronisations")
    options = {"optimizer": {"name": "adamax"}, "gradient_clip": 1.0}
    works = {name: job(Path(), name) for name in ("baseline", "hybrid", "balanced", "stabilised", "everything")}
    works["adamax"] = job(Path(), "two-steps", **options)
    for label, work in works.items():
        batches, state = start(work, device)
        take_steps(work, batches, state, 5)  # allocations, kernels, and the permutation of the epoch of 8 steps
        try:
            with no_synchronisation(device):
                take_steps(work, batches, state, 2)
        except Disagreement as error:
            raise Disagreement(f"{label}: {error}") from None
    return f"0 synchronisations in two steps each of {', '.join(works)}"


def check_resume(device: torch.device) -> str:
    """A training that SIGTERM interrupts and that is called again, beside two that nothing disturbs."""
    with tempfile.TemporaryDirectory() as folder:
        works = [job(Path(folder) / name, "everything", epochs=0.5) for name in ("first", "second", "resumed")]
        for work in works:
            work.checkpoint.parent.mkdir()
        train(works[0], IMAGES, device)
        train(works[1], IMAGES, device)
        save = ResumeState.save

        def save_and_stop(resume: ResumeState, state: dict[str, Any], step: int) -> None:
            save(resume, state, step)
            if step == 6:
                signal.raise_signal(signal.SIGTERM)

        with mock.patch.object(ResumeState, "save", save_and_stop):
            try:
                train(works[2], IMAGES, device)
            except SystemExit:
                pass
            else:
                raise Disagreement("SIGTERM did not stop the training")
        train(works[2], IMAGES, device)
        first, second, resumed = (work.checkpoint.read_bytes() for work in works)
        if resumed == first == second:
            return "bit-identical to an undisturbed training, as two of these are to each other"
        flows = [read_tensors(work.checkpoint, "flow") for work in works]
    spread, moved = (
        max(float((other[name].double() - value.double()).abs().max()) for name, value in flows[0].items())
        for other in flows[1:]
    )
    said = f"weights differ by at most {moved:.1e}, those of two undisturbed trainings by {spread:.1e}"
    if not moved <= 10 * spread:
        raise Disagreement(f"{said}: resuming adds to it")
    return f"not bit-identical: {said}"


def check_processes(device: torch.device) -> str:
    """One training by two processes on one GPU through gloo and, with two GPUs, on both through NCCL."""
    pairs = {"gloo, one device": [device] * 2}
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        pairs["NCCL, two GPUs"] = [torch.device("cuda", index) for index in range(2)]
    said = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npy"
        save_array(images, IMAGES)
        alone = job(Path(folder) / "alone", "hybrid")
        alone.checkpoint.parent.mkdir()
        train(alone, IMAGES, device)
        expected = rows(alone.history)
        for label, devices in pairs.items():
            work = job(Path(folder) / label, "hybrid")
            work.checkpoint.parent.mkdir()
            train_on(work, images, 0, devices, threads=1)
            found = rows(work.history)
            largest = max(
                abs(ours[name] - theirs[name]) / max(abs(theirs[name]), 1e-3)
                for ours, theirs in zip(found, expected, strict=True)
                for name in theirs
            )
            said.append(f"{label}: metrics of {expected[-1]['step']} steps differ by {largest:.1e} from one process's")
            if not largest <= ROUNDING:
                raise Disagreement(f"{said[-1]}; at most {ROUNDING:g} is allowed")
    return "\n".join(said)


def check_memory(device: torch.device) -> str:
    """Out of memory: the sentence that a job ends with, and a device that works afterwards."""
    try:
        torch.empty(2**60, dtype=torch.uint8, device=device)
    except Exception as error:
        sentence = out_of_memory(error, "train_variant")
        if sentence is None:
            raise
    else:
        raise Disagreement("2^60 bytes were allocated")
    work = job(Path(), "baseline")
    batches, state = start(work, device)
    take_steps(work, batches, state, 1)
    return f"error: {sentence}"


def check_compile(device: torch.device) -> str:
    """A training with compiled networks beside one without."""
    if device.type == "cpu":
        raise LeftOut("on a CPU it takes a C++ compiler and minutes; a slow test of the suite does it")
    with tempfile.TemporaryDirectory() as folder:
        histories = []
        for compiled in (False, True):
            work = job(Path(folder) / str(compiled), "hybrid", compile=compiled)
            work.checkpoint.parent.mkdir()
            train(work, IMAGES, device)
            histories.append(rows(work.history))
    largest = max(abs(ours["bpd"] - theirs["bpd"]) / theirs["bpd"] for ours, theirs in zip(*histories, strict=True))
    if not largest <= ROUNDING:
        raise Disagreement(f"bits/dim differ by {largest:.1e}, relatively; at most {ROUNDING:g} is allowed")
    return f"bits/dim of {histories[0][-1]['step']} steps differ by {largest:.1e}"


# --- the command ------------------------------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[torch.device], str]] = {
    "values": check_values,
    "steps": check_steps,
    "sync": check_sync,
    "resume": check_resume,
    "processes": check_processes,
    "memory": check_memory,
    "compile": check_compile,
}


def machine(device: torch.device) -> str:
    """What computes, in one line."""
    versions = f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {platform.python_version()}"
    code = f"revision {code_revision()}, {versions}"
    if device.type == "cpu":
        return f"the CPU stands in for a GPU: this says nothing about a GPU ({code})"
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.total_memory / 2**30:.0f} GiB, {found.major}.{found.minor} ({code})"


def run(names: list[str], device: torch.device) -> int:
    """Runs checks and prints a paragraph for each; returns how many failed."""
    print(machine(device), flush=True)
    verdicts = []
    for name in names:
        start_time = time.monotonic()
        try:
            verdict, said = "pass", CHECKS[name](device)
        except LeftOut as error:
            verdict, said = "left out", str(error)
        except (Disagreement, UserError) as error:
            verdict, said = "FAIL", str(error)
        except Exception:
            verdict, said = "FAIL", traceback.format_exc().rstrip()
        verdicts.append(verdict)
        print(f"{verdict}  {name}  ({time.monotonic() - start_time:.1f} s)", flush=True)
        print("\n".join(f"      {line}" for line in said.splitlines()), flush=True)
    print(f"{verdicts.count('pass')} of {len(names)} checks passed", flush=True)
    return verdicts.count("FAIL")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--checks", nargs="+", choices=list(CHECKS), default=list(CHECKS))
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            "error: torch sees no NVIDIA GPU here, so nothing was checked; run this on a machine with one and with a "
            "torch for CUDA, or try the checks themselves with --device cpu.",
            file=sys.stderr,
        )
        return NO_GPU
    # For the workers of several processes, where the package is not installed
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    torch.set_num_threads(os.cpu_count() if options.device == "cuda" else 1)  # on one thread a CPU repeats its bits
    with claim_device(options.device) as device:
        return int(run(options.checks, device) > 0)


if __name__ == "__main__":
    sys.exit(main())
