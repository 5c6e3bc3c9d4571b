"""What every training took: steps, images, time, and the sizes of the networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hybridflow.config.adversarial import DISCRIMINATORS
from hybridflow.config.generators import GENERATORS
from hybridflow.models.checkpoint import read_metadata, stored_settings
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.generators.registry import build_generator
from hybridflow.report.histories import read_history
from hybridflow.report.results import Key
from hybridflow.runtime.errors import UserError

COLUMNS = (
    "variant",
    "seed",
    "starts_from",
    "steps",
    "images",
    "seconds",
    "images_per_second",
    "device",
    "flow_parameters",
    "discriminator_parameters",
)


def cost_table(
    checkpoints: Mapping[Key, str | Path], histories: Mapping[Key, str | Path], parents: Mapping[str, str | None]
) -> pd.DataFrame:
    """One row per model, with the columns :data:`COLUMNS`.

    ``seconds`` is the wall time of the training itself, without pauses and without that of the variant it started
    from. ``device`` is the kind that the checkpoint names.

    Args:
        checkpoints, histories: ``checkpoint.safetensors`` and ``training.jsonl`` of every model.
        parents: which variant's weights each one started from.

    Raises:
        UserError: a file cannot be used, or a history is not that of its checkpoint.
    """
    rows = []
    for (variant, seed), path in checkpoints.items():
        metadata, history = read_metadata(Path(path)), read_history(histories[variant, seed])
        last = history.iloc[-1]
        if last["step"] != metadata["steps"]:
            raise UserError(
                f"details: {histories[variant, seed]} ends at step {last['step']:.0f}, but the checkpoint beside it "
                f"was trained for {metadata['steps']} steps; delete both and run the workflow again."
            )
        rows.append(
            {
                "variant": variant,
                "seed": seed,
                "starts_from": parents[variant] or "",
                "steps": metadata["steps"],
                "images": metadata["images"],
                "seconds": float(last["seconds"]),
                "images_per_second": metadata["images"] / float(last["seconds"]),
                "device": metadata["device"],
                "flow_parameters": _flow_parameters(json.dumps(metadata["flow"])),
                "discriminator_parameters": _discriminator_parameters(metadata["discriminator"]),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


@cache
def _flow_parameters(settings: str) -> int:
    """Trained numbers of a flow with these settings (JSON); a checkpoint also holds buffers, which are none."""
    with torch.device("meta"):  # shapes alone: no memory, no time
        flow = build_generator(stored_settings(GENERATORS, "family", json.loads(settings)))
    return sum(parameter.numel() for parameter in flow.parameters())


def _discriminator_parameters(settings: dict[str, Any] | None) -> int:
    """The same for a discriminator; 0 without one."""
    if settings is None:
        return 0
    with torch.device("meta"):
        discriminator = build_discriminator(stored_settings(DISCRIMINATORS, "kind", settings))
    return sum(parameter.numel() for parameter in discriminator.parameters())


def describe_machine(hardware: Mapping[str, Any]) -> str:
    """The machine of ``provenance.json``, in words."""
    gpus = hardware["gpus"]
    names = ", ".join(gpu["name"] if isinstance(gpu, Mapping) else str(gpu) for gpu in gpus) if gpus else "no GPU"
    return f"{hardware['cpu']}, {hardware['cpus_usable']} usable CPUs, {names}"
