"""DINOv2's transformer against torch's own layers, and its weights file."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pictures import IMAGES
from torch import nn

from hybridflow.config.extractors import Dinov2Settings
from hybridflow.evaluation.extractors.dinov2 import Dinov2Extractor, load_dinov2
from hybridflow.evaluation.extractors.vit_network import Block, VisionTransformer
from hybridflow.runtime.errors import UserError


def tiny() -> VisionTransformer:
    torch.manual_seed(0)
    network = VisionTransformer(128, 96, 2, 14, 5)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(tiny().state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_a_block_is_torchs_encoder_layer() -> None:
    torch.manual_seed(0)
    block = Block(128, 96).eval()
    theirs = nn.TransformerEncoderLayer(
        128, 2, 96, dropout=0, activation="gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    names = {
        "attn.qkv.weight": "self_attn.in_proj_weight",
        "attn.qkv.bias": "self_attn.in_proj_bias",
        **{f"attn.proj.{kind}": f"self_attn.out_proj.{kind}" for kind in ("weight", "bias")},
        **{f"mlp.fc{i}.{kind}": f"linear{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")},
        **{f"norm{i}.{kind}": f"norm{i}.{kind}" for i in (1, 2) for kind in ("weight", "bias")},
    }
    state = block.state_dict()
    theirs.load_state_dict({other: state[name] for name, other in names.items()})
    x = torch.randn(3, 7, 128)
    torch.testing.assert_close(block(x), theirs(x), atol=1e-5, rtol=1e-5)
    block.ls1["gamma"].data.zero_()
    block.ls2["gamma"].data.zero_()
    assert torch.equal(block(x), x)


def test_positions_of_another_grid_keep_a_constant_and_an_order() -> None:
    network = tiny()
    network.pos_embed.data[:, 1:, 0] = 3.0
    network.pos_embed.data[:, 1:, 1] = torch.arange(5.0).repeat_interleave(5)  # rows
    positions = network._positions(16)
    assert positions.shape == (1, 1 + 16 * 16, 128)
    torch.testing.assert_close(positions[0, 1:, 0], torch.full((256,), 3.0))
    rows = positions[0, 1:, 1].view(16, 16)
    torch.testing.assert_close(rows, rows[:, :1].expand(-1, 16))
    assert rows[-1, 0] > rows[8, 0] > rows[0, 0]
    assert network._positions(5) is network.pos_embed


def test_the_extractor_reads_sizes_from_the_file(weights: Path) -> None:
    extractor = load_dinov2(weights, "cpu")
    images = torch.from_numpy(IMAGES[:4])
    features = extractor(images)
    assert (features.shape, features.dtype) == ((4, 128), torch.float32)
    torch.testing.assert_close(features[1:2], extractor(images[1:2]), atol=1e-4, rtol=1e-4)
    assert features.std(0).mean() > 1e-4, "it must tell the images apart"


@pytest.mark.parametrize("change", ["missing", "unknown", "no file of weights"])
def test_another_file_is_refused(weights: Path, change: str) -> None:
    state = torch.load(weights, weights_only=True)
    if change == "missing":
        del state["norm.bias"]
    else:
        state["register_tokens"] = torch.zeros(1, 4, 128)
    torch.save(state, weights)
    if change == "no file of weights":
        weights.write_text("nothing")
    with pytest.raises(UserError, match="does not hold the weights of a DINOv2 vision transformer"):
        load_dinov2(weights, "cpu")


def test_the_users_file_is_copied(weights: Path, tmp_path: Path) -> None:
    evaluation = SimpleNamespace(extractors={"dinov2": Dinov2Settings(weights=str(weights))})
    Dinov2Extractor.prepare(tmp_path / "copy", SimpleNamespace(settings=SimpleNamespace(evaluation=evaluation)))
    assert (tmp_path / "copy").read_bytes() == weights.read_bytes()
    assert Dinov2Settings(weights=str(weights)).identity("") != Dinov2Settings().identity("")
