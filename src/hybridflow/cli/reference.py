"""Comparison of this package's models with numbers that another implementation computed."""

from __future__ import annotations

import json
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np

from hybridflow.runtime.errors import UserError

FAMILIES = {family: f"hybridflow.models.generators.{family}_reference" for family in ("denseflow", "glow", "realnvp")}
"""Generator family -> the module whose ``check_reference(path)`` yields (agrees, sentence) pairs."""


def reference_family(path: Path) -> str:
    """The generator family that a reference file names in ``config_json`` (``denseflow`` if it names none).

    Raises:
        UserError: it is no reference file, or its family is unknown.
    """
    try:
        with path.open("rb") as handle, np.lib.npyio.NpzFile(handle, allow_pickle=False) as file:
            family = json.loads(file["config_json"].tobytes().decode()).get("family", "denseflow")
    except (OSError, ValueError, EOFError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        detail = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"cannot read {path} as a reference file (.npz with config_json): {detail}.") from None
    if not isinstance(family, str) or family not in FAMILIES:
        raise UserError(f"{path} is of the family {family!r}; reference files are known for: {', '.join(FAMILIES)}.")
    return family


def check_reference(path: Path) -> bool:
    """Prints how far the model is from a reference file; whether it is within the tolerances.

    Raises:
        UserError: the file cannot be used.
    """
    family = reference_family(path)
    agrees = True
    for close, sentence in import_module(FAMILIES[family]).check_reference(path):
        agrees &= close
        print(sentence)
    print(f"{family}: {'agrees' if agrees else 'DISAGREES'} with {path}")
    return agrees
