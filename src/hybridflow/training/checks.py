"""Divergence: found before it is stored."""

from __future__ import annotations

import math

import torch

from hybridflow.runtime.errors import UserError
from hybridflow.training.resume import ResumeState
from hybridflow.training.state import Job, State


def check_finite(job: Job, step: int, metrics: dict[str, float]) -> None:
    """Stops a training that diverged.

    Raises:
        UserError: names the metrics that are not finite, and where the last good state is.
    """
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise _divergence(job, step, ", ".join(broken) + " not finite")


def check_magnitude(job: Job, step: int, metrics: dict[str, float]) -> None:
    """Stops a training whose samples left the range of images, long before anything is infinite.

    Raises:
        UserError: the metric ``sample_magnitude`` is above ``adversarial.max_sample_magnitude``.
    """
    largest, found = job.variant.adversarial.max_sample_magnitude, metrics.get("sample_magnitude", 0.0)
    if largest is not None and found > largest:
        raise _divergence(
            job, step, f"sample_magnitude {found:.3g} exceeds adversarial.max_sample_magnitude {largest:g}"
        )


def check_weights(job: Job, state: State) -> None:
    """Makes sure that what is about to be stored is finite: a last update may break what its metrics did not show.

    Raises:
        UserError: names the first weights that are not.
    """
    weights = [item for model in state.models for item in model.state_dict().items() if item[1].is_floating_point()]
    finite = torch.stack([torch.isfinite(value).all() for _, value in weights]).tolist()
    if not all(finite):
        raise _divergence(job, state.step, f"weights {weights[finite.index(False)][0]} not finite")


def _divergence(job: Job, step: int, what: str) -> UserError:
    kept = (
        f"the last good state is kept in {job.resume}-*"
        if ResumeState(job.resume, job.key).saved
        else "no earlier state was saved (training.resume_every_minutes)"
    )
    return UserError(
        f"{job.label} diverged by step {step}: {what}; {kept}; lower the learning rate, set "
        "training.gradient_clip or adversarial.gradient_clip, or start from a trained variant (init_from)."
    )
