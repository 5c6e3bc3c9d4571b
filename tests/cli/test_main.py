"""The command line: bad input is one sentence, and nothing a user owns is ever said to be deletable."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import Project

from hybridflow.cli.main import main


def refused(capsys: pytest.CaptureFixture[str], *arguments: object, status: int = 1) -> str:
    """The sentence with which a command ends."""
    assert main([str(argument) for argument in arguments]) == status
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--temperature", "nan", "--temperature is nan, but must be a number above 0"),
        ("--temperature", "inf", "--temperature is inf, but must be a number above 0"),
        ("--temperature", "0", "--temperature is 0, but must be a number above 0"),
        ("--columns", "1000000", "--columns is 1000000, but must be from 1 to --n (64)"),
        ("--columns", "0", "--columns is 0, but must be from 1 to --n (64)"),
        ("--n", "0", "--n is 0, but must be from 1 to 10000"),
        ("--n", "1000000000", "--n is 1000000000, but must be from 1 to 10000"),
        ("--out", "x.jpg", "--out is x.jpg, but the image is written as PNG"),
        ("--out", "nowhere/x.png", "lies in a folder that is not there"),
    ],
)
def test_sample_options(option: str, value: str, sentence: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in refused(capsys, "sample", "checkpoint.safetensors", option, value)


def test_samples_depend_on_the_seed_and_the_temperature(finished: Project, tmp_path: Path) -> None:
    checkpoint = finished.path / "results/micro/baseline/seed0/checkpoint.safetensors"
    drawn = []
    for options in ([], [], ["--seed", "1"], ["--temperature", "0.5"]):
        out = tmp_path / "grid.png"
        assert main(["sample", str(checkpoint), "--n", "4", "--columns", "2", "--out", str(out), *options]) == 0
        drawn.append(out.read_bytes())
    assert drawn[0] == drawn[1]
    assert len({*drawn}) == 3


def test_status_can_be_asked_by_its_exit_status(finished: Project) -> None:
    command = [sys.executable, "-m", "hybridflow.cli.main", "status", "--check", "--configfile", "micro.yaml"]
    assert finished.run(*command).returncode == 0
    assert finished.run(*command, "config.yaml", check=False).returncode == 3


def test_a_reader_that_has_read_enough_ends_the_command(finished: Project) -> None:
    command = f"'{sys.executable}' -m hybridflow.cli.main list | true; exit ${{PIPESTATUS[0]}}"
    done = finished.run("bash", "-c", command, check=False)
    assert done.returncode == 141
    assert "Traceback" not in done.stdout


def test_what_cannot_be_read_is_not_called_unwritable(tmp_path: Path, capsys, monkeypatch) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "a.safetensors")

    monkeypatch.setattr("hybridflow.models.checkpoint.load_generator", refuse)
    said = refused(capsys, "sample", tmp_path / "a.safetensors", "--out", tmp_path / "x.png")
    assert said.startswith("error: cannot use a.safetensors: Permission denied; check its permissions")


def test_a_foreign_file_is_not_called_damaged(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    published = tmp_path / "results" / "published.pt"
    published.parent.mkdir()
    torch.save({"weight": torch.zeros(2)}, published)
    content = published.read_bytes()
    error = refused(capsys, "sample", published)
    assert f"{published} is not a checkpoint of this workflow" in error
    assert "damaged" not in error
    assert "rm " not in error
    assert "delete" not in error
    assert published.read_bytes() == content
    assert "is not a checkpoint of this workflow" in refused(capsys, "sample", tmp_path)


def test_check_reference_names_the_file_and_the_family(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "garbage.npz").write_bytes(b"garbage")
    np.savez(tmp_path / "glow2.npz", config_json=np.frombuffer(b'{"family": "glow2"}', np.uint8))
    for name in ("other.npz", "garbage.npz", "none.npz"):
        assert f"{name} as a reference file" in refused(capsys, "check-reference", tmp_path / name, status=2)
    assert "is of the family 'glow2'" in refused(capsys, "check-reference", tmp_path / "glow2.npz", status=2)
