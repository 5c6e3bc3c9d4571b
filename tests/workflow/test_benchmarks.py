"""The benchmark script still fits the package that it measures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from checkout import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("row", ["train-dcgan-0.5", "sample", "features-inception"])
def test_a_row_of_the_benchmark(row):
    options = ["--rounds", "1", "--batch", "2", "--threads", "1", "--one", row, "cpu", "fp32", "plain"]
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "run.py", *options], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["row"] == row
    assert 0 < found["fraction_of_matrix_rate"] < 2
