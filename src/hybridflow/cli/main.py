"""The ``hybridflow`` command: what is handy beside the workflow."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hybridflow.io.files import write_error
from hybridflow.jobs import out_of_memory
from hybridflow.runtime.errors import UserError

if TYPE_CHECKING:  # torch is slow to import
    from hybridflow.config.experiment import Settings
    from hybridflow.report.results import Results

MOST_IMAGES = 10_000
"""Images in one PNG; a set of samples for measuring is the workflow's."""


def main(arguments: list[str] | None = None) -> int:
    """Runs a subcommand; a :class:`UserError` is printed as one sentence.

    Returns:
        The exit status: 1 for an error; of ``compare`` and ``check-reference`` 1 for a difference, 2 for an error.
    """
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # of a command such as `| head`, which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        message = error if isinstance(error, UserError) else out_of_memory(error, "hybridflow") or write_error(error)
        if message is None:
            raise
        print(f"error: {message}", file=sys.stderr)
        return getattr(options, "failure", 1)
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hybridflow", description="Beside the workflow: store, samples, comparisons, and what can be configured."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    status = commands.add_parser("status", help="say which results of a configuration are stored, published, missing")
    status.add_argument("--check", action="store_true", help="exit with 3 unless every result is in the store")
    status.set_defaults(run=_status)

    publish = commands.add_parser("publish", help="add new results of a configuration to DVC and push them")
    publish.add_argument("--remote", help="DVC remote to push to (default: the repository's)")
    publish.set_defaults(run=_publish)

    pull = commands.add_parser("pull", help="bring what is published of a configuration's results from DVC's remotes")
    pull.set_defaults(run=_pull)

    cards = commands.add_parser("cards", help="write a model card for every published variant of a configuration")
    cards.set_defaults(run=_cards)

    crate = commands.add_parser("crate", help="pack a finished experiment as a Workflow Run RO-Crate")
    crate.add_argument("--output", type=Path, metavar="FOLDER_OR_ZIP", help="(default: results/<experiment>.crate.zip)")
    crate.set_defaults(run=_crate)

    for command in (status, publish, pull, cards, crate):
        command.add_argument(
            "--configfile", nargs="+", type=Path, default=[], help="files over config.yaml, as given to snakemake"
        )

    sample = commands.add_parser("sample", help="draw images from a checkpoint into one PNG")
    sample.add_argument("checkpoint", type=Path)
    sample.add_argument("--n", type=int, default=64, help=f"number of images, at most {MOST_IMAGES:,} (default: 64)")
    sample.add_argument("--out", type=Path, default=Path("grid.png"), help="PNG to write (default: grid.png)")
    sample.add_argument("--columns", type=int, help="images in a row (default: 8)")
    sample.add_argument("--temperature", type=float, default=1.0, help="factor on the latents (default: 1)")
    sample.add_argument("--seed", type=int, default=0)
    sample.set_defaults(run=_sample)

    compare = commands.add_parser("compare", help="say in what two result folders differ (status 1 if they do)")
    compare.add_argument("a", type=Path, metavar="RESULTS_A")
    compare.add_argument("b", type=Path, metavar="RESULTS_B")
    compare.add_argument("--tolerance-bpd", type=float, default=0.01, help="in bits/dim (default: 0.01)")
    compare.add_argument(
        "--tolerance-distance", type=float, default=0.02, help="share of the larger Frechet distance (default: 0.02)"
    )
    compare.add_argument("--common", action="store_true", help="only the models (variant and seed) that both have")
    compare.add_argument("--details", "-v", action="store_true", help="print every number and circumstance")
    compare.set_defaults(run=_compare, failure=2)

    names = commands.add_parser("list", help="print the generators, discriminators, losses and metrics one can name")
    names.set_defaults(run=_list)

    for command in (sample, names):
        command.add_argument(
            "--extension",
            nargs="+",
            default=[],
            metavar="FILE.py",
            help="files that register more, as under `extensions`",
        )

    reference = commands.add_parser(
        "check-reference", help="compare a model with numbers of the published implementation (status 1 if they differ)"
    )
    reference.add_argument("file", type=Path, metavar="FILE.npz")
    reference.set_defaults(run=_check_reference, failure=2)
    return parser


def _settings(options: argparse.Namespace) -> tuple[Settings, str]:
    """The configured experiment, and the content hash of its dataset."""
    from hybridflow.config.loading import load_settings
    from hybridflow.data.fingerprint import content_hash

    settings = load_settings("config.yaml", *options.configfile)
    return settings, content_hash(settings.dataset, Path("resources/folder-fingerprint.json"))


def _entries(options: argparse.Namespace) -> tuple[str, list]:
    """The configured experiment, and the entries of the store that it needs."""
    from hybridflow.store.entries import expected_entries

    settings, dataset_hash = _settings(options)
    return settings.experiment, list(expected_entries(settings, dataset_hash))


