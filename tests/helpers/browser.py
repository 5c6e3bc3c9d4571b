"""Headless Chromium, for pages that a test serves on the loopback interface."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
)


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder; yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Silent, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def dump_dom(address: str) -> tuple[str, list[str]]:
    """The document once its scripts have run, and the lines of its console."""
    with tempfile.TemporaryDirectory() as profile:
        command = [str(CHROMIUM), *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=60000", "--dump-dom"]
        found = subprocess.run([*command, address], capture_output=True, text=True, timeout=120, check=True)
    return found.stdout, [line for line in found.stderr.splitlines() if "CONSOLE" in line]
