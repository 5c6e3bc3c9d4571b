"""What bfloat16 networks do to a trained flow: bits/dim, round trip and samples beside single precision.

    python benchmarks/precision.py results/cpu/baseline/seed0/checkpoint.safetensors

Both precisions see the same images and the same noise; only the networks' arithmetic differs
(hybridflow.models.layers.precision).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from hybridflow.data.images import load_images
from hybridflow.models.checkpoint import load_generator
from hybridflow.models.generators.base import LEVELS, Flow, bits_per_dim
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.noise import GeneratorNoise


@torch.no_grad()
def measure(flow: Flow, x: torch.Tensor, dtype: torch.dtype | None) -> tuple[torch.Tensor, ...]:
    """Bits/dim (N,), round-trip error in levels (N,), and decoded latents (N, C, H, W) of one precision."""
    device = x.device
    with network_precision(dtype):
        bpd = bits_per_dim(flow.log_prob(x, GeneratorNoise(0, device)), flow.dimensions)
        error = flow.round_trip_error(x, GeneratorNoise(0, device))
        images = flow.decode(flow.draw_latents(len(x), GeneratorNoise(1, device)))
    return bpd, error, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--images", type=Path, default=Path("resources/cifar10/test.npy"))
    parser.add_argument("--n", type=int, default=500, help="number of images (default: 500)")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    flow, metadata = load_generator(options.checkpoint, options.device)
    x = torch.from_numpy(np.array(load_images(options.images)[: options.n])).to(options.device)
    single, half = measure(flow, x, None), measure(flow, x, torch.bfloat16)
    difference = (half[0] - single[0]).double()
    print(f"{metadata['variant']} seed {metadata['seed']}, {len(x)} images, one draw of the bound")
    print(f"bits/dim           fp32 {single[0].mean():.5f}   bf16 {half[0].mean():.5f}")
    print(f"  bf16 - fp32      mean {difference.mean():+.5f}, standard deviation over images {difference.std():.5f}")
    print(f"round trip, levels fp32 {single[1].max():.2g}   bf16 {half[1].max():.2g} (largest over images)")
    moved = LEVELS * (half[2] - single[2]).abs()
    print(f"samples            bf16 - fp32: mean {moved.mean():.2g} levels, 99.9th percentile {_percentile(moved):.2g}")


def _percentile(values: torch.Tensor) -> float:
    return float(np.percentile(values.cpu().numpy(), 99.9))


if __name__ == "__main__":
    main()
