import numpy as np
import pytest
import torch
from toy_classifier import TINY, equal, toy, train_toy

from hybridflow.evaluation.extractors.base import compute_features
from hybridflow.evaluation.extractors.cifar_classifier import (
    ClassifierExtractor,
    read_classifier,
    save_classifier,
)
from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError


@pytest.fixture(scope="module")
def trained():
    return train_toy()


def test_shapes():
    model = CifarClassifier(16).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert model.features(images).shape == (2, 64)
    assert model(images).shape == (2, 10)
    assert model.dimensions == 64


def test_a_saved_classifier_comes_back(tmp_path, trained):
    state, accuracy = trained
    for name in ("a", "b"):
        save_classifier(tmp_path / name / "c.safetensors", state, TINY, accuracy, "k")
    assert sha256_file(tmp_path / "a" / "c.safetensors") == sha256_file(tmp_path / "b" / "c.safetensors")
    metadata = read_record(tmp_path / "a" / "c.json")
    model = read_classifier(tmp_path / "a" / "c.safetensors", TINY.width).eval()
    assert (metadata["key"], metadata["settings"], metadata["accuracy"]) == ("k", TINY.key_values(), accuracy)
    assert equal(model.state_dict(), state)
    images, labels = map(torch.from_numpy, toy(2, 100))
    assert float((model(images).argmax(1) == labels).float().mean()) == pytest.approx(accuracy["test"])


def test_extractor(trained):
    model = CifarClassifier(TINY.width)
    model.load_state_dict(trained[0])
    extractor = ClassifierExtractor(model.train(), "cpu")
    images = torch.from_numpy(toy(4, 10)[0])
    features = extractor(images)
    assert (features.shape, features.dtype, features.requires_grad) == ((10, 32), torch.float32, False)
    torch.testing.assert_close(extractor(images[3:4]), features[3:4])  # evaluation mode: no image sees another
    assert compute_features(images.numpy(), extractor, 4, "cpu", "features").moments.mean.shape == (32,)


def test_classes_are_counted_beside_the_features(trained):
    model = CifarClassifier(TINY.width)
    model.load_state_dict(trained[0])
    extractor = ClassifierExtractor(model, "cpu")
    images, _ = toy(5, 50)
    moments = compute_features(images, extractor, 20, "cpu", "features").moments
    assert moments.count == 50
    expected = np.bincount(model(torch.from_numpy(images)).argmax(1), minlength=10)
    assert extractor.tallies() == {"class_counts": expected.tolist()}
    assert (expected > 0).sum() > 2


def test_a_file_that_is_no_classifier_is_named(tmp_path, trained):
    path = tmp_path / "classifier.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="is not a trained CIFAR-10 classifier of this width; "):
        read_classifier(path, TINY.width)
    save_classifier(path, trained[0], TINY, {}, "k")
    with pytest.raises(UserError, match="is not a trained CIFAR-10 classifier of this width; "):
        read_classifier(path, 2 * TINY.width)
