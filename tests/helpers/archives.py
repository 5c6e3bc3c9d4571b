"""Archives in CIFAR-10's official layout, and a checkout that downloads a small one."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from checkout import Project, copy_project
from pictures import IMAGES, LABELS

from hybridflow.data.cifar10.layout import TRAIN_BATCHES

BATCH = 40
CONFIG = """
dataset: {{url: "{url}"}}
training: {{epochs: 2, resume_every_minutes: 1.0e-6, grid_every: 20, log_every: 3}}
sampling: {{images: 60, batch_size: 5}}
evaluation: {{likelihood: {{images: 40, batch_size: 4}}, extractors: {{cifar_classifier: {{epochs: 2}}}}}}
variants: {{dcgan-0.5: {{training: {{epochs: 1}}}}}}
"""


def python_files(images: np.ndarray, labels: np.ndarray) -> dict[str, bytes]:
    """Names and contents of the official archive: five training batches and the test batch, in that order."""
    size = len(images) // (TRAIN_BATCHES + 1)
    files = {"cifar-10-batches-py/batches.meta": b"ignored"}
    for index in range(TRAIN_BATCHES + 1):
        rows = slice(index * size, (index + 1) * size)
        content = {
            b"batch_label": b"x",
            b"labels": labels[rows].tolist(),
            b"data": images[rows].reshape(size, -1),
            b"filenames": [b"a"],
        }
        name = f"data_batch_{index + 1}" if index < TRAIN_BATCHES else "test_batch"
        files[f"cifar-10-batches-py/{name}"] = pickle.dumps(content, protocol=3)
    return files


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w:gz") -> Path:
    """Writes an archive of these files."""
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def small_cifar(path: Path) -> dict[str, object]:
    """Writes an archive of 240 different images; returns the values of ``Cifar10Layout`` that describe it."""
    chosen = np.random.default_rng(0).integers(0, len(IMAGES), (TRAIN_BATCHES + 1) * BATCH)
    images, labels = IMAGES[chosen], LABELS[chosen]
    images = images ^ np.random.default_rng(1).integers(0, 4, images.shape, np.uint8)
    write_tar(path, python_files(images, labels))
    train, test = images[: TRAIN_BATCHES * BATCH], images[TRAIN_BATCHES * BATCH :]
    return {
        "batch_images": BATCH,
        "train_sha256": hashlib.sha256(train.tobytes()).hexdigest(),
        "test_sha256": hashlib.sha256(test.tobytes()).hexdigest(),
        "archive_md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
    }


def small_checkout(target: Path, layout: Mapping[str, object], url: str) -> Project:
    """A checkout that downloads the small archive from ``url`` and can run every stage (``small.yaml``)."""
    project = copy_project(target)
    pinned = "src/hybridflow/data/cifar10/layout.py"
    values = ", ".join(f"{name}={value!r}" for name, value in layout.items())
    before, _, rest = project.read(pinned).partition("CIFAR10 = Cifar10Layout()")
    project.write(pinned, f"{before}CIFAR10 = Cifar10Layout({values}){rest}")
    project.write("small.yaml", CONFIG.format(url=url))
    return project
