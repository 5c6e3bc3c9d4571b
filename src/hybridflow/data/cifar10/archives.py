"""Reading known files out of archives that may be damaged or hostile, without extracting anything."""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from hybridflow.runtime.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
DAMAGE = (EOFError, OSError, zlib.error, tarfile.TarError)


def unusable(path: Path, reason: str) -> UserError:
    """The sentence for an archive (or a file of one) that cannot be used."""
    return UserError(
        f"{path} is not a usable CIFAR-10 archive: {reason}; delete it to have it fetched again, or let "
        "`dataset.archive` name a good copy."
    )


def read_members(path: Path, limits: Mapping[str, int], total: int) -> Iterator[tuple[str, bytes]]:
    """The wanted files of a tar archive, gzipped or not, in the archive's order and in one pass.

    Args:
        path: the archive.
        limits: for every wanted name its largest allowed size in bytes; other files are skipped.
        total: largest allowed size of the unpacked archive in bytes.

    Yields:
        (name, content); a leading ``./`` of a name is dropped.

    Raises:
        UserError: the archive is damaged, holds links, devices or names that leave it, holds a
            wanted name twice, or something in it is too large.
    """
    seen: set[str] = set()
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            stream = _Bounded(gzip.GzipFile(fileobj=raw) if zipped else raw, total)
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for member in archive:
                    name = _checked_name(path, member)
                    if name not in limits or member.isdir():
                        continue
                    if name in seen:
                        raise unusable(path, f"it holds {name} twice")
                    if member.size > limits[name]:
                        raise unusable(
                            path, f"{name} in it has {member.size} bytes, more than the {limits[name]} expected"
                        )
                    seen.add(name)
                    handle = archive.extractfile(member)
                    content = handle.read() if handle is not None else b""
                    if len(content) != member.size:
                        raise unusable(path, f"it is cut off in {name}")
                    yield name, content
    except _TooLargeError:
        raise unusable(path, f"it unpacks to more than the {total} bytes expected") from None
    except DAMAGE as error:
        raise unusable(path, f"it is damaged or cut off ({error or type(error).__name__})") from None


def _checked_name(path: Path, member: tarfile.TarInfo) -> str:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name:
        raise unusable(path, f"the name {member.name!r} in it leads out of the archive")
    if not (member.isreg() or member.isdir()):
        raise unusable(path, f"{member.name!r} in it is a link or a device, and only plain files are read")
    return str(name)


class _TooLargeError(Exception):
    """More was unpacked than is believable."""


class _Bounded(io.RawIOBase):
    """A stream that refuses to give more than ``limit`` bytes: also headers can be bombs."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self.stream, self.left = stream, limit

    def read(self, size: int = -1) -> bytes:
        block = self.stream.read(size)
        self.left -= len(block)
        if self.left < 0:
            raise _TooLargeError
        return block
