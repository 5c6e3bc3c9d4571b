"""The Slurm profile names the workflow's rules: a forgotten one costs a submission, a misspelt one says nothing."""

from __future__ import annotations

import re

import yaml
from checkout import ROOT

ALONE = {"prepare_dataset", "train_variant", "evaluate_likelihood"}  # what others wait for, and what takes hours


def test_the_slurm_profile_groups_every_short_job() -> None:
    profile = yaml.safe_load((ROOT / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    rules = set(re.findall(r"^rule (\w+):|^use rule \w+ as (\w+) with:", text, re.MULTILINE))
    names = {own or used for own, used in rules}
    assert set(profile["set-resources"]) <= names
    assert set(profile["groups"]) == names - ALONE
