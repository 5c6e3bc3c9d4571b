"""The benchmark script still fits the package that it measures, and the counts count."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from benchmark_scripts import load_script
from checkout import ROOT
from trainings import TINY

from hybridflow.config.loading import parse_settings


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
    assert found["operations"] > 50


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py")))
def test_what_a_script_imports_is_there(name):
    assert load_script(name).main


def test_a_row_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    run = load_script("run")
    good = {"images_per_second": 2.0, "gflop_per_image": 1.0, "gflop_per_second": 2.0, "matrix_gflop_per_second": 4.0}
    good |= {"fraction_of_matrix_rate": 0.5, "saved_mb_per_image": None, "peak_mb": 7.0, "operations": 9, "batch": 3}

    def done(command, **options):
        one = dict(zip(("row", "size", "precision", "mode"), command[command.index("--one") + 1 :], strict=True))
        failed = one["row"] == "sample"
        return subprocess.CompletedProcess(command, int(failed), json.dumps(one | good), "Traceback\nRuntimeError: no")

    monkeypatch.setattr(run.subprocess, "run", done)
    out = tmp_path / "found"
    monkeypatch.setattr(sys, "argv", ["run.py", "--size", "cpu", "--rows", "sample", "bound", "--out", str(out)])
    assert run.main() == 0
    table = out.with_suffix(".md").read_text()
    assert "| sample | cpu | fp32 | failed: RuntimeError: no |" in table
    assert "| bound | cpu | fp32 | 3 | 2 |" in table
    assert table.rstrip().endswith("| 7 | 9 | – | – |")


def test_without_a_gpu_the_benchmark_says_so(monkeypatch, capsys):
    run = load_script("run")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["run.py", "--gpu"])
    assert run.main() == 3
    assert capsys.readouterr().err.startswith("error: torch sees no NVIDIA GPU here")


def test_counts_are_of_what_computes():
    x = torch.randn(8, 8)
    found = load_script("count").counts(lambda: (x @ x).t().contiguous().view(64).relu_(), images=4)
    assert found.flop_per_image == 2 * 8**3 / 4
    assert found.launches == 3  # product, copy, relu; no view, no allocation


def test_a_plan_adds_up():
    settings = parse_settings(TINY)
    table = load_script("count").table(settings, ["baseline", "hybrid"], tflops=1e-3, microseconds=100)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[4:]]
    assert [row[0] for row in rows] == ["baseline", "hybrid", "sampling, 2 models", "bound, 2 models", "sum"]
    steps, gflop, launches, minutes = (float(rows[0][i].replace(",", "")) for i in (3, 4, 6, 7))
    assert steps == 18_750  # one and a half epochs of 12,500 batches of 4
    assert minutes == pytest.approx(steps * max(4 * gflop, launches * 1e-4) / 60, rel=0.02)  # at 1 GFLOP/s
    assert float(rows[4][7]) == pytest.approx(sum(float(row[7]) for row in rows[:4]), abs=0.3)
