"""The small CIFAR-10 classifier in whose penultimate layer FD-CIFAR is measured.

Network and recipe follow airbench (Jordan, "94% on CIFAR-10 in 3.29 seconds", arXiv 2404.00498): frozen
patch-whitening first layer, six 3x3 convolutions, identity start, label smoothing, SGD with Nesterov
momentum and one learning-rate triangle.
"""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hybridflow.config.evaluation import CifarClassifierSettings
from hybridflow.config.training import AugmentationSettings
from hybridflow.data.augment import augment
from hybridflow.io.content_hash import digest
from hybridflow.io.files import atomic_path
from hybridflow.io.hashing import sha256_json
from hybridflow.io.repair import repair_hint
from hybridflow.models.checkpoint import write_state
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import Progress
from hybridflow.runtime.seeding import derive_seed

CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")  # by label
CLASSES = len(CLASS_NAMES)
PATCH_CHANNELS = 24  # 2x2 patches of 3 channels have 12 principal directions, each used with both signs
PIXEL_MEAN = (0.4914, 0.4822, 0.4465)  # of CIFAR-10's training images, in [0, 1]
PIXEL_STD = (0.2470, 0.2435, 0.2616)
LOGIT_SCALE = 1 / 9
MOMENTUM = 0.85
WEIGHT_DECAY = 1.3e-3
BIAS_LR_FACTOR = 64.0  # BatchNorm biases learn this much faster than the rest
LABEL_SMOOTHING = 0.2
AUGMENTATION = AugmentationSettings(horizontal_flip=True, pad=2, translate=0.06)  # shifts of -2..2 pixels
EVALUATION_BATCH = 500
WHITENING_IMAGES = 1000  # a million patches
# Variance added to every patch direction. airbench's 5e-4 amplifies the finest details so much that a
# little noise is as far from real images as pure noise; with 0.3 the distance grows with the noise.
WHITENING_FLOOR = 0.3


class CifarClassifier(nn.Module):
    """VGG-like network of ``width``-``2 width``-``4 width`` channels for 32x32 RGB images.

    Shape:
        images: (N, 3, 32, 32) uint8; features: (N, 4 width); logits: (N, 10).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dimensions = 4 * width
        self.register_buffer("mean", 255 * torch.tensor(PIXEL_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(PIXEL_STD).view(3, 1, 1), persistent=False)
        self.whitening = nn.Conv2d(3, PATCH_CHANNELS, 2, bias=False).requires_grad_(False)
        channels = (PATCH_CHANNELS, width, 2 * width, 4 * width)
        self.stages = nn.Sequential(*(Stage(*pair) for pair in pairwise(channels)))
        self.head = nn.Linear(4 * width, CLASSES, bias=False)

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 to float32 with zero mean and unit deviation a channel."""
        return ((images.float() - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """Penultimate layer."""
        x = F.gelu(self.whitening(self.normalise(images)))  # (N, 24, 31, 31)
        return self.stages(x).amax((2, 3))  # (N, 4 width, 3, 3) -> (N, 4 width)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.logits(self.features(images))

    def logits(self, features: Tensor) -> Tensor:
        """From the penultimate layer on."""
        return self.head(features) * LOGIT_SCALE


class Stage(nn.Sequential):
    """Convolution, 2x2 max-pooling, convolution; each convolution with BatchNorm and GELU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.MaxPool2d(2),
            _norm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            _norm(channels),
            nn.GELU(),
        )


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, momentum=0.4)  # short trainings: the running statistics must follow quickly
    norm.weight.requires_grad_(False)  # the convolution behind it can scale as well
    return norm


@torch.no_grad()
def initialise(model: CifarClassifier, images: Tensor, seed: int) -> None:
    """Sets the starting weights: whitening from the data, identity-like convolutions, small random rest.

    Args:
        images: (N, 3, 32, 32) uint8; their 2x2 patches determine the whitening filters.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "classifier-weights"))
    patches = F.unfold(model.normalise(images), 2).transpose(1, 2).reshape(-1, 12).double()
    patches -= patches.mean(0)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + WHITENING_FLOOR).sqrt()).T.reshape(12, 3, 2, 2).float()
    model.whitening.weight.copy_(torch.cat([filters, -filters]))
    for module in model.stages.modules():
        if isinstance(module, nn.Conv2d):
            bound = (module.in_channels * 9) ** -0.5
            module.weight.uniform_(-bound, bound, generator=generator)
            nn.init.dirac_(module.weight[: module.in_channels])
    bound = model.dimensions**-0.5
    model.head.weight.uniform_(-bound, bound, generator=generator)


