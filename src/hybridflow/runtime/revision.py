"""Which revision of the code computes."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import hybridflow

CHECKOUT = Path(hybridflow.__file__).resolve().parents[2]
CODE = ("src", "workflow", "Snakefile")


@cache
def code_revision() -> str | None:
    """The git revision of this code, ``-dirty`` if a file of it differs; None if it is in no checkout of its own.

    It is that of the first call: a job asks before it works, since the checkout may change while it does.
    """
    # A copy that was unpacked inside somebody else's checkout must not take over that one's revision.
    top = _git("rev-parse", "--show-toplevel")
    revision = _git("rev-parse", "--verify", "HEAD")
    if top is None or revision is None or Path(top).resolve() != CHECKOUT:
        return None
    return revision if _git("status", "--porcelain", "--", *CODE) == "" else f"{revision}-dirty"


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(CHECKOUT), *arguments]
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}  # a hook's name others
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=own)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
