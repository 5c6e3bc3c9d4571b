"""Freed memory that a process keeps: no new pages for tensors of the same sizes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hybridflow.runtime import allocator as memory

PAGES = 16 * 2**20 // 4096  # of a tensor of 16 MB

COUNT = f"""
import resource, sys, torch
from pathlib import Path
torch.set_num_threads(1)
if sys.argv[1] == "claimed":
    from hybridflow.runtime.devices import claim_device
    with claim_device("cpu"):
        pass
elif sys.argv[1] == "worker":
    import numpy as np
    from unittest import mock
    from hybridflow.training import processes
    from hybridflow.io.records import write_record
    np.save("images.npy", np.zeros((2, 3, 32, 32), np.uint8))
    write_record("images.json", {{}}, ["images.npy"])
    with mock.patch.object(processes, "train"):
        processes.Work(None, Path("images.npy"), 0, torch.device("cpu"), 1).run()

def use():
    tensors = [torch.ones({PAGES} * 1024) for _ in range(4)] + [torch.ones({PAGES} * 8192)]

counts = []
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(counts)[6])  # at first something small may settle in a hole, and the heap grows once more
"""


def new_pages(tmp_path, how: str) -> int:
    """Pages that one of some equal computations gets from the system: four tensors of 16 MB, one of 128 MB."""
    command = [sys.executable, "-c", COUNT, how]
    return int(subprocess.run(command, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True).stdout)


@pytest.mark.skipif(not memory.keep_freed_memory(), reason="the C library has no such settings")
def test_jobs_on_a_cpu_get_no_new_pages_for_the_same_work(tmp_path) -> None:
    assert new_pages(tmp_path, "default") > 8 * PAGES  # or there would be nothing to gain
    assert new_pages(tmp_path, "claimed") < PAGES // 16
    assert new_pages(tmp_path, "worker") < PAGES // 16


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        pass

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Other())
    assert memory.keep_freed_memory() is False
