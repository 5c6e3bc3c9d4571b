import numpy as np
import pytest
import torch

from hybridflow.config.evaluation import CifarClassifierSettings
from hybridflow.evaluation.extractors import cifar_classifier as classifier
from hybridflow.evaluation.extractors.base import compute_moments
from hybridflow.evaluation.extractors.cifar_classifier import (
    CifarClassifier,
    ClassCounter,
    ClassifierExtractor,
    initialise,
    load_classifier,
    save_classifier,
    train_classifier,
)
from hybridflow.io.hashing import sha256_file
from hybridflow.runtime.errors import UserError

TINY = CifarClassifierSettings(width=8, epochs=3, train_batch_size=50, lr=0.1)


def toy(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is a colour pattern under noise; labels int64."""
    patterns = np.random.default_rng(0).normal(size=(10, 3, 4, 4))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = 128 + 40 * patterns[labels].repeat(8, 2).repeat(8, 3) + 20 * rng.normal(size=(count, 3, 32, 32))
    return images.clip(0, 255).astype(np.uint8), labels


def train(settings=TINY, **changes):
    arguments = dict(zip(("train_images", "train_labels"), toy(1, 320), strict=True))
    arguments |= dict(zip(("test_images", "test_labels"), toy(2, 100), strict=True))
    return train_classifier(**(arguments | changes.pop("arrays", {})), settings=settings, device="cpu", threads=1,
                            label="classifier", **changes)  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    return train()


def equal(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_shapes():
    model = CifarClassifier(16).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert model.features(images).shape == (2, 64)
    assert model(images).shape == (2, 10)
    assert model.dimensions == 64


def test_first_layer_whitens_patches():
    images = torch.from_numpy(toy(3, 60)[0])
    model = CifarClassifier(8)
    initialise(model, images, seed=0)
    out = model.whitening(model.normalise(images)).detach()[:, :12].transpose(0, 1).flatten(1)
    covariance = torch.cov(out)
    assert (covariance - torch.diag(covariance.diagonal())).abs().max() < 0.02
    variances = 1 / model.whitening.weight[:12].square().sum((1, 2, 3)) - classifier.WHITENING_FLOOR  # of the patches
    expected = variances / (variances + classifier.WHITENING_FLOOR)
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
    whole = train(settings)
    path = tmp_path / "classifier.resume"
    keep = classifier._keep

    def keep_and_die(*arguments):
        keep(*arguments)
        raise KeyboardInterrupt

    for _ in range(2):  # killed after the first epoch, and again after the second
        monkeypatch.setattr(classifier, "_keep", keep_and_die)
        with pytest.raises(KeyboardInterrupt):
            train(settings, resume=path)
        torch.seed()  # the global generator must not matter
    monkeypatch.setattr(classifier, "_keep", keep)
    continued = train(settings, resume=path)
    assert torch.load(path, weights_only=True)["state"]["step"] == 12  # two epochs of six batches were kept
    assert equal(whole[0], continued[0])
    assert whole[1] == continued[1]


def test_state_of_another_training_is_not_continued(tmp_path, trained):
    path = tmp_path / "classifier.resume"
    train(TINY.model_copy(update={"seed": 1}), resume=path)
    assert path.exists()
    assert equal(train(resume=path)[0], trained[0])
    path.write_bytes(b"broken")
    assert equal(train(resume=path)[0], trained[0])


def test_the_seed_matters(trained):
    assert not equal(train(TINY.model_copy(update={"seed": 1}))[0], trained[0])


def test_a_diverging_training_says_what_to_change():
    with pytest.raises(UserError, match=r"diverged in epoch \d .*lower `evaluation\.fd_cifar\.classifier\.lr`"):
        train(TINY.model_copy(update={"lr": 1e30}))


def test_wrong_arrays_are_named():
    with pytest.raises(UserError, match=r"training images as uint8 \(N, 3, 32, 32\), got float64"):
        train(arrays={"train_images": np.zeros((320, 3, 32, 32))})
    with pytest.raises(UserError, match=r"one test label from 0 to 9 an image, got shape \(7,\) for 100 images"):
        train(arrays={"test_labels": np.zeros(7, int)})
    with pytest.raises(UserError, match=r"one training label from 0 to 9"):
        train(arrays={"train_labels": np.full(320, 10)})


def test_a_saved_classifier_comes_back(tmp_path, trained):
    state, accuracy = trained
    for name in ("a", "b"):
        save_classifier(tmp_path / name, state, TINY, accuracy)
    assert sha256_file(tmp_path / "a") == sha256_file(tmp_path / "b")
    model, metadata = load_classifier(tmp_path / "a", "cpu")
    assert metadata == {"settings": TINY.model_dump(), "accuracy": accuracy}
    assert equal(model.state_dict(), state)
    images, labels = map(torch.from_numpy, toy(2, 100))
    assert float((model(images).argmax(1) == labels).float().mean()) == pytest.approx(accuracy["test"])


def test_extractor(trained):
    model = CifarClassifier(TINY.width)
    model.load_state_dict(trained[0])
    extractor = ClassifierExtractor(model.train(), "cpu")
    images = torch.from_numpy(toy(4, 10)[0])
    features = extractor(images)
    assert (extractor.name, extractor.dimensions) == ("cifar_classifier", 32)
    assert (features.shape, features.dtype, features.requires_grad) == ((10, 32), torch.float32, False)
    torch.testing.assert_close(extractor(images[3:4]), features[3:4])  # evaluation mode: no image sees another
    assert compute_moments(images.numpy(), extractor, 4, "cpu", "features").mean.shape == (32,)


def test_classes_are_counted_beside_the_features(trained):
    model = CifarClassifier(TINY.width)
    model.load_state_dict(trained[0])
    extractor = ClassifierExtractor(model, "cpu")
    counter = ClassCounter(extractor)
    images, _ = toy(5, 50)
    moments = compute_moments(images, counter, 20, "cpu", "features")
    assert np.array_equal(moments.mean, compute_moments(images, extractor, 20, "cpu", "features").mean)
    expected = np.bincount(model(torch.from_numpy(images)).argmax(1), minlength=10)
    assert counter.counts == expected.tolist()
    assert (expected > 0).sum() > 2
    assert (counter.name, counter.dimensions) == (extractor.name, extractor.dimensions)


def test_a_file_that_is_no_classifier_is_named(tmp_path, trained):
    path = tmp_path / "classifier.safetensors"
    with pytest.raises(UserError, match=r"cannot read the classifier .*classifier\.safetensors: No such file"):
        load_classifier(path, "cpu")
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is not a trained CIFAR-10 classifier; delete it"):
        load_classifier(path, "cpu")
    save_classifier(path, trained[0], TINY.model_copy(update={"width": 16}), {})  # weights of another width
    with pytest.raises(UserError, match="is not a trained CIFAR-10 classifier; delete it"):
        load_classifier(path, "cpu")
