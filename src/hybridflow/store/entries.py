"""The keyed store of expensive results: trained weights, and what is measured on the dataset.

``store/{name}-{key}{suffix}``: files, and the record ``.json`` that speaks for them. The workflow makes an entry only
when it is absent, then copies it to where its rule's output is expected. DVC tracks every file of it on its own
(``{file}.dvc``). The environment variable HYBRIDFLOW_STORE names another folder than ``store``.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from hybridflow.config.experiment import Settings
from hybridflow.config.pictures import kept_references
from hybridflow.io.locks import exclusive_lock
from hybridflow.store.keys import calibration_key, moments_key, training_key, vectors_key

ROOT = Path(os.environ.get("HYBRIDFLOW_STORE", "store"))


@dataclass(frozen=True)
class Entry:
    """One result of the store.

    Attributes:
        name, key: what it is, and the hash of everything that determines it.
        suffixes: of its files, without that of its record.
        root: the store's folder.
        shared: whether it is published; not if to compute it again is quicker than to download it.
    """

    name: str
    key: str
    suffixes: tuple[str, ...]
    root: Path = ROOT
    shared: bool = True

    def file(self, suffix: str) -> Path:
        """The path of one file of the entry (or of its resume state or lock)."""
        return self.root / f"{self.name}-{self.key}{suffix}"

    @property
    def record(self) -> Path:
        """Says what the entry is and how its files were; written last (:mod:`hybridflow.io.records`)."""
        return self.file(".json")

    @property
    def files(self) -> list[Path]:
        """Every file of the entry, its record last."""
        return [*(self.file(suffix) for suffix in self.suffixes), self.record]

    @property
    def stored(self) -> bool:
        """Whether all files are here: a result without its record was never finished."""
        return all(path.exists() for path in self.files)

    @property
    def published(self) -> bool:
        """Whether DVC tracks all files, so that ``hybridflow pull`` can bring them."""
        return all(note.exists() for note in self.notes) and not self.damaged_notes

    @property
    def notes(self) -> list[Path]:
        """DVC's files about the entry's files, which need not be there."""
        return [path.with_name(path.name + ".dvc") for path in self.files]

    @property
    def damaged_notes(self) -> list[Path]:
        """Those of DVC's files that do not say which content their file has; ``dvc`` would fail without a name."""
        return [note for note in self.notes if note.exists() and not _describes(note)]


@contextmanager
def claim(entry: Entry) -> Iterator[None]:
    """Keeps other processes from making the same entry; waits until one that does has ended.

    The operating system frees the lock when its process dies, however it dies.

    Raises:
        WriteError: the store cannot be written.
    """
    with exclusive_lock(entry.file(".lock"), f"is making {entry.name} ({entry.key})"):
        for leftover in entry.root.glob(f".{entry.name}-{entry.key}*.partial"):  # of a writer that was killed
            leftover.unlink()
        yield


def variant_entry(settings: Settings, name: str, seed: int, dataset_hash: str, root: Path = ROOT) -> Entry:
    """Weights and training history of one variant."""
    key = training_key(settings, name, seed, dataset_hash)
    return Entry(f"{name}-seed{seed}", key, (".safetensors", ".jsonl"), root)


def extractor_entry(settings: Settings, extractor: str, dataset_hash: str) -> Entry:
    """Weights of a feature extractor that is trained here."""
    chosen = settings.evaluation.extractors[extractor]
    return Entry(str(chosen.stored_as), chosen.identity(dataset_hash), (".safetensors",))


def moments_entry(settings: Settings, extractor: str, split: str, dataset_hash: str) -> Entry:
    """Feature statistics of one split of the dataset."""
    identity = settings.evaluation.extractors[extractor].identity(dataset_hash)
    return Entry(f"moments-{extractor}-{split}", moments_key(identity, split, dataset_hash), (".npz",))


def vectors_entry(settings: Settings, extractor: str, split: str, dataset_hash: str) -> Entry:
    """Feature vectors of the first images of one split of the dataset."""
    identity = settings.evaluation.extractors[extractor].identity(dataset_hash)
    key = vectors_key(identity, split, dataset_hash, settings.evaluation.features)
    return Entry(f"features-{extractor}-{split}", key, (".npy",), shared=False)


def calibration_entry(settings: Settings, extractor: str, dataset_hash: str) -> Entry:
    """An extractor's metrics of images whose quality is known: a record alone."""
    evaluation = settings.evaluation
    identity = evaluation.extractors[extractor].identity(dataset_hash)
    metrics = {metric.name: metric.version for metric in evaluation.calibrated_metrics(extractor)}
    key = calibration_key(identity, dataset_hash, settings.sampling.images, evaluation.features, metrics)
    return Entry(f"calibration-{extractor}", key, ())


def expected_entries(settings: Settings, dataset_hash: str) -> Iterator[Entry]:
    """Every entry the configured experiment needs."""
    for name, seed in settings.models:
        yield variant_entry(settings, name, seed, dataset_hash)
    for extractor in settings.evaluation.needed_extractors:
        if settings.evaluation.extractors[extractor].stored_as is not None:
            yield extractor_entry(settings, extractor, dataset_hash)
    for extractor, split in settings.evaluation.references:
        yield moments_entry(settings, extractor, split, dataset_hash)
    for extractor, split in kept_references(settings.evaluation):
        yield vectors_entry(settings, extractor, split, dataset_hash)
    for extractor in settings.evaluation.calibrated:
        yield calibration_entry(settings, extractor, dataset_hash)


def status_lines(entries: list[Entry]) -> list[str]:
    """What is here, what ``hybridflow pull`` can bring and what has to be computed, in words."""
    pullable = [entry for entry in entries if not entry.stored and entry.published]
    absent = [entry for entry in entries if not entry.stored and not entry.published]
    stored = len(entries) - len(pullable) - len(absent)
    lines = [f"store: {stored} of {len(entries)} results of this configuration are here"]
    if pullable:
        lines.append(f"  published but not pulled (`hybridflow pull` brings them): {_names(pullable)}")
    if absent:
        lines.append(f"  to be computed: {_names(absent)}")
    for note in (note for entry in entries for note in entry.damaged_notes):
        lines.append(f"  damaged: {note} (`git checkout {shlex.quote(str(note))}` brings it back)")
    return lines


def _describes(note: Path) -> bool:
    """Whether a ``.dvc`` file names its file and the MD5 of one content."""
    try:
        (out,) = yaml.safe_load(note.read_text(encoding="utf-8"))["outs"]
        return f"{out['path']}.dvc" == note.name and re.fullmatch(r"[0-9a-f]{32}", out["md5"]) is not None
    except (OSError, yaml.YAMLError, ValueError, KeyError, TypeError):
        return False


def _names(entries: list[Entry]) -> str:
    return ", ".join(f"{entry.name}-{entry.key}" for entry in entries)
