"""Speed and memory of everything that takes long, beside the machine's own matrix-product rate.

    python benchmarks/run.py --out benchmarks/results  every row, at the paper's size and the cpu preset's, kept
    python benchmarks/run.py --size cpu --rows train-baseline sample
    python benchmarks/run.py --compile                likelihood steps with compiled networks too (minutes of compiling)
    python benchmarks/run.py --returned               rows whose freed memory goes back to the system, as by default
    python benchmarks/run.py --gpu                    on a GPU: all precisions and modes, into benchmarks/gpu.md
    python benchmarks/run.py --against OLD.json       a column with the ratio to an earlier run

Every row runs in a process of its own. Within it the work and a plain matrix product of the same precision take turns,
so that whatever else the machine does slows both; a row shows the median of the rates and of their ratios. A row that
fails says why, and the others go on.
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
SIZES = {"paper": [], "cpu": ["presets/cpu.yaml"], "gpu-hour": ["presets/gpu-hour.yaml"]}  # files over config.yaml
TRAIN = "train-"  # then the name of a variant
MATRIX = {"cpu": 1024, "cuda": 8192}  # side of the matrices of the yardstick


@dataclass
class Row:
    """What one measurement needs: the work on one batch, and how many images that is."""

    work: Callable[[], Any]
    images: int
    saved: Callable[[], int] | None = None  # bytes of saved activations for the batch
    counted: Callable[[], Any] | None = None  # the same work in plain operations, where ``work`` has none to count


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


def captured(train: Callable[[], None], state: Any, batches: Any) -> Callable[[], None]:
    """A training step as one CUDA graph: its kernels are launched together.

    A graph repeats what it recorded, so the batch and the learning rate are always the same, and the draws come from
    torch's own generator: the generators that a step makes from its number could not be recorded. Good for timing, not
    for training.
    """
    import torch

    from hybridflow.training import step

    step.GeneratorNoise = lambda seed, device: lambda shape: torch.randn(tuple(shape), device=device)
    images = batches.whole(0)
    batches.whole = lambda *arguments: images
    for optimizer in filter(None, (state.generator_optimizer, state.discriminator_optimizer)):
        for group in optimizer.param_groups:
            group["capturable"] = True
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            train()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        train()
    return graph.replay


def kernels(work: Callable[[], Any]) -> dict[str, int]:
    """What torch's profiler sees of ``work``: kernels on the GPU, and how often the host launched something."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    events = profiler.key_averages()
    on_gpu = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA and not e.key.startswith("Mem")]
    launches = [e for e in events if e.key.startswith(("cudaLaunch", "cuLaunch", "cudaGraphLaunch"))]
    return {"kernels": sum(e.count for e in on_gpu), "host_launches": sum(e.count for e in launches)}


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

    if mode == "contiguous":
        torch.channels_last = torch.contiguous_format  # what the package asks for by that name
    if mode == "reduce-overhead":
        torch._inductor.config.triton.cudagraphs = True  # what torch.compile's mode of that name sets
    networks = NETWORK_DTYPES.get(precision)
    settings = load_settings(*(ROOT / path for path in ["config.yaml", *SIZES[size]]))
    target = torch.device(device)
    trains = name.startswith(TRAIN)
    variant = settings.variants[name.removeprefix(TRAIN) if trains else "baseline"]
    variant = variant.model_copy(update={"init_from": None})
    batch = batch or (8 if size == "paper" and device == "cpu" else variant.training.batch_size)
    images = np.random.default_rng(0).integers(0, 256, (max(2048, batch), 3, 32, 32), dtype=np.uint8)
    training = variant.training.model_copy(update={"batch_size": batch})
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
    if mode in ("compile", "reduce-overhead"):
        compile_networks(flow)
    checkpointing = mode == "checkpointing"
    if trains:

        def train() -> None:
            with network_precision(networks), network_checkpointing(checkpointing):
                training_step(state, batches, variant, 1e-5, 0)

        def saved() -> int:
            with network_precision(networks), network_checkpointing(checkpointing):
                x, noise = batches.training(0), GeneratorNoise(0, target)
                passes = [lambda: bits_per_dim(flow.log_prob(x, noise), flow.dimensions)]
                if state.discriminator is not None:
                    passes.append(lambda: generated_logits(flow, state.discriminator, flow.draw_latents(batch, noise)))
                models = [flow, *([state.discriminator] if state.discriminator is not None else [])]
                # The two are differentiated one after the other: what counts is the larger.
                return max(saved_bytes(work, models) for work in passes)

        if mode == "graph":
            return Row(captured(train, state, batches), batch, counted=train)
        return Row(train, batch, saved)
    flow.eval()
    if name == "sample":

        def sample() -> None:
            with network_precision(networks):
                sample_images(flow, range(batch), 0, 1.0, target)

        return Row(sample, batch)
    x = batches.training(0)
    with torch.no_grad():
        condition = flow.condition(x)

    def bound() -> None:
        with torch.no_grad(), network_precision(networks):
            flow.log_prob(x, GeneratorNoise(0, target), condition)

    return Row(bound, batch)


