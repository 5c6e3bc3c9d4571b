"""1x1 convolutions as matrix products."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hybridflow.models.layers.pointwise import PointwiseConv


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_it_is_the_convolution(bias, layout):
    plain, ours = nn.Conv2d(3, 5, 1, bias=bias).double(), PointwiseConv(3, 5, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    # the first three of six channels: not contiguous, as a coupling hands them over
    x = torch.randn(2, 6, 4, 7, dtype=torch.float64).to(memory_format=layout)[:, :3].requires_grad_()
    outs = [plain(x), ours(x)]
    torch.testing.assert_close(outs[1], outs[0])
    weights = [[x, *layer.parameters()] for layer in (plain, ours)]
    gradients = [torch.autograd.grad(out.sin().sum(), w) for out, w in zip(outs, weights, strict=True)]
    torch.testing.assert_close(gradients[1], gradients[0])
