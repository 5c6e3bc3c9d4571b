"""Downloads that resume after a break, are verified, and never leave a half file under the final name."""

from __future__ import annotations

import os
import time
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError

from filelock import FileLock

from hybridflow.io.hashing import md5_file, sha256_file
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import Progress

SCHEMES = ("https", "http", "file")
TIMEOUT = 15.0  # seconds for connecting and for every read
RETRIES = 4  # after breaks in the middle of a transfer
PAUSE = 1.0  # seconds before the first retry, doubled for each further one
BLOCK = 1 << 16


class DownloadError(UserError):
    """The source failed (not the local disk); ``reason`` is the cause without the advice."""

    def __init__(self, label: str, url: str, reason: str) -> None:
        super().__init__(
            f"Cannot download {label} from {url}: {reason}; check the address and the connection and retry."
        )
        self.reason = reason


class _BrokenError(Exception):
    """The transfer broke after it had begun; worth another try."""


def download(url: str, target: Path, *, md5: str | None = None, sha256: str | None = None, label: str = "") -> Path:
    """Fetches ``url`` to ``target``, unless a file that fits the checksums is there already.

    Bytes go to ``<target>.partial``, which is continued (HTTP ``Range``) after a break and, when a
    checksum is given, also by the next call: without one nothing could tell that two halves belong
    together. The file gets its name only after its checksum was verified. A second process that
    wants the same target waits for the first.

    Args:
        url: an https, http or file URL.
        target: the file to write; its directory is made.
        md5: hexadecimal MD5 of the content.
        sha256: hexadecimal SHA-256 of the content, or its first digits (8 at least).
        label: what it is, for progress and messages; the file's name if empty.

    Returns:
        ``target``.

    Raises:
        DownloadError: the source cannot be reached, breaks off for good or sends something else.
        UserError: the URL's scheme is not supported or ``target`` cannot be written.
    """
    label = label or target.name
    if scheme_of(url) not in SCHEMES:
        raise UserError(
            f"Cannot download {label} from {url!r}: the address must start with https://, http:// or file://."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not (target.is_file() and _mismatch(target, md5, sha256) is None):
                _download(url, target, md5, sha256, label)
    except OSError as error:
        raise UserError(
            f"Cannot write {target}: {error.strerror or error}; free some space or choose another place."
        ) from None
    return target


def scheme_of(url: str) -> str:
    """The part before ``://``, in small letters; empty if nothing does (never an exception)."""
    scheme, mark, _ = url.partition("://")
    return scheme.lower() if mark else ""


def local_path(url: str) -> Path:
    """The path a file URL names (``file:///data/a%20b.tgz`` -> ``/data/a b.tgz``)."""
    return Path(urllib.request.url2pathname("/" + url.partition("://")[2].partition("/")[2]))


def _download(url: str, target: Path, md5: str | None, sha256: str | None, label: str) -> None:
    partial = target.with_name(f"{target.name}.partial")
    checked = md5 is not None or sha256 is not None
    if not checked:
        partial.unlink(missing_ok=True)
    breaks, restarted = 0, False
    while True:
        resumed = partial.exists() and partial.stat().st_size > 0
        try:
            if scheme_of(url) == "file":
                _copy(url, partial, label)
            else:
                _transfer(url, partial, label, retrying=breaks > 0)
        except _BrokenError as error:
            breaks += 1
            if breaks > RETRIES:
                raise DownloadError(label, url, f"{error} ({breaks} times)") from None
            if not checked:
                partial.unlink(missing_ok=True)
            time.sleep(PAUSE * 2 ** (breaks - 1))
            continue
        problem = _mismatch(partial, md5, sha256)
        if problem is None:
            break
        partial.unlink(missing_ok=True)
        if not resumed or restarted:
            raise DownloadError(label, url, problem)
        restarted = True  # the old part did not belong to this file: once more, from its start
    with partial.open("rb+") as handle:
        os.fsync(handle.fileno())
    partial.replace(target)


def _mismatch(path: Path, md5: str | None, sha256: str | None) -> str | None:
    """What is wrong with the content of ``path``, or None."""
    if sha256 is not None:
        found = sha256_file(path)
        if len(sha256) < 8 or not found.startswith(sha256.lower()):
            return f"the content has SHA-256 {found} instead of {sha256}"
    if md5 is not None:
        found = md5_file(path)
        if found != md5.lower():
            return f"the content has MD5 {found} instead of {md5}"
    return None


def _copy(url: str, partial: Path, label: str) -> None:
    source = local_path(url)
    if source.exists() and not source.is_file():  # a pipe or a device: opening it could wait for ever
        raise DownloadError(label, url, "it is not a regular file")
    try:
        stream = source.open("rb")
    except OSError as error:
        raise DownloadError(label, url, error.strerror or str(error)) from None
    with stream, partial.open("wb") as handle:
        _pump(stream, handle, label, 0, source.stat().st_size)


def _opener() -> urllib.request.OpenerDirector:
    """HTTP and HTTPS with proxies and redirects, and no other scheme to be redirected to."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPErrorProcessor,
    ):
        opener.add_handler(handler())
    return opener


def _transfer(url: str, partial: Path, label: str, retrying: bool) -> None:
    """Appends what ``partial`` lacks."""
    offset = partial.stat().st_size if partial.exists() else 0
    headers = {"User-Agent": "hybridflow", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        response: HTTPResponse = _opener().open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416 and offset:
            return  # the server has nothing after this part; the checksum decides
        raise DownloadError(label, url, f"the server answered {error.code} {error.reason}".rstrip()) from None
    except (OSError, HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, URLError) else error
        reason = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        if retrying:
            raise _BrokenError(reason) from None
        raise DownloadError(label, url, reason) from None
    with response:
        if offset and not _continues(response, offset):
            offset = 0
            if response.status == 206:  # another range than requested
                partial.unlink()
                raise _BrokenError("the server sent another range than requested")
        length = response.headers.get("Content-Length", "")
        total = offset + int(length) if length.isdecimal() else None
        with partial.open("ab" if offset else "wb") as handle:
            _pump(response, handle, label, offset, total)


def _continues(response: HTTPResponse, offset: int) -> bool:
    return response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _pump(source: IO[bytes] | HTTPResponse, handle: IO[bytes], label: str, offset: int, total: int | None) -> None:
    """Copies ``source`` to its end; only failures of ``source`` are breaks, those of the disk are not."""
    with Progress(total, label, unit="B", initial=offset, scale=True) as progress:
        done = offset
        while True:
            try:
                block = source.read(BLOCK)
            except (OSError, HTTPException) as error:
                raise _BrokenError(f"the transfer broke after {done} bytes ({error or type(error).__name__})") from None
            if not block:
                break
            handle.write(block)
            done += len(block)
            progress.update(len(block))
        if total is not None and done < total:
            raise _BrokenError(f"the transfer broke after {done} of {total} bytes")
