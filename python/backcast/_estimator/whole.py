"""Files that are written whole or not at all: to a temporary file, which then takes the place."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from backcast.errors import FileFormatError

# Not of the file's own name, which may be as long as a name can be.
_TEMPORARY = re.compile(r"\.backcast-([0-9a-f]{8})-[0-9a-f]{16}\.tmp")

# Seconds after which a temporary file of another machine is certainly left over.
_OLD = 24 * 3600


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write, which replaces `path` if nothing is raised.

    A link stays, and what it points to is replaced; the new file has the mode of the old one.

    Raises
    ------
    OSError
        If the file cannot be written; an existing one keeps its contents.
    """
    with _naming(path):
        place, mode = _place(path)
        _clean(place.parent)
        temporary, file = _temporary(place.parent, 0o666 if mode is None else mode)
        try:
            with file:
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
                # Before it is closed, which unlocks it.
                os.replace(temporary, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def try_place(path: str | os.PathLike[str]) -> None:
    """Raise the system's error where a file could not be written, before hours of training.

    Raises
    ------
    OSError
        If the folder is missing or cannot be written to, or the path is not that of a file.
    """
    with _naming(path):
        place, _ = _place(path)
        temporary, file = _temporary(place.parent, 0o600)
        with file:
            os.unlink(temporary)


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the user's file in the system's errors, not the temporary one."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), os.fspath(path)) from None


def _place(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Return where the file will be, and the mode of the one that is there."""
    if Path(os.fsdecode(path)).name in ("", ".."):
        raise FileFormatError(f"{path}: is not the name of a file")
    place = Path(os.path.realpath(os.fsdecode(path)))
    try:
        mode = os.stat(place).st_mode
    except FileNotFoundError:
        return place, None
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        # A file in the place of a device or a pipe would cut others off from it.
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    return place, stat.S_IMODE(mode)


def _temporary(folder: Path, mode: int) -> tuple[Path, BinaryIO]:
    """Create a file of a new name in a folder, locked for as long as it is open."""
    while True:
        path = folder / f".backcast-{_machine()}-{secrets.token_hex(8)}.tmp"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        file = os.fdopen(opened, "wb")
        # Some file systems have no locks; there, nobody takes it for left over either.
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        if os.fstat(opened).st_nlink:
            return path, file
        # Another process took it for left over before it was locked.
        file.close()


def _clean(folder: Path) -> None:
    """Remove the temporary files of processes that were killed.

    A living process has its file locked. The lock also tells processes of several containers apart,
    whose numbers may be the same.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if found := _TEMPORARY.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_left_over(entry.path, mine=found[1] == _machine())


def _remove_left_over(path: str, *, mine: bool) -> None:
    """Remove a temporary file unless it is in use; locks are seen on the same machine alone."""
    opened = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if mine or time.time() - os.fstat(opened).st_mtime > _OLD:
            os.unlink(path)
    finally:
        os.close(opened)


def _machine() -> str:
    """Return a word for this machine since it was started: its containers share it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    except OSError:
        return 8 * "0"