MODES = {
    "plain": "",
    "checkpointing": ", checkpointing",
    "compile": ", compiled",
    "reduce-overhead": ", compiled with CUDA graphs",
    "graph": ", step as a CUDA graph",
    "contiguous": ", not channels-last",
    "returned": ", memory returned",
}
FIXED = ("features", "features-inception", "frechet", "feed")  # neither size nor precision changes these
ROWS = ("train-baseline", "train-dcgan-0.5", "train-resnet18-0.5", "sample", "bound", *FIXED)


def modes_of(row: str, options: argparse.Namespace) -> list[str]:
    """The modes of a row that the options ask for."""
    modes = ["plain", *(["returned"] if options.returned else [])]
    if options.gpu and row not in FIXED:
        modes += ["contiguous", "compile", "reduce-overhead"]
        modes += ["checkpointing", "graph"] if row.startswith(TRAIN) else []
    elif row == "train-baseline":  # these concern the flow alone: one kind of step shows them
        modes += ["checkpointing", *(["compile"] if options.compile else [])]
    return modes


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
    from count import counts

    from hybridflow.runtime.allocator import keep_freed_memory

    if device == "cpu" and mode != "returned":
        keep_freed_memory()  # as every job does
    torch.set_num_threads(threads)
    if precision != "bf16":  # with which the rest computes as torch does by default
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    row = build(name, size, precision, device, mode, batch)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    side = MATRIX[device]
    a = torch.randn(side, side, device=device).to(dtype)

    def timed(work: Callable[[], Any]) -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    counted = counts(row.counted or row.work, row.images)
    flop = counted.flop_per_image * row.images
    first = timed(row.work)  # torch compiles nothing while operations are counted
    products = max(10 if device == "cuda" else 1, int(0.5 * 50e9 / side**3))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    rates, fractions, matrix_rates = [], [], []
    for _ in range(rounds):
        seconds = timed(row.work)
        matrix_rate = products * 2 * side**3 / timed(lambda: [a @ a for _ in range(products)])
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
        "operations": counted.launches,
    }
    if device == "cuda":
        result["peak_mb"] = torch.cuda.max_memory_allocated() / 1e6
        result |= kernels(row.work)
    else:
        result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    result["saved_mb_per_image"] = row.saved() / row.images / 1e6 if row.saved else None
    return result


