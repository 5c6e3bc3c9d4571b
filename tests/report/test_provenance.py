"""The provenance record: what it holds, and what it must not hold."""

import math
import subprocess
from pathlib import Path

import pytest

from hybridflow.config.loading import parse_settings
from hybridflow.io.records import read_record
from hybridflow.report.provenance import (
    anonymise,
    collect_provenance,
    describe_git,
    read_benchmark,
    write_provenance,
)
from hybridflow.runtime.errors import UserError

HEADER = "s\th:m:s\tmax_rss\tmax_vms\n"


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init")
    (folder / "file").write_text("1")
    git(folder, "add", "file")
    git(folder, "commit", "-m", "first")
    return folder


def test_record_holds_what_is_needed_to_judge_a_run(tmp_path, repository):
    config = {
        "experiment": "tiny",
        "dataset": {"archive": "/home/somebody/data sets/cifar-10-python.tar.gz"},
        "variants": {"baseline": {}},
        "seeds": [3, 4],
    }
    benchmark = tmp_path / "train.tsv"
    benchmark.write_text(HEADER + "3725.4\t1:02:05\t812.5\t1\n")
    checkpoints = {("baseline", 3): {"key": "abc", "settings": '{"archive": "/home/somebody/x.tar.gz"}'}}
    benchmarks = {"train baseline": benchmark, "never ran": tmp_path / "none.tsv"}
    record = collect_provenance(parse_settings(config), config, benchmarks, checkpoints, repository)
    write_provenance(tmp_path / "out" / "provenance.json", record)
    text = (tmp_path / "out" / "provenance.json").read_text()
    assert read_record(tmp_path / "out" / "provenance.json") == record
    assert record["experiment"] == "tiny"
    assert record["seeds"] == {"training": [3, 4], "sampling": 0, "likelihood": 0, "classifier": 0}
    assert record["rules"] == {"train baseline": {"s": 3725.4, "h:m:s": "1:02:05", "max_rss": 812.5}, "never ran": None}
    assert record["seconds_total"] == 3725.4
    assert record["checkpoints"]["baseline/seed3"]["key"] == "abc"
    assert len(record["git"]["revision"]) == 40
    assert record["git"]["dirty"] is False
    assert record["software"]["packages"]["torch"]
    assert record["software"]["packages"]["hybridflow"]
    assert "pytest" not in record["software"]["packages"]  # a development tool
    assert record["hardware"]["cpu"]
    assert record["hardware"]["cpus"] >= 1
    assert record["config"]["dataset"]["archive"] == "cifar-10-python.tar.gz"
    assert record["settings"]["training"]["batch_size"] == 64  # a default that config does not mention
    assert "somebody" not in text
    assert str(Path.cwd()) not in text
    assert str(tmp_path) not in text


def test_git_state(repository):
    assert describe_git(repository)["dirty"] is False
    (repository / "file").write_text("2")
    assert describe_git(repository)["dirty"] is True


def test_git_is_not_needed_and_not_taken_from_a_surrounding_checkout(tmp_path, repository, monkeypatch):
    nothing = {"revision": None, "dirty": None}
    (tmp_path / "plain").mkdir()
    assert describe_git(tmp_path / "plain") == nothing
    (repository / "unpacked").mkdir()
    assert describe_git(repository / "unpacked") == nothing
    monkeypatch.setenv("PATH", "")
    assert describe_git(repository) == nothing


def test_git_without_a_commit(tmp_path):
    git(tmp_path, "init")
    assert describe_git(tmp_path)["revision"] is None


def test_benchmark_with_repeats_and_unmeasured_memory(tmp_path):
    path = tmp_path / "b.tsv"
    path.write_text(HEADER + "1.0\t0:00:01\t-\t-\n3.0\t0:00:03\t20.5\t1\n")
    assert read_benchmark(path) == {"s": 2.0, "h:m:s": "0:00:02", "max_rss": 20.5}
    path.write_text(HEADER + "0.1\t0:00:00\tNA\tNA\n")
    assert read_benchmark(path)["max_rss"] is None


@pytest.mark.parametrize("content", ["", HEADER, "a\tb\n1\t2\n", HEADER + "x\t0:00:01\t1\t1\n", HEADER + "1\n"])
def test_another_file_is_no_benchmark(tmp_path, content):
    path = tmp_path / "b.tsv"
    path.write_text(content)
    with pytest.raises(UserError, match=r"b.tsv is not a Snakemake benchmark file"):
        read_benchmark(path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("/home/me/my data/cifar.tar.gz", "cifar.tar.gz"),
        ("~/weights.pth", "weights.pth"),
        ("file:///home/me/w.pth", "w.pth"),
        ("me@host.org:/data/w.pth", "w.pth"),
        (r"C:\Users\me\w.pth", "w.pth"),
        ('{"path": "/home/me/w.pth", "n": 1}', '{"path": "w.pth", "n": 1}'),
        ("made from /home/me/a.npy in 2 s", "made from a.npy in 2 s"),
        ("https://me:secret@host.org/w.pth", "https://host.org/w.pth"),
        ("https://host.org/a/w.pth", "https://host.org/a/w.pth"),
        ("resources/cifar10/train.npy", "resources/cifar10/train.npy"),
        ("../data/train.npy", "../data/train.npy"),
        ("bits/dim, 3 / 4", "bits/dim, 3 / 4"),
        (Path("/home/me/w.pth"), "w.pth"),
        (math.nan, "nan"),
        ((1, True, None, 0.5), [1, True, None, 0.5]),
    ],
)
def test_paths_and_users_are_removed_and_nothing_else(given, kept):
    assert anonymise(given) == kept
    assert anonymise({"a": [given]}) == {"a": [kept]}
