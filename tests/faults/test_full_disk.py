"""A disk that is full or read-only: one sentence, nothing lost, and the same command goes on to the same bytes."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import MICRO, ROOT
from disks import Disk, small_disk
from pictures import IMAGES as ALL_IMAGES
from PIL import Image
from tiny import TINY_FLOW
from torch import nn
from trainings import CPU, rows

from hybridflow.cli import main as cli
from hybridflow.config.data import DatasetSettings
from hybridflow.config.evaluation import SamplingSettings
from hybridflow.config.extractors import CifarClassifierSettings
from hybridflow.config.loading import load_settings
from hybridflow.data.prepare import prepare_dataset
from hybridflow.evaluation.extractors.cifar_classifier import save_classifier
from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.evaluation.metrics.frechet import Moments, save_moments
from hybridflow.evaluation.sampling import sample_to_file, save_png
from hybridflow.io.arrays import ResumableArray
from hybridflow.io.download import download
from hybridflow.io.files import atomic_path, copy_into_place, write_json
from hybridflow.models.checkpoint import save_checkpoint
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.runtime.errors import UserError, WriteError
from hybridflow.store.entries import Entry, claim
from hybridflow.training.history import History
from hybridflow.training.loop import train
from hybridflow.training.resume import ResumeState
from hybridflow.training.state import Job

IMAGES = ALL_IMAGES[:16]
FULL = "No space left on device; free some space and run the same command again."
READ_ONLY = "Read-only file system; make it writable and run the same command again."


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "small disk", 512) as disk:
        yield disk


def big(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _state(path: Path) -> None:
    ResumeState(path.with_suffix(".resume"), "k").save({"generator": {"w": torch.zeros(500_000)}}, 3)


def _archive(path: Path) -> None:
    source = path.parents[1] / "source.bin"
    source.write_bytes(big((1_000_000,)).tobytes())
    download(source.as_uri(), path, md5="0" * 32)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.safetensors": lambda path: save_checkpoint(path, {"flow": nn.Linear(500, 500)}, {"key": "k"}),
    "classifier.safetensors": lambda path: save_classifier(
        path, CifarClassifier(32).state_dict(), CifarClassifierSettings(width=32), {"test": 0.5, "train": 0.5}, "k"
    ),
    "a.npz": lambda path: save_moments(path, Moments(np.zeros(300), np.eye(300), 5), {}),
    "a.npy": lambda path: ResumableArray(path, (1000, 1000), np.uint8, {}),
    "a.png": lambda path: save_png(path, big((600, 600, 3))),
    "a.json": lambda path: write_json(path, "x" * 1_000_000),
    "a.pth": lambda path: copy_into_place(torch.__file__.replace("__init__.py", "lib/libtorch_python.so"), path),
    "a.tar.gz": _archive,
}


@pytest.mark.parametrize("refuse", [Disk.fill, Disk.read_only])
@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_names_the_file_and_keeps_the_old_one(disk, name, refuse):
    path = disk.path / name
    path.write_bytes(b"old")
    refuse(disk)
    with pytest.raises(UserError) as caught:
        WRITERS[name](path)
    said = str(caught.value)
    assert str(path) in said
    assert "No space left on device; free some space" in said or "Read-only file system; " in said
    assert "\n" not in said
    assert path.read_bytes() == b"old"
    # Rows and downloads are kept on purpose: the next call goes on from there.
    kept = {"filler", ".a.npy.rows", "a.tar.gz.lock", "a.tar.gz.partial"}
    assert {found.name for found in disk.path.iterdir()} - kept == {name}


def test_other_errors_are_no_errors_of_the_disk(tmp_path):
    for error in (ValueError("x"), FileNotFoundError(2, "No such file", "elsewhere"), OSError("no number")):
        with pytest.raises(type(error)), atomic_path(tmp_path / "a"):
            raise error
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written(disk):
    disk.read_only()
    entry = Entry("baseline-seed0", "k", (".safetensors",), disk.path)
    expected = f"cannot write {entry.file('.lock')}: {READ_ONLY}"
    with pytest.raises(WriteError, match=re.escape(expected)), claim(entry):
        pytest.fail("the entry was claimed")


# --- resumable arrays -------------------------------------------------------------------------------------------------


def test_room_for_all_rows_is_taken_before_the_first(disk):
    array = ResumableArray(disk.path / "a.npy", (100, 1000), np.uint8, {})
    disk.fill(leave=8192)  # for the note
    rows = big((100, 1000))
    array.append(rows[:60])
    again = ResumableArray(disk.path / "a.npy", (100, 1000), np.uint8, {})
    assert again.done == 60
    again.append(rows[60:])
    again.finish()
    assert np.array_equal(np.load(disk.path / "a.npy"), rows)


def test_samples_go_on_when_there_is_room_again(disk, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = DenseFlow(TINY_FLOW, (3, 8, 8))
        flow.initialize(torch.from_numpy(big((8, 3, 8, 8))), 0)
    flow.eval()
    settings = SamplingSettings(images=40, batch_size=10)
    path = disk.path / "samples.npy"
    disk.fill(leave=4096)
    with pytest.raises(WriteError, match=re.escape(f"cannot write {path}: {FULL}")):
        sample_to_file(flow, settings, path, CPU, "k")
    disk.empty()
    sample_to_file(flow, settings, path, CPU, "k")
    sample_to_file(flow, settings, tmp_path / "elsewhere.npy", CPU, "k")
    assert path.read_bytes() == (tmp_path / "elsewhere.npy").read_bytes()
    assert [found.name for found in disk.path.iterdir()] == ["samples.npy"]


# --- a training -------------------------------------------------------------------------------------------------------


def training(store: Path, monitor: Path) -> Job:
    (store.parent / "often.yaml").write_text("training: {batch_size: 4, resume_every_minutes: 1.0e-9, log_every: 1}")
    settings = load_settings(ROOT / "config.yaml", MICRO, store.parent / "often.yaml")
    files = [store / f"model{suffix}" for suffix in (".safetensors", ".jsonl", ".resume")]
    return Job(settings.variants["baseline"], 0, "key", None, *files, monitor, "hash")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Job:
    work = training(tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("monitor"))
    train(work, IMAGES, CPU)
    return work


@pytest.mark.parametrize("leave", [0, 250_000])
def test_a_training_goes_on_to_the_same_bytes(disk, tmp_path, uninterrupted, leave, capfd):
    """With little space it ends at its first line or state, with more at the second or third state."""
    disk.resize(4096)
    work = training(disk.path, tmp_path / "monitor")
    disk.fill(leave)
    with pytest.raises(WriteError) as caught:
        train(work, IMAGES, CPU)
    assert re.fullmatch(
        re.escape("cannot write ") + r"\S.*model\.(resume-[ab](\.json)?|jsonl): " + re.escape(FULL), str(caught.value)
    )
    resume = ResumeState(work.resume, work.key)
    state = resume.load()
    assert state is None or state["step"] >= 1
    slots = [path.name + end for path in resume.slots for end in ("", ".json")]
    assert {path.name for path in disk.path.iterdir()} <= {"filler", work.history.name, *slots}
    disk.empty()
    train(work, IMAGES, CPU)
    assert work.checkpoint.read_bytes() == uninterrupted.checkpoint.read_bytes()
    assert rows(work.history) == rows(uninterrupted.history)
    assert sorted(path.name for path in disk.path.iterdir()) == ["model.json", "model.jsonl", "model.safetensors"]
    assert "Traceback" not in "".join(capfd.readouterr())


def test_without_room_for_the_checkpoint_the_last_state_stays(disk, tmp_path, uninterrupted, monkeypatch):
    disk.resize(8192)
    work = training(disk.path, tmp_path / "monitor")

    def full(*arguments: object, **named: object) -> None:
        disk.fill()
        save_checkpoint(*arguments, **named)

    monkeypatch.setattr("hybridflow.training.loop.save_checkpoint", full)
    with pytest.raises(WriteError, match=re.escape(f"cannot write {work.checkpoint}: {FULL}")):
        train(work, IMAGES, CPU)
    assert ResumeState(work.resume, work.key).load() is not None
    assert not work.checkpoint.exists()
    disk.empty()
    monkeypatch.undo()
    train(work, IMAGES, CPU)
    assert work.checkpoint.read_bytes() == uninterrupted.checkpoint.read_bytes()


def test_a_full_disk_ends_the_curves_of_tensorboard_and_not_the_training(disk, tmp_path, capfd):
    (disk.path / "tensorboard").mkdir()
    disk.read_only()
    history = History(tmp_path / "model.jsonl", disk.path, [])
    for step in (1, 2):
        history.write(step, 4, 1.0 * step, 1e-3, {"loss": 1.0})
    history.close()
    assert capfd.readouterr().err.count("TensorBoard's curves end here: cannot write") == 1
    assert len((tmp_path / "model.jsonl").read_text().splitlines()) == 2


def test_an_error_of_tensorboards_writer_ends_the_curves_in_one_line(tmp_path):
    """In a process of its own: pytest catches what threads raise."""
    script = """
