"""Damages every kind of file that the pipeline keeps, at random places, and looks what its readers do.

    PYTHONPATH=src:tests python -m faults.corruptions --trials 20 --write docs/corruptions.md

A reader may refuse the damaged file in a sentence (detected), go on from something older or compute anew and say so
(rebuilt), or return what was written, because the place means nothing (harmless). It must never return anything else.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tiny import TINY_FLOW

from hybridflow.config.data import DatasetSettings
from hybridflow.config.evaluation import CifarClassifierSettings, InceptionSettings
from hybridflow.data.cifar10.layout import SPLITS, Cifar10Layout
from hybridflow.data.images import load_images, load_labels
from hybridflow.data.prepare import prepare_dataset
from hybridflow.evaluation.extractors.cifar_classifier import CifarClassifier, load_classifier, save_classifier
from hybridflow.evaluation.extractors.inception import check_weights
from hybridflow.evaluation.metrics.frechet import Moments, load_moments, save_moments
from hybridflow.io import line_checksums as seal
from hybridflow.io import resumable_array as growing
from hybridflow.io.content_hash import array_sha256, digest
from hybridflow.io.files import write_note
from hybridflow.models.checkpoint import (
    check_content,
    check_key,
    load_flow,
    save_checkpoint,
)
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.report.histories import read_whole_history
from hybridflow.report.results import Measurement, read_record
from hybridflow.report.tables.paired import load_bpd
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.training.resume import ResumeState

KEY = "0123456789ab"
METADATA = {"key": KEY, "variant": "baseline", "seed": 0, "steps": 30, "flow": TINY_FLOW.model_dump(mode="json")}
DAMAGES = ("bit", "bits", "cut", "zeros")


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: in words.
        path: the file.
        read: what the pipeline does with it; returns a hash of what it would go on with.
        restore: brings back what a trial changed beside the file.
        rebuilds: part of the line that says that the file was done without.
    """

    name: str
    path: Path
    read: Callable[[], str]
    restore: Callable[[], None] = lambda: None
    rebuilds: str | None = None


@dataclass
class Count:
    """What came out for one kind."""

    outcomes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)


