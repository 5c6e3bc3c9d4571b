"""EfficientNet-Lite0, with the weights of the installed package."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from hybridflow.evaluation.extractors import efficientnet
from hybridflow.evaluation.extractors.efficientnet import EfficientNetExtractor, load_efficientnet, packaged_weights
from hybridflow.evaluation.extractors.efficientnet_network import EfficientNetLite0, SameConv
from hybridflow.runtime.errors import UserError

IMAGES = (torch.arange(3 * 3072).reshape(3, 3, 32, 32) * 7 % 256).to(torch.uint8)


@pytest.fixture(scope="module")
def extractor() -> EfficientNetExtractor:
    return load_efficientnet(packaged_weights(), "cpu")


def test_every_image_has_its_features(extractor: EfficientNetExtractor) -> None:
    features = extractor(IMAGES)
    assert (features.shape, features.dtype, features.requires_grad) == ((3, 1280), torch.float32, False)
    torch.testing.assert_close(extractor(IMAGES[1:2]), features[1:2])


def test_folding_batchnorm_changes_rounding_alone(extractor: EfficientNetExtractor) -> None:
    network = EfficientNetLite0().eval()
    state = torch.load(packaged_weights(), weights_only=True)
    assert set(state) - set(network.state_dict()) == {"_fc.weight", "_fc.bias"}
    network.load_state_dict(state, strict=False)
    x = torch.rand(2, 3, 96, 112) * 2 - 1  # 96 and 112 pixels: sizes of both parities in between
    with torch.no_grad():
        torch.testing.assert_close(extractor.network(x), network(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("size", "front", "behind"), [(7, 1, 1), (8, 0, 1)])
def test_padding_is_the_published_one(size: int, front: int, behind: int) -> None:
    conv = SameConv(1, 1, 3, stride=2, bias=False)
    x = torch.rand(1, 1, size, size)
    expected = F.conv2d(F.pad(x, (front, behind, front, behind)), conv.weight, stride=2)
    torch.testing.assert_close(conv(x), expected)


@pytest.mark.parametrize("content", [b"", b"broken", {"_conv_stem.weight": torch.zeros(3)}, [1, 2]])
def test_another_file_is_named(tmp_path: Path, content: object) -> None:
    path = tmp_path / "bad.weights"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(UserError, match=r"bad\.weights does not hold the weights of EfficientNet-Lite0; "):
        load_efficientnet(path, "cpu")


def test_a_package_that_is_missing_or_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "EFFICIENTNET_SHA256", "ab")
    with pytest.raises(UserError, match="is not the file that FD-ImageNet is defined by; install it again"):
        packaged_weights()
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="the package no-such-package with the weights is not here; install it again"):
        packaged_weights()
