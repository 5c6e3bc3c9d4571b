"""Weights and reference numbers of the published Glow-PyTorch (``hybridflow check-reference``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.config.generators import GlowSettings
from hybridflow.models.generators.glow import Glow
from hybridflow.models.generators.reference import (
    REQUIRED,
    compare,
    config_of,
    described_by_config,
    load_published,
    read_arrays,
    weights_of,
)

LATENTS = "latents_standard"  # "latents" are the same before the priors

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


def published_model(config: Mapping[str, Any]) -> Glow:
    """A fresh model of the sizes and options of the published program.

    Raises:
        KeyError: a size is missing.
        ValueError: an option names a part that this Glow does not have, or a size is out of range.
    """
    for option, value in OTHER_PARTS.items():
        if config.get(option, value) != value:
            raise ValueError(f"{option} is {config[option]!r}, but Glow has {value!r} alone here")
    settings = GlowSettings(
        levels=config["L"],
        steps=config["K"],
        width=config["hidden_channels"],
        coupling=config.get("flow_coupling", "affine"),
        top_prior="zero_input" if config.get("learn_top", True) else "normal",
    )
    return Glow(settings, tuple(config["data_shape"]))


def read_reference(path: str | Path) -> tuple[Glow, dict[str, np.ndarray]]:
    """The model of a reference file, with its weights loaded, and the file's arrays.

    Raises:
        UserError: the file cannot be read, lacks an array, or is about another kind of Glow.
    """
    arrays = read_arrays(path, "Glow", (*REQUIRED, f"{LATENTS}/0"))
    with described_by_config(path):
        flow = published_model(config_of(arrays))
    published = {name: -value if ".actnorm." in name else value for name, value in weights_of(arrays).items()}
    load_published(flow, name_pairs(flow), published, without_effect=("prior_h",))
    return flow, arrays


def check_reference(path: str | Path) -> Iterator[tuple[bool, str]]:
    """Whether the model agrees with a reference file within the tolerances, and the deviations in words.

    Raises:
        UserError: the file cannot be used.
    """
    yield from compare(*read_reference(path), latents=LATENTS)


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
