"""A short campaign; a long one is run by hand (``python tests/faults/campaign.py``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faults.campaign import Campaign
from faults.outcome import differences, outcome

STAGES = (
    "download",
    "preparation",
    "baseline training, in a write",
    "baseline training, after a write",
    "likelihood",
    "sampling",
)
TARGETS = [f"results/micro/baseline/seed0/{name}" for name in ("likelihood.json", "samples.npy")]


@pytest.mark.workflow
def test_killed_runs_end_in_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, seed=1, targets=TARGETS)
    campaign.run(len(STAGES), STAGES)
    assert len(campaign.kills) >= len(STAGES), campaign.kills
    assert not campaign.failures, campaign.failures


def test_a_difference_is_seen(tmp_path: Path) -> None:
    row = {"step": 1, "loss": 0.5, "seconds": 1.0, "images_per_second": 3.0}
    for name in ("a", "b"):
        folder = tmp_path / name / "results" / "micro"
        (folder / "logs").mkdir(parents=True)
        (folder / "training.jsonl").write_text(json.dumps(row) + "\n")
        (folder / "samples.npy").write_bytes(b"samples")
        (folder / "logs" / "a.log").write_text(name)
        (tmp_path / name / "store").mkdir()
        (tmp_path / name / "store" / "a.lock").touch()
        row |= {"seconds": 2.0}
    reference = outcome(tmp_path / "a")
    assert len(reference) == 2
    assert differences(outcome(tmp_path / "b"), reference) == []

    results = tmp_path / "b" / "results" / "micro"
    (results / "training.jsonl").write_text(json.dumps(row | {"loss": 0.25}) + "\n")
    (results / "samples.npy").unlink()
    (results / ".samples.npy.1.partial").touch()
    assert differences(outcome(tmp_path / "b"), reference) == [
        "results/micro/samples.npy is missing",
        "results/micro/.samples.npy.1.partial was left behind",
        "results/micro/training.jsonl differs",
    ]