import resource, sys
from pathlib import Path
from hybridflow.training.history import _Curves
curves = _Curves(Path(sys.argv[1]), 1)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # refuses a write as a full disk does
for step in range(4000):
    curves.write({"loss": 1.0, "bpd": 2.0}, step)
curves.close()
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.count("TensorBoard's curves end here: cannot write") == 1


def test_a_state_that_does_not_fit_leaves_the_one_before(disk):
    disk.resize(8192)
    resume = ResumeState(disk.path / "a.resume", "k")
    state = {"generator": {"w": torch.zeros(100_000)}}
    for step in (1, 2):
        resume.save(state | {"step": step}, step)
    disk.fill()
    with pytest.raises(WriteError, match=re.escape(f"cannot write {resume.slots[0]}: {FULL}")):
        resume.save({"w": torch.zeros(1_000_000)}, 3)
    assert ResumeState(resume.path, "k").load()["step"] == 2


# --- the dataset ------------------------------------------------------------------------------------------------------


def test_arrays_are_all_written_or_none(disk, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "images" / split).mkdir(parents=True)
        for index, image in enumerate(IMAGES):
            Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / "images" / split / f"{index:02}.png")
    settings = DatasetSettings(source="folder", folder=str(tmp_path / "images"))
    disk.fill(leave=3 * IMAGES.nbytes // 2)  # one of both splits
    with pytest.raises(UserError) as caught:
        prepare_dataset(settings, disk.path / "arrays", tmp_path / "cache")
    assert re.search(r"arrays/(train|test)\.npy: No space left on device; free some space", str(caught.value))
    assert list((disk.path / "arrays").iterdir()) == []
    disk.empty()
    prepare_dataset(settings, disk.path / "arrays", tmp_path / "cache")
    assert np.array_equal(np.load(disk.path / "arrays" / "train.npy"), IMAGES)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_says_it_in_a_sentence(monkeypatch, capsys):
    def refused(options: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere/a.bin")

    monkeypatch.setattr(cli, "_status", refused)
    assert cli.main(["status"]) == 1
    assert capsys.readouterr().err == f"error: cannot write somewhere/a.bin: {FULL}\n"


# --- the whole workflow -----------------------------------------------------------------------------------------------


@pytest.mark.workflow
@pytest.mark.slow
def test_the_workflow_says_it_in_a_sentence_and_goes_on(finished, tmp_path):
    project = finished.copy(tmp_path / "project")
    target = "results/micro/baseline/seed0/checkpoint.safetensors"
    expected = (project.path / target).read_bytes()
    (stored,) = (finished.path / "store").glob("baseline-*.safetensors")
    command = [sys.executable, "-m", "snakemake", target, "--cores", "1", "--configfile", "micro.yaml"]
    shutil.rmtree(project.path / "results" / "micro" / "baseline")
    shutil.rmtree(project.path / "store")
    with small_disk(project.path / "store", 16_384) as store:
        store.fill()
        said = project.run(*command, check=False).stdout
        assert re.search(r"^error: cannot write store/baseline-\S+: " + re.escape(FULL) + "$", said, re.MULTILINE), said
        assert "Traceback" not in said
        store.empty()
        store.read_only()
        said = project.run(*command, check=False).stdout
        assert re.search(r"^error: cannot write store/baseline-\S+\.lock: " + re.escape(READ_ONLY), said, re.MULTILINE)
        assert "Traceback" not in said
        store.read_only(False)
        project.run(*command)
        assert (project.path / target).read_bytes() == expected
        assert (store.path / stored.name).read_bytes() == expected


@pytest.mark.workflow
@pytest.mark.parametrize(
    ("folder", "make", "words"), [(".snakemake", Disk.fill, FULL), ("results", Disk.read_only, READ_ONLY)]
)
def test_a_disk_that_snakemake_itself_cannot_use(project, folder, make, words):
    """Snakemake would show a traceback."""
    with small_disk(project.path / folder, 256) as disk:
        make(disk)
        done = project.run(*project.snakemake_command("-n"), check=False)
    assert done.returncode != 0
    assert f"cannot write {disk.path}: {words}" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root; the read-only disks above do")
def test_permissions(tmp_path):
    (tmp_path / "folder").mkdir(mode=0o500)
    with pytest.raises(WriteError, match="Permission denied; make it writable"):
        write_json(tmp_path / "folder" / "a.json", {})


def test_a_size_limit_is_named_like_a_full_disk(tmp_path):
    """Works without the right to mount: `ulimit -f` refuses a write as a disk does."""
    script = """
import resource, sys
from pathlib import Path
import numpy as np
from hybridflow.runtime.errors import UserError
from hybridflow.io.arrays import ResumableArray
from hybridflow.io.files import write_json
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
for call in (lambda p: ResumableArray(p, (100, 100), np.uint8, {}), lambda p: write_json(p, "x" * 9999)):
    try:
        call(Path(sys.argv[1]))
    except UserError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, text=True)
    said = f"cannot write {tmp_path / 'a'}: File too large; free some space"
    assert [line.startswith(said) for line in done.stdout.splitlines()] == [True, True], done
    assert list(tmp_path.iterdir()) == []
