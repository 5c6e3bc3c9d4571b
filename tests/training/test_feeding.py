"""Images that stay on the host: the same batches and results, gathered ahead, copied without waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from test_training import CPU, IMAGES, job, rows

from hybridflow.models.checkpoint import read_tensors
from hybridflow.training.batches import Batches
from hybridflow.training.feeding import ImagesOnDevice, ImagesOnHost, to_device
from hybridflow.training.loop import train


@pytest.fixture
def mapped(tmp_path: Path) -> np.ndarray:
    np.save(tmp_path / "images.npy", IMAGES)
    return np.load(tmp_path / "images.npy", mmap_mode="r")


class Watched(ImagesOnHost):
    """Remembers in which thread which rows were gathered."""

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        super().__init__(images, device)
        self.gathered: list[list[int]] = []
        self.threads: set[int] = set()

    def _gather(self, rows: torch.Tensor) -> torch.Tensor:
        self.gathered.append(rows.tolist())
        self.threads.add(threading.get_ident())
        return super()._gather(rows)


def test_both_give_the_images_of_the_rows(mapped: np.ndarray) -> None:
    chosen = torch.tensor([5, 0, 5, 31])
    for held in (ImagesOnDevice(mapped, CPU), ImagesOnHost(mapped, CPU)):
        found = held.take(chosen)
        assert found.dtype == torch.uint8
        assert np.array_equal(found.numpy(), IMAGES[chosen.numpy()])


def test_upcoming_rows_are_gathered_once_and_in_another_thread(mapped: np.ndarray) -> None:
    held = Watched(mapped, CPU)
    first, second, third = (torch.arange(4 * i, 4 * i + 4) for i in range(3))
    held.take(first, [second])
    held.take(second, [third])
    assert np.array_equal(held.take(third).numpy(), IMAGES[8:12])
    assert held.gathered == [first.tolist(), second.tolist(), third.tolist()]
    assert threading.get_ident() not in held.threads


def test_what_is_not_asked_for_is_dropped(mapped: np.ndarray) -> None:
    held = Watched(mapped, CPU)
    first, second, third = (torch.arange(4 * i, 4 * i + 4) for i in range(3))
    held.take(first, [second])
    held.take(third, [first])
    assert list(held._gathered) == [first.numpy().tobytes()]
    assert np.array_equal(held.take(second).numpy(), IMAGES[4:8])


def test_an_error_while_gathering_reaches_who_asks(mapped: np.ndarray) -> None:
    held = ImagesOnHost(mapped, CPU)
    held.take(torch.tensor([0]), [torch.tensor([len(IMAGES)])])
    with pytest.raises(IndexError):
        held.take(torch.tensor([len(IMAGES)]))


def test_on_a_gpu_the_copy_is_pinned_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
        calls.append("pinned")
        return tensor

    def to(tensor: torch.Tensor, device: torch.device, non_blocking: bool = False) -> torch.Tensor:
        calls.append((str(device), non_blocking))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(torch.Tensor, "to", to)
    to_device(torch.zeros(2), torch.device("cuda", 1))
    assert calls == ["pinned", ("cuda:1", True)]
    calls.clear()
    to_device(torch.zeros(2), CPU)
    assert calls == [("cpu", True)]


@pytest.mark.parametrize("name", ["baseline", "two-steps"])
def test_batches_are_the_same_over_epochs_and_streams(tmp_path: Path, mapped: np.ndarray, name: str) -> None:
    variant = job(tmp_path, name).variant.training
    streams = variant.discriminator_steps
    device = Batches(IMAGES, variant, 0, CPU)
    host = Batches(mapped, variant.model_copy(update={"images_on": "host"}), 0, CPU)
    host.images = Watched(mapped, CPU)
    asked = [(step, stream) for step in range(20) for stream in range(streams)]
    for step, stream in asked:
        assert torch.equal(device.whole(step, stream), host.whole(step, stream)), (step, stream)
    host.images._thread.shutdown()
    # One batch more than was asked for: every one that was asked for had been foreseen, and none was gathered twice.
    assert len(host.images.gathered) == len(asked) + 1


def test_a_training_ends_in_the_same_weights_and_history(tmp_path: Path, mapped: np.ndarray) -> None:
    held, fed = job(tmp_path / "held", "two-steps"), job(tmp_path / "fed", "two-steps", images_on="host")
    train(held, IMAGES, CPU)
    train(fed, mapped, CPU)
    expected, found = read_tensors(held.checkpoint, "flow"), read_tensors(fed.checkpoint, "flow")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert rows(held.history) == rows(fed.history)
    assert held.checkpoint.read_bytes() == fed.checkpoint.read_bytes()
