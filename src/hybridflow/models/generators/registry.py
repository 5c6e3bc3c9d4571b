"""Generators by family, and the one place that builds them."""

from __future__ import annotations

from hybridflow.config.generators import GENERATORS, GeneratorSettings
from hybridflow.models.generators.base import Generator


def build_generator(settings: GeneratorSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> Generator:
    """The generator that ``settings.family`` names, freshly initialised from torch's global generator."""
    return GENERATORS[settings.family].load()(settings, image_shape)
