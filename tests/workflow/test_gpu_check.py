"""The checks for a GPU, with the CPU in its place: each passes, and each finds a fault."""

from __future__ import annotations

import dataclasses
from types import ModuleType

import pytest
import torch
import trainings
from benchmark_scripts import load_script

from hybridflow.training.processes import Work

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def kit() -> ModuleType:
    return load_script("gpu_check")


def test_without_a_gpu_it_says_so(kit, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert kit.main([]) == 3
    assert capsys.readouterr().err.startswith("error: torch sees no NVIDIA GPU here, so nothing was checked")


def test_the_stand_in_says_so_and_a_failure_is_the_exit_status(kit, monkeypatch, capsys):
    assert kit.main(["--device", "cpu", "--checks", "memory"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("the CPU stands in for a GPU")
    assert "error: train_variant: the memory of this machine is used up; set training.checkpointing" in said
    monkeypatch.setattr(kit, "out_of_memory", lambda error, rule: None)
    assert kit.main(["--device", "cpu", "--checks", "memory"]) == 1
    assert "0 of 1 checks passed" in capsys.readouterr().out


def test_values_that_are_off_are_found(kit, monkeypatch):
    assert "micro bf16" in kit.check_values(CPU)
    true = kit.values

    def off(model, variant, device, arithmetic):
        found = true(model, variant, device, arithmetic)
        return found if arithmetic.dtype is torch.float64 else found | {"samples": found["samples"] + 0.01}

    monkeypatch.setattr(kit, "values", off)
    with pytest.raises(kit.Disagreement, match=r"micro fp32: .* samples 1.0e-02"):
        kit.check_values(CPU)


def test_steps_that_are_off_are_found(kit, monkeypatch):
    monkeypatch.setattr(kit, "LOSSES", ["relativistic"])
    assert kit.check_steps(CPU).startswith("4 recipes (loss relativistic, balanced, stabilised, everything)")
    rates = iter([1e-2, 1.01e-2])
    monkeypatch.setattr(kit, "take_steps", lambda *work: trainings.take_steps(*work, lr=next(rates)))
    with pytest.raises(kit.Disagreement, match=r"loss relativistic: .* after four steps"):
        kit.check_steps(CPU)


def test_a_host_that_reads_is_found(kit, monkeypatch):
    assert kit.check_sync(CPU).startswith("0 synchronisations")

    def reading(*work):
        return {name: value.item() for name, value in trainings.take_steps(*work).items()}

    monkeypatch.setattr(kit, "take_steps", reading)
    with pytest.raises(kit.Disagreement, match=r"(?s)baseline: .* reads; the first:.*value\.item\(\)"):
        kit.check_sync(CPU)


def test_a_resumed_training_that_forgot_something_is_found(kit, monkeypatch):
    assert kit.check_resume(CPU).startswith("bit-identical")
    monkeypatch.setattr(torch.optim.Adam, "load_state_dict", lambda optimizer, state: None)
    with pytest.raises(kit.Disagreement, match="resuming adds to it"):
        kit.check_resume(CPU)


def test_processes_that_disagree_are_found(kit, monkeypatch):
    assert kit.check_processes(CPU).startswith("gloo, one device: metrics of 12 steps")

    def other_seed(work, images, holdout, devices, threads):
        Work(dataclasses.replace(work, seed=1), images, holdout, devices[0], threads).run()

    monkeypatch.setattr(kit, "train_on", other_seed)
    with pytest.raises(kit.Disagreement, match=r"at most 0\.002 is allowed"):
        kit.check_processes(CPU)
