"""Finished trainings that several tests look at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from trainings import CPU, IMAGES, job

from hybridflow.training.loop import train
from hybridflow.training.state import Job


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Job]:
    """Finished trainings by settings, each made once. Tests must leave their files as they are."""
    made: dict[str, Job] = {}

    def make(name: str, **training) -> Job:
        identity = f"{name} {training}"
        if identity not in made:
            made[identity] = job(tmp_path_factory.mktemp(name), name, **training)
            train(made[identity], IMAGES, CPU)
        return made[identity]

    return make
