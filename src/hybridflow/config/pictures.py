"""What pictures need that the metrics may not."""

from __future__ import annotations

from hybridflow.config.evaluation import EvaluationSettings

SPACES = 2
"""In how many feature spaces the nearest training images are looked for, at most."""


def nearest_spaces(evaluation: EvaluationSettings) -> list[str]:
    """Extractors in whose features the nearest training images are shown.

    A network that is not calibrated, since it is slow, counts only if a metric needs its features of the training
    images anyway.
    """
    at_hand = [name for name, split in evaluation.feature_references if split == "train"]
    names = [name for name in evaluation.needed_extractors if name in at_hand or evaluation.extractors[name].calibrated]
    return names[:SPACES] if evaluation.pictures else []


def kept_references(evaluation: EvaluationSettings) -> list[tuple[str, str]]:
    """(extractor, split) of the dataset's images whose features are needed, by metrics or pictures."""
    pictures = [(name, "train") for name in nearest_spaces(evaluation)]
    return list(dict.fromkeys([*evaluation.feature_references, *pictures]))
