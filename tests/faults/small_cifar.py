"""A checkout whose CIFAR-10 has 240 images, in an archive of the official layout with pinned hashes of its own."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from pathlib import Path

import numpy as np
from checkout import ROOT, Project, copy_project

BATCH = 40
CONFIG = """
dataset: {{url: "{url}"}}
training: {{epochs: 2, resume_every_minutes: 1.0e-6, grid_every: 20, log_every: 3}}
sampling: {{images: 60, batch_size: 5}}
evaluation: {{likelihood: {{images: 40, batch_size: 4}}, fd_cifar: {{classifier: {{epochs: 2}}}}}}
variants: {{dcgan-0.5: {{training: {{epochs: 1}}}}}}
"""


def write_archive(path: Path) -> dict[str, str]:
    """Writes the archive; returns the constants of ``Cifar10Layout`` that describe it."""
    with np.load(ROOT / "tests" / "data" / "cifar10_64.npz") as file:
        images, labels = file["images"], file["labels"]
    chosen = np.random.default_rng(0).integers(0, len(images), 6 * BATCH)
    images, labels = images[chosen], labels[chosen]
    images = images ^ np.random.default_rng(1).integers(0, 4, images.shape, np.uint8)  # no two are equal
    with tarfile.open(path, "w:gz") as archive:
        for index in range(6):
            rows = slice(index * BATCH, (index + 1) * BATCH)
            name = f"data_batch_{index + 1}" if index < 5 else "test_batch"
            content = {b"labels": labels[rows].tolist(), b"data": images[rows].reshape(BATCH, -1)}
            data = pickle.dumps(content, protocol=3)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return {
        "batch_images": str(BATCH),
        "train_sha256": f'"{hashlib.sha256(images[: 5 * BATCH].tobytes()).hexdigest()}"',
        "test_sha256": f'"{hashlib.sha256(images[5 * BATCH :].tobytes()).hexdigest()}"',
        "archive_md5": f'"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"',
    }


def make_checkout(target: Path, constants: dict[str, str], url: str) -> Project:
    """A checkout that downloads the small archive from ``url`` and can run every stage."""
    project = copy_project(target)
    pinned = project.path / "src" / "hybridflow" / "data" / "cifar10" / "layout.py"
    lines = pinned.read_text(encoding="utf-8").splitlines()
    for name, value in constants.items():
        (index,) = [i for i, line in enumerate(lines) if line.startswith(f"    {name}: ")]
        lines[index] = lines[index].partition("=")[0] + f"= {value}"
    pinned.write_text("\n".join(lines) + "\n", encoding="utf-8")
    project.write("small.yaml", CONFIG.format(url=url))
    return project
