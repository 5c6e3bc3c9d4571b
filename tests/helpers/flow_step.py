"""A step of the smallest flow with random weights: its gradients, and what it saves for the backward pass."""

from __future__ import annotations

import torch
from tiny import TINY_FLOW

from hybridflow.models.generators.base import Flow
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.runtime.noise import GeneratorNoise


def randomised_flow() -> Flow:
    torch.manual_seed(0)
    flow = DenseFlow(TINY_FLOW, (3, 16, 16)).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return flow.train()


def step(flow: Flow, checkpointing: bool) -> tuple[dict[str, torch.Tensor], int]:
    """Gradients and buffers after one likelihood and one adversarial backward pass, and the bytes saved for both."""
    x = torch.randint(0, 256, (3, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    own = {parameter.untyped_storage().data_ptr() for parameter in flow.parameters()}
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with network_checkpointing(checkpointing):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = flow.log_prob(x, GeneratorNoise(2, dtype=torch.float64)).mean()
        loss.backward()
        with running_statistics(flow):
            y = flow.decode(flow.draw_latents(3, GeneratorNoise(3, dtype=torch.float64)))
        y.square().mean().backward()  # outside the block: the recomputation must remember the mode
    gradients = {name: p.grad for name, p in flow.named_parameters() if p.grad is not None}
    return gradients | dict(flow.named_buffers()), sum(saved.values())
