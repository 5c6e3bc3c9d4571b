"""Checkpoints: weights as safetensors with metadata, and the resume state of a running training."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from hybridflow.config import FlowSettings
from hybridflow.errors import UserError
from hybridflow.files import atomic_path
from hybridflow.flows import build_flow
from hybridflow.flows.base import Flow

FORMAT = "hybridflow-checkpoint-1"


def save_checkpoint(path: Path, models: dict[str, nn.Module], metadata: dict[str, Any]) -> None:
    """Writes ``{name}.{parameter}`` tensors and JSON metadata into one safetensors file, atomically."""
    tensors = {
        f"{name}.{key}": value.detach().to("cpu", copy=True).contiguous()
        for name, model in models.items()
        for key, value in model.state_dict().items()
    }
    # One entry: safetensors does not fix the order of several, and equal runs shall give equal files.
    header = {FORMAT: json.dumps(metadata, sort_keys=True)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, header)


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a checkpoint.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    with _opened(path) as file:
        header = file.metadata() or {}
    if FORMAT not in header:
        raise UserError(f"{path} is not a checkpoint of this pipeline; delete it and run the workflow again.")
    return json.loads(header[FORMAT])


def check_key(path: Path, key: str) -> None:
    """Makes sure that a stored checkpoint is the one its name promises.

    Raises:
        UserError: it is not, or cannot be read.
    """
    found = read_metadata(path)["key"]
    if found != key:
        raise UserError(f"{path} holds the checkpoint {found}, not {key}; delete it and run the workflow again.")


def read_tensors(path: Path, name: str) -> dict[str, Tensor]:
    """The state dict stored under ``name``; empty when there is none.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    read_metadata(path)
    with _opened(path) as file:
        prefix = f"{name}."
        return {key.removeprefix(prefix): file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118


def load_flow(path: Path, device: torch.device | str = "cpu") -> tuple[Flow, dict[str, Any]]:
    """The flow of a checkpoint in evaluation mode, and the checkpoint's metadata.

    Raises:
        UserError: the file cannot be used, or its flow was never initialised.
    """
    metadata = read_metadata(path)
    flow = build_flow(FlowSettings.model_validate(metadata["flow"]))
    load_weights(flow, read_tensors(path, "flow"), path)
    if not flow.initialized:
        raise UserError(f"{path} holds a flow whose ActNorm layers never saw data; delete it and train again.")
    return flow.to(device).eval(), metadata


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


def save_resume_state(path: Path, state: dict[str, Any]) -> None:
    """Writes nested dicts of tensors and numbers atomically."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_resume_state(path: Path) -> dict[str, Any]:
    """Reads what :func:`save_resume_state` wrote, tensors on the CPU.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        raise UserError(
            f"the resume state {path} is damaged; delete it to train this model again from its start."
        ) from None


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint at {path}; run the workflow that trains it.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"the checkpoint {path} is damaged ({error}); delete it and run the workflow again.") from None
