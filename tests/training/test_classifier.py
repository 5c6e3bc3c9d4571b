"""Training of the classifier behind FD-CIFAR."""

from __future__ import annotations

import pytest
import torch
from toy_classifier import TINY, equal, toy, train_toy

from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.evaluation.extractors.cifar_training import WHITENING_FLOOR, initialise
from hybridflow.runtime.errors import UserError
from hybridflow.training.resume import ResumeState


@pytest.fixture(scope="module")
def trained():
    return train_toy()


def test_first_layer_whitens_patches():
    images = torch.from_numpy(toy(3, 60)[0])
    model = CifarClassifier(8)
    initialise(model, images, seed=0)
    out = model.whitening(model.normalise(images)).detach()[:, :12].transpose(0, 1).flatten(1)
    covariance = torch.cov(out)
    assert (covariance - torch.diag(covariance.diagonal())).abs().max() < 0.02
    variances = 1 / model.whitening.weight[:12].square().sum((1, 2, 3)) - WHITENING_FLOOR  # of the patches
    expected = variances / (variances + WHITENING_FLOOR)
    torch.testing.assert_close(covariance.diagonal(), expected.detach(), rtol=1e-2, atol=1e-3)
    assert covariance.diagonal().max() > 0.8
    torch.testing.assert_close(model.whitening.weight[:12], -model.whitening.weight[12:])


def test_it_learns(trained):
    _, accuracy = trained
    assert accuracy.keys() == {"test", "train"}
    assert accuracy["test"] > 0.4  # chance is 0.1


def test_the_frozen_parts_stay_and_the_others_move(trained):
    start = CifarClassifier(TINY.width)
    initialise(start, torch.from_numpy(toy(1, 320)[0]), TINY.seed)
    for name, value in start.named_parameters():
        assert torch.equal(value, trained[0][name]) != value.requires_grad, name


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_an_interrupted_training_ends_bit_identical(tmp_path, monkeypatch, precision):
    settings = TINY.model_copy(update={"precision": precision})
    save = ResumeState.save

    def save_and_die(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(ResumeState, "save", save_and_die)
    for _ in range(2):  # killed after the first epoch, and again after the second
        with pytest.raises(KeyboardInterrupt):
            train_toy(settings, resume=ResumeState(tmp_path / "classifier.resume", "key"))
        torch.seed()  # the global generator must not matter
    monkeypatch.undo()
    resume = ResumeState(tmp_path / "classifier.resume", "key")
    assert resume.load()["step"] == 12  # two epochs of six batches were kept
    whole, continued = train_toy(settings), train_toy(settings, resume=resume)
    assert equal(whole[0], continued[0])
    assert whole[1] == continued[1]


def test_the_seed_matters(trained):
    assert not equal(train_toy(TINY.model_copy(update={"seed": 1}))[0], trained[0])


def test_a_diverging_training_says_what_to_change():
    with pytest.raises(UserError, match=r"diverged in epoch \d .*lower `evaluation\.extractors\.cifar_classifier\.lr`"):
        train_toy(TINY.model_copy(update={"lr": 1e30}))
