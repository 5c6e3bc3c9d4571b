"""Weights and reference numbers of published implementations: reading, loading, and comparing a flow with them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hybridflow.models.generators.base import Flow
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GivenNoise

PREFIX = "state_dict/"
REQUIRED = ("x", "u", "log_prob", "sample", "sample_latents/0")


def read_arrays(path: str | Path, family: str, required: Iterable[str]) -> dict[str, np.ndarray]:
    """All arrays of a reference file.

    Args:
        family: what the file is expected to be about, for the message.
        required: arrays it must have, besides ``config_json``.

    Raises:
        UserError: the file cannot be read or lacks an array.
    """
    try:
        with Path(path).open("rb") as handle, np.lib.npyio.NpzFile(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"cannot read the reference file {path}: {error}.") from None
    for name in ("config_json", *required):
        if name not in arrays:
            raise UserError(f"{path} is not a {family} reference file: it has no {name}.")
    return arrays


def config_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The configuration in ``config_json``."""
    return json.loads(arrays["config_json"].tobytes().decode())


@contextmanager
def described_by_config(path: str | Path) -> Iterator[None]:
    """Within the block, a model is built from the file's configuration.

    Raises:
        UserError: a value is missing, or no model has it.
    """
    try:
        yield
    except KeyError as error:
        raise UserError(f"{path}: its config_json has no {error}.") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: its config_json describes no model of this package: {error}.") from None


def weights_of(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The published state dict."""
    return {k.removeprefix(PREFIX): torch.from_numpy(v.copy()) for k, v in arrays.items() if k.startswith(PREFIX)}


def load_published(
    flow: nn.Module,
    pairs: Iterable[tuple[str, str]],
    published: Mapping[str, Tensor],
    without_effect: tuple[str, ...] = (),
) -> None:
    """Loads a published state dict into ``flow``; ActNorms count as initialised afterwards.

    Args:
        pairs: (our name, published name) of every parameter and running statistic.
        without_effect: ends of published names that hold no information.

    Raises:
        UserError: an array is missing, unknown or of another shape.
    """
    own = flow.state_dict()
    known = set()
    for ours, theirs in pairs:
        if ours not in own:  # a part that is switched off
            continue
        known.add(theirs)
        if theirs not in published:
            raise UserError(f"published weights: {theirs} is missing; the architecture in the config is another one.")
        if published[theirs].shape != own[ours].shape:
            raise UserError(
                f"published weights: {theirs} has shape {tuple(published[theirs].shape)} but this architecture needs "
                f"{tuple(own[ours].shape)}."
            )
        own[ours] = published[theirs].to(own[ours].dtype)
    unknown = [name for name in published if name not in known and not name.endswith(without_effect)]
    if unknown:
        raise UserError(f"published weights: {unknown[0]} has no place in this architecture ({len(unknown)} such).")
    for name in own:
        if name.endswith(".initialized"):
            own[name] = torch.ones_like(own[name])
    flow.load_state_dict(own)


TOLERANCES = {"log_prob": 1e-12, "latents": 1e-12, "sample": 1e-12, "round_trip": 1e-10}
"""Largest deviations in double precision: of log_prob relative; of the others absolute, and relative where a value
exceeds 1. Images are in units of [0, 1]."""
STORED_AS_FLOAT32 = 1e-6
"""What rounding to float32 allows: the tolerance of arrays that a file holds in it."""


@torch.no_grad()
def deviations(flow: Flow, arrays: Mapping[str, np.ndarray], dtype: torch.dtype, latents: str) -> dict[str, float]:
    """Largest deviations of ``flow``, in evaluation mode and of type ``dtype``, from a reference file.

    Args:
        latents: prefix of the arrays that hold standardised latents.
    """
    e = torch.special.ndtri(_tensor(arrays, "u", dtype))
    encoding = flow.encode(torch.from_numpy(arrays["x"]), GivenNoise([e]))
    sample = flow.decode(_numbered(arrays, "sample_latents", dtype))
    back = flow.decode(encoding.latents)
    expected = _tensor(arrays, "log_prob")
    relative = (encoding.log_prob.double() - expected).abs() / expected.abs()
    pairs = zip(encoding.latents, _numbered(arrays, latents), strict=True)
    return {
        "log_prob": _largest(relative),
        "latents": float(torch.tensor([_mixed(found, value) for found, value in pairs]).max()),
        "sample": _mixed(sample, _tensor(arrays, "sample")),
        "round_trip": _largest(back - encoding.y),
    }


def compare(flow: Flow, arrays: Mapping[str, np.ndarray], latents: str = "latents") -> Iterator[tuple[bool, str]]:
    """Whether ``flow`` agrees with a file in double precision, and the deviations in words, in both precisions.

    Single precision is not judged: how far rounding carries depends on the weights.
    """
    allowed = dict(TOLERANCES)
    for name, array in (("latents", f"{latents}/0"), ("sample", "sample")):
        if arrays[array].dtype == np.float32:
            allowed[name] = STORED_AS_FLOAT32
    found = deviations(flow.double().eval(), arrays, torch.float64, latents)
    judged = [f"{name} {value:.2e} (at most {allowed[name]:.0e})" for name, value in found.items()]
    yield all(value <= allowed[name] for name, value in found.items()), f"float64: {', '.join(judged)}"  # false for NaN
    single = deviations(flow.float(), arrays, torch.float32, latents)
    yield True, f"float32: {', '.join(f'{name} {value:.2e}' for name, value in single.items())}"


def _mixed(found: Tensor, expected: Tensor) -> float:
    return _largest((found.double() - expected) / expected.abs().clamp_min(1))


def _largest(deviation: Tensor) -> float:
    return float(deviation.abs().max())


def _tensor(arrays: Mapping[str, np.ndarray], name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.from_numpy(arrays[name]).to(dtype)


def _numbered(arrays: Mapping[str, np.ndarray], prefix: str, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    count = sum(name.startswith(f"{prefix}/") for name in arrays)
    return [_tensor(arrays, f"{prefix}/{index}", dtype) for index in range(count)]
