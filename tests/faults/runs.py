"""One run of the workflow as somebody from outside sees it: its processes, the job that is going on, signals to it."""

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

PATIENCE = 900.0  # seconds until something that should happen counts as failed; machines may be busy


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

    def __init__(
        self,
        project: Project,
        output: Path,
        arguments: Sequence[str],
        environment: dict[str, str] | None = None,
    ) -> None:
        self.project, self.output, self.started = project, output, time.monotonic()
        environment = environment_of(project) | (environment or {})
        command = [sys.executable, "-m", "snakemake", *arguments]
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script: runs would inherit it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=project.path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def job(self) -> RunningJob | None:
        """The job that is going on, if one is (with one core there is one at most)."""
        jobs = self.jobs()
        return jobs[0] if jobs else None

    def jobs(self) -> list[RunningJob]:
        """The jobs that are going on."""
        found = []
        for pid in self.processes():
            script = _script(pid)
            if script is not None:
                found.append(RunningJob(pid, script))
        return found

    def processes(self) -> list[int]:
        """All processes of the run that have not ended, those that lost their parent too."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdecimal():
                try:
                    fields = _fields(int(entry))
                except OSError:
                    continue
                if fields[3] == str(self.process.pid) and fields[0] != "Z":
                    found.append(int(entry))
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

    def wait(self, timeout: float = PATIENCE) -> int:
        """Snakemake's exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise TimeoutError(f"the run did not end:\n{self.text()[-3000:]}") from None

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


def environment_of(project: Project) -> dict[str, str]:
    """This process's environment, with the checkout's own package and one thread."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(project.path / "src"), "OMP_NUM_THREADS": "1"}


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


def _script(pid: int) -> str | None:
    """Of which script a process is the interpreter, if it is a job's."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        return None
    if len(words) < 2 or ".snakemake/scripts/tmp" not in words[-1] or "python" not in Path(words[0]).name:
        return None
    return Path(words[-1]).name.split(".")[1]
