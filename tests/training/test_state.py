"""The state that a training starts from."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from trainings import CPU, IMAGES, TINY, job, start, take_steps

from hybridflow.config.loading import parse_settings
from hybridflow.models.checkpoint import read_metadata, read_tensors
from hybridflow.runtime.errors import UserError
from hybridflow.training.loop import train


def is_stored(model: torch.nn.Module, tensors: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, tensors[key]) for key, value in model.state_dict().items())


def test_fresh_weights_depend_on_the_seed_alone(tmp_path):
    torch.manual_seed(1)
    _, one = start(job(tmp_path, "hybrid"))
    torch.manual_seed(2)
    _, two = start(job(tmp_path, "hybrid"))
    assert is_stored(one.generator, two.generator.state_dict())
    assert is_stored(one.discriminator, two.discriminator.state_dict())
    assert one.generator.ready


def test_children_start_from_the_parent(uninterrupted, tmp_path):
    parent = uninterrupted("hybrid").checkpoint
    _, state = start(job(tmp_path, "child", parent=parent))
    assert is_stored(state.generator, read_tensors(parent, "flow"))
    assert is_stored(state.discriminator, read_tensors(parent, "discriminator"))
    _, other = start(job(tmp_path, "other-child", parent=parent))  # another discriminator: fresh
    assert torch.equal(other.generator.prior_loc, state.generator.prior_loc)
    assert other.discriminator[0].out_channels == 6
    _, fresh = start(job(tmp_path, "adversarial"))
    assert not torch.equal(fresh.discriminator[0].weight, state.discriminator[0].weight)


def test_children_of_a_spectrally_normalised_discriminator(uninterrupted, tmp_path):
    parent = uninterrupted("stabilised").checkpoint
    _, state = start(job(tmp_path, "stabilised-child", parent=parent))
    assert "0.parametrizations.weight.0._v" in state.discriminator.state_dict()
    assert is_stored(state.discriminator, read_tensors(parent, "discriminator"))
    plain = uninterrupted("hybrid").checkpoint  # its discriminator is another one: the child's is fresh
    _, state = start(job(tmp_path, "spectral-child", parent=plain))
    assert "0.parametrizations.weight.original" in state.discriminator.state_dict()


def test_a_training_saved_on_a_gpu_goes_on_on_a_cpu(tmp_path):
    work = job(tmp_path, optimizer={"name": "adamax", "lr": 1e-3})
    batches, state = start(work)
    take_steps(work, batches, state, 1, 1e-3)
    saved = copy.deepcopy(state.state_dict())
    for group in saved["generator_optimizer"]["param_groups"]:
        group["capturable"] = True  # as a GPU's optimiser has it
    _, other = start(work)
    other.load_state_dict(saved, CPU)
    for one in (state, other):
        take_steps(work, batches, one, 1, 1e-3)
    assert is_stored(other.generator, state.generator.state_dict())


def test_a_child_records_its_parent(uninterrupted, tmp_path):
    parent = uninterrupted("hybrid").checkpoint
    work = job(tmp_path, "child", parent=parent, epochs=0.125, final_phase={"epochs": 0})
    train(work, IMAGES, CPU)
    assert read_metadata(work.checkpoint)["parent"] == "key-hybrid"
    assert read_metadata(parent)["parent"] is None


def test_a_parent_of_another_architecture(uninterrupted, tmp_path):
    settings = parse_settings(TINY | {"generator": TINY["generator"] | {"growth_rate": 4}})
    work = job(tmp_path, "child", parent=uninterrupted("hybrid").checkpoint)
    with pytest.raises(UserError, match=r"model\.safetensors does not fit the architecture"):
        start(replace(work, variant=settings.variants["child"]))
    with pytest.raises(UserError, match=r"there is no checkpoint at .*none\.safetensors"):
        start(replace(work, parent=tmp_path / "none.safetensors"))
