"""Damages one file of every kind in a finished checkout, and runs the real `snakemake` or `dvc` on it.

    PYTHONPATH=src:tests python -m faults.corrupted_runs --write docs/corrupted-runs.md

Each run must end with a failing status and one sentence that names the file, without a traceback.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from checkout import Project, copy_project, write_dataset
from standin import write_random_inception

from hybridflow.data.cifar10.layout import SPLITS
from hybridflow.io.content_hash import array_sha256
from hybridflow.io.files import write_note

RESULTS = "results/micro"
MODEL = f"{RESULTS}/baseline/seed0"
REFERENCE = f"{RESULTS}/reference"
FEATURES = f"{MODEL}/features"


@dataclass(frozen=True)
class Run:
    """One damaged file and the command that meets it.

    Attributes:
        name: of the kind of file.
        path: a pattern that one file of the checkout fits, before ``prepare``.
        target: what snakemake is asked for; nothing: ``dvc pull`` of the file.
        rule: the rule that has to run again.
        config: settings over the micro experiment's.
        prepare: makes the file ready to be damaged.
    """

    name: str
    path: str
    target: str = ""
    rule: str = ""
    config: str = "{}"
    prepare: Callable[[Project], None] = lambda project: None


def _states(project: Project) -> None:
    """Two states of a training whose result is not there."""
    from hybridflow.training.resume import ResumeState

    (weights,) = (project.path / "store").glob("baseline-*.safetensors")
    weights.unlink()
    resume = ResumeState(weights.with_suffix(".resume"), weights.stem.rpartition("-")[2])
    for step in (1, 2):
        resume.save({"step": step, "generator": {"w": torch.arange(5000.0)}}, step)
    resume.slots[1].write_bytes(b"")


def _weights(project: Project) -> None:
    write_random_inception(project.path / "own.pth")
    fetched = project.path / "resources" / "inception" / "pt_inception-2015-12-05.pth"
    fetched.parent.mkdir(parents=True)
    shutil.copyfile(project.path / "own.pth", fetched)


def _publish(project: Project) -> None:
    project.run(sys.executable, "-m", "hybridflow.cli.main", "publish", "--configfile", "micro.yaml")


def _publish_without_cache(project: Project) -> None:
    _publish(project)
    (weights,) = (project.path / "store").glob("baseline-*.safetensors")
    weights.unlink()
    shutil.rmtree(project.path / ".dvc" / "cache")


CHECKPOINT = f"{MODEL}/checkpoint.safetensors"
MANIFEST = "resources/cifar10/manifest.json"
MOMENTS = "cifar_classifier-test"
FID = "evaluation: {fid: {enabled: true, weights: own.pth}}"
RUNS = [
    Run("decoded images", "resources/cifar10/test.npy", f"{MODEL}/likelihood.json", "evaluate_likelihood"),
    Run("manifest", MANIFEST, f"{MODEL}/likelihood.json", "evaluate_likelihood"),
    Run("stored checkpoint", "store/baseline-*.safetensors", CHECKPOINT, "train_variant"),
    Run("checkpoint in results", CHECKPOINT, f"{MODEL}/samples.npy", "sample_images"),
    Run("stored history", "store/baseline-*.jsonl", CHECKPOINT, "train_variant"),
    Run("history in results", f"{MODEL}/training.jsonl", f"{RESULTS}/figures/training.png", "draw_training"),
    Run("resume states", "store/baseline-*.resume-a", CHECKPOINT, "train_variant", prepare=_states),
    Run(
        "classifier",
        "store/classifier-*.safetensors",
        f"{REFERENCE}/classifier.safetensors",
        "train_classifier",
    ),
    Run("samples", f"{MODEL}/samples.npy", f"{FEATURES}/cifar_classifier.npz", "measure_samples"),
    Run("note of the samples", f"{MODEL}/samples.json", f"{FEATURES}/cifar_classifier.npz", "measure_samples"),
    Run("bounds", f"{MODEL}/likelihood.npy", f"{RESULTS}/details.md", "build_details"),
    Run("likelihood.json", f"{MODEL}/likelihood.json", f"{RESULTS}/table1.md", "build_table"),
    Run("features", f"{FEATURES}/cifar_classifier.npz", f"{MODEL}/fidelity.json", "evaluate_fidelity"),
    Run(
        "stored features",
        "store/moments-cifar_classifier-test-*.npz",
        f"{REFERENCE}/cifar_classifier-test.npz",
        "measure_reference",
    ),
    Run("ruler.json", f"{REFERENCE}/ruler.json", f"{RESULTS}/table1.md", "build_table"),
    Run(
        "Inception weights",
        "resources/inception/*.pth",
        f"{FEATURES}/inception.npz",
        "measure_samples",
        FID,
        _weights,
    ),
    Run(".dvc file", "store/baseline-*.safetensors.dvc", prepare=_publish),
    Run("DVC remote", "dvc-remote/files/md5/*/*", prepare=_publish_without_cache),
    Run("published checkpoint", "store/baseline-*.safetensors", CHECKPOINT, "train_variant", prepare=_publish),
]


def damage(path: Path, how: int) -> None:
    """Changes a bit in the middle, or takes the second half away."""
    content = bytearray(path.read_bytes())
    if how == 0:
        content[len(content) // 2] ^= 16
    else:
        del content[len(content) // 2 :]
    path.chmod(0o644)
    path.unlink()
    path.write_bytes(content)


def try_run(run: Run, finished: Project, folder: Path, how: int) -> str:
    """The sentence of one run.

    Raises:
        AssertionError: the run succeeded, or ended otherwise than by a sentence.
    """
    project = Project(folder)
    shutil.copytree(finished.path, folder, symlinks=True)
    if run.rule == "train_variant" and run.name != "checkpoint in results":
        (folder / CHECKPOINT).unlink()
    run.prepare(project)
    paths = sorted(folder.glob(run.path))
    assert paths, f"{run.name}: there is no {run.path}"
    for path in paths:
        damage(path, how)
    if not run.target:
        note = sorted((folder / "store").glob("baseline-*.safetensors.dvc"))[0].relative_to(folder)
        done = project.run(sys.executable, "-m", "dvc", "pull", str(note), check=False)
        assert done.returncode != 0, f"{run.name}: {done.stdout}"
        return " ".join(line for line in done.stdout.splitlines() if line.startswith("ERROR"))[:300]
    project.write("over.yaml", run.config)
    done = project.run(
        *(sys.executable, "-m", "snakemake", run.target, "--cores", "1", "--rerun-triggers", "mtime"),
        *("--forcerun", run.rule, "--configfile", "micro.yaml", "over.yaml"),
        check=False,
    )
    said = re.findall(r"^error: .*$", done.stdout, re.MULTILINE)
    assert done.returncode != 0, f"{run.name}: {done.stdout}"
    assert len(said) == 1, f"{run.name}: {done.stdout}"
    assert any(path.name in said[0] for path in paths), f"{run.name}: {said[0]}"
    assert "Traceback" not in done.stdout, done.stdout
    return said[0].replace(f"{folder}/", "")


def finished_checkout(path: Path) -> Project:
    """A checkout in which the micro experiment has run to its end, with the hashes of its images."""
    project = copy_project(path)
    write_dataset(project)
    arrays = project.path / "resources" / "cifar10"
    names = [name for split in SPLITS for name in (split, f"{split}_labels")]
    hashes = {name: {"sha256": array_sha256(np.load(arrays / f"{name}.npy"))} for name in names}
    write_note(arrays / "manifest.json", {"source": "cifar10", "origin": "64 images", "arrays": hashes})
    project.snakemake()
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="name of one kind of file")
    parser.add_argument("--write", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    lines = []
    with tempfile.TemporaryDirectory() as name:
        finished = finished_checkout(Path(name) / "finished")
        for index, run in enumerate(RUNS):
            if options.only in (None, run.name):
                for how, meaning in enumerate(("bit", "cut")):
                    said = try_run(run, finished, Path(name) / f"run{index}-{how}", how)
                    lines.append(f"| {run.name} | {meaning} | {run.rule or '`dvc pull`'} | {said.replace('|', '/')} |")
                    print(lines[-1], flush=True)
                    shutil.rmtree(Path(name) / f"run{index}-{how}")
    heading = [
        "# Corrupted files: real runs",
        "",
        "Made by `PYTHONPATH=src:tests python -m faults.corrupted_runs --write docs/corrupted-runs.md`: in a finished "
        "checkout one file loses a bit or its second half, and the rule that reads it is run again. Every run failed "
        "with this one sentence, without a traceback.",
        "",
        "| file | damage | job | what was said |",
        "|---|---|---|---|",
    ]
    if options.write is not None:
        options.write.write_text("\n".join([*heading, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
