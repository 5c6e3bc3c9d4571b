"""What a disk that is full, read-only or failing is called in words."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from hybridflow.runtime.errors import UserError, WriteError

AGAIN = "and run the same command again"
ADVICE = {
    errno.ENOSPC: f"free some space {AGAIN}",
    errno.EDQUOT: f"free some of your quota {AGAIN}",
    errno.EROFS: f"make it writable, or work in a copy elsewhere, {AGAIN}",
    errno.EACCES: f"correct the permissions {AGAIN}",
    errno.EPERM: f"correct the permissions {AGAIN}",
    errno.EFBIG: f"raise the limit of a file's size (`ulimit -f`) {AGAIN}",
    errno.EIO: f"look at the disk's health {AGAIN}",
    errno.ENOTDIR: f"move the file away that stands where a folder is needed {AGAIN}",
    errno.EISDIR: f"move the folder away that stands where the file is needed {AGAIN}",
    errno.EEXIST: f"move the file away that stands where a folder is needed {AGAIN}",
    errno.ENAMETOOLONG: f"choose shorter names {AGAIN}",
    errno.ESTALE: f"mount the network file system again {AGAIN}",
}
"""What to do about each error number. Other numbers are not the disk's, and nothing here catches them."""

WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
"""Only a written file has these. A copy that has them names the file that was read, too."""

FOREIGN_NUMBER = re.compile(r"\(os error (\d+)\)")  # safetensors is written in Rust, and gives no exception's number


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns what the disk refuses within the block into a sentence that names ``path``.

    Raises:
        WriteError: instead of an exception that an error of the disk caused. Any other passes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refused = disk_error(error, path)
        if refused is None:
            raise
        raise refused from None


def check_room(folder: str | Path, size: int = 1 << 16) -> None:
    """Makes sure that a folder takes a file of ``size`` bytes; of one that is not there, the folder it would be in.

    Raises:
        WriteError: it does not.
    """
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    with writing(folder), TemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(size))
        os.fsync(file.fileno())


def disk_error(error: BaseException | None, path: str | Path | None = None) -> WriteError | None:
    """The sentence for an exception that an error of the disk is, or that arose from one; None for any other.

    A writer that closes its file after the disk refused it often fails again, with another exception.

    Args:
        path: what was to be written; without it, what the exception names.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        number = error.errno if isinstance(error, OSError) else _foreign_number(error)
        if number in ADVICE:
            named = getattr(error, "filename", None)
            if number in WRITING or named is None or Path(os.fsdecode(named)).suffix == ".partial":
                return WriteError(f"cannot write {path or named or 'a file'}: {os.strerror(number)}; {ADVICE[number]}.")
            return WriteError(f"cannot use {os.fsdecode(named)}: {os.strerror(number)}; {ADVICE[number]}.")
        error = error.__cause__ or error.__context__
    return None


def _foreign_number(error: BaseException) -> int | None:
    found = FOREIGN_NUMBER.search(str(error))
    return int(found[1]) if found else None
