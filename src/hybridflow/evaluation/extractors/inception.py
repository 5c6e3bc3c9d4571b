"""pytorch-fid's Inception network as a feature extractor, with weights that are verified.

Only the weights file that pytorch-fid publishes gives numbers that may be called FID. Another file of
the same layout can be named in the configuration, for tests and offline trials; the table then says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hybridflow.config.experiment import Settings
from hybridflow.config.extractors import INCEPTION_SHA256, InceptionSettings
from hybridflow.evaluation.extractors.base import Extractor, Preparation
from hybridflow.io.download import DownloadError, download
from hybridflow.io.files import copy_into_place
from hybridflow.runtime.errors import UserError

HELP = "let `evaluation.extractors.inception.weights` name a copy of the file, or take FID out of `evaluation.metrics`"
WEIGHTS_NAME = "pt_inception-2015-12-05.pth"


def weights_url() -> str:
    """Address of the weights, as the installed pytorch-fid names it."""
    from pytorch_fid.inception import FID_WEIGHTS_URL

    return FID_WEIGHTS_URL


def fetch_inception_weights(settings: InceptionSettings, target: str | Path) -> Path:
    """Puts the weights file at ``target``.

    It comes from ``settings.weights`` if that is given, otherwise from pytorch-fid's address. A file
    named by path is taken as it is, since a stand-in may be wanted on purpose; whatever comes
    from an address must have the official hash.

    Raises:
        UserError: it cannot be had; the sentence says how to supply it or do without.
    """
    target = Path(target)
    own = settings.own_file
    if own is not None:
        copy_into_place(own, target)
        return target
    url = settings.weights or weights_url()
    try:
        return download(url, target, sha256=INCEPTION_SHA256, label="Inception weights")
    except DownloadError as error:
        raise UserError(f"the Inception weights cannot be fetched from {url}: {error.reason}; {HELP}.") from None


class InceptionExtractor(Extractor):
    """Features of pytorch-fid's InceptionV3, from the bytes of an image.

    Pixels are divided by 255, as torchvision's ToTensor does with PNG files in pytorch-fid; the
    network itself resizes to 299x299 and maps to [-1, 1].

    Args:
        network: a ``pytorch_fid.inception.InceptionV3`` with pool3 alone, FID's layer, as its output.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network.eval()

    @classmethod
    def prepare(cls, target: Path, given: Preparation) -> dict[str, Any]:
        settings = given.settings.evaluation.extractors["inception"]
        if settings.own_file is not None:
            fetch_inception_weights(settings, target)
        else:  # kept where other experiments find it
            copy_into_place(fetch_inception_weights(settings, given.downloads / WEIGHTS_NAME), target)
        return {}

    @classmethod
    def load(cls, weights: Path, settings: Settings, device: torch.device | str) -> InceptionExtractor:
        return load_inception(weights, device)

    @classmethod
    def head(cls, weights: Path) -> np.ndarray:
        return torch.load(weights, map_location="cpu", weights_only=True)["fc.weight"].numpy()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 on the network's device -> (N, 2048) float32."""
        return self.network(images.float().div(255))[0].flatten(1)


def load_inception(path: str | Path, device: torch.device | str) -> InceptionExtractor:
    """Builds the network from a weights file; never goes to the network.

    Args:
        path: what :func:`fetch_inception_weights` wrote.
        device: where the network runs.

    Raises:
        UserError: the file does not hold these weights.
    """
    from pytorch_fid.inception import InceptionV3

    malformed = UserError(f"{path} does not hold the weights of pytorch-fid's Inception network; {HELP}.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch.load raises nearly anything on a damaged file
        raise malformed from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise malformed
    try:
        with _weights(state):
            network = InceptionV3()
    except RuntimeError:  # missing, unknown or misshapen entries
        raise malformed from None
    # Half as fast again on a CPU; features move by rounding alone.
    return InceptionExtractor(network.to(device, memory_format=torch.channels_last))


@contextmanager
def _weights(state: dict[str, Tensor]) -> Iterator[None]:
    """While this lasts, pytorch-fid's constructor gets ``state`` where it would download a file.

    Its constructor has no argument for the weights. Replacing the one function that fetches them
    keeps its network definition, and any later repair of it, as the single one in use.
    """
    from pytorch_fid import inception

    fetch = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *_, **__: state
    try:
        yield
    finally:
        inception.load_state_dict_from_url = fetch
