"""The provenance record: what it holds, and what it must not hold."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

import pytest
from experiment import Experiment
from recorded import edit

from hybridflow.io.records import read_record, write_record
from hybridflow.report.provenance import anonymise, collect_provenance, read_benchmark
from hybridflow.runtime.revision import code_revision

HEADER = "s\th:m:s\tmax_rss\tmax_vms\n"


def test_it_holds_what_is_needed_to_judge_a_run(experiment: Experiment, tmp_path: Path) -> None:
    experiment.train()
    edit(Path(experiment.files("control").fidelity), revision="b" * 40)
    edit(Path(experiment.files("control").samples_record), revision=None)
    (tmp_path / "benchmarks" / "train_variant").mkdir(parents=True)
    (tmp_path / "benchmarks" / "train_variant" / "x.tsv").write_text(HEADER + "3725.4\t1:02:05\t812.5\t1\n")
    config = {"experiment": "micro", "dataset": {"archive": "/home/somebody/data sets/cifar-10-python.tar.gz"}}
    record = collect_provenance(experiment.read(), config, tmp_path / "benchmarks")
    write_record(tmp_path / "provenance.json", record)
    assert read_record(tmp_path / "provenance.json") == record
    assert record["experiment"] == "micro"
    assert record["revision"] == code_revision()
    assert datetime.fromisoformat(record["written"]).tzinfo is UTC
    assert record["measured_by"] == {
        "baseline/seed0": {"samples": "a" * 40, "fidelity": "a" * 40, "likelihood": "a" * 40},
        "control/seed0": {"samples": None, "fidelity": "b" * 40, "likelihood": "a" * 40},
        "dcgan-0.5/seed0": {"samples": "a" * 40, "fidelity": "a" * 40, "likelihood": "a" * 40},
    }
    assert record["protocol"]["fidelity"]["metrics"] == {"fd_cifar": 1, "fd_cifar_test": 1}
    assert record["seeds"] == {"training": [0], "sampling": 0, "likelihood": 0, "extractors": {"cifar_classifier": 0}}
    assert record["rules"] == {"train_variant/x": {"s": 3725.4, "max_rss": 812.5}}
    assert record["seconds_total"] == 3725.4
    checkpoint = record["checkpoints"]["baseline/seed0"]
    assert checkpoint["key"] == experiment.read().models[0].key
    assert checkpoint["training_seconds"] == 10
    assert len(checkpoint["sha256"]) == 64
    assert checkpoint["revision"] == code_revision()
    assert record["software"]["packages"]["torch"]
    assert record["software"]["packages"]["hybridflow"]
    assert "pytest" not in record["software"]["packages"]  # a development tool
    assert record["hardware"]["cpu"]
    assert record["hardware"]["cpus"] >= 1
    assert record["config"]["dataset"]["archive"] == "cifar-10-python.tar.gz"
    assert record["settings"]["training"]["lr_decay"] == 1.0  # a value that `config` does not mention
    text = (tmp_path / "provenance.json").read_text()
    assert "somebody" not in text
    assert str(Path.cwd()) not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("unmeasured", ["-", "NA"])
def test_a_benchmark_of_a_job_too_short_for_its_memory(tmp_path: Path, unmeasured: str) -> None:
    path = tmp_path / "b.tsv"
    path.write_text(f"{HEADER}0.1\t0:00:00\t{unmeasured}\t{unmeasured}\n")
    assert read_benchmark(path) == {"s": 0.1, "max_rss": None}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/my data/cifar.tar.gz", "cifar.tar.gz"),
        ("/home/me/images/", "images"),
        ("~/weights.pth", "weights.pth"),
        ("file:///home/me/w.pth", "w.pth"),
        ("me@host.org:/data/w.pth", "w.pth"),
        (r"C:\Users\me\w.pth", "w.pth"),
        ("https://me:secret@host.org/w.pth", "https://host.org/w.pth"),
        ("https://host.org/a/w.pth", "https://host.org/a/w.pth"),
        ("resources/cifar10/train.npy", "resources/cifar10/train.npy"),
        ("../data/train.npy", "../data/train.npy"),
        ("bits/dim, 3 / 4", "bits/dim, 3 / 4"),
        (Path("/home/me/w.pth"), "w.pth"),
        (math.pi, math.pi),
        ((1, True, None, 0.5), [1, True, None, 0.5]),
    ],
)
def test_paths_and_users_are_removed_and_nothing_else(given: object, kept: object) -> None:
    assert anonymise(given) == kept
    assert anonymise({"a": [given]}) == {"a": [kept]}
