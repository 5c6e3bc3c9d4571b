"""Muon."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hybridflow.models.layers.pointwise import PointwiseConv
from hybridflow.models.transforms.conv1x1 import InvertibleConv1x1
from hybridflow.training.muon import Muon, orthogonalized


@pytest.mark.parametrize("shape", [(5, 20), (20, 5), (12, 12)])
def test_singular_values_are_drawn_to_one_and_directions_stay(shape):
    torch.manual_seed(0)
    left, _ = torch.linalg.qr(torch.randn(3, shape[0], shape[0]))
    right, _ = torch.linalg.qr(torch.randn(3, shape[1], shape[1]))
    rank = min(shape)
    values = torch.logspace(0, -1.5, rank).expand(3, rank)
    made = orthogonalized(left[:, :, :rank] * values[:, None] @ right[:, :, :rank].mT)
    inside = left[:, :, :rank].mT @ made @ right[:, :, :rank]
    diagonal = inside.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.65
    assert diagonal.max() < 1.25
    assert (inside - torch.diag_embed(diagonal)).abs().max() < 1e-4
    assert not orthogonalized(torch.zeros(1, *shape)).any()


def test_a_step_of_a_matrix():
    """From its definition: the average, ahead of itself, orthogonal, 0.2 sqrt(max(rows, columns)) times the rate."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 2, bias=False), nn.Conv2d(3, 4, 2, bias=False))
    optimizer = Muon(model, lr=0.1, betas=(0.8, 0.999), weight_decay=0.5)
    averages = [0.0, 0.0]
    for _ in range(3):
        before = [layer.weight.detach().clone() for layer in model]
        for layer in model:
            layer.weight.grad = torch.randn_like(layer.weight)
        optimizer.step()
        for i, layer in enumerate(model):
            averages[i] = 0.8 * averages[i] + 0.2 * layer.weight.grad
            ahead = 0.8 * averages[i] + 0.2 * layer.weight.grad
            step = 0.2 * 12**0.5 * orthogonalized(ahead.flatten(1)[None]).view_as(ahead)
            torch.testing.assert_close(layer.weight.detach(), before[i] * (1 - 0.1 * 0.5) - 0.1 * step)
            assert 0.13 < step.square().mean().sqrt() < 0.25  # that of a step of Adam, whatever the shape


def test_only_layers_are_orthogonalised():
    torch.manual_seed(0)
    spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3))
    model = nn.Sequential(PointwiseConv(4, 6), InvertibleConv1x1(6), spectral)
    optimizer = Muon(model, lr=0.01, weight_decay=0.1)
    orthogonal = [weight for group in optimizer.param_groups if group["orthogonal"] for weight in group["params"]]
    assert [id(weight) for weight in orthogonal] == [id(model[0].weight)]
    total = sum(len(group["params"]) for group in optimizer.param_groups)
    assert total == len(list(model.parameters()))

    others = [parameter for parameter in model.parameters() if parameter is not model[0].weight]
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in others]
    adam = torch.optim.AdamW(copies, lr=0.01, weight_decay=0.1)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    for copy, parameter in zip(copies, others, strict=True):
        copy.grad = parameter.grad
    optimizer.step()
    adam.step()
    for copy, parameter in zip(copies, others, strict=True):
        torch.testing.assert_close(parameter, copy)


def test_a_parameter_without_gradient_stays():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = Muon(model, lr=0.1, weight_decay=0.1)
    model[0](torch.ones(1, 2)).sum().backward()
    before = model[1].weight.detach().clone()
    optimizer.step()
    assert torch.equal(model[1].weight, before)
    assert not optimizer.state[model[1].weight]
