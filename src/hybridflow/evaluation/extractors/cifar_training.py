"""Training of the small CIFAR-10 classifier in whose penultimate layer FD-CIFAR is measured.

The recipe follows airbench (Jordan, "94% on CIFAR-10 in 3.29 seconds", arXiv 2404.00498): whitening first layer from
the data, identity start, label smoothing, SGD with Nesterov momentum and one learning-rate triangle.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.config.extractors import CifarClassifierSettings
from hybridflow.config.training import AugmentationSettings
from hybridflow.data.augment import augment
from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import Progress
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.resume import ResumeState

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
    resume: ResumeState | None = None,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Trains a :class:`CifarClassifier`.

    Every random draw is a function of the seed and the step, so on a CPU with the same number of
    threads the result is bit-identical, whether or not the training was interrupted.

    Args:
        train_images, test_images: (N, 3, 32, 32) uint8.
        train_labels, test_labels: (N,) integers from 0 to 9.
        device: where the network runs; the images stay in main memory.
        threads: CPU threads.
        label: beginning of the progress lines.
        resume: keeps the state after every epoch, and an interrupted training continues from it. The caller
            removes it when the result is safe.

    Returns:
        The state dict on the CPU, and the accuracies (shares, not per cent) ``test`` and ``train``,
        the latter on as many of the first training images as there are test images.

    Raises:
        UserError: the training diverges.
    """
    images, labels = _tensors(train_images, train_labels)
    held_out, held_out_labels = _tensors(test_images, test_labels)
    torch.set_num_threads(threads)
    device = torch.device(device)
    model = CifarClassifier(settings.width)
    initialise(model, images[:WHITENING_IMAGES], settings.seed)
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = _optimizer(model)
    batch = min(settings.train_batch_size, len(images))
    per_epoch = len(images) // batch  # an incomplete last batch would shift the BatchNorm statistics
    steps = max(round(settings.epochs * per_epoch), 1)
    step = 0
    if resume is not None and (saved := resume.load()) is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
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
                    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
                    resume.save(state, step)
    first = slice(len(held_out))
    accuracy = {
        "test": _accuracy(model, held_out, held_out_labels, device),
        "train": _accuracy(model, images[first], labels[first], device),
    }
    return {name: value.cpu().contiguous() for name, value in model.state_dict().items()}, accuracy


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.array(images)), torch.from_numpy(np.array(labels))


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


def _triangle(progress: float) -> float:
    """Learning rate relative to its peak, at a share ``progress`` of the training."""
    peak, start, end = 0.23, 0.2, 0.05
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
