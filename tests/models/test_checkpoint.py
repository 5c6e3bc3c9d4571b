"""What a checkpoint file holds."""

from __future__ import annotations

import torch
from torch import nn

from hybridflow.models.checkpoint import read_tensors, save_checkpoint


def test_half_precision_keeps_what_it_cannot_hold(tmp_path):
    model = nn.BatchNorm1d(2)
    model.running_var.fill_(1e5)  # float16 ends at 65,504
    save_checkpoint(tmp_path / "a.safetensors", {"flow": model}, {"key": "k"}, half=True)
    stored = read_tensors(tmp_path / "a.safetensors", "flow")
    assert stored["weight"].dtype == torch.float16
    assert stored["running_var"].tolist() == [1e5, 1e5]
    assert stored["num_batches_tracked"].dtype == torch.int64
