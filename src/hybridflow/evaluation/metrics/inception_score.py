"""Inception score (arXiv 1606.03498)."""

from __future__ import annotations

import numpy as np

from hybridflow.evaluation.metrics.features import Estimate, Features


def inception_score(generated: Features, reference: Features) -> Estimate:
    """exp of the mean KL divergence of an image's classes from those of all images.

    Classes are those of the network's last layer without its bias, as in the paper's code and in torch-fidelity; all
    stored vectors are one split. Of few images the score is too low, since their classes are among all images' classes.
    The dataset's images play no part.

    Args:
        generated: with :attr:`~hybridflow.evaluation.metrics.features.Features.head`.
    """
    logits = generated.vectors.astype(np.float64) @ generated.head.T.astype(np.float64)
    logits -= logits.max(1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    p = np.exp(log_p)
    divergence = (p * (log_p - np.log(p.mean(0)))).sum(1)
    score = float(np.exp(divergence.mean()))
    # What an image adds to the classes of all images cancels in its influence on the mean divergence.
    return Estimate(score, score * (1 + divergence - divergence.mean()))
