"""Dense layers in one buffer: the numbers of the plain definition, fewer bytes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hybridflow.models.layers.dense import DenseNet

CHANNELS, DEPTH, GROWTH = 5, 3, 6


def plainly(net: DenseNet, x: Tensor) -> Tensor:
    """The definition: every layer's output is concatenated to its input."""
    *layers, gate = net
    for layer in layers:
        x = torch.cat((x, layer.nn(x)), dim=1)
    return gate(x)


def net_and_input(dtype: torch.dtype, *, channels_last: bool = True) -> tuple[DenseNet, Tensor]:
    torch.manual_seed(0)
    net = DenseNet(CHANNELS, 4, DEPTH, GROWTH).to(dtype)
    x = torch.randn(3, CHANNELS, 8, 6, dtype=dtype)
    if channels_last:
        net, x = net.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    return net, x.requires_grad_()


@pytest.mark.parametrize("channels_last", [True, False])
def test_values_and_gradients_are_those_of_the_definition(channels_last: bool) -> None:
    net, x = net_and_input(torch.float64, channels_last=channels_last)
    expected = plainly(net, x)
    found = net(x)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-13)
    weights = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, [x, *net.parameters()], weights)
    got = torch.autograd.grad(found, [x, *net.parameters()], weights)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_numerical_gradients() -> None:
    net, x = net_and_input(torch.float64)
    with torch.no_grad():  # away from the ReLUs' corners
        for layer in list(net)[:-1]:
            layer.nn[0].bias.add_(0.1), layer.nn[2].bias.add_(0.1)
    assert torch.autograd.gradcheck(net, (x[:1, :, :3, :2].detach().requires_grad_(),))


def test_input_and_incoming_gradient_are_left_alone() -> None:
    net, x = net_and_input(torch.float64)
    before = x.detach().clone()
    out = net(x)
    gradient = torch.randn_like(out)
    kept = gradient.clone()
    out.backward(gradient)
    torch.testing.assert_close(x.detach(), before, rtol=0, atol=0)
    torch.testing.assert_close(gradient, kept, rtol=0, atol=0)


def test_autocast_computes_in_bfloat16() -> None:
    net, x = net_and_input(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = net(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), plainly(net, x), rtol=0.05, atol=0.02)
    out.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in (x, *net.parameters()))


def test_torch_counts_the_operations_of_both_forms_alike() -> None:
    """The benchmark divides by them."""

    def operations(call) -> int:
        net, x = net_and_input(torch.float32)
        with FlopCounterMode(display=False) as counter:
            call(net, x).square().sum().backward()
        return counter.get_total_flops()

    assert operations(lambda net, x: net(x)) == operations(plainly)


def test_saved_activations_grow_linearly_with_the_input_channels() -> None:
    """The definition keeps every concatenation: 5 + 11 + 17 + 23 channels instead of 23."""

    def saved(call) -> int:
        net, x = net_and_input(torch.float64)
        own = {p.untyped_storage().data_ptr() for p in net.parameters()}
        sizes, kept = {}, []

        def pack(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage().data_ptr() not in own:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
                kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            call(net, x)
        return sum(sizes.values()) // (3 * 8 * 6 * 8)  # in channels

    hidden, gate = 5 + 11 + 17, 3 * 4 + 4  # what both forms keep
    assert saved(lambda net, x: net(x)) <= 23 + hidden + gate
    assert saved(plainly) > 23 + hidden + gate


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_without_gradients_the_values_are_the_same_bits(dtype: torch.dtype | None) -> None:
    torch.manual_seed(0)
    net, x = DenseNet(6, 5, depth=3, growth=4), torch.randn(2, 6, 4, 4)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
        expected = net(x)
        with torch.no_grad():
            assert torch.equal(net(x), expected)