def train_classifier(
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    settings: CifarClassifierSettings,
    device: torch.device | str,
    threads: int,
    label: str,
    resume: Path | None = None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Trains a :class:`CifarClassifier`.

    Every random draw is a function of the seed and the step, so on a CPU with the same number of
    threads the result is bit-identical, whether or not the training was interrupted.

    Args:
        train_images, test_images: (N, 3, 32, 32) uint8.
        train_labels, test_labels: (N,) integers from 0 to 9.
        device: where the network runs; the images stay in main memory.
        threads: CPU threads.
        label: what stands in front of the progress lines.
        resume: file that keeps the state after every epoch and from which an interrupted training
            with the same settings and images continues. The caller removes it when the result is safe.

    Returns:
        The state dict on the CPU, and the accuracies (shares, not per cent) ``test`` and ``train``,
        the latter on as many of the first training images as there are test images.

    Raises:
        UserError: arrays do not fit each other, or the training diverges.
    """
    images, labels = _tensors(train_images, train_labels, "training")
    held_out, held_out_labels = _tensors(test_images, test_labels, "test")
    torch.set_num_threads(threads)
    device = torch.device(device)
    model = CifarClassifier(settings.width)
    initialise(model, images[:WHITENING_IMAGES], settings.seed)
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = _optimizer(model)
    batch = min(settings.train_batch_size, len(images))
    per_epoch = len(images) // batch  # an incomplete last batch would shift the BatchNorm statistics
    steps = max(round(settings.epochs * per_epoch), 1)
    key = _key(settings, images, labels)
    step = _restore(resume, key, model, optimizer, device) if resume is not None else 0
    loss_sum = torch.zeros((), device=device)
    with Progress(steps * batch, label, " images", initial=step * batch, shared=True) as progress:
        while step < steps:
            # Draw one epoch's order, then one batch and its augmentation
            if step % per_epoch == 0:
                order = torch.randperm(len(images), generator=_generator(settings, "order", step // per_epoch))
            rows = order[step % per_epoch * batch :][:batch]
            x = augment(images[rows], AUGMENTATION, _generator(settings, "augmentation", step)).to(device)
            y = labels[rows].to(device)

            # One SGD step at this step's learning rate
            for group in optimizer.param_groups:
                group["lr"] = settings.lr * group["factor"] * _triangle(step / steps)
            with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
                logits = model(x)
            loss = F.cross_entropy(logits.float(), y, label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            loss_sum += loss.detach()
            progress.update(batch)

            # Once an epoch: look at the loss, keep the state
            if step % per_epoch == 0 or step == steps:
                mean_loss = float(loss_sum) / ((step - 1) % per_epoch + 1)
                loss_sum.zero_()
                if not np.isfinite(mean_loss):
                    raise UserError(
                        f"{label}: the training diverged in epoch {(step - 1) // per_epoch + 1} (loss {mean_loss}); "
                        f"lower `evaluation.extractors.cifar_classifier.lr` ({settings.lr:g})."
                    )
                progress.update(0, loss=mean_loss)
                if resume is not None and step < steps:
                    _keep(resume, key, step, model, optimizer)
    first = slice(len(held_out))
    accuracy = {
        "test": _accuracy(model, held_out, held_out_labels, device),
        "train": _accuracy(model, images[first], labels[first], device),
    }
    return {name: value.cpu().contiguous() for name, value in model.state_dict().items()}, accuracy


def _tensors(images: np.ndarray, labels: np.ndarray, split: str) -> tuple[Tensor, Tensor]:
    if images.ndim != 4 or images.shape[1:] != (3, 32, 32) or images.dtype != np.uint8 or len(images) < 2:
        raise UserError(
            f"the classifier of FD-CIFAR needs at least two {split} images as uint8 (N, 3, 32, 32), "
            f"got {images.dtype} {images.shape}."
        )
    if labels.shape != (len(images),) or labels.min() < 0 or labels.max() >= CLASSES:
        raise UserError(
            f"the classifier of FD-CIFAR needs one {split} label from 0 to {CLASSES - 1} an image, got shape "
            f"{labels.shape} for {len(images)} images; take its metrics out of `evaluation.metrics`."
        )
    return torch.from_numpy(np.array(images)), torch.from_numpy(labels.astype(np.int64))


def _optimizer(model: CifarClassifier) -> torch.optim.Optimizer:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "factor": 1.0, "weight_decay": WEIGHT_DECAY},
        {
            "params": [p for p in trained if p.ndim == 1],
            "factor": BIAS_LR_FACTOR,
            "weight_decay": WEIGHT_DECAY / BIAS_LR_FACTOR,
        },
    ]
    return torch.optim.SGD(groups, lr=0.0, momentum=MOMENTUM, nesterov=True)


def _triangle(progress: float, peak: float = 0.23, start: float = 0.2, end: float = 0.05) -> float:
    """Learning rate relative to its peak, at a share ``progress`` of the training."""
    if progress < peak:
        return start + (1 - start) * progress / peak
    return 1 - (1 - end) * (progress - peak) / (1 - peak)


def _generator(settings: CifarClassifierSettings, purpose: str, counter: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(settings.seed, f"classifier-{purpose}", counter))


@torch.no_grad()
def _accuracy(model: CifarClassifier, images: Tensor, labels: Tensor, device: torch.device) -> float:
    model.eval()
    right = sum(
        int((model(x.to(device)).argmax(1).cpu() == y).sum())
        for x, y in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
    )
    return right / len(images)


def _key(settings: CifarClassifierSettings, images: Tensor, labels: Tensor) -> str:
    """Identifies a training: state of another one must not be continued."""
    content = [hashlib.sha256(array.numpy()).hexdigest() for array in (images, labels)]
    return sha256_json([settings.version, settings.key_values(), *content])


def _keep(path: Path, key: str, step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    state = {"key": key, "step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    write_state(path, state)


def _restore(path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> int:
    """Loads what :func:`_keep` wrote; returns the number of steps done, 0 if there is nothing to continue."""
    if not path.exists():
        return 0
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        state = content["state"]
        sound = content["sha256"] == digest(state)
    except Exception:  # torch.load raises nearly anything on a damaged file
        sound = False
    if not sound:
        print(f"the resume state {path} is damaged; the classifier is trained from its start", file=sys.stderr)
        return 0
    if state["key"] != key:
        return 0  # of other settings or images: it can only be started anew
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


class ClassifierExtractor:
    """Penultimate features of a trained classifier as an Extractor, in fp32.

    Args:
        model: the classifier; it is put into evaluation mode.
        device: where it runs.
    """

    name = "cifar_classifier"

    def __init__(self, model: CifarClassifier, device: torch.device | str) -> None:
        self.model = model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.dimensions = model.dimensions

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) uint8 -> (N, 4 width) float32."""
        return self.model.features(images)


class ClassCounter:
    """An Extractor that also counts how many images its classifier assigns to each class, in the same pass.

    Attributes:
        counts: images by label, of everything that was extracted so far.
    """

    def __init__(self, extractor: ClassifierExtractor) -> None:
        self.extractor, self.name, self.dimensions = extractor, extractor.name, extractor.dimensions
        self.counts = [0] * CLASSES

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) uint8 -> (N, 4 width) float32."""
        features = self.extractor(images)
        labels = self.extractor.model.logits(features).argmax(1)
        found = torch.bincount(labels, minlength=CLASSES).tolist()
        self.counts = [before + new for before, new in zip(self.counts, found, strict=True)]
        return features


def save_classifier(
    path: str | Path, state: dict[str, Tensor], settings: CifarClassifierSettings, accuracy: dict[str, float]
) -> None:
    """Writes a trained classifier as safetensors, atomically; the same content gives the same bytes.

    The header also holds a content hash of the weights and of the rest of the header.
    """
    # One metadata entry: the order of several is not fixed, and the file's hash would change with it.
    description = {"kind": "cifar_classifier", "settings": settings.key_values(), "accuracy": accuracy}
    description["sha256"] = digest([description, state])
    with atomic_path(path) as temporary:
        save_file(state, temporary, metadata={"hybridflow": json.dumps(description, sort_keys=True)})


def load_classifier(path: str | Path, device: torch.device | str) -> tuple[CifarClassifier, dict[str, Any]]:
    """Reads what :func:`save_classifier` wrote.

    Returns:
        The network on ``device`` in evaluation mode, and ``{"settings": ..., "accuracy": ...}``.

    Raises:
        UserError: the file is missing or not such a file.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as content:
            description = json.loads((content.metadata() or {})["hybridflow"])
            state = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
        model = CifarClassifier(description["settings"]["width"])
        model.load_state_dict(state)
        expected = description.pop("sha256", None)  # an earlier version wrote none
        sound = expected in (None, digest([description, {name: value.cpu() for name, value in state.items()}]))
    except OSError as error:
        raise UserError(f"cannot read the classifier {path}: {error.strerror or error}.") from None
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, AttributeError):
        raise UserError(f"{path} is not a trained CIFAR-10 classifier; {repair_hint(path)}.") from None
    if not sound:
        raise UserError(
            f"the classifier {path} is damaged (its weights are not what was written); {repair_hint(path)}."
        )
    model.to(device, memory_format=torch.channels_last).eval()
    return model, {"settings": description["settings"], "accuracy": description["accuracy"]}
