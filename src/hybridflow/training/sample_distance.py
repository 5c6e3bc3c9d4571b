"""A distance of samples while a model trains: what it does, while it does it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from hybridflow.config.experiment import Settings
from hybridflow.config.training import DistanceSettings
from hybridflow.evaluation.extractors.base import Extractor, extractor_class
from hybridflow.evaluation.metrics.frechet import MomentAccumulator, frechet_distance, load_moments
from hybridflow.evaluation.sampling import quantise
from hybridflow.models.generators.base import Generator
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.compiling import uncompiled
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.seeding import derive_seed

BATCH = 100  # images decoded at once


@dataclass(frozen=True)
class Ruler:
    """What a training needs to measure its samples.

    Attributes:
        experiment: its settings, the extractor's among them.
        weights: of the extractor.
        moments: of the training split's features.
    """

    experiment: Settings
    weights: Path
    moments: Path


class SampleDistance:
    """Frechet distance of some samples to the training split, always from the same latents.

    Of few images it is far above that of the evaluation (a Frechet distance falls with their number): its course is
    what counts. The latents are those of no evaluation, nothing is chosen by it, and no random number of the training
    depends on it.
    """

    def __init__(self, settings: DistanceSettings, ruler: Ruler, seed: int, device: torch.device) -> None:
        self.settings, self.seed, self.device = settings, seed, device
        loaded = extractor_class(str(settings.extractor))
        self.extractor: Extractor = loaded.load(ruler.weights, ruler.experiment, device)
        self.reference, _ = load_moments(ruler.moments)

    def due(self, step: int, before: int) -> bool:
        """Whether a multiple of ``every`` lies in the steps after the one ``before``, up to this one."""
        return step // self.settings.every > before // self.settings.every

    @torch.no_grad()
    def measure(self, generator: Generator) -> float:
        """The distance, in squared units of the features."""
        accumulator = MomentAccumulator()
        with running_statistics(generator), network_precision(None), uncompiled():
            for start in range(0, self.settings.images, BATCH):
                noise = GeneratorNoise(derive_seed(self.seed, "distance", start), self.device)
                latents = generator.draw_latents(min(BATCH, self.settings.images - start), noise)
                accumulator.update(self.extractor(quantise(generator.decode(latents))).cpu().numpy())
        return frechet_distance(accumulator.moments(), self.reference)
