"""Settings of what is measured on every trained model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from hybridflow.config.extractors import ExtractorSettings
from hybridflow.config.fields import Bool, Int, NonNegativeInt, PositiveFloat, PositiveInt, Section, Text
from hybridflow.config.metrics import METRICS, Metric

SAMPLING_VERSION = 1
"""Raise it when a change of the code changes which images are drawn from the same weights."""

LIKELIHOOD_VERSION = 1
"""Raise it when a change of the code changes the bounds of the same weights."""

CALIBRATION_VERSION = 3
"""Raise it when a change of the code changes the images of known quality, or what is measured on them."""


class SamplingSettings(Section):
    """The images that are drawn from every trained model."""

    images: Annotated[Int, Field(ge=10)] = Field(50_000, description="generated images per model")
    batch_size: PositiveInt = Field(250, description="images decoded at once; rounding depends on it")
    temperature: PositiveFloat = Field(1.0, description="factor on the latents' standard deviation")
    seed: NonNegativeInt = Field(0, description="image i has the latents of (seed, i), whatever the batch size")

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
        250, description="images per pass; noise depends on it, so bounds change a little; no record has it"
    )
    seed: NonNegativeInt = Field(0, description="seed of the bound's noise")

    def identity(self) -> dict[str, Any]:
        """What determines the bounds."""
        return {"version": LIKELIHOOD_VERSION, **self.key_values()}


class EvaluationSettings(Section):
    """What is measured on every trained model."""

    likelihood: LikelihoodSettings = Field(LikelihoodSettings(), description="bits per dimension")
    metrics: tuple[Text, ...] = Field(
        (
            "fid",
            "fd_imagenet",
            "fd_cifar",
            "fd_cifar_test",
            "precision_imagenet",
            "recall_imagenet",
            "coverage_imagenet",
        ),
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
    def calibrated(self) -> list[str]:
        """Extractors whose metrics are measured on images of known quality, too."""
        return [name for name in self.needed_extractors if self.extractors[name].calibrated]

    def calibrated_metrics(self, extractor: str) -> list[Metric]:
        """What is measured on them: the extractor's metrics that compare with training images."""
        metrics = [METRICS[name] for name in self.metrics if METRICS[name].needs != "classes"]
        return [metric for metric in metrics if (metric.extractor, metric.reference) == (extractor, "train")]

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
