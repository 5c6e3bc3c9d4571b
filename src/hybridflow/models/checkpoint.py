"""Checkpoints: weights as safetensors with metadata and content hashes, which every reader compares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hybridflow.config.generators import GENERATORS
from hybridflow.config.registry import Registry
from hybridflow.config.validation import choose
from hybridflow.io.content_hash import digest
from hybridflow.io.files import atomic_path
from hybridflow.io.repair import repair_hint
from hybridflow.models.generators.base import Flow
from hybridflow.models.generators.registry import build_generator
from hybridflow.runtime.errors import UserError

FORMAT = "hybridflow-checkpoint-2"
WITHOUT_HASHES = "hybridflow-checkpoint-1"
"""An earlier version's files: the metadata alone, and nothing to check them by."""


def save_checkpoint(path: Path, models: dict[str, nn.Module], metadata: dict[str, Any]) -> None:
    """Writes ``{name}.{parameter}`` tensors and JSON metadata into one safetensors file, atomically.

    The header also holds a content hash of the metadata and one of every model's tensors.
    """
    states = {
        name: {key: value.detach().to("cpu", copy=True).contiguous() for key, value in model.state_dict().items()}
        for name, model in models.items()
    }
    tensors = {f"{name}.{key}": value for name, state in states.items() for key, value in state.items()}
    hashes = {"metadata": digest(metadata), "models": {name: digest(state) for name, state in states.items()}}
    # One entry: safetensors does not fix the order of several, and equal runs shall give equal files.
    header = {FORMAT: json.dumps({"metadata": metadata, "sha256": hashes}, sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, header)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    return _header(path)[0]


def check_key(path: Path, key: str) -> None:
    """Makes sure that a checkpoint is the one its name promises.

    Raises:
        UserError: it is not, or cannot be read.
    """
    found = read_metadata(path)["key"]
    if found != key:
        raise UserError(f"{path} holds the checkpoint {found}, not {key}; {repair_hint(path)}.")


def check_model(path: Path, variant: str, seed: int) -> None:
    """Makes sure that a checkpoint is of this variant and seed.

    Raises:
        UserError: it is of another, or cannot be read.
    """
    metadata = read_metadata(path)
    if (metadata["variant"], metadata["seed"]) != (variant, seed):
        raise UserError(
            f"{path} holds the checkpoint of variant {metadata['variant']!r}, seed {metadata['seed']}, not of "
            f"{variant!r}, seed {seed}; {repair_hint(path)}."
        )


def check_content(path: Path) -> None:
    """Compares everything in a checkpoint with its hashes.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    _, models = _header(path)
    for name in models or {}:
        read_tensors(path, name)


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict stored under ``name``; empty when there is none.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    _, models = _header(path)
    prefix = f"{name}."
    with _opened(path) as file:
        tensors = {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
    if models is not None and models.get(name) != (digest(tensors) if tensors else None):
        raise _damaged(path, f"its {name} is not what was written")
    return tensors


def _header(path: Path) -> tuple[dict[str, Any], dict[str, str] | None]:
    """The metadata, and the models' hashes by name; None in a file of an earlier version."""
    with _opened(path) as file:
        header = file.metadata() or {}
    try:
        if FORMAT not in header:
            return json.loads(header[WITHOUT_HASHES]), None
        content = json.loads(header[FORMAT])
        metadata, hashes = content["metadata"], content["sha256"]
        sound = hashes["metadata"] == digest(metadata) and isinstance(hashes["models"], dict)
    except (ValueError, KeyError, TypeError):
        if FORMAT not in header and WITHOUT_HASHES not in header:
            raise UserError(f"{path} is not a checkpoint of this pipeline; {repair_hint(path)}.") from None
        sound = False
    if not sound:
        raise _damaged(path, "its metadata is not what was written")
    return metadata, hashes["models"]


def load_flow(path: Path, device: torch.device | str = "cpu") -> tuple[Flow, dict[str, Any]]:
    """The flow of a checkpoint in evaluation mode, and the checkpoint's metadata.

    Raises:
        UserError: the file cannot be used, or its flow was never initialised or trained.
    """
    metadata = read_metadata(path)
    flow = build_generator(stored_settings(GENERATORS, "family", metadata["flow"]))
    load_weights(flow, read_tensors(path, "flow"), path)
    if not flow.ready:
        raise UserError(f"{path} holds a model whose ActNorm or BatchNorm layers never saw data; {repair_hint(path)}.")
    return flow.to(device).eval(), metadata


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


def _damaged(path: Path, how: str) -> UserError:
    return UserError(f"the checkpoint {path} is damaged ({how}); {repair_hint(path)}.")


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint at {path}; run the workflow that trains it.") from None
    except (SafetensorError, OSError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
