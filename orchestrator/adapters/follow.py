"""Reading a file that another process is writing, also when it is moved or removed meanwhile. Follows no link."""

from __future__ import annotations

import codecs
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

CHUNK_BYTES = 1 << 16
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class Tail:
    """One file. `read` gives what has come since the last call; once opened it is read wherever it is moved to."""

    name: str
    _fd: int = -1
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )

    def read(self, folders: tuple[Path, ...]) -> str:
        """At most `CHUNK_BYTES` more; '' if there is nothing now. It is looked for in `folders` until it is there."""
        for folder in folders if self._fd < 0 else ():
            self._fd = _open(folder / self.name)
            if self._fd >= 0:
                break
        return "" if self._fd < 0 else self._decoder.decode(os.read(self._fd, CHUNK_BYTES))

    def close(self) -> None:
        """Close it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: Path) -> int:
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return -1
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return -1
