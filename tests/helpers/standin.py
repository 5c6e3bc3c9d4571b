"""Random weights of the Inception network's layout: what FID code is tested with where the real file cannot be had."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import torch
import torchvision
from pytorch_fid import inception as fid


def write_random_inception(path: Path) -> None:
    """Writes a state dict that pytorch-fid's network accepts. No number computed with it is a FID."""
    with (
        mock.patch.object(fid, "load_state_dict_from_url"),
        mock.patch.object(torchvision.models.Inception3, "load_state_dict"),
    ):
        network = fid.fid_inception_v3()
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # scaled so that the signal lives through all layers
            fan_in = module.weight[0].numel()
            torch.nn.init.normal_(module.weight, 0, (2 / fan_in) ** 0.5, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
