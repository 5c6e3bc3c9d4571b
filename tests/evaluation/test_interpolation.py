"""The way between two images through a flow's latents."""

import numpy as np
import pytest
import torch
from pictures import IMAGES

from hybridflow.config.generators import RealNVPSettings
from hybridflow.evaluation.interpolation import interpolate, on_arc
from hybridflow.models.generators.registry import build_generator


def test_the_ends_are_the_images() -> None:
    torch.manual_seed(0)
    flow = build_generator(RealNVPSettings(scales=2, width=3, blocks=1)).double().eval()
    images = interpolate(flow, IMAGES[:2], IMAGES[2:4], 5, seed=0)
    assert images.shape == (2, 5, 3, 32, 32)
    assert np.array_equal(images[:, 0], IMAGES[:2])
    assert np.array_equal(images[:, -1], IMAGES[2:4])
    assert not np.array_equal(images[:, 2], IMAGES[:2])


def test_the_arc_keeps_lengths_and_has_its_middle_between_the_ends() -> None:
    a = [torch.tensor([[3.0, 0.0]]), torch.zeros(1, 1, 1, 2)]
    b = [torch.tensor([[0.0, 0.0]]), torch.tensor([[[[0.0, 3.0]]]])]
    middle = on_arc(a, b, 0.5)
    assert [part.shape for part in middle] == [part.shape for part in a]
    assert middle[0][0].tolist() == pytest.approx([3 / 2**0.5, 0])
    assert middle[1].flatten().tolist() == pytest.approx([0, 3 / 2**0.5])


def test_equal_and_opposite_ends_are_joined_by_a_line() -> None:
    a = [torch.tensor([[1.0, 2.0]])]
    assert on_arc(a, a, 0.3)[0].tolist() == [pytest.approx([1.0, 2.0])]
    assert on_arc(a, [-a[0]], 0.25)[0].tolist() == [pytest.approx([0.5, 1.0], abs=1e-6)]
