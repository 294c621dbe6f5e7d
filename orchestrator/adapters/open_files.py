"""Whether somebody still writes a file: what has been written by then may be half of it, and yet be readable."""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path

_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def is_open_for_writing(path: Path) -> bool:
    """Whether a program has a plain file open to write into it. False where that cannot be told.

    Linux gives a lease to read a file only while nobody has it open for writing. It is asked for, and given back at
    once.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        if not path.is_file() or path.is_symlink():
            return False
        fd = os.open(path, _FLAGS)
    except OSError:
        return False
    try:
        # Who opens the file in that moment waits, and we are told by a signal: by one that ends nobody.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False  # Not our file, or a file system without leases.
    finally:
        os.close(fd)
    return False
