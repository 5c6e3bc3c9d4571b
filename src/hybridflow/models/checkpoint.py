"""Checkpoints: weights as safetensors with metadata, and a record beside them (:mod:`hybridflow.io.records`).

The metadata is in the header too, so that the file can be sampled without its record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from hybridflow.config.generators import GENERATORS
from hybridflow.config.registry import Registry
from hybridflow.config.validation import choose
from hybridflow.io.files import atomic_path
from hybridflow.io.records import read_record, record_of, write_record
from hybridflow.io.repair import repair_hint
from hybridflow.models.generators.base import Generator
from hybridflow.models.generators.registry import build_generator
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.revision import code_revision

FORMAT = "hybridflow-checkpoint-2"


def save_checkpoint(
    path: Path,
    models: dict[str, nn.Module],
    metadata: dict[str, Any],
    others: Iterable[Path] = (),
    *,
    half: bool = False,
) -> None:
    """Writes ``{name}.{parameter}`` tensors and JSON metadata into one safetensors file, and then its record.

    Args:
        metadata: ``key`` and what else identifies the training; the record has it too.
        others: finished files beside ``path`` that the record also speaks for: the history.
        half: floating-point tensors in float16, but for those that have a value beyond its range.
    """
    tensors = {
        f"{name}.{key}": _stored(value.detach().to("cpu", copy=True).contiguous(), half)
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    # One entry: safetensors does not fix the order of several, and equal runs shall give equal files.
    header = {FORMAT: json.dumps({"metadata": metadata}, sort_keys=True)}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(tensors, header))  # safetensors' own writer does not say why a disk refuses
    write_record(record_of(path), {**metadata, "revision": code_revision()}, [path, *others])


def _stored(values: Tensor, half: bool) -> Tensor:
    if not (half and values.is_floating_point()):
        return values
    rounded = values.half()
    return rounded if rounded.isfinite().all() else values


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata in a checkpoint's header.

    Raises:
        UserError: the file is missing, or is no checkpoint.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
    try:
        metadata = json.loads(header[FORMAT])["metadata"]
        if not isinstance(metadata, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError):
        raise _foreign(path, "its header does not say how its model is built") from None
    return metadata


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict stored under ``name``; empty when there is none.

    Raises:
        UserError: the file is missing, or is no checkpoint.
    """
    prefix = f"{name}."
    with _opened(path) as file:
        return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118


def load_generator(path: Path, device: torch.device | str = "cpu") -> tuple[Generator, dict[str, Any]]:
    """The generator of a checkpoint in evaluation mode, and the checkpoint's metadata.

    Raises:
        UserError: the file cannot be used, or its model was never initialised or trained.
    """
    metadata = read_metadata(path)
    generator = build_generator(stored_settings(GENERATORS, "family", metadata["flow"]))
    load_weights(generator, read_tensors(path, "flow"), path)
    if not generator.ready:
        raise UserError(f"{path} holds a model whose ActNorm or BatchNorm layers never saw data; {repair_hint(path)}.")
    return generator.to(device).eval(), metadata


def load_recorded(path: str | Path, variant: str, seed: int, device: torch.device) -> tuple[Generator, dict[str, Any]]:
    """As :func:`load_generator`, of a checkpoint of the results, after comparing it with its record.

    Raises:
        UserError: the file is not the one that was written, or of another variant or seed, or cannot be used.
    """
    path = Path(path)
    read_record(record_of(path), [path.name], variant=variant, seed=seed)
    return load_generator(path, device)


def stored_settings(registry: Registry, key: str, values: dict[str, Any]) -> Any:
    """Settings that a checkpoint was made with; options that no longer exist, and were off (null), are left out."""
    return choose(registry, key, _switched_on(values), "checkpoint")


def _switched_on(values: dict[str, Any]) -> dict[str, Any]:
    nested = {name: _switched_on(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in nested.items() if value is not None}


def load_weights(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Loads a state dict.

    Raises:
        UserError: names or shapes differ.
    """
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit the architecture it should have: {detail}.") from None


def _foreign(path: Path, why: str) -> UserError:
    return UserError(f"{path} is not a checkpoint of this pipeline ({why}); {repair_hint(path)}.")


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint at {path}; {repair_hint(path, missing=True)}.") from None
    except (SafetensorError, OSError):
        raise _foreign(path, "it is not a safetensors file, or it is damaged") from None
