"""Child processes that share what a test has replaced in its own: forked, as a spawned one would import all again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

FORK = multiprocessing.get_context("fork")


def start(target: Callable[..., None], *arguments: Any) -> tuple[Any, Connection]:
    """Calls ``target(*arguments, pipe)`` in a child process; returns the process and our end of the pipe."""
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    return process, ours
