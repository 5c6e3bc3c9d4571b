"""A web server on this machine that sends one file: slowly, in parts, or less well."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 1 << 14


class Server(ThreadingHTTPServer):
    """Serves ``body`` at :attr:`url`; its attributes say how well.

    Attributes:
        ranges: answers a request for a part with that part.
        cut, cuts: that many answers break off after that many bytes.
        rate: bytes per second, or None for no limit.
        requests: path and range of every request so far.
    """

    daemon_threads = True

    def __init__(self, body: bytes, rate: float | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body, self.rate, self.ranges, self.cut, self.cuts = body, rate, True, 0, 0
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    """Answers ``/file.bin``, and two redirects: ``/moved`` to it, ``/elsewhere`` to a file of the machine."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append((self.path, asked))
        redirect = {"/moved": "/file.bin", "/elsewhere": "file:///etc/hostname"}.get(self.path)
        if redirect is not None:
            self.send_response(302)
            self.send_header("Location", redirect)
            self.end_headers()
            return
        if self.path != "/file.bin":
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        if start and start >= len(server.body):
            self.send_error(416)
            return
        part = server.body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.body) - 1}/{len(server.body)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if server.cuts > 0:
            server.cuts -= 1
            part = part[: server.cut]
        with suppress(OSError):  # the reader was killed
            self._send(part)

    def _send(self, part: bytes) -> None:
        if self.server.rate is None:
            self.wfile.write(part)
            return
        for offset in range(0, len(part), BLOCK):
            self.wfile.write(part[offset : offset + BLOCK])
            time.sleep(BLOCK / self.server.rate)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve(body: bytes, rate: float | None = None) -> Iterator[Server]:
    """Yields a running server."""
    with Server(body, rate) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()
