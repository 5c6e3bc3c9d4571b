"""The vision transformer of DINOv2 (Oquab et al., arXiv 2304.07193), with its sizes read from the weights."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD = 64  # channels of an attention head, in every published size


class Block(nn.Module):
    """Self-attention and a two-layer network, each normalised before and scaled after."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.ls1, self.ls2 = (nn.ParameterDict({"gamma": torch.ones(width)}) for _ in range(2))
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, hidden), "fc2": nn.Linear(hidden, width)})

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, width) -> the same."""
        heads = self.attn["qkv"](self.norm1(x)).unflatten(-1, (3, -1, HEAD)).permute(2, 0, 3, 1, 4)  # (3, N, h, T, 64)
        mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = x + self.ls1["gamma"] * self.attn["proj"](mixed)
        return x + self.ls2["gamma"] * self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    """Patches, a class token, positions, blocks; parameters are named as in the published files.

    Args:
        width, hidden, depth: channels, channels within a block's network, blocks.
        patch: pixels of a patch's side.
        grid: patches of a side that the positions were trained for.
    """

    def __init__(self, width: int, hidden: int, depth: int, patch: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, width))  # of the training alone, but every file has it
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.ModuleList(Block(width, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, S, S) normalised, S a multiple of the patch -> the class token's features, (N, width)."""
        patches = self.patch_embed["proj"](images)
        x = torch.cat((self.cls_token.expand(len(images), -1, -1), patches.flatten(2).transpose(1, 2)), 1)
        x = x + self._positions(patches.shape[-1])
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])

    def _positions(self, side: int) -> Tensor:
        """The positions for another number of patches, interpolated as the published code does it."""
        if side == self.grid:
            return self.pos_embed
        first, rest = self.pos_embed[:, :1], self.pos_embed[:, 1:]
        square = rest.transpose(1, 2).unflatten(2, (self.grid, self.grid))
        scale = (side + 0.1) / self.grid  # the 0.1 keeps rounding from losing a row
        square = F.interpolate(square, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat((first, square.flatten(2).transpose(1, 2)), 1)


def transformer_of(state: dict[str, Tensor]) -> VisionTransformer:
    """The network that a file's weights belong to, with these weights.

    Raises:
        KeyError, RuntimeError, ValueError: they are of another kind of network.
    """
    hidden, width = state["blocks.0.mlp.fc1.weight"].shape
    depth = 1 + max(int(found[1]) for found in map(re.compile(r"blocks\.(\d+)\.").match, state) if found)
    grid = round((state["pos_embed"].shape[1] - 1) ** 0.5)
    network = VisionTransformer(width, hidden, depth, state["patch_embed.proj.weight"].shape[-1], grid)
    network.load_state_dict(state)
    return network
