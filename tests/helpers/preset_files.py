"""Which files go together."""

from __future__ import annotations

import re
from pathlib import Path


def files_of(preset: Path) -> list[str]:
    """The configuration files in the command at the top of a preset: those it goes over, and itself."""
    found = re.search(r"--configfile((?: presets/\S+\.yaml)+)", preset.read_text(encoding="utf-8"))
    assert found, f"{preset} does not say how to run it"
    files = found[1].split()
    assert files[-1] == f"presets/{preset.name}"
    return files
