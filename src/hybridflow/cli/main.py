"""The ``hybridflow`` command: what is handy beside the workflow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hybridflow.io.disk_errors import disk_error
from hybridflow.runtime.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand; a :class:`UserError` is printed as one sentence, status 1 (of ``compare``: 2)."""
    parser = argparse.ArgumentParser(
        prog="hybridflow", description="Beside the workflow: store, samples and comparisons."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    status = commands.add_parser("status", help="say which results of a configuration are stored, published, missing")
    status.set_defaults(run=_status)

    publish = commands.add_parser("publish", help="add new results of a configuration to DVC and push them")
    publish.add_argument("--remote", help="DVC remote to push to (default: the repository's)")
    publish.set_defaults(run=_publish)

    for command in (status, publish):
        command.add_argument(
            "--configfile", nargs="+", type=Path, default=[], help="files over config.yaml, as given to snakemake"
        )

    sample = commands.add_parser("sample", help="draw images from a checkpoint into one PNG")
    sample.add_argument("checkpoint", type=Path)
    sample.add_argument("--n", type=int, default=64, help="number of images (default: 64)")
    sample.add_argument("--out", type=Path, default=Path("grid.png"), help="PNG to write (default: grid.png)")
    sample.add_argument("--columns", type=int, default=8)
    sample.add_argument("--temperature", type=float, default=1.0)
    sample.add_argument("--seed", type=int, default=0)
    sample.set_defaults(run=_sample)

    compare = commands.add_parser("compare", help="say in what two result folders differ (status 1 if they do)")
    compare.add_argument("a", type=Path, metavar="RESULTS_A")
    compare.add_argument("b", type=Path, metavar="RESULTS_B")
    compare.add_argument("--tolerance-bpd", type=float, default=0.01, help="in bits/dim (default: 0.01)")
    compare.add_argument(
        "--tolerance-distance", type=float, default=0.02, help="share of the larger Frechet distance (default: 0.02)"
    )
    compare.add_argument("--details", "-v", action="store_true", help="print every number and circumstance")
    compare.set_defaults(run=_compare, failure=2)

    options = parser.parse_args(arguments)
    try:
        return options.run(options)
    except (UserError, OSError) as error:
        told = error if isinstance(error, UserError) else disk_error(error)
        if told is None:
            raise
        print(f"error: {told}", file=sys.stderr)
        return getattr(options, "failure", 1)
    except KeyboardInterrupt:
        return 130


def _entries(options: argparse.Namespace) -> list:
    from hybridflow.config.experiment import load_settings
    from hybridflow.data.fingerprint import content_hash
    from hybridflow.store.entries import expected_entries

    settings = load_settings("config.yaml", *options.configfile)
    dataset_hash = content_hash(settings.dataset, Path("resources/folder-fingerprint.json"))
    return list(expected_entries(settings, dataset_hash))


def _status(options: argparse.Namespace) -> int:
    from hybridflow.store.entries import status_lines

    entries = _entries(options)
    print(*status_lines(entries), sep="\n")
    return 0 if all(entry.stored for entry in entries) else 3


def _publish(options: argparse.Namespace) -> int:
    from hybridflow.cli.publish import publish

    publish(_entries(options), options.remote)
    return 0


def _sample(options: argparse.Namespace) -> int:
    for name in ("n", "columns"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} is {getattr(options, name)}, but must be at least 1.")
    if options.temperature <= 0:
        raise UserError(f"--temperature is {options.temperature:g}, but must be above 0.")

    import numpy as np

    from hybridflow.evaluation.sampling import image_grid, sample_images, save_png
    from hybridflow.models.checkpoint import load_flow
    from hybridflow.runtime.devices import claim_device
    from hybridflow.runtime.progress import Progress

    with claim_device("auto") as device, Progress(options.n, "sample", " images") as progress:
        flow, _ = load_flow(options.checkpoint, device)
        parts = []
        for start in range(0, options.n, 64):
            indices = range(start, min(start + 64, options.n))
            parts.append(sample_images(flow, indices, options.seed, options.temperature, device))
            progress.update(len(indices))
    save_png(options.out, image_grid(np.concatenate(parts), options.columns), scale=4)
    print(options.out)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from hybridflow.report.compare import Tolerances, compare_results

    tolerances = Tolerances(options.tolerance_bpd, options.tolerance_distance)
    found = compare_results(options.a, options.b, tolerances)
    if options.details:
        print(f"A: {options.a}", f"B: {options.b}", *found.lines, sep="\n")
    elif found.differences:
        print(f"A: {options.a}", f"B: {options.b}", *(f"DIFFERENT {line}" for line in found.differences), sep="\n")
    print(found.summary)
    return 1 if found.differences else 0


if __name__ == "__main__":
    sys.exit(main())
