"""Files that are opened to be read, and nothing else that has a path."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

from backcast.errors import FileFormatError


def open_regular(path: str | os.PathLike[str]) -> tuple[BufferedReader, int]:
    """Open a file, and return its size too. A pipe would block for ever, a device never end.

    Raises
    ------
    FileFormatError
        If it is a pipe, a device or a socket.
    IsADirectoryError
        If it is a folder.
    OSError
        If it cannot be opened.
    """
    # Without O_NONBLOCK, opening a pipe waits until it is written to.
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(opened)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(found.st_mode):
            raise FileFormatError(f"{path}: must be a file, got a pipe, a socket or a device")
    except BaseException:
        os.close(opened)
        raise
    return os.fdopen(opened, "rb"), found.st_size
