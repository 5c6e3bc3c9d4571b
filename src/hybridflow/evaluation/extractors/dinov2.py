"""A DINOv2 vision transformer, from a weights file of the user's: FD-DINOv2 (Stein et al., arXiv 2306.04675)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridflow.config.experiment import Settings
from hybridflow.evaluation.extractors.base import Extractor, Preparation
from hybridflow.evaluation.extractors.vit_network import VisionTransformer, transformer_of
from hybridflow.io.files import copy_into_place
from hybridflow.runtime.errors import UserError

SIZE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, in [0, 1]
HELP = (
    "let `evaluation.extractors.dinov2.weights` name a published file without registers, for example "
    "dinov2_vitl14_pretrain.pth"
)


class Dinov2Extractor(Extractor):
    """The class token's features behind the last normalisation, in fp32.

    Images are enlarged to 224x224 pixels (bicubic, as Pillow does it) and normalised with ImageNet's statistics.

    Args:
        network: on ``device``.
        device: where it runs.
    """

    def __init__(self, network: VisionTransformer, device: torch.device | str) -> None:
        self.network = network.eval().requires_grad_(False).to(device)
        self.mean, self.std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))

    @classmethod
    def prepare(cls, target: Path, given: Preparation) -> dict[str, Any]:
        """Copies the user's file."""
        copy_into_place(given.settings.evaluation.extractors["dinov2"].own_file, target)
        return {}

    @classmethod
    def load(cls, weights: Path, settings: Settings, device: torch.device | str) -> Dinov2Extractor:
        return load_dinov2(weights, device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 on the network's device -> (N, D) float32."""
        x = F.interpolate(images.float(), size=SIZE, mode="bicubic", antialias=True).round().clamp(0, 255)
        return self.network((x / 255 - self.mean) / self.std)


def load_dinov2(path: Path, device: torch.device | str) -> Dinov2Extractor:
    """The network with the weights in ``path``, on ``device``.

    Raises:
        UserError: the file does not hold such weights.
    """
    try:
        network = transformer_of(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # torch.load raises nearly anything on another file
        raise UserError(f"{path} does not hold the weights of a DINOv2 vision transformer; {HELP}.") from None
    return Dinov2Extractor(network, device)
