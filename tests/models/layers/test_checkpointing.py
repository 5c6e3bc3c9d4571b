"""Checkpointed networks: the same numbers, fewer saved activations."""

from __future__ import annotations

import torch
from flow_step import randomised_flow, step


def test_gradients_and_statistics_are_the_same() -> None:
    plain, _ = step(randomised_flow(), checkpointing=False)
    checkpointed, _ = step(randomised_flow(), checkpointing=True)
    assert plain.keys() == checkpointed.keys()
    assert any(name.endswith("running_mean") for name in plain)
    for name, value in plain.items():
        assert torch.equal(value, checkpointed[name]), name


def test_networks_keep_only_their_inputs() -> None:
    _, plain = step(randomised_flow(), checkpointing=False)
    _, checkpointed = step(randomised_flow(), checkpointing=True)
    assert checkpointed < plain / 3
