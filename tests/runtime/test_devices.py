"""Which GPUs a job gets: its own, for as long as it runs. torch.cuda is replaced: there are two."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forks import start

from hybridflow.runtime.devices import claim_device, claim_devices, gpus_claimed
from hybridflow.runtime.errors import UserError


def hold_device(locks: Path, pipe) -> None:
    with claim_device("auto", locks) as device:
        pipe.send(str(device))
        pipe.recv()


def uuid_of(index: int) -> SimpleNamespace:
    """As CUDA does, counts what CUDA_VISIBLE_DEVICES lists; the machine's GPUs are called a, b, c, ..."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0,1").split(",")
    return SimpleNamespace(uuid="abcdef"[int(visible[index])])


@pytest.fixture
def two_gpus(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", uuid_of)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return chosen


def test_processes_get_different_gpus(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.02)))
    first, to_first = start(hold_device, tmp_path)
    assert to_first.poll(20)
    assert to_first.recv() == "cuda:0"
    second, to_second = start(hold_device, tmp_path)
    assert to_second.poll(20)
    assert to_second.recv() == "cuda:1"
    third, to_third = start(hold_device, tmp_path)
    assert not to_third.poll(0.3), "both are taken"
    second.kill()
    assert to_third.poll(20)
    assert to_third.recv() == "cuda:1"
    to_first.send("go on")
    to_third.send("go on")
    first.join(20)
    third.join(20)
    assert (first.exitcode, third.exitcode) == (0, 0)
    with claim_device("cuda", tmp_path) as device:
        assert device == torch.device("cuda", 0)
        assert two_gpus == [0]


def test_a_gpu_is_freed_after_an_error(two_gpus, tmp_path):
    for _ in range(2):
        with pytest.raises(RuntimeError, match="cuda:0"), claim_device("auto", tmp_path) as device:
            raise RuntimeError(str(device))


def test_masked_gpus_are_the_same_gpus(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with claim_device("auto", tmp_path) as device:
        assert device.index == 0
        assert [path.name for path in tmp_path.iterdir()] == ["gpu-d.lock"]
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 3")  # another job sees them in another order
        with claim_device("auto", tmp_path) as other:
            assert other.index == 0
            assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu-d.lock", "gpu-f.lock"]


def test_jobs_that_count_their_gpus_from_zero_do_not_wait_for_each_other(two_gpus, tmp_path, monkeypatch):
    """As Slurm has it where it confines a job to its devices: CUDA_VISIBLE_DEVICES is 0 in both."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("one waits for the other"))
    with claim_device("auto", tmp_path) as device:
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="other"))
        with claim_device("auto", tmp_path) as other:
            assert device == other == torch.device("cuda", 0)


def test_without_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for setting in ("auto", "cpu"):
        with claim_device(setting, tmp_path) as device:
            assert device == torch.device("cpu")
    with (
        pytest.raises(UserError, match=r"training\.device is 'cuda' but torch sees no CUDA device"),
        claim_device("cuda"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def hold_both(locks: Path, pipe) -> None:
    with claim_devices("auto", 2, locks) as devices:
        pipe.send([str(device) for device in devices])
        pipe.recv()


def test_several_gpus_are_claimed_together(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.02)))
    one, to_one = start(hold_device, tmp_path)
    assert to_one.poll(20)
    assert to_one.recv() == "cuda:0"
    both, to_both = start(hold_both, tmp_path)
    assert not to_both.poll(0.3), "one of the two is taken"
    other, to_other = start(hold_device, tmp_path)
    assert to_other.poll(20), "a job that waits for two keeps none"
    assert to_other.recv() == "cuda:1"
    to_one.send("go on")
    assert not to_both.poll(0.3), "the other one is taken"
    to_other.send("go on")
    assert to_both.poll(20)
    assert to_both.recv() == ["cuda:0", "cuda:1"]
    to_both.send("go on")
    for process in (one, both, other):
        process.join(20)
        assert process.exitcode == 0


def test_jobs_that_want_the_same_gpus_take_turns(two_gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds, sleep=time.sleep: sleep(min(seconds, 0.001)))
    waiting = [start(hold_both, tmp_path) for _ in range(4)]
    while waiting:
        ready = next(pair for _ in range(2000) for pair in waiting if pair[1].poll(0.01))
        assert ready[1].recv() == ["cuda:0", "cuda:1"]
        assert not any(pipe.poll(0.05) for _, pipe in waiting), "two jobs hold the same GPUs"
        ready[1].send("go on")
        ready[0].join(20)
        assert ready[0].exitcode == 0
        waiting.remove(ready)


def test_more_gpus_than_there_are(two_gpus, tmp_path):
    with pytest.raises(UserError, match=r"training\.devices is 3 but torch sees only 2 CUDA"):
        claim_devices("auto", 3, tmp_path).__enter__()
    with claim_devices("cpu", 3, tmp_path) as devices:
        assert devices == [torch.device("cpu")] * 3


def test_cpu_jobs_claim_nothing(two_gpus, tmp_path):
    with claim_device("cpu", tmp_path) as device:
        assert device == torch.device("cpu")
    assert two_gpus == []
    assert [gpus_claimed(setting) for setting in ("cpu", "auto", "cuda")] == [0, 1, 1]
    assert [gpus_claimed(setting, 4) for setting in ("cpu", "auto", "cuda")] == [0, 4, 4]
