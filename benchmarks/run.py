"""Speed and memory of everything that takes long, beside the machine's own matrix-product rate.

    python benchmarks/run.py                          every row, at the paper's size and the cpu preset's
    python benchmarks/run.py --size cpu --rows train-baseline sample
    python benchmarks/run.py --compile                likelihood steps with compiled networks too (minutes of compiling)
    python benchmarks/run.py --returned               rows whose freed memory goes back to the system, as by default
    python benchmarks/run.py --against OLD.json       a column with the ratio to an earlier run

Every row runs in a process of its own. Within it the work and a plain matrix product of the same precision take turns,
so that whatever else the machine does slows both; a row shows the median of the rates and of their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SIZES = {"paper": ([], 8), "cpu": ([ROOT / "presets" / "cpu.yaml"], None)}  # config files, images per batch
TRAIN = "train-"  # then the name of a variant
MATRIX = 1024  # side of the matrices of the yardstick


@dataclass
class Row:
    """What one measurement needs: the work on one batch, and how many images that is."""

    work: Callable[[], Any]
    images: int
    saved: Callable[[], int] | None = None  # bytes of saved activations for the batch


def saved_bytes(work: Callable[[], Any], models: list[Any]) -> int:
    """Bytes of all tensors that autograd keeps of ``work`` for its backward pass, parameters left out."""
    import torch

    own = {parameter.untyped_storage().data_ptr() for model in models for parameter in model.parameters()}
    bytes_of: dict[int, int] = {}
    kept = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            bytes_of[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)  # or an address could be used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        work()
    return sum(bytes_of.values())


def generated_logits(flow: Any, discriminator: Any, latents: Any) -> Any:
    """The forward pass of the adversarial loss, as a training step computes it."""
    from hybridflow.models.discriminators.inputs import discriminator_input, straight_through_levels
    from hybridflow.models.layers.batchnorm import running_statistics
    from hybridflow.models.layers.precision import run_network

    with running_statistics(flow):
        return run_network(discriminator, discriminator_input(straight_through_levels(flow.decode(latents))))


def build(name: str, size: str, precision: str, device: str, mode: str, batch: int | None = None) -> Row:
    """Builds the models and data of one row. Imports torch: only the row's own process does."""
    import numpy as np
    import torch

    from hybridflow.config.loading import load_settings
    from hybridflow.evaluation.extractors.cifar_classifier import ClassifierExtractor
    from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
    from hybridflow.evaluation.metrics.frechet import MomentAccumulator, frechet_distance
    from hybridflow.evaluation.sampling import sample_images
    from hybridflow.models.generators.base import bits_per_dim
    from hybridflow.models.layers.checkpointing import network_checkpointing
    from hybridflow.models.layers.compiling import compile_networks
    from hybridflow.models.layers.precision import network_precision
    from hybridflow.runtime.noise import GeneratorNoise
    from hybridflow.training.batches import Batches
    from hybridflow.training.loop import NETWORK_DTYPES
    from hybridflow.training.state import Job, initial_state
    from hybridflow.training.step import training_step

    settings = load_settings(ROOT / "config.yaml", *SIZES[size][0])
    target = torch.device(device)
    images = np.random.default_rng(0).integers(0, 256, (2048, 3, 32, 32), dtype=np.uint8)
    trains = name.startswith(TRAIN)
    variant = settings.variants[name.removeprefix(TRAIN) if trains else "baseline"]
    variant = variant.model_copy(update={"init_from": None})
    batch = batch or SIZES[size][1] or variant.training.batch_size
    training = variant.training.model_copy(update={"batch_size": batch, "precision": precision})
    variant = variant.model_copy(update={"training": training})
    batches = Batches(images, training, 0, target)

    if name == "feed":
        return Row(lambda: [batches.training(step) for step in range(50)], 50 * batch)
    if name == "features":
        extractor = ClassifierExtractor(CifarClassifier(64), target)
        x = torch.from_numpy(images[:250]).to(target)
        return Row(lambda: extractor(x), len(x))
    if name == "features-inception":
        from hybridflow.evaluation.extractors.inception import load_inception

        sys.path.append(str(ROOT / "tests" / "helpers"))
        from standin import write_random_inception  # the time does not depend on the weights

        with tempfile.TemporaryDirectory() as folder:
            write_random_inception(Path(folder) / "random.pth")
            inception = load_inception(Path(folder) / "random.pth", target)
        x = torch.from_numpy(images[:50]).to(target)
        return Row(lambda: inception(x), len(x))
    if name == "frechet":
        features = np.random.default_rng(1).standard_normal((4096, 2048))
        moments = []
        for part in (features[:2048], features[2048:]):
            accumulator = MomentAccumulator()
            accumulator.update(part)
            moments.append(accumulator.moments())
        return Row(lambda: frechet_distance(*moments), 1)

    state = initial_state(Job(variant, 0, "", None, *(Path(),) * 4, dataset_hash=""), batches, target)
    flow = state.generator
    if state.discriminator is not None:
        state.step = variant.adversarial.warmup_steps  # after which both models learn
    if mode == "compile":
        compile_networks(flow)
    checkpointing = mode == "checkpointing"
    if trains:

        def train() -> None:
            with network_precision(NETWORK_DTYPES[precision]), network_checkpointing(checkpointing):
                training_step(state, batches, variant, 1e-5, 0)

        def saved() -> int:
            with network_precision(NETWORK_DTYPES[precision]), network_checkpointing(checkpointing):
                x, noise = batches.training(0), GeneratorNoise(0, target)
                passes = [lambda: bits_per_dim(flow.log_prob(x, noise), flow.dimensions)]
                if state.discriminator is not None:
                    passes.append(lambda: generated_logits(flow, state.discriminator, flow.draw_latents(batch, noise)))
                models = [flow, *([state.discriminator] if state.discriminator is not None else [])]
                # The two are differentiated one after the other: what counts is the larger.
                return max(saved_bytes(work, models) for work in passes)

        return Row(train, batch, saved)
    flow.eval()
    if name == "sample":

        def sample() -> None:
            with network_precision(NETWORK_DTYPES[precision]):
                sample_images(flow, range(batch), 0, 1.0, target)

        return Row(sample, batch)
    x = batches.training(0)
    with torch.no_grad():
        condition = flow.condition(x)

    def bound() -> None:
        with torch.no_grad(), network_precision(NETWORK_DTYPES[precision]):
            flow.log_prob(x, GeneratorNoise(0, target), condition)

    return Row(bound, batch)


