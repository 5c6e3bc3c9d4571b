"""Headless Chromium looks at a page that is served on the loopback interface."""

from __future__ import annotations

import functools
import http.server
import json
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--remote-debugging-port=0",  # without it the browser ends at once
)


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and takes what the page posts."""

    def __init__(self, *arguments: Any, found: queue.Queue[Any], **named: Any) -> None:
        self.found = found
        super().__init__(*arguments, **named)

    def do_POST(self) -> None:
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def look_at(folder: Path, page: str, flags: Sequence[str] = (), seconds: float = 120) -> tuple[Any, list[str]]:
    """Opens a page of a folder; returns the JSON that its script posts, and the lines of the console.

    Args:
        flags: of Chromium, beside those that keep it quiet.
    """
    found: queue.Queue[Any] = queue.Queue()
    handler = functools.partial(_Handler, directory=str(folder), found=found)
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        tempfile.TemporaryFile("w+") as log,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}/{page}"
        browser = subprocess.Popen(
            [str(CHROMIUM), *QUIET, *flags, f"--user-data-dir={profile}", address], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            return found.get(timeout=seconds), _console(log)
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()


def _console(log: Any) -> list[str]:
    log.seek(0)
    return [line for line in log if "CONSOLE" in line]
