"""Features of the small CIFAR-10 classifier that is trained here: FD-CIFAR is measured in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from hybridflow.config.experiment import Settings
from hybridflow.config.extractors import CifarClassifierSettings
from hybridflow.data.images import load_images, load_labels
from hybridflow.evaluation.extractors.base import Extractor, Preparation
from hybridflow.evaluation.extractors.cifar_network import CLASSES, CifarClassifier
from hybridflow.evaluation.extractors.cifar_training import train_classifier
from hybridflow.io.files import atomic_path, copy_into_place
from hybridflow.io.records import read_record, record_of, write_record
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.revision import code_revision
from hybridflow.store.entries import claim, extractor_entry
from hybridflow.training.resume import ResumeState


class ClassifierExtractor(Extractor):
    """Penultimate features of the trained classifier, in fp32; it also counts the classes it sees.

    Args:
        model: the classifier; it is put into evaluation mode.
        device: where it runs.
    """

    def __init__(self, model: CifarClassifier, device: torch.device | str) -> None:
        self.model = model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.counts = [0] * CLASSES

    @classmethod
    def prepare(cls, target: Path, given: Preparation) -> dict[str, Any]:
        """Trains the classifier unless the store holds it."""
        settings = given.settings.evaluation.extractors["cifar_classifier"]
        entry = extractor_entry(given.settings, "cifar_classifier", given.dataset_hash)
        stored, resume = entry.file(".safetensors"), ResumeState(entry.file(".resume"), entry.key)
        arrays = [f"{split}{kind}.npy" for split in ("train", "test") for kind in ("", "_labels")]
        with claim(entry):
            if entry.stored:
                print(f"{entry.name}: found in the store under {entry.key}", file=sys.stderr)
            else:
                entry.record.unlink(missing_ok=True)  # it must not speak for a file that is written now
                images, labels, test_images, test_labels = (
                    (load_labels if "_labels" in name else load_images)(given.dataset / name) for name in arrays
                )
                with given.device() as device:
                    state, accuracy = train_classifier(
                        images,
                        labels,
                        test_images,
                        test_labels,
                        settings,
                        device,
                        given.threads,
                        "train classifier",
                        resume,
                    )
                save_classifier(stored, state, settings, accuracy, entry.key)
            resume.remove()
        accuracy = read_record(entry.record, key=entry.key)["accuracy"]
        print(f"classifier: {100 * accuracy['test']:.1f} % accuracy on the test split", file=sys.stderr)
        copy_into_place(stored, target)
        return {"accuracy": accuracy}

    @classmethod
    def load(cls, weights: Path, settings: Settings, device: torch.device | str) -> ClassifierExtractor:
        return cls(read_classifier(weights, settings.evaluation.extractors["cifar_classifier"].width), device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) uint8 -> (N, 4 width) float32."""
        features = self.model.features(images)
        found = torch.bincount(self.model.logits(features).argmax(1), minlength=CLASSES).tolist()
        self.counts = [before + new for before, new in zip(self.counts, found, strict=True)]
        return features

    def tallies(self) -> dict[str, Any]:
        """``class_counts``: images that the classifier assigned to each class, by label."""
        return {"class_counts": self.counts}


def save_classifier(
    path: str | Path, state: dict[str, Tensor], settings: CifarClassifierSettings, accuracy: dict[str, float], key: str
) -> None:
    """Writes a trained classifier as safetensors, atomically, and then its record.

    Args:
        accuracy: shares on the ``test`` and ``train`` split.
        key: of the training.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(state))
    values = {"key": key, "settings": settings.key_values(), "accuracy": accuracy, "revision": code_revision()}
    write_record(record_of(path), values, [path])


def read_classifier(path: str | Path, width: int) -> CifarClassifier:
    """The network whose weights :func:`save_classifier` wrote.

    Raises:
        UserError: the file is not such a classifier.
    """
    model = CifarClassifier(width)
    try:
        model.load_state_dict(load_file(path))
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, AttributeError):
        raise UserError(f"{path} is not a trained CIFAR-10 classifier of this width; {repair_hint(path)}.") from None
    return model
