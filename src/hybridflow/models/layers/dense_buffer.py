"""The arithmetic of densely connected layers in one buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

PARAMETERS = 4  # of a layer: weight and bias of its 1x1 convolution, then of its 3x3 convolution


def dense_layers(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Dense layers (conv1x1, ReLU, conv3x3, ReLU), each of whose outputs joins the input of all later ones.

    Concatenating for every layer would copy, and keep for the backward pass, a number of channels that is
    quadratic in the depth. Here every layer writes its channels once into a common channels-last buffer: the 1x1
    convolutions are matrix products that read its first columns in place, and in the backward pass add to the first
    columns of its gradient in place.

    Args:
        x: (N, C, H, W).
        parameters: for every layer the weight (C_j, C_j, 1, 1) and bias (C_j,) of its 1x1 convolution, then the
            weight (g, C_j, 3, 3) and bias (g,) of its 3x3 convolution, with C_0 = C and C_{j+1} = C_j + g.

    Returns:
        (N, C + depth g, H, W), channels-last, the input's channels first. It can be differentiated once.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        x, parameters = x.to(dtype), [parameter.to(dtype) for parameter in parameters]
    if torch.compiler.is_compiling():
        return _concatenated(x, parameters)
    if not torch.is_grad_enabled():
        return _in_one_buffer(x, parameters)
    return _DenseLayers.apply(x, *parameters)


def _concatenated(x: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The same as separate operations: a compiler fuses them, and chooses what to keep."""
    for w1, b1, w3, b3 in _layers(parameters):
        new = torch.relu(F.conv2d(torch.relu(F.conv2d(x, w1, b1)), w3, b3, padding=1))
        x = torch.cat((x, new), dim=1)
    return x


def _in_one_buffer(x: Tensor, parameters: Sequence[Tensor], hidden: list[Tensor] | None = None) -> Tensor:
    """The layers' outputs, without gradients; what every 3x3 convolution reads is appended to ``hidden``."""
    n, channels, height, width = x.shape
    total = channels + sum(weight.shape[0] for weight in parameters[2::PARAMETERS])
    buffer = x.new_empty(n, height, width, total)
    buffer[..., :channels] = x.permute(0, 2, 3, 1)
    rows = buffer.view(-1, total)
    for w1, b1, w3, b3 in _layers(parameters):
        c, growth = w3.shape[1], w3.shape[0]
        with _tf32_as_in_convolutions(x):
            h = torch.addmm(b1, rows[:, :c], w1.view(c, c).t()).relu_()
        h = h.view(n, height, width, c).permute(0, 3, 1, 2)
        new = F.conv2d(h, w3, b3, padding=1).permute(0, 2, 3, 1)
        torch.clamp_min(new, 0, out=buffer[..., c : c + growth])
        if hidden is not None:
            hidden.append(h)
        del h, new  # or they would live until the next layer's are there
    return buffer.permute(0, 3, 1, 2)


class _DenseLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        hidden: list[Tensor] = []
        out = _in_one_buffer(x, parameters, hidden)
        ctx.channels = x.shape[1]
        ctx.save_for_backward(out, *hidden, *parameters)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        out, *saved = ctx.saved_tensors
        depth = len(saved) // (PARAMETERS + 1)
        hidden, parameters = saved[:depth], saved[depth:]
        buffer = out.permute(0, 2, 3, 1)
        total = buffer.shape[-1]
        rows = buffer.view(-1, total)
        g = torch.empty_like(buffer).copy_(gradient.permute(0, 2, 3, 1))  # a copy: it is added to
        g_rows = g.view(-1, total)
        gradients: list[Tensor] = []
        for h, (w1, _, w3, _) in zip(reversed(hidden), reversed(list(_layers(parameters))), strict=True):
            c, growth = w3.shape[1], w3.shape[0]
            new = slice(c, c + growth)
            g_new = torch.ops.aten.threshold_backward(g[..., new], buffer[..., new], 0).permute(0, 3, 1, 2)
            g_h, g_w3, g_b3 = torch.ops.aten.convolution_backward(
                g_new, h, w3, [growth], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, True]
            )
            g_h = torch.ops.aten.threshold_backward(g_h, h, 0).permute(0, 2, 3, 1).reshape(-1, c)
            with _tf32_as_in_convolutions(g):
                g_w1 = g_h.t() @ rows[:, :c]
                first = g_rows[:, :c]
                torch.addmm(first, g_h, w1.view(c, c), out=first)  # in place, and counted by torch's FLOP counter
            gradients = [g_w1.view_as(w1), g_h.sum(0), g_w3, g_b3, *gradients]
        g_x = g[..., : ctx.channels].permute(0, 3, 1, 2) if ctx.needs_input_grad[0] else None
        return (g_x, *gradients)


def _layers(parameters: Sequence[Tensor]) -> Iterator[Sequence[Tensor]]:
    return (parameters[i : i + PARAMETERS] for i in range(0, len(parameters), PARAMETERS))


@contextmanager
def _tf32_as_in_convolutions(x: Tensor) -> Iterator[None]:
    """On a GPU, matrix products that stand for convolutions round as torch lets convolutions round."""
    if not x.is_cuda:
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
