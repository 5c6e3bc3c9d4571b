"""One run of the workflow as somebody from outside sees it: its processes, the jobs that go on, signals to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from checkout import Project

PATIENCE = 300.0  # seconds until something that should happen counts as failed; machines may be busy


@dataclass(frozen=True)
class RunningJob:
    """A job's process.

    Attributes:
        pid: of the process that computes.
        script: the rule's script, without ``.py``.
    """

    pid: int
    script: str

    @property
    def alive(self) -> bool:
        try:
            return _fields(self.pid)[0] != "Z"
        except OSError:  # it is gone, or went while it was looked at
            return False


class Run:
    """``snakemake`` started in a checkout, in a session of its own, as a terminal would.

    Args:
        project: the checkout.
        output: a file for what it prints.
        arguments: of the command.
        environment: what differs from this process's.
    """

    def __init__(self, project: Project, output: Path, arguments: Sequence[str], **environment: str) -> None:
        self.output = output
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script: runs would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments],
                cwd=project.path,
                env=project.environment(**environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def jobs(self) -> list[RunningJob]:
        """The jobs that go on; with one core there is one at most."""
        found = [(pid, script_of(pid)) for pid in self.processes()]
        return [RunningJob(pid, script) for pid, script in found if script is not None]

    def processes(self) -> list[int]:
        """All processes of the run that have not ended, those that lost their parent too."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                fields = _fields(int(entry.name))
                if fields[3] == str(self.process.pid) and fields[0] != "Z":
                    found.append(int(entry.name))
        return found

    def send(self, number: int, target: str, job: RunningJob) -> None:
        """Sends a signal to the job, to Snakemake alone, or to all processes, as Ctrl-C and the end of a session do."""
        with suppress(ProcessLookupError):  # it ended in this instant
            if target == "job":
                os.kill(job.pid, number)
            elif target == "snakemake":
                os.kill(self.process.pid, number)
            else:
                os.killpg(self.process.pid, number)

    def wait(self, patience: float = PATIENCE) -> int:
        """Snakemake's exit status."""
        try:
            status = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.end()
            raise TimeoutError(f"the run did not end:\n{self.text()[-3000:]}") from None
        return status

    def wait_for_all(self) -> None:
        """Waits until every process of the run has ended."""
        wait_until(lambda: not self.processes(), "the run's processes to end")

    def end(self) -> None:
        """Ends whatever is left of the run."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")


class Runs:
    """Runs that :meth:`end` together.

    Args:
        folder: for what they print.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.all = folder, []

    def start(self, project: Project, arguments: Sequence[str], **environment: str) -> Run:
        output = self.folder / f"run{len(self.all):02}.txt"
        self.all.append(Run(project, output, arguments, **environment))
        return self.all[-1]

    def end(self) -> None:
        for run in self.all:
            run.end()


def wait_until(happened: Callable[[], object], what: str, pause: float = 0.01) -> None:
    """Polls until ``happened()`` is true.

    Raises:
        TimeoutError: names ``what`` did not happen.
    """
    deadline = time.monotonic() + PATIENCE
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:g} s for {what}")
        time.sleep(pause)


def _fields(pid: int) -> list[str]:
    """State, parent, group, session, ... of a process."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def script_of(pid: int) -> str | None:
    """Of which script a process is the interpreter, if it is a job's."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return None
    if len(words) < 2 or ".snakemake/scripts/tmp" not in words[-1] or "python" not in Path(words[0]).name:
        return None
    return Path(words[-1]).name.split(".")[1]
