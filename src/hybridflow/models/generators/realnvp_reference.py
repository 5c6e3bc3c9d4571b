"""Weights and reference numbers of a published RealNVP in PyTorch (``hybridflow check-reference``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.config.generators import RealNVPSettings
from hybridflow.models.generators.realnvp import RealNVP
from hybridflow.models.generators.reference import (
    REQUIRED,
    compare,
    config_of,
    described_by_config,
    load_published,
    read_arrays,
    weights_of,
)
from hybridflow.models.layers.batchnorm import BatchNorm2d


def name_pairs(flow: RealNVP) -> Iterator[tuple[str, str]]:
    """Yields (our name, published name) for every parameter and running statistic of ``flow`` (without ActNorm)."""
    for index in range(len(flow.levels)):
        scale = "flows" + index * ".next_block"
        last = index == len(flow.levels) - 1
        for j in range(4 if last else 3):
            yield from _coupling(flow, f"levels.{index}.transforms.{j}", f"{scale}.in_couplings.{j}")
        if not last:
            for j in range(3):
                ours = f"levels.{index}.transforms.3.transforms.{j}"
                yield from _coupling(flow, ours, f"{scale}.out_couplings.{j}")


def published_model(config: Mapping[str, Any]) -> RealNVP:
    """A fresh model of the sizes and options of the published program.

    Raises:
        KeyError: a size is missing.
        ValueError: a size is out of range.
    """
    settings = RealNVPSettings(
        scales=config["num_scales"],
        width=config["mid_channels"],
        blocks=config["num_blocks"],
        constraint=config.get("data_constraint", 0.9),
    )
    flow = RealNVP(settings, tuple(config["data_shape"]))
    for module in flow.modules():
        if isinstance(module, BatchNorm2d):
            module.eps = config.get("batch_norm_eps", module.eps)
    return flow


def read_reference(path: str | Path) -> tuple[RealNVP, dict[str, np.ndarray]]:
    """The model of a reference file, with its weights loaded, and the file's arrays.

    Raises:
        UserError: the file cannot be read or lacks an array.
    """
    arrays = read_arrays(path, "RealNVP", (*REQUIRED, "latents/0"))
    with described_by_config(path):
        flow = published_model(config_of(arrays))
    load_published(
        flow, name_pairs(flow), weights_of(arrays), without_effect=("data_constraint", "num_batches_tracked")
    )
    return flow, arrays


def check_reference(path: str | Path) -> Iterator[tuple[bool, str]]:
    """Whether the model agrees with a reference file within the tolerances, and the deviations in words.

    Raises:
        UserError: the file cannot be used.
    """
    yield from compare(*read_reference(path))


def _coupling(flow: RealNVP, ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.scale.gain", f"{theirs}.rescale.weight_g"
    yield f"{ours}.scale.direction", f"{theirs}.rescale.weight_v"
    net, published = f"{ours}.net", f"{theirs}.st_net"
    yield from _norm(f"{net}.input_norm", f"{published}.in_norm")
    yield from _convolution(f"{net}.input", f"{published}.in_conv")
    yield from _convolution(f"{net}.skips.0", f"{published}.in_skip")
    for b in range(len(flow.get_submodule(f"{net}.blocks"))):
        block, counterpart = f"{net}.blocks.{b}", f"{published}.blocks.{b}"
        yield from _norm(f"{block}.norm1", f"{counterpart}.in_norm")
        yield from _convolution(f"{block}.conv1", f"{counterpart}.in_conv")
        yield from _norm(f"{block}.norm2", f"{counterpart}.out_norm")
        yield from _convolution(f"{block}.conv2", f"{counterpart}.out_conv")
        yield from _convolution(f"{net}.skips.{b + 1}", f"{published}.skips.{b}")
    yield from _norm(f"{net}.output_norm", f"{published}.out_norm")
    yield from _convolution(f"{net}.output", f"{published}.out_conv")


def _norm(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{ours}.{name}", f"{theirs}.{name}"


def _convolution(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}.conv.weight_v"
    yield f"{ours}.gain", f"{theirs}.conv.weight_g"
    yield f"{ours}.bias", f"{theirs}.conv.bias"
