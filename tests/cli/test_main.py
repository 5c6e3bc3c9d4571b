"""The command line: bad input is one sentence, and nothing a user owns is ever said to be deletable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

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
    assert "is not a file" in refused(capsys, "sample", tmp_path)


def test_check_reference_names_the_file_and_the_family(tmp_path: Path, capsys) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "garbage.npz").write_bytes(b"garbage")
    np.savez(tmp_path / "glow2.npz", config_json=np.frombuffer(b'{"family": "glow2"}', np.uint8))
    for name in ("other.npz", "garbage.npz", "none.npz"):
        assert f"{name} as a reference file" in refused(capsys, "check-reference", tmp_path / name, status=2)
    assert "is of the family 'glow2'" in refused(capsys, "check-reference", tmp_path / "glow2.npz", status=2)
