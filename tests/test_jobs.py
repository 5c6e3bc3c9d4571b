"""What every job does around its own work."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from checkout import ROOT
from forks import start

from hybridflow.jobs import workflow_job
from hybridflow.runtime.errors import UserError


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """What Snakemake gives to a script, as far as a job looks at it."""
    monkeypatch.setattr(sys, "stderr", sys.stderr)  # a job puts its own there
    (tmp_path / "logs").mkdir()
    return SimpleNamespace(
        rule="sample_images",
        log=[str(tmp_path / "logs" / "rule.log")],
        output=[str(tmp_path / "out" / "a.json")],
        config=yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8")),
    )


def do_job(snakemake, pipe) -> None:
    with workflow_job(snakemake):
        pipe.send("inside")
        pipe.recv()
        print("done", file=sys.stderr)


def test_a_job_is_done_by_one_process_at_a_time(snakemake, capfd):
    first, to_first = start(do_job, snakemake)
    assert to_first.poll(20)
    Path(snakemake.log[0]).unlink()  # as Snakemake does before it starts a job again
    second, to_second = start(do_job, snakemake)
    assert not to_second.poll(0.5)
    first.kill()
    assert to_second.poll(20), "the lock ends with its process"
    to_second.send("go on")
    second.join(20)
    assert second.exitcode == 0
    assert capfd.readouterr().err == "another process is still doing this job (rule); waiting for it\ndone\n"
    assert Path(snakemake.log[0]).read_text() == "done\n"


def test_what_killed_writers_left_is_removed(snakemake):
    output = Path(snakemake.output[0])
    output.parent.mkdir()
    torn = output.with_name(f".a.json.{os.getpid()}.partial")
    kept = [output, output.with_name(".b.json.1.partial"), output.with_name("a.json.partial")]
    for path in (torn, *kept):
        path.write_text("{}")
    with workflow_job(snakemake):
        pass
    assert not torn.exists()
    assert all(path.exists() for path in kept)


@pytest.mark.parametrize(
    ("raised", "status", "sentence"),
    [
        (UserError("this is wrong."), 1, "error: this is wrong.\n"),
        (KeyboardInterrupt(), 130, "rule: stopped; run the workflow again to go on\n"),
    ],
)
def test_an_end_is_one_sentence(snakemake, raised, status, sentence):
    with pytest.raises(SystemExit) as ended, workflow_job(snakemake):
        raise raised
    assert ended.value.code == status
    assert Path(snakemake.log[0]).read_text() == sentence


def test_a_closed_terminal_ends_no_job(snakemake, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with workflow_job(snakemake):
            print("step 1", file=sys.stderr, flush=True)
        with pytest.raises(BrokenPipeError):
            terminal.write("nobody reads this\n")
        with contextlib.suppress(BrokenPipeError):
            terminal.close()
    assert Path(snakemake.log[0]).read_text() == "step 1\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_log_that_cannot_be_written_keeps_no_sentence_from_the_terminal(snakemake, capfd):
    Path(snakemake.log[0]).symlink_to("/dev/full")

    def work() -> None:
        with workflow_job(snakemake):
            print("half way", file=sys.stderr)
            raise UserError("what, where, what to do")

    with pytest.raises(SystemExit) as ended:
        work()
    assert ended.value.code == 1
    assert capfd.readouterr().err == "half way\nerror: what, where, what to do\n"


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), "this machine"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
            "this machine",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "the GPU"),
    ],
)
def test_no_memory_left_is_a_sentence_with_what_to_lower(snakemake, capfd, error, memory):
    with pytest.raises(SystemExit), workflow_job(snakemake):
        raise error
    expected = (
        f"error: sample_images: the memory of {memory} is used up; lower sampling.batch_size (same images up to "
        "rounding) and run the same command again.\n"
    )
    assert capfd.readouterr().err == expected
    assert Path(snakemake.log[0]).read_text() == expected


def test_another_exception_keeps_its_traceback(snakemake):
    with pytest.raises(RuntimeError, match="shape mismatch"), workflow_job(snakemake):
        raise RuntimeError("shape mismatch")
