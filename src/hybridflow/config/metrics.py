"""The metrics that compare generated images with the dataset's: what each needs, and how a table prints it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from hybridflow.config.registry import imported


@dataclass(frozen=True)
class Metric:
    """A number computed from features of generated images and of the dataset's.

    Jobs, columns, notes, comparisons and figures follow from this declaration.

    Attributes:
        name: the name in the configuration and in files, and the column of the CSV.
        heading: what a table's reader sees.
        extractor: whose features, a name of :data:`~hybridflow.config.extractors.EXTRACTORS`.
        reference: the split of the dataset that generated images are compared with.
        target: ``"package.module:function"`` or the function itself, called with (generated, reference), both
            :class:`~hybridflow.evaluation.metrics.features.Features`. It returns a number, or an
            :class:`~hybridflow.evaluation.metrics.features.Estimate`, whose number has an error.
        needs: ``moments``, or ``features`` if it needs the vectors of the dataset's first images, too, or ``classes``
            if it needs the extractor's last layer. Vectors of generated images are there in any case.
        version: raise it when a change of the code changes the numbers; a table refuses to mix versions.
        digits: behind the decimal point.
        better: which direction is better.
        in_table: whether Table 1 prints it if the configuration names no choice; the CSV has all.
        summary: one line for ``hybridflow list``.
        against: which images of the split it sees: ``all``, the first ones, whose vectors are ``kept``, or as many of
            these as there are generated ones (``equal``). If None, ``kept`` where it needs features, else ``all``.
        limits: the least and the greatest value that there can be; intervals end there.
    """

    name: str
    heading: str
    extractor: str
    target: str | Callable[[Any, Any], float]
    summary: str
    reference: Literal["train", "test"] = "train"
    needs: Literal["moments", "features", "classes"] = "moments"
    version: int = 1
    digits: int = 2
    better: Literal["lower", "higher"] = "lower"
    in_table: bool = True
    against: Literal["all", "kept", "equal"] | None = None
    limits: tuple[float, float] = (-math.inf, math.inf)

    @property
    def seen(self) -> Literal["all", "kept", "equal"]:
        """``against``, or what follows from ``needs``."""
        return self.against or ("kept" if self.needs == "features" else "all")

    def load(self) -> Callable[[Any, Any], float]:
        """The function that computes it."""
        return imported(self.target)


METRICS_PACKAGE = "hybridflow.evaluation.metrics"
FRECHET = f"{METRICS_PACKAGE}.influence:frechet"


def metrics_of(extractor: str, suffix: str, features: str) -> tuple[Metric, ...]:
    """Every metric on stored features, in those of one extractor; for your own extractor, too.

    Args:
        extractor: a name of :data:`~hybridflow.config.extractors.EXTRACTORS`.
        suffix: of the metrics' names.
        features: how a reader knows these features.
    """

    def metric(name: str, heading: str, target: str, summary: str, **other: Any) -> Metric:
        return Metric(
            f"{name}_{suffix}",
            f"{heading} ({features})",
            extractor,
            f"{METRICS_PACKAGE}.{target}",
            f"{summary}, in {features} features",
            needs="features",
            **{"digits": 3, "better": "higher"} | other,
        )

    return (
        metric(
            "kid",
            "KID",
            "kernel:kernel_distance",
            "kernel distance, unbiased",
            version=2,
            digits=4,
            better="lower",
            in_table=False,
        ),
        metric(
            "fd_infinity",
            "FD∞",
            "extrapolation:frechet_infinity",
            FD_INFINITY,
            in_table=False,
            better="lower",
            against="all",
        ),
        metric("precision", "Precision", "neighbours:precision", "share of samples among real images (k = 3)", **SHARE),
        metric("recall", "Recall", "neighbours:recall", "share of real images among samples (k = 3)", **SHARE),
        metric(
            "density",
            "Density",
            "neighbours:density",
            "real balls a sample is in, per k = 5",
            in_table=False,
            against="equal",
            limits=(0, math.inf),
        ),
        metric(
            "coverage",
            "Coverage",
            "neighbours:coverage",
            "share of real balls with a sample in them (k = 5)",
            **SHARE,
        ),
        metric(
            "authpct", "AuthPct", "neighbours:authenticity", AUTHENTICITY, digits=1, in_table=False, limits=(0, 100)
        ),
    )


SHARE: dict[str, Any] = {"against": "equal", "limits": (0, 1)}
FD_INFINITY = "Frechet distance extrapolated to infinitely many samples"
AUTHENTICITY = "percentage of samples that are no closer to a training image than other training images are"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("fid", "FID", "inception", FRECHET, "Frechet inception distance to the training images", digits=1),
        Metric(
            "fd_imagenet",
            "FD-ImageNet",
            "efficientnet_lite0",
            FRECHET,
            "Frechet distance to the training images in the features of EfficientNet-Lite0; not FID",
            digits=1,
        ),
        Metric(
            "fd_cifar",
            "FD-CIFAR",
            "cifar_classifier",
            FRECHET,
            "Frechet distance to the training images in the features of our CIFAR-10 classifier; not FID",
            digits=3,
        ),
        Metric(
            "fd_cifar_test",
            "FD-CIFAR (test)",
            "cifar_classifier",
            FRECHET,
            "the same to the test images, which the classifier has not seen",
            reference="test",
            digits=3,
            in_table=False,
        ),
        Metric(
            "fd_dinov2",
            "FD-DINOv2",
            "dinov2",
            FRECHET,
            "Frechet distance to the training images in the features of DINOv2",
            digits=1,
        ),
        Metric(
            "inception_score",
            "Inception score",
            "inception",
            f"{METRICS_PACKAGE}.inception_score:inception_score",
            "how sure Inception is of a sample's class, and how many classes there are",
            needs="classes",
            better="higher",
            in_table=False,
        ),
        *metrics_of("inception", "inception", "Inception"),
        *metrics_of("efficientnet_lite0", "imagenet", "ImageNet"),
        *metrics_of("cifar_classifier", "cifar", "CIFAR"),
        *metrics_of("dinov2", "dinov2", "DINOv2"),
    )
}
"""Metrics by name."""
