"""What Snakemake prints: one line a finished job, errors whole, a dry run as one list."""

from __future__ import annotations

import io
import logging

import pytest
from snakemake.logging import ColorizingTextHandler
from snakemake_interface_logger_plugins.common import LogEvent

from hybridflow.cli.console import shorten_output

ERROR = {
    "rule_name": "sample_images",
    "jobid": 3,
    "msg": None,
    "input": ["a"],
    "output": ["b"],
    "log": ["c.log"],
    "conda_env": None,
    "shellcmd": None,
    "aux": {},
}


class Terminal:
    """Snakemake's logger with its default handler, made short; ``text`` is what it printed."""

    def __init__(self, dry_run: bool) -> None:
        self.stream = io.StringIO()
        handler = ColorizingTextHandler(nocolor=True, stream=self.stream)
        handler.name = "DefaultStreamHandler"
        self.logger = logging.Logger("snakemake")
        self.logger.addHandler(handler)
        shorten_output(self.logger, dry_run)

    def say(self, event: LogEvent | None, message: str = "text", level: int = logging.INFO, **values: object) -> None:
        message = values.pop("msg", message)
        self.logger.log(level, message, extra=values | ({"event": event} if event else {}))

    def start(self, job: int, rule: str, **wildcards: str) -> None:
        self.say(LogEvent.JOB_INFO, jobid=job, rule_name=rule, wildcards=wildcards)

    @property
    def text(self) -> str:
        return self.stream.getvalue()


def test_one_line_a_finished_job() -> None:
    terminal = Terminal(dry_run=False)
    terminal.say(LogEvent.WORKFLOW_STARTED)
    terminal.say(LogEvent.RUN_INFO, stats={"sample_repeat": 1, "all": 1, "total": 2})
    terminal.say(None, "Select jobs to execute...")
    terminal.start(3, "sample_repeat", variant="dcgan-1", seed="0", repeat="2")
    terminal.say(LogEvent.JOB_STARTED)
    terminal.say(LogEvent.JOB_FINISHED, job_id=3)
    terminal.say(LogEvent.PROGRESS, done=1, total=2)
    terminal.say(None, "Nothing to be done")
    assert terminal.text == "2 jobs\n[1/2] sample_repeat dcgan-1 seed 0 repeat 2 (0 s)\nNothing to be done\n"


def test_errors_are_whole() -> None:
    terminal = Terminal(dry_run=False)
    terminal.say(LogEvent.JOB_ERROR, level=logging.ERROR, rule_msg=None, **ERROR)
    terminal.say(None, "Removing output", level=logging.WARNING)
    assert "Error in rule sample_images:" in terminal.text
    assert "log: c.log (check log file(s) for error details)" in terminal.text
    assert "Removing output" in terminal.text


@pytest.mark.parametrize("variants", [1, 40])
def test_a_dry_run_is_one_list(variants: int) -> None:
    terminal = Terminal(dry_run=True)
    counts = {"train_variant": variants, "all": 1, "total": variants + 1}
    terminal.say(LogEvent.RUN_INFO, stats=counts)
    for job in range(variants):
        terminal.start(job, "train_variant", variant=f"v{job}", seed="0")
    terminal.start(99, "all")
    terminal.say(LogEvent.RUN_INFO, stats=counts)
    lines = terminal.text.splitlines()
    assert lines[0] == "Job stats:"
    assert lines[1].startswith(f"train_variant {variants:>12}  v0 seed 0")
    assert lines[2:] == ["all                      1", f"total {variants + 1:>20}"]
    assert max(map(len, lines)) <= 120