MODES = {"plain": "", "checkpointing": ", checkpointing", "compile": ", compiled", "returned": ", memory returned"}
FIXED = ("features", "features-inception", "frechet", "feed")  # neither size nor precision changes these
ROWS = ("train-baseline", "train-dcgan-0.5", "train-resnet18-0.5", "sample", "bound", *FIXED)


def measure(
    name: str,
    size: str,
    precision: str,
    device: str,
    threads: int,
    rounds: int,
    mode: str,
    batch: int | None = None,
) -> dict[str, Any]:
    """One row: rates, counted operations, memory."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from hybridflow.runtime.allocator import keep_freed_memory

    if device == "cpu" and mode != "returned":
        keep_freed_memory()  # as every job does
    torch.set_num_threads(threads)
    row = build(name, size, precision, device, mode, batch)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a = torch.randn(MATRIX, MATRIX, device=device).to(dtype)

    def timed(work: Callable[[], Any]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    with FlopCounterMode(display=False) as counter:
        row.work()
    flop = counter.get_total_flops()
    first = timed(row.work)  # torch compiles nothing while operations are counted
    products = max(1, int(0.5 * 50e9 / MATRIX**3))
    rates, fractions, matrix_rates = [], [], []
    for _ in range(rounds):
        seconds = timed(row.work)
        matrix_rate = products * 2 * MATRIX**3 / timed(lambda: [a @ a for _ in range(products)])
        rates.append(row.images / seconds)
        matrix_rates.append(matrix_rate)
        fractions.append(flop / seconds / matrix_rate)
    result = {
        "row": name,
        "size": size,
        "precision": precision,
        "mode": mode,
        "first_seconds": first,
        "batch": row.images,
        "images_per_second": statistics.median(rates),
        "gflop_per_image": flop / row.images / 1e9,
        "gflop_per_second": statistics.median(rates) * flop / row.images / 1e9,
        "matrix_gflop_per_second": statistics.median(matrix_rates) / 1e9,
        "fraction_of_matrix_rate": statistics.median(fractions),
        "saved_mb_per_image": row.saved() / row.images / 1e6 if row.saved else None,
    }
    if device == "cuda":
        result["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
    else:
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return result


def to_markdown(results: list[dict[str, Any]], earlier: list[dict[str, Any]], machine: str) -> str:
    """The results as a table; with earlier results, a column with the ratio of images/s."""
    head = ["row", "size", "precision", "batch", "images/s", "GFLOP/image", "GFLOP/s", "matrix GFLOP/s"]
    head += ["of matrix rate", "saved MB/image", "peak MB"] + (["images/s, ratio to before"] if earlier else [])
    identity = ("row", "size", "precision", "mode")
    before = {tuple(entry[k] for k in identity): entry["images_per_second"] for entry in earlier}
    lines = [machine, "", "| " + " | ".join(head) + " |", "|" + "---|" * 3 + "--:|" * (len(head) - 3)]
    for entry in results:
        name = entry["row"] + MODES[entry["mode"]]
        saved = entry["saved_mb_per_image"]
        cells = [name, entry["size"], entry["precision"], str(entry["batch"]), f"{entry['images_per_second']:.3g}"]
        cells += [f"{entry['gflop_per_image']:.3g}", f"{entry['gflop_per_second']:.3g}"]
        cells += [f"{entry['matrix_gflop_per_second']:.0f}"]
        cells += [f"{entry['fraction_of_matrix_rate']:.2f}", "–" if saved is None else f"{saved:.1f}"]
        cells += [f"{entry['peak_mb']:.0f}"]
        if earlier:
            old = before.get(tuple(entry[k] for k in identity))
            cells.append("–" if old is None else f"{entry['images_per_second'] / old:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[*SIZES, "both"], default="both")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help=f"{', '.join(ROWS)}, train-VARIANT")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5, help="measurements per row (default: 5)")
    parser.add_argument("--batch", type=int, help="images per batch (default: 8 paper, the variant's own cpu)")
    parser.add_argument("--compile", action="store_true", help="rows with compiled networks too")
    parser.add_argument("--returned", action="store_true", help="every row also without keeping freed memory")
    parser.add_argument("--against", type=Path, help="JSON of an earlier run")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="writes OUT.json and OUT.md")
    parser.add_argument("--one", nargs=4, metavar=("ROW", "SIZE", "PRECISION", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        row, size, precision, mode = options.one
        print(
            json.dumps(
                measure(
                    row,
                    size,
                    precision,
                    options.device,
                    options.threads,
                    options.rounds,
                    mode,
                    options.batch,
                )
            )
        )
        return 0
    sizes = list(SIZES) if options.size == "both" else [options.size]
    results = []
    for size in sizes:
        for row in options.rows:
            fixed = row in FIXED
            if fixed and size != sizes[-1]:
                continue
            for precision in ["fp32"] if fixed else options.precision:
                modes = ["plain", *(["returned"] if options.returned else [])]
                if row == "train-baseline":  # these concern the flow alone: one kind of step shows them
                    modes += ["checkpointing", *(["compile"] if options.compile else [])]
                for mode in modes:
                    one = ["--one", row, size, precision, mode]
                    base = [sys.executable, __file__, "--device", options.device, "--threads", str(options.threads)]
                    base += ["--rounds", str(options.rounds)]
                    base += ["--batch", str(options.batch)] if options.batch else []
                    done = subprocess.run([*base, *one], stdout=subprocess.PIPE, text=True, check=True)
                    results.append(json.loads(done.stdout.splitlines()[-1]))
                    print(results[-1], file=sys.stderr, flush=True)
    earlier = json.loads(options.against.read_text())["results"] if options.against else []
    import torch

    machine = f"{platform.machine()}, {options.threads} threads, {options.device}, torch {torch.__version__}"
    options.out.with_suffix(".json").write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    table = to_markdown(results, earlier, machine)
    options.out.with_suffix(".md").write_text(table)
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
