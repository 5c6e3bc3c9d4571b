"""Progress of long work: a bar on a terminal, one plain line now and then anywhere else."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

INTERVAL = 10.0
"""Seconds between two lines."""

TERMINAL_INTERVAL = 120.0
"""Seconds between two lines of one job on a terminal that jobs share."""


def log_only(line: str) -> None:
    """Writes a line to the job's log file; to standard error where there is none."""
    print(line, file=getattr(sys.stderr, "log", None) or sys.stderr, flush=True)


class Progress:
    """Counts ``total`` units and shows rate, ETA and any figures.

    On a terminal that this process has to itself this is a tqdm bar. Elsewhere (a log file, jobs
    that share a terminal) it prints a full line every ten seconds, so that lines of
    parallel jobs stay apart and logs stay readable. Where standard error also goes to a log file
    (``log_only``), the terminal gets such a line every two minutes, and none of short work.

    Args:
        total: number of units, or None if unknown.
        label: what is being done, in front of every line.
        unit: name of a unit, e.g. ``" images"``.
        initial: units that were done before (a resumed run).
        scale: print counts with SI prefixes (bytes).
        shared: never draw a bar, print lines.
        silent: print nothing (another process counts the same work).
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        unit: str = " it",
        *,
        initial: int = 0,
        scale: bool = False,
        shared: bool = False,
        silent: bool = False,
    ) -> None:
        self.total, self.label, self.unit, self.initial, self.scale = total, label, unit, initial, scale
        self.n, self.figures = initial, ""
        self.start = self.last = self.shown = time.monotonic()
        self.silent = silent
        self.bar: tqdm | None = None
        if sys.stderr.isatty() and not (shared or silent):
            self.bar = tqdm(total=total, desc=label, unit=unit, initial=initial, unit_scale=scale, dynamic_ncols=True)

    def update(self, n: int = 1, **figures: Any) -> None:
        """Counts ``n`` more units and shows the named figures (floats with four digits)."""
        self.n += n
        if figures:
            self.figures = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in figures.items())
        if self.bar is not None:
            self.bar.set_postfix_str(self.figures, refresh=False)
            self.bar.update(n)
        elif time.monotonic() - self.last >= INTERVAL:
            self._line()

    def _line(self) -> None:
        if self.silent:
            return
        self.last = time.monotonic()
        meter = tqdm.format_meter(
            self.n,
            self.total,
            self.last - self.start,
            prefix=self.label,
            unit=self.unit,
            unit_scale=self.scale,
            initial=self.initial,
            postfix=self.figures,
            bar_format="{l_bar}{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
            if self.total
            else None,
        )
        if self.last - self.shown >= TERMINAL_INTERVAL:
            self.shown = self.last
            print(meter, file=sys.stderr, flush=True)
        else:
            log_only(meter)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.bar is not None:
            self.bar.close()
        elif exc[0] is None:
            self._line()
