"""What every training took: steps, images, time, and the sizes of the networks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from hybridflow.config.adversarial import DISCRIMINATORS
from hybridflow.config.generators import GENERATORS
from hybridflow.io.records import read_record
from hybridflow.models.checkpoint import stored_settings
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.generators.registry import build_generator
from hybridflow.models.parameters import count_parameters
from hybridflow.report.histories import read_history
from hybridflow.report.results import Results


def cost_table(results: Results) -> pd.DataFrame:
    """One row per model.

    ``seconds`` is the wall time of the training itself, without pauses and without that of the variant it started
    from. ``device`` is the kind that the checkpoint names.

    Raises:
        UserError: a checkpoint's record or history is missing, damaged, or of another training.
    """
    rows = []
    for model in results.models:
        files = model.files
        record = read_record(files.checkpoint_record, [Path(files.history).name], key=model.key)
        seconds = float(read_history(files.history)["seconds"].iloc[-1])
        discriminator = record["discriminator"]
        rows.append(
            {
                "variant": files.variant,
                "seed": files.seed,
                "starts_from": results.settings.variants[files.variant].init_from or "",
                "steps": record["steps"],
                "images": record["images"],
                "seconds": seconds,
                "images_per_second": record["images"] / seconds,
                "device": record["device"],
                "generator_parameters": _generator_parameters(json.dumps(record["flow"])),
                "discriminator_parameters": _discriminator_parameters(json.dumps(discriminator)),
            }
        )
    return pd.DataFrame(rows)


@cache
def _generator_parameters(settings: str) -> int:
    """Trained numbers of a generator with these settings (JSON); a checkpoint also holds buffers."""
    return count_parameters(lambda: build_generator(stored_settings(GENERATORS, "family", json.loads(settings))))


@cache
def _discriminator_parameters(settings: str) -> int:
    """The same for a discriminator; 0 without one (``null``)."""
    if json.loads(settings) is None:
        return 0
    return count_parameters(lambda: build_discriminator(stored_settings(DISCRIMINATORS, "kind", json.loads(settings))))


def describe_machine(hardware: Mapping[str, Any]) -> str:
    """The machine of ``provenance.json``, in words."""
    gpus = ", ".join(gpu["name"] for gpu in hardware["gpus"]) or "no GPU"
    return f"{hardware['cpu']}, {hardware['cpus_usable']} usable CPUs, {gpus}"
