"""How exactly a flow gives images back."""

import numpy as np
import pytest
import torch
from pictures import IMAGES

from hybridflow.config.generators import RealNVPSettings
from hybridflow.evaluation.reconstruction import reconstruction
from hybridflow.models.generators.registry import build_generator


def flow(dtype: torch.dtype = torch.float64):
    torch.manual_seed(0)
    return build_generator(RealNVPSettings(scales=2, width=3, blocks=1)).to(dtype).eval()


def test_an_exact_flow_has_no_error() -> None:
    measured = reconstruction(flow(), IMAGES[:10], 4, seed=0)
    assert measured.images == 10
    assert measured.mean_levels <= measured.max_levels < 1e-6
    assert measured.changed == 0


def test_an_error_is_counted_in_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = flow()
    decode = exact.decode

    def shifted(latents):
        y = decode(latents)
        y[:, 0] += 3 / 256  # of one of three channels
        return y

    monkeypatch.setattr(exact, "decode", shifted)
    measured = reconstruction(exact, np.full((4, 3, 32, 32), 100, np.uint8), 2, seed=0)
    assert measured.max_levels == pytest.approx(3)
    assert measured.mean_levels == pytest.approx(1)
    assert measured.changed == pytest.approx(1 / 3)