def to_markdown(results: list[dict[str, Any]], earlier: list[dict[str, Any]], machine: str) -> str:
    """The results as a table; with earlier results, a column with the ratio of images/s."""
    head = ["row", "size", "precision", "batch", "images/s", "GFLOP/image", "GFLOP/s", "matrix GFLOP/s"]
    head += ["of matrix rate", "saved MB/image", "peak MB", "operations", "kernels", "host launches"]
    head += ["images/s, ratio to before"] if earlier else []
    identity = ("row", "size", "precision", "mode")
    before = {tuple(entry[k] for k in identity): entry.get("images_per_second") for entry in earlier}
    lines = [machine, "", "| " + " | ".join(head) + " |", "|" + "---|" * 3 + "--:|" * (len(head) - 3)]
    for entry in results:
        name = entry["row"] + MODES[entry["mode"]]
        if "error" in entry:
            lines.append(f"| {name} | {entry['size']} | {entry['precision']} | failed: {entry['error']} |")
            continue
        saved = entry["saved_mb_per_image"]
        cells = [name, entry["size"], entry["precision"], str(entry["batch"]), f"{entry['images_per_second']:.3g}"]
        cells += [f"{entry['gflop_per_image']:.3g}", f"{entry['gflop_per_second']:.3g}"]
        cells += [f"{entry['matrix_gflop_per_second']:.0f}"]
        cells += [f"{entry['fraction_of_matrix_rate']:.2f}", "–" if saved is None else f"{saved:.1f}"]
        cells += [f"{entry['peak_mb']:.0f}"]
        cells += [str(entry.get(key, "–")) for key in ("operations", "kernels", "host_launches")]
        if earlier:
            old = before.get(tuple(entry[k] for k in identity))
            cells.append("–" if old is None else f"{entry['images_per_second'] / old:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=[*SIZES, "both"], default="both")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), help=f"{', '.join(ROWS)}, train-VARIANT")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "tf32", "bf16"], default=["fp32"])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5, help="measurements per row (default: 5)")
    parser.add_argument("--batch", type=int, help="images per batch (default: the variant's own; 8 for paper on a CPU)")
    parser.add_argument("--compile", action="store_true", help="rows with compiled networks too")
    parser.add_argument("--gpu", action="store_true", help="on a GPU: every precision, and every mode of a row")
    parser.add_argument("--returned", action="store_true", help="every row also without keeping freed memory")
    parser.add_argument("--against", type=Path, help="JSON of an earlier run")
    parser.add_argument("--out", type=Path, help="also writes OUT.json and OUT.md (with --gpu: benchmarks/gpu)")
    parser.add_argument("--one", nargs=4, metavar=("ROW", "SIZE", "PRECISION", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.gpu:
        options.device, options.precision = "cuda", ["fp32", "tf32", "bf16"]
        options.out = options.out or Path("benchmarks/gpu")
    if options.device == "cpu" and "tf32" in options.precision:
        parser.error("tf32 is a precision of GPUs; use --device cuda")
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print("error: torch sees no NVIDIA GPU here, so nothing was measured.", file=sys.stderr)
            return 3
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
    sizes = ["paper", "cpu"] if options.size == "both" else [options.size]
    results = []
    for size in sizes:
        for row in options.rows:
            fixed = row in FIXED
            if fixed and size != sizes[-1]:
                continue
            for precision in ["fp32"] if fixed else options.precision:
                for mode in modes_of(row, options):
                    one = ["--one", row, size, precision, mode]
                    base = [sys.executable, __file__, "--device", options.device, "--threads", str(options.threads)]
                    base += ["--rounds", str(options.rounds)]
                    base += ["--batch", str(options.batch)] if options.batch else []
                    done = subprocess.run([*base, *one], capture_output=True, text=True)
                    if done.returncode:
                        print(done.stderr, file=sys.stderr)
                        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1].replace("|", "/")
                        results.append(dict(zip(("row", "size", "precision", "mode"), one[1:], strict=True)))
                        results[-1]["error"] = said
                    else:
                        results.append(json.loads(done.stdout.splitlines()[-1]))
                    print(results[-1], file=sys.stderr, flush=True)
    earlier = json.loads(options.against.read_text())["results"] if options.against else []
    import torch

    machine = f"{platform.machine()}, {options.threads} threads, {options.device}, torch {torch.__version__}"
    table = to_markdown(results, earlier, machine)
    if options.out:
        content = {"machine": machine, "results": results}
        options.out.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(table)
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
