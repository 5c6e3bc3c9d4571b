"""Generators, one family a file, and the one place that builds them from settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hybridflow.config.experiment import FlowSettings
    from hybridflow.models.generators.base import Flow


def build_flow(settings: FlowSettings, image_shape: tuple[int, int, int] = (3, 32, 32)) -> Flow:
    """The flow that ``settings.family`` names, freshly initialised from torch's global generator."""
    from hybridflow.models.generators.denseflow import DenseFlow

    return {"denseflow": DenseFlow}[settings.family](settings, image_shape)
