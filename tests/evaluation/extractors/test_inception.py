import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import fid_score
from pytorch_fid import inception as fid
from standin import write_random_inception

from hybridflow.config.extractors import InceptionSettings
from hybridflow.evaluation.extractors import inception
from hybridflow.evaluation.extractors.base import compute_features
from hybridflow.evaluation.extractors.efficientnet import EfficientNetExtractor
from hybridflow.evaluation.metrics.frechet import frechet_distance
from hybridflow.runtime.errors import UserError

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def torch_home(tmp_path_factory) -> Path:
    """A torch cache that holds random weights under the official name: what pytorch-fid will load."""
    home = tmp_path_factory.mktemp("torch_home")
    write_random_inception(home / "hub" / "checkpoints" / FILE_NAME)
    return home


@pytest.fixture(scope="module")
def weights(torch_home) -> Path:
    return torch_home / "hub" / "checkpoints" / FILE_NAME


def pictures(seed: int, count: int) -> np.ndarray:
    """Smooth random images, uint8 (N, 3, 32, 32)."""
    noise = torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, 32, mode="bilinear")
    return (128 + 60 * smooth).clamp(0, 255).to(torch.uint8).numpy()


def write_pngs(directory: Path, images: np.ndarray) -> list[Path]:
    directory.mkdir()
    paths = [directory / f"{index:04d}.png" for index in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(path)
    return paths


def test_pool3_features_equal_those_of_pytorch_fid(tmp_path, torch_home, weights, monkeypatch):
    images = pictures(0, 3)
    paths = write_pngs(tmp_path / "a", images)
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    theirs = fid_score.get_activations(paths, fid.InceptionV3([3]), batch_size=3, dims=2048, num_workers=0)
    extractor = inception.load_inception(weights, "cpu")
    ours = extractor(torch.from_numpy(images))
    assert (ours.shape, ours.dtype) == ((3, 2048), torch.float32)
    assert theirs.std(axis=0).mean() > 1e-3, "the stand-in must tell the images apart"
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-6 * theirs.max())  # another memory layout


def test_the_last_layer_is_that_of_the_network(torch_home, weights, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    layer = fid.fid_inception_v3().fc
    np.testing.assert_array_equal(inception.InceptionExtractor.head(weights), layer.weight.detach().numpy())
    assert layer.weight.shape == (1008, 2048)


def test_an_extractor_without_classes_says_so(weights):
    with pytest.raises(UserError, match="EfficientNetExtractor has no last layer from features to classes, which"):
        EfficientNetExtractor.head(weights)


class Shallow(torch.nn.Module):
    """pytorch-fid's features of 64 dimensions, of which a distance takes little time."""

    def __init__(self) -> None:
        super().__init__()
        self.network = fid.InceptionV3([fid.InceptionV3.BLOCK_INDEX_BY_DIM[64]])

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.network(x)[0].mean((2, 3))]


def test_distance_equals_pytorch_fids_command_line(tmp_path, torch_home, monkeypatch):
    a, b = pictures(1, 24), pictures(2, 20) // 2 + 40  # fewer than dimensions: singular covariances
    write_pngs(tmp_path / "a", a)
    write_pngs(tmp_path / "b", b)
    command = [sys.executable, "-m", "pytorch_fid", tmp_path / "a", tmp_path / "b", "--device", "cpu"]
    environment = {**os.environ, "TORCH_HOME": str(torch_home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*map(str, command), "--dims", "64", "--num-workers", "0"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    theirs = float(done.stdout.split("FID:")[1])
    monkeypatch.setenv("TORCH_HOME", str(torch_home))
    extractor = inception.InceptionExtractor(Shallow())
    moments = [compute_features(images, extractor, 16, "cpu", "features").moments for images in (a, b)]
    assert [m.count for m in moments] == [24, 20]
    assert theirs > 0.1
    assert frechet_distance(*moments) == pytest.approx(theirs, rel=1e-5)


def test_pinned_hash_belongs_to_the_packages_file():
    assert inception.weights_url().endswith(f"/{FILE_NAME}")
    assert inception.INCEPTION_SHA256[:8] in FILE_NAME


def test_loading_restores_the_packages_loader(weights):
    before = fid.load_state_dict_from_url
    inception.load_inception(weights, "cpu")
    assert fid.load_state_dict_from_url is before


def test_a_path_is_copied_as_it_is(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"stand-in")
    settings = InceptionSettings(weights=str(tmp_path / "mine.pth"))
    target = inception.fetch_inception_weights(settings, tmp_path / "cache" / "inception.pth")
    assert target.read_bytes() == b"stand-in"


def test_a_download_with_another_hash_is_refused(tmp_path):
    (tmp_path / "wrong.pth").write_bytes(b"something else")
    settings = InceptionSettings(weights=(tmp_path / "wrong.pth").as_uri())
    with pytest.raises(
        UserError, match=r"cannot be fetched from file:.*SHA-256.*take FID out of `evaluation\.metrics`"
    ):
        inception.fetch_inception_weights(settings, tmp_path / "inception.pth")
    assert not (tmp_path / "inception.pth").exists()


def test_the_packages_address_is_the_default(tmp_path, monkeypatch):
    source = tmp_path / "published.pth"
    monkeypatch.setattr(fid, "FID_WEIGHTS_URL", source.as_uri())
    with pytest.raises(
        UserError, match=r"No such file.*; let `evaluation\.extractors\.inception\.weights` name a copy"
    ):
        inception.fetch_inception_weights(InceptionSettings(), tmp_path / "inception.pth")
    source.write_bytes(b"published")
    monkeypatch.setattr(inception, "INCEPTION_SHA256", hashlib.sha256(b"published").hexdigest())
    target = inception.fetch_inception_weights(InceptionSettings(), tmp_path / "inception.pth")
    assert target.read_bytes() == b"published"


@pytest.mark.parametrize(
    "content", [b"", b"<html>not found</html>", b"broken", {"conv.weight": torch.zeros(3)}, {"epoch": 3}, [1, 2]]
)
def test_a_malformed_file_is_named(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=r"bad\.pth does not hold the weights of pytorch-fid's Inception network; let"):
        inception.load_inception(path, "cpu")


def test_a_truncated_file_is_named(tmp_path, weights):
    path = tmp_path / "cut.pth"
    with weights.open("rb") as whole:
        path.write_bytes(whole.read(1_000_000))
    with pytest.raises(UserError, match=r"cut\.pth does not hold the weights"):
        inception.load_inception(path, "cpu")
