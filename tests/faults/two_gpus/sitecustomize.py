"""Makes the jobs of a workflow believe in a machine with two GPUs, while they compute on its CPU.

Python imports this module at its start when its folder is on ``PYTHONPATH``. Claiming is the project's own; what stands
in for a GPU afterwards is the CPU. ``GPU_LOCKS`` names the folder of the lock files, ``GPU_LOG`` the file for who had
which GPU when, in the order of events; without them the module does nothing.

GPUs are held until ``GPU_JOBS`` jobs have asked for one: steps of a small model on a CPU could be over before.
"""

import importlib.util
import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

PRESENT = 2
PATIENCE = 120.0  # seconds that a GPU is held for the others to ask


def write(event, claimed=()):
    """Adds a line to the log, at its end however many write at once."""
    row = {"event": event, "gpus": [str(device) for device in claimed]}
    with Path(os.environ["GPU_LOG"]).open("a") as log:
        log.write(json.dumps(row) + "\n")


def asked():
    """How many jobs have asked for a GPU."""
    return Path(os.environ["GPU_LOG"]).read_text().count('"asked"')


def fake(module):
    """Replaces ``claim_devices`` of :mod:`hybridflow.runtime.devices`."""
    claim = module.claim_devices

    @contextmanager
    def claim_devices(setting, count, locks=None):
        import torch

        write("asked")
        with (
            mock.patch.object(torch.cuda, "device_count", return_value=PRESENT),
            claim(setting, count, Path(os.environ["GPU_LOCKS"])) as claimed,
        ):
            write("claimed", claimed)
            deadline = time.monotonic() + PATIENCE
            while asked() < int(os.environ["GPU_JOBS"]) and time.monotonic() < deadline:
                time.sleep(0.05)
            try:
                yield [torch.device("cpu") for _ in claimed]
            finally:
                write("freed", claimed)

    module.claim_devices = claim_devices


class Finder:
    """Lets :func:`fake` change the module as soon as it is imported."""

    def find_spec(self, name, path, target=None):
        if name != "hybridflow.runtime.devices":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            fake(module)

        spec.loader.exec_module = exec_module
        return spec


if "GPU_LOCKS" in os.environ:
    sys.meta_path.insert(0, Finder())
