"""The metrics that compare generated images with the dataset's: what each needs, and how a table prints it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal


@dataclass(frozen=True)
class Metric:
    """A number computed from features of generated images and of the dataset's.

    Jobs, columns, notes, comparisons and figures follow from this declaration.

    Attributes:
        name: the name in the configuration and in files, and the column of the CSV.
        heading: what a table's reader sees.
        extractor: whose features, a name of :data:`~hybridflow.config.evaluation.EXTRACTORS`.
        reference: the split of the dataset that generated images are compared with.
        target: ``"package.module:function"`` or the function itself, called with (generated, reference), each what
            ``needs`` says.
        needs: ``moments``, or ``features`` (of the first images of a set).
        version: raise it when a change of the code changes the numbers; a table refuses to mix versions.
        digits: behind the decimal point.
        better: which direction is better.
        in_table: whether Table 1 shows it; the CSV has all.
        summary: one line for ``hybridflow list``.
    """

    name: str
    heading: str
    extractor: str
    target: str | Callable[[Any, Any], float]
    summary: str
    reference: Literal["train", "test"] = "train"
    needs: Literal["moments", "features"] = "moments"
    version: int = 1
    digits: int = 2
    better: Literal["lower", "higher"] = "lower"
    in_table: bool = True

    def load(self) -> Callable[[Any, Any], float]:
        """The function that computes it."""
        if not isinstance(self.target, str):
            return self.target
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)


FRECHET = "hybridflow.evaluation.metrics.frechet:frechet_distance"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("fid", "FID", "inception", FRECHET, "Frechet inception distance to the training images", digits=1),
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
    )
}
"""Metrics by name."""