def damage(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A changed copy of a file's content, and what was done to it."""
    how = rng.choice(DAMAGES)
    changed = bytearray(content)
    if how == "cut":
        return how, bytes(changed[: rng.randrange(len(changed))])
    if how == "zeros":  # a lost sector
        start = rng.randrange(len(changed))
        changed[start : start + 512] = bytes(len(changed[start : start + 512]))
    else:
        for _ in range(1 if how == "bit" else 8):
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return how, bytes(changed)


def try_kind(kind: Kind, trials: int, seed: int) -> Count:
    """Damages one kind of file ``trials`` times, each time from its whole content.

    Raises:
        AssertionError: a reader used damaged content, ended otherwise than by a sentence, or the whole file is refused.
    """
    rng = random.Random(f"{seed} {kind.name}")
    content, count = kind.path.read_bytes(), Count()
    assert _outcome(kind) == ("read", whole := kind.read()), f"{kind.name}: the whole file is refused"
    for _ in range(trials):
        kind.restore()
        how, changed = damage(content, rng)
        while changed == content:  # zeros over zeros
            how, changed = damage(content, rng)
        kind.path.unlink(missing_ok=True)
        kind.path.write_bytes(changed)
        outcome, said = _outcome(kind)
        if outcome == "read":
            assert said == whole, f"{kind.name}: damage ({how}) was not noticed"
            outcome = "harmless"
        count.outcomes[outcome] += 1
        if outcome != "harmless":
            count.examples.setdefault(outcome, said)
        kind.path.unlink(missing_ok=True)
        kind.path.write_bytes(content)
    kind.restore()
    assert _outcome(kind) == ("read", whole), f"{kind.name}: the whole file is refused after all trials"
    return count


def one_line(text: str) -> str:
    """``text``, which must be one."""
    assert "\n" not in text, text
    return text


def _outcome(kind: Kind) -> tuple[str, str]:
    """("detected", the sentence), ("rebuilt", the line), or ("read", the hash of what was read)."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = kind.read()
        except UserError as error:
            return "detected", one_line(str(error))
    if kind.rebuilds is not None and kind.rebuilds in said.getvalue():
        return "rebuilt", next(line for line in said.getvalue().splitlines() if kind.rebuilds in line)
    return "read", found


# --- the files --------------------------------------------------------------------------------------------------------


def make_kinds(folder: Path) -> list[Kind]:
    """Writes one sound file of every kind below ``folder``, with the pipeline's own writers."""
    return [
        *_dataset(folder / "data"),
        *_models(folder / "store"),
        *_results(folder / "results"),
        *_weights(folder / "inception"),
    ]


def _dataset(folder: Path) -> list[Kind]:
    from test_prepare import LAYOUT, python_files, write_tar

    folder.mkdir(parents=True)
    archive = write_tar(folder / "cifar-10-python.tar.gz", python_files())
    arrays = folder / "arrays"

    def prepare(source: Path = archive, layout: Cifar10Layout = LAYOUT) -> str:
        target = folder / "again"
        shutil.rmtree(target, ignore_errors=True)
        prepare_dataset(DatasetSettings(archive=str(source)), target, folder, layout)
        return digest([array_sha256(load_images(target / f"{split}.npy")) for split in SPLITS])

    prepare_dataset(DatasetSettings(archive=str(archive)), arrays, folder, LAYOUT)
    return [
        Kind("downloaded archive", archive, prepare),
        Kind("decoded images", arrays / "train.npy", lambda: array_sha256(load_images(arrays / "train.npy"))),
        Kind(
            "decoded labels",
            arrays / "train_labels.npy",
            lambda: array_sha256(load_labels(arrays / "train_labels.npy")),
        ),
        Kind(
            "manifest of the dataset",
            arrays / "manifest.json",
            lambda: array_sha256(load_images(arrays / "train.npy")),
        ),
    ]


def _models(folder: Path) -> list[Kind]:
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    flow = DenseFlow(TINY_FLOW, (3, 32, 32))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    flow.initialize(images, 0)
    flow.train().log_prob(images, GeneratorNoise(0, torch.device("cpu")))  # BatchNorm sees a batch
    checkpoint, history = (folder / f"model{suffix}" for suffix in (".safetensors", ".jsonl"))
    save_checkpoint(checkpoint, {"flow": flow}, METADATA)
    writer = seal.Seal(KEY)
    rows = [{"step": step, "images": 4 * step, "bpd": 5 - 0.01 * step, "seconds": 0.5} for step in range(1, 31)]
    history.write_text("".join(writer.line(row) for row in rows))
    resume = ResumeState(folder / "model.resume", KEY)
    for step in (1, 2):
        resume.save({"step": step, "generator": flow.state_dict()}, step)
    older, newer = resume.slots
    sound = older.read_bytes()
    classifier = folder / "classifier.safetensors"
    save_classifier(
        classifier, CifarClassifier(4).state_dict(), CifarClassifierSettings(width=4), {"test": 0.5, "train": 0.5}
    )

    def use_checkpoint() -> str:
        check_key(checkpoint, KEY)
        check_content(checkpoint)
        loaded, metadata = load_flow(checkpoint)
        with running_statistics(loaded):
            return digest([loaded.state_dict(), metadata])

    def use_classifier() -> str:
        model, description = load_classifier(classifier, "cpu")
        return digest([model.state_dict(), description])

    def use_both_states() -> str:
        older.write_bytes(b"")
        return use_state()

    def use_state() -> str:
        return digest(ResumeState(resume.path, KEY).load())

    return [
        Kind("stored checkpoint", checkpoint, use_checkpoint),
        Kind("training history", history, lambda: digest(read_whole_history(history, METADATA).to_dict("list"))),
        Kind("last resume state", newer, use_state, rebuilds="going on from step 1"),
        Kind(
            "both resume states",
            newer,
            use_both_states,
            restore=lambda: older.write_bytes(sound) and None,
        ),
        Kind("classifier of FD-CIFAR", classifier, use_classifier),
    ]


def _results(folder: Path) -> list[Kind]:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    samples, bounds, moments = folder / "samples.npy", folder / "likelihood.npy", folder / "features.npz"
    drawn = rng.integers(0, 256, (12, 3, 32, 32), np.uint8)
    np.save(samples, drawn)
    sampling = {"images": 12, "temperature": 1.0, "seed": 0}
    note = {"checkpoint": KEY, "sampling": sampling, "sha256": array_sha256(drawn)}
    write_note(samples.with_suffix(".json"), note)
    values = -8000 + rng.normal(size=(40, 2))
    np.save(bounds, values)
    bpd = (-values / (3072 * np.log(2))).mean(0)
    measured = {"checkpoint": KEY, "images": 40, "elbo_bpd": bpd[0], "iwbo_bpd": bpd[1]}
    summed = bounds.with_suffix(".json")
    write_note(summed, measured | {"bounds_sha256": array_sha256(values)})
    save_moments(moments, Moments(rng.normal(size=8), np.eye(8), 12), {"checkpoint": KEY, "extractor": "x"})
    fidelity = folder / "fidelity.json"
    distances = {"checkpoint": KEY, "images": 12, "fid": None, "fd_cifar": 226.187, "fd_cifar_test": 219.9}
    write_note(fidelity, distances)
    summary = Measurement("baseline", 0, bpd[0], 0.1, bpd[1], 0.1, None, None, None)
    growing_file, part = folder / ".part.npy.growing", folder / "part.npy"

    def start() -> None:
        for path in (growing_file, growing_file.with_name(".part.npy.growing.json")):
            path.unlink(missing_ok=True)
        growing.GrowingArray(part, drawn.shape, np.uint8, {"key": KEY}).append(drawn[:8])

    def go_on() -> str:
        array = growing.GrowingArray(part, drawn.shape, np.uint8, {"key": KEY})
        array.append(drawn[array.done :])
        array.handle.close()
        return array.hasher.hexdigest()

    def use_moments() -> str:
        found, described = load_moments(moments)
        return digest([torch.from_numpy(found.mean), torch.from_numpy(found.covariance), found.count, described])

    start()
    return [
        Kind("samples", samples, lambda: array_sha256(load_images(samples))),
        Kind(
            "note of the samples",
            samples.with_suffix(".json"),
            lambda: array_sha256(load_images(samples)) + _used(samples.with_suffix(".json"), list(note)),
        ),
        Kind("unfinished samples", growing_file, go_on, restore=start, rebuilds="is computed anew"),
        Kind("bounds of the images", bounds, lambda: array_sha256(load_bpd(bounds, summary, 40))),
        Kind(
            "likelihood.json", bounds.with_suffix(".json"), lambda: _used(bounds.with_suffix(".json"), list(measured))
        ),
        Kind("fidelity.json", fidelity, lambda: _used(fidelity, list(distances))),
        Kind("feature statistics", moments, use_moments),
    ]


def _used(path: Path, names: list[str]) -> str:
    """A hash of the entries that are asked for. Under a damaged name, the note's own hash is one that nobody wants."""
    values = read_record(path)
    return digest([values.get(name) for name in names])


def _weights(folder: Path) -> list[Kind]:
    """Not a network: whatever the file holds, its hash is compared before it is opened."""
    folder.mkdir(parents=True)
    own, fetched = folder / "own.pth", folder / "fetched.pth"
    torch.save({"w": torch.randn(2000)}, own)
    shutil.copyfile(own, fetched)

    def use() -> str:
        check_weights(InceptionSettings(weights=str(own)), fetched)
        return digest(torch.load(fetched, weights_only=True))

    return [Kind("Inception weights (a stand-in)", fetched, use)]


# --- DVC --------------------------------------------------------------------------------------------------------------


def make_published(folder: Path) -> list[Kind]:
    """A repository with one published checkpoint, and what ``dvc pull`` does with damaged parts of it.

    A damaged copy in the cache gets into the store, since DVC believes files that nobody may write; the checkpoint's
    own reader refuses it, and its sentence names the copy.
    """
    from checkout import ROOT
    from dvc.repo import Repo

    _models(folder / "models")
    store, tracked = folder / "store", folder / "store" / f"baseline-seed0-{KEY}.safetensors"
    store.mkdir()
    shutil.copyfile(folder / "models" / "model.safetensors", tracked)
    (folder / ".dvc").mkdir()
    shutil.copyfile(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    note = tracked.with_name(tracked.name + ".dvc")
    before = Path.cwd()

    def command(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, check=True, capture_output=True)

    command("add", "--quiet", str(tracked))
    command("push", "--quiet")
    (copied,) = (path for path in (folder / ".dvc" / "cache").rglob("*") if path.is_file())
    stored = folder / "dvc-remote" / copied.relative_to(folder / ".dvc" / "cache")
    whole = stored.read_bytes()

    def clean() -> None:
        tracked.unlink(missing_ok=True)
        shutil.rmtree(folder / ".dvc" / "cache", ignore_errors=True)
        shutil.rmtree(folder / ".dvc" / "tmp", ignore_errors=True)
        stored.parent.mkdir(parents=True, exist_ok=True)
        stored.unlink(missing_ok=True)
        stored.write_bytes(whole)

    def clean_with_cache() -> None:
        clean()
        copied.parent.mkdir(parents=True)
        copied.write_bytes(whole)

    def pull(protected: Path | None = None) -> str:
        if protected is not None:
            protected.chmod(0o444)  # as DVC leaves it
        os.chdir(folder)
        try:
            with Repo(str(folder)) as repository:
                repository.pull(targets=[str(note)])
        except Exception as error:  # the command `dvc pull` ends with status 255 and "unexpected error" on others
            _refuse(error)
        finally:
            os.chdir(before)
        if not tracked.exists():
            raise UserError("`dvc pull` brings nothing under the name that is looked for")
        os.chdir(folder)
        try:
            check_key(tracked, KEY)
            check_content(tracked)
        finally:
            os.chdir(before)
        return digest(load_flow(tracked)[0].state_dict())

    def _refuse(error: Exception) -> None:
        plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # without colours
        raise UserError(f"`dvc pull`: {' '.join(plain.split()) or type(error).__name__}")

    clean()
    return [
        Kind(".dvc file", note, pull, restore=clean),
        Kind("object of the DVC remote", stored, lambda: pull(stored), restore=clean),
        Kind("object of DVC's cache", copied, lambda: pull(copied), restore=clean_with_cache),
    ]


# --- the table --------------------------------------------------------------------------------------------------------


def campaign(folder: Path, trials: int, seed: int, dvc_trials: int) -> dict[str, Count]:
    """Outcomes by kind."""
    counts = {kind.name: try_kind(kind, trials, seed) for kind in make_kinds(folder)}
    if dvc_trials:
        (folder / "published").mkdir()
        for kind in make_published(folder / "published"):
            if not kind.path.exists():
                kind.restore()
            counts[kind.name] = try_kind(kind, dvc_trials, seed)
    return counts


def as_markdown(counts: dict[str, Count], command: str, folder: Path) -> str:
    """The page docs/corruptions.md."""
    totals = Counter()
    lines = []
    for name, count in counts.items():
        totals += count.outcomes
        cells = [str(count.outcomes[outcome]) for outcome in ("detected", "rebuilt", "harmless")]
        lines.append(f"| {name} | {count.outcomes.total()} | {' | '.join(cells)} | 0 |")
    said = [
        f"- {name}, {outcome}: {text.replace(str(folder) + '/', '')}"
        for name, count in counts.items()
        for outcome, text in count.examples.items()
    ]
    return "\n".join(
        [
            "# Corrupted files: what was tried",
            "",
            "Made by",
            "",
            "```sh",
            command,
            "```",
            "",
            f"Each trial changes a sound file at random places: one bit, eight bits, 512 bytes of zeros, or a cut. "
            f"{totals.total()} trials: {totals['detected']} detected (a sentence, nothing is used), "
            f"{totals['rebuilt']} rebuilt (a line, and the work goes on from something older or anew), "
            f"{totals['harmless']} harmless (what is read is what was written: spaces, padding, names of entries that "
            "nobody asks for). None was used. The command fails on the first that is.",
            "",
            "| file | tried | detected | rebuilt | harmless | used |",
            "|---|--:|--:|--:|--:|--:|",
            *lines,
            "",
            "## What is said",
            "",
            "The first sentence of each kind:",
            "",
            *said,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, help="for every kind of file (default: 20)")
    parser.add_argument("--dvc-trials", type=int, default=10, help="for every kind of DVC's files (default: 10)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        counts = campaign(Path(name), options.trials, options.seed, options.dvc_trials)
        command = (
            f"PYTHONPATH=src:tests python -m faults.corruptions --trials {options.trials} "
            f"--dvc-trials {options.dvc_trials} --seed {options.seed} --write docs/corruptions.md"
        )
        text = as_markdown(counts, command, Path(name))
    print(text)
    if options.write is not None:
        options.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