def _status(options: argparse.Namespace) -> int:
    from hybridflow.store.entries import status_lines

    experiment, entries = _entries(options)
    files = " ".join(map(str, options.configfile))
    print(f"experiment {experiment!r} ({f'config.yaml with {files}' if files else 'config.yaml'})")
    print(*status_lines(entries), sep="\n")
    if not files and not any(entry.stored for entry in entries):
        print("for a preset: hybridflow status --configfile presets/cpu.yaml")
    if any(entry.damaged_notes for entry in entries):
        return 1
    return 3 if options.check and not all(entry.stored for entry in entries) else 0


def _publish(options: argparse.Namespace) -> int:
    from hybridflow.cli.publish import publish

    publish(_entries(options)[1], options.remote)
    return 0


def _pull(options: argparse.Namespace) -> int:
    from hybridflow.cli.publish import pull

    pull(_entries(options)[1])
    return 0


def _results(options: argparse.Namespace) -> tuple[Results, str]:
    """The results of the configured experiment, and the content hash of its dataset."""
    from hybridflow.report.results import read_results

    settings, dataset_hash = _settings(options)
    return read_results(Path("results", settings.experiment), settings, dataset_hash), dataset_hash


def _cards(options: argparse.Namespace) -> int:
    from hybridflow.report.cards import write_cards

    results, dataset_hash = _results(options)
    written = write_cards(results, dataset_hash, options.configfile)
    print(*written, sep="\n")
    left = set(results.settings.variants) - {path.name.removesuffix(".md") for path in written}
    if left:
        print(f"no card, because not every seed is published: {', '.join(sorted(left))}", file=sys.stderr)
    return 0


def _crate(options: argparse.Namespace) -> int:
    from hybridflow.report.crate import write_crate

    results, dataset_hash = _results(options)
    output = options.output or Path("results", f"{results.settings.experiment}.crate.zip")
    write_crate(output, results, dataset_hash, options.configfile)
    print(output)
    return 0


def _sample(options: argparse.Namespace) -> int:
    _check_sample_options(options)
    columns = options.columns or min(8, options.n)

    import numpy as np

    from hybridflow.config.loading import load_extensions
    from hybridflow.evaluation.sampling import image_grid, sample_images, save_png
    from hybridflow.models.checkpoint import load_generator
    from hybridflow.runtime.devices import claim_device
    from hybridflow.runtime.progress import Progress

    load_extensions(tuple(options.extension))
    with claim_device("auto") as device, Progress(options.n, "sample", " images") as progress:
        generator, _ = load_generator(options.checkpoint, device)
        parts = []
        for start in range(0, options.n, 64):
            indices = range(start, min(start + 64, options.n))
            parts.append(sample_images(generator, indices, options.seed, options.temperature, device))
            progress.update(len(indices))
    save_png(options.out, image_grid(np.concatenate(parts), columns), scale=4)
    print(options.out)
    return 0


def _check_sample_options(options: argparse.Namespace) -> None:
    """Refuses bad values before anything is computed.

    Raises:
        UserError: with the option's name.
    """
    if not 1 <= options.n <= MOST_IMAGES:
        raise UserError(f"--n is {options.n}, but must be from 1 to {MOST_IMAGES}.")
    if options.columns is not None and not 1 <= options.columns <= options.n:
        raise UserError(f"--columns is {options.columns}, but must be from 1 to --n ({options.n}).")
    if not (math.isfinite(options.temperature) and options.temperature > 0):
        raise UserError(f"--temperature is {options.temperature:g}, but must be a number above 0.")
    if options.out.suffix.lower() != ".png":
        raise UserError(f"--out is {options.out}, but the image is written as PNG; give a name that ends in .png.")
    if options.out.is_dir() or not options.out.absolute().parent.is_dir():
        raise UserError(f"--out is {options.out}, which is a folder or lies in a folder that is not there.")
    if options.checkpoint.exists() and not _may_be_checkpoint(options.checkpoint):
        raise UserError(
            f"{options.checkpoint} is not a checkpoint of this workflow, which are .safetensors files such as "
            "results/<experiment>/<variant>/seed<n>/checkpoint.safetensors. It is as it was. Published DenseFlow "
            "weights can be loaded in Python: docs/own-weights.md."
        )


def _may_be_checkpoint(path: Path) -> bool:
    """By the name, which a damaged one still has, or by the start: a length of 8 bytes and JSON."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _compare(options: argparse.Namespace) -> int:
    from hybridflow.report.compare import Tolerances, compare_results

    tolerances = Tolerances(options.tolerance_bpd, options.tolerance_distance)
    found = compare_results(options.a, options.b, tolerances, common=options.common)
    if options.details:
        print(f"A: {options.a}", f"B: {options.b}", *found.lines, sep="\n")
    elif found.differences:
        print(f"A: {options.a}", f"B: {options.b}", *(f"DIFFERENT {line}" for line in found.differences), sep="\n")
    print(found.summary)
    return 1 if found.differences else 0


def _list(options: argparse.Namespace) -> int:
    from hybridflow.cli.listing import listing
    from hybridflow.config.loading import load_extensions

    load_extensions(tuple(options.extension))
    print(*listing(), sep="\n")
    return 0


def _check_reference(options: argparse.Namespace) -> int:
    from hybridflow.cli.reference import check_reference

    return 0 if check_reference(options.file) else 1


if __name__ == "__main__":
    sys.exit(main())
