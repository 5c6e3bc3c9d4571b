"""Weights and reference numbers of the published DenseFlow implementation (``hybridflow check-reference``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.generators import CouplingSettings, DenseFlowSettings, DequantizationSettings
from hybridflow.models.generators import reference
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.runtime.noise import GivenNoise

LOG_PROB_TOLERANCE = 1e-6  # relative
SAMPLE_TOLERANCE = 1e-5  # absolute, pixels in [0, 1]

# Arrays without which nothing can be compared; besides them, the weights and the noise of each mode.
_REQUIRED = ("x", *(f"{mode}/{name}" for mode in ("eval", "train") for name in ("log_prob", "sample")))

# Buffers of the published modules that hold no information.
_IGNORED = ("ldj_per_dim", "_shift", "_scale", "temperature", "dist.buffer", "initialized", "num_batches_tracked")


def name_pairs(flow: DenseFlow) -> Iterator[tuple[str, str]]:
    """Yields (our name, published name) for every parameter and running statistic of ``flow``."""
    yield from _pairs("prior_loc", "base_dist.loc")
    yield from _pairs("prior_log_scale", "base_dist.log_scale")
    yield from _dequantization_pairs(flow)
    for scale, block in enumerate(flow.blocks):
        theirs = f"transforms.{3 + 2 * scale}"
        for i in range(len(block.augments)):
            for layer in (0, 2):
                yield from _convolution(
                    f"blocks.{scale}.augments.{i}.net.{layer}", f"{theirs}.noise_params.{i}.transformation.{layer}"
                )
        for u, unit in enumerate(block.units):
            for t in range(len(unit.transforms)):
                yield from _step_pairs(
                    f"blocks.{scale}.units.{u}.transforms.{t}.transforms",
                    f"{theirs}.blocks.{u}.transforms.{t}.transforms",
                    flow,
                )


def load_published(flow: DenseFlow, published: Mapping[str, Tensor]) -> None:
    """Loads a published state dict into ``flow``; ActNorms count as initialised afterwards.

    Raises:
        UserError: an array is missing, unknown or of another shape.
    """
    reference.load_published(flow, name_pairs(flow), published, _IGNORED)


def read_reference(path: str | Path) -> tuple[DenseFlow, dict[str, np.ndarray]]:
    """The model of a reference file, with its weights loaded, and the file's arrays.

    Raises:
        UserError: the file cannot be read or lacks an array.
    """
    arrays = reference.read_arrays(path, "DenseFlow", _REQUIRED)
    config = reference.config_of(arrays)
    with reference.described_by_config(path):
        settings = DenseFlowSettings(
            units=config["units"],
            steps_per_unit=config["steps_per_unit"],
            growth_rate=config["growth_rate"],
            coupling=CouplingSettings(
                mid_channels=config["coupling_mid_channels"],
                depth=config["coupling_depth"],
                growth=config["coupling_growth"],
            ),
            dequantization=DequantizationSettings(**config["dequantization"]),
        )
        flow = DenseFlow(settings, tuple(config["data_shape"]))
    load_published(flow, reference.weights_of(arrays))
    return flow, arrays


@torch.no_grad()
def deviations(flow: DenseFlow, arrays: Mapping[str, np.ndarray], mode: str) -> tuple[float, float]:
    """Largest relative deviation of log_prob and absolute deviation of the sample.

    Args:
        mode: ``eval`` (BatchNorm's running statistics) or ``train`` (batch statistics).
    """
    state = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.train(mode == "train")
    log_prob = flow.log_prob(torch.from_numpy(arrays["x"]), GivenNoise(_draws(arrays, f"{mode}/noise")))
    sample = flow.decode(_draws(arrays, f"{mode}/sample_noise"))
    flow.load_state_dict(state)  # train mode moved the running statistics
    expected = torch.from_numpy(arrays[f"{mode}/log_prob"]).double()
    relative = ((log_prob.double() - expected).abs() / expected.abs()).max()
    absolute = (sample - torch.from_numpy(arrays[f"{mode}/sample"])).abs().max()
    return float(relative), float(absolute)


def check_reference(path: str | Path) -> Iterator[tuple[bool, str]]:
    """For each mode: whether the model agrees with a reference file within the tolerances, and the deviations in words.

    Raises:
        UserError: the file cannot be read or lacks an array.
    """
    flow, arrays = read_reference(path)
    for mode in ("eval", "train"):
        log_prob, sample = deviations(flow, arrays, mode)
        yield (
            log_prob <= LOG_PROB_TOLERANCE and sample <= SAMPLE_TOLERANCE,  # false for NaN
            f"{mode}: log_prob {log_prob:.2e} relative (at most {LOG_PROB_TOLERANCE:.0e}), "
            f"sample {sample:.2e} absolute (at most {SAMPLE_TOLERANCE:.0e})",
        )


def _draws(arrays: Mapping[str, np.ndarray], prefix: str) -> list[Tensor]:
    names = [name for name in arrays if name.startswith(prefix + "/")]
    return [torch.from_numpy(arrays[name]) for name in sorted(names, key=lambda name: int(name.rsplit("/", 1)[1]))]


def _pairs(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield ours, theirs


def _convolution(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for parameter in ("weight", "bias"):
        yield f"{ours}.{parameter}", f"{theirs}.{parameter}"


def _dense_pairs(ours: str, theirs: str, depth: int) -> Iterator[tuple[str, str]]:
    for j in range(depth):
        for layer in (0, 2):
            yield from _convolution(f"{ours}.{j}.nn.{layer}", f"{theirs}.{j}.nn.{layer}")
    yield from _convolution(f"{ours}.{depth}.conv", f"{theirs}.{depth}.conv")


def _step_pairs(ours: str, theirs: str, flow: DenseFlow) -> Iterator[tuple[str, str]]:
    yield f"{ours}.0.shift", f"{theirs}.0.shift"
    yield f"{ours}.0.log_scale", f"{theirs}.0.log_scale"
    yield f"{ours}.1.weight", f"{theirs}.1.weight"
    net, published = f"{ours}.2.net", f"{theirs}.2.coupling_net.0.dn.transform"
    yield from _convolution(f"{net}.input", f"{published}.0")
    depth = len(flow.get_submodule(f"{net}.block.dense")) - 1
    yield from _dense_pairs(f"{net}.block.dense", f"{published}.1.dense", depth)
    yield from _convolution(f"{net}.block.attention.qkv", f"{published}.1.mha.qkv")
    yield from _convolution(f"{net}.block.attention.output", f"{published}.1.mha.out_transform")
    for parameter in ("weight", "bias", "running_mean", "running_var"):
        yield f"{net}.block.norm.{parameter}", f"{published}.1.mix_conv.0.{parameter}"
    yield f"{net}.block.mix.weight", f"{published}.1.mix_conv.2.weight"
    yield from _convolution(f"{net}.output", f"{published}.2")


def _dequantization_pairs(flow: DenseFlow) -> Iterator[tuple[str, str]]:
    if not hasattr(flow.dequantization, "couplings"):
        return
    ours, theirs = "dequantization", "transforms.0.encoder"
    yield f"{ours}.loc", f"{theirs}.base_dist.loc"
    yield f"{ours}.log_scale", f"{theirs}.base_dist.log_scale"
    yield from _dense_pairs(f"{ours}.context.0", f"{theirs}.context_init.1", 4)
    yield from _convolution(f"{ours}.context.1", f"{theirs}.context_init.2")
    yield from _dense_pairs(f"{ours}.context.2", f"{theirs}.context_init.3", 4)
    for j in range(len(flow.dequantization.convolutions)):
        yield f"{ours}.convolutions.{j}.weight", f"{theirs}.transforms.{2 * j}.weight"
    for j, coupling in enumerate(flow.dequantization.couplings):
        net, published = f"{ours}.couplings.{j}.net", f"{theirs}.transforms.{2 * j + 1}.coupling_net.0.transform"
        yield from _convolution(f"{net}.input", f"{published}.0")
        yield from _dense_pairs(f"{net}.dense", f"{published}.1.dense", len(coupling.net.dense) - 1)
        yield from _convolution(f"{net}.output", f"{published}.2")
