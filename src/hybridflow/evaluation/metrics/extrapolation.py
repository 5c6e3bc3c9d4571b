"""The Frechet distance of infinitely many samples (Chong and Forsyth, arXiv 1911.07023)."""

from __future__ import annotations

import numpy as np

from hybridflow.evaluation.metrics.features import Features
from hybridflow.evaluation.metrics.frechet import MomentAccumulator, frechet_distance

SIZES = 8


def frechet_infinity(generated: Features, reference: Features) -> float:
    """Intercept of the least-squares line of the distance of n samples on 1/n.

    n takes 8 values from half of the stored vectors to all of them, each a random subset; the reference is complete.
    Only the bias of the generated side goes away. Far fewer vectors than features bend the line.
    """
    vectors, rng = generated.vectors, np.random.default_rng(0)
    sizes = np.linspace(len(vectors) / 2, len(vectors), SIZES).astype(int)
    distances = []
    for size in sizes:
        accumulator = MomentAccumulator()
        accumulator.update(vectors[np.sort(rng.permutation(len(vectors))[:size])])
        distances.append(frechet_distance(accumulator.moments(), reference.moments))
    return float(np.polyfit(1 / sizes, distances, 1)[1])
