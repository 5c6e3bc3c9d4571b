"""What Snakemake prints on the terminal: one line a finished job, errors whole, a dry run as one list.

The log files of Snakemake (``.snakemake/log``) and of the jobs (``results/<experiment>/logs``) keep everything.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

WIDTH = 120
DROPPED_EVENTS = {LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO, LogEvent.SHELLCMD, LogEvent.JOB_STARTED}
DROPPED_LINES = (
    "Building DAG",
    "Complete log",
    "Conda environments",
    "Elapsed time",
    "Removing temporary",
    "Select jobs",
    "Some jobs were triggered",
    "Using shell",
)


def shorten_output(logger: logging.Logger, dry_run: bool) -> None:
    """Makes Snakemake's default terminal handler short; a handler of another logger plugin stays as it is."""
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            short = _Short(dry_run)
            handler.addFilter(short)
            handler.setFormatter(short)


class _Short(DefaultFormatter):
    """Filter and formatter of the terminal's handler."""

    def __init__(self, dry_run: bool) -> None:
        super().__init__()
        self.dry_run = dry_run
        self.started: dict[int, tuple[str, float]] = {}  # job id -> its name, when it started
        self.planned: dict[str, list[str]] = {}  # of a dry run: rule -> the wildcards of its jobs
        self.finished: list[str] = []  # since the last count of finished jobs
        self.counted = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is printed; remembers what later ones need."""
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            words = _words(record.wildcards)
            self.started[record.jobid] = (f"{record.rule_name} {words}".strip(), time.monotonic())
            self.planned.setdefault(record.rule_name, []).append(words)
            return False
        if event == LogEvent.JOB_FINISHED:
            name, start = self.started.pop(record.job_id, ("job", time.monotonic()))
            self.finished.append(f"{name} ({_duration(time.monotonic() - start)})")
            return False
        if event == LogEvent.RUN_INFO:  # a dry run counts its jobs before and after it lists them
            self.counted = not self.counted
            return self.counted != self.dry_run
        if event is None and record.levelno == logging.INFO:
            return not str(record.msg).startswith(DROPPED_LINES)
        return event not in DROPPED_EVENTS

    def format_progress(self, record: dict) -> str:
        done, finished, self.finished = record["done"], self.finished, []
        first = done - len(finished) + 1
        return "\n".join(f"[{first + i}/{record['total']}] {name}" for i, name in enumerate(finished))

    def format_run_info(self, record: dict) -> str:
        counts = record["stats"]
        if not self.dry_run:
            return f"{counts['total']} jobs"
        lines = ["Job stats:"]
        for rule, count in counts.items():
            line = f"{rule:<20}{count:>6}  {', '.join(filter(None, self.planned.get(rule, [])))}".rstrip()
            lines.append(line if len(line) <= WIDTH else f"{line[: WIDTH - 4]} ...")
        return "\n".join(lines)


def _words(wildcards: Mapping[str, str] | None) -> str:
    """Wildcards as the workflow's own messages name them: ``baseline seed 0 temperature 0.5``."""
    bare = ("variant", "extractor", "split")
    return " ".join(value if name in bare else f"{name} {value}" for name, value in (wildcards or {}).items())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
