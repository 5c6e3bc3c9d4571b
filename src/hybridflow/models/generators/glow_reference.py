"""Weights and reference numbers of the published Glow-PyTorch (``hybridflow check-reference``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hybridflow.config.generators import GlowSettings
from hybridflow.models.generators.glow import Glow
from hybridflow.models.generators.reference import (
    REQUIRED,
    compare,
    config_of,
    load_published,
    read_arrays,
    weights_of,
)
from hybridflow.runtime.errors import UserError

OTHER_PARTS = {"flow_permutation": "invconv", "LU_decomposed": False, "y_condition": False}
"""Options of the published program that choose parts this Glow does not have."""


def name_pairs(flow: Glow) -> Iterator[tuple[str, str]]:
    """Yields (our name, published name) for every parameter of ``flow``.

    The published layers are numbered through: squeeze, steps, split, squeeze, ... Its ActNorm is (x + bias) exp(logs),
    so both of its parameters are the negatives of ours.
    """
    layer = 0
    for index, level in enumerate(flow.levels):
        layer += 1
        steps = [step for step in level.transforms if hasattr(step, "transforms")]
        for t in range(len(steps)):
            yield from _step(f"levels.{index}.transforms.{1 + t}.transforms", f"flow.layers.{layer}")
            layer += 1
        ours = f"levels.{index}.transforms.{1 + len(steps)}"
        if index < len(flow.levels) - 1:
            yield from _zero_conv(f"{ours}.net", f"flow.layers.{layer}.conv")
            layer += 1
        else:
            yield from _zero_conv(f"{ours}.conv", "learn_top_fn")


def read_reference(path: str | Path) -> tuple[Glow, dict[str, np.ndarray]]:
    """The model of a reference file, with its weights loaded, and the file's arrays.

    Raises:
        UserError: the file cannot be read, lacks an array, or is about another kind of Glow.
    """
    arrays = read_arrays(path, "Glow", REQUIRED)
    config = config_of(arrays)
    for option, value in OTHER_PARTS.items():
        if config.get(option, value) != value:
            raise UserError(f"{path}: {option} is {config[option]!r}, but this package's Glow has {value!r} alone.")
    settings = GlowSettings(
        levels=config["L"],
        steps=config["K"],
        width=config["hidden_channels"],
        coupling=config.get("flow_coupling", "affine"),
        top_prior="zero_input" if config.get("learn_top", True) else "normal",
    )
    flow = Glow(settings, tuple(config["data_shape"]))
    published = {name: -value if ".actnorm." in name else value for name, value in weights_of(arrays).items()}
    load_published(flow, name_pairs(flow), published, without_effect=("prior_h",))
    return flow, arrays


def check_reference(path: str | Path) -> Iterator[tuple[bool, str]]:
    """Whether the model agrees with a reference file within the tolerances, and the deviations in words.

    Raises:
        UserError: the file cannot be used.
    """
    yield from compare(*read_reference(path))


def _step(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from _actnorm(f"{ours}.0", f"{theirs}.actnorm")
    yield f"{ours}.1.weight", f"{theirs}.invconv.weight"
    net = f"{ours}.2.net"
    for layer, block in ((0, 0), (3, 2)):
        yield f"{net}.{layer}.weight", f"{theirs}.block.{block}.conv.weight"
        yield from _actnorm(f"{net}.{layer + 1}", f"{theirs}.block.{block}.actnorm")
    yield from _zero_conv(f"{net}.6", f"{theirs}.block.4")


def _actnorm(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.shift", f"{theirs}.bias"
    yield f"{ours}.log_scale", f"{theirs}.logs"


def _zero_conv(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield f"{ours}.weight", f"{theirs}.conv.weight"
    yield f"{ours}.bias", f"{theirs}.conv.bias"
    yield f"{ours}.log_gain", f"{theirs}.logs"
