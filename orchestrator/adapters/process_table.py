"""What the machine says about its processes: which hold a lock, which belong to a run, and what each uses. Ends none.

It reads `/proc` and nothing else; where there is none (not Linux), nothing is known, and that is said as None.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
MOST_COMMAND_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process. `seconds` since it began, `cpu_s` seconds of processor time, `rss_bytes` of memory."""

    pid: int
    parent: int
    seconds: float
    cpu_s: float
    rss_bytes: int
    command: str
    """As the process says it: it may say anything."""


def process_table() -> dict[int, ProcessFacts] | None:
    """Every living process without its command (see `command_of`); None where the machine does not tell."""
    try:
        uptime = float((PROC / "uptime").read_bytes().split()[0])
        names = [name for name in os.listdir(PROC) if name.isdigit()]
    except (OSError, ValueError, IndexError):
        return None
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = (_facts(int(name), uptime, tick, page) for name in names)
    return {each.pid: each for each in found if each is not None}


def _facts(pid: int, uptime: float, tick: int, page: int) -> ProcessFacts | None:
    try:
        # The name in the brackets may hold anything, blanks and brackets too.
        words = (PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        if words[0] in (b"Z", b"X"):
            return None
        cpu = (int(words[11]) + int(words[12])) / tick
        seconds = max(0.0, uptime - int(words[19]) / tick)
        return ProcessFacts(pid, int(words[1]), round(seconds, 2), round(cpu, 2), int(words[21]) * page, "")
    except (OSError, ValueError, IndexError):
        return None  # It ended while we looked.


def command_of(pid: int) -> str:
    """The command line of a process; '' if it has ended or belongs to the kernel."""
    try:
        with open(PROC / str(pid) / "cmdline", "rb") as file:
            data = file.read(MOST_COMMAND_BYTES)
    except OSError:
        return ""
    return " ".join(data.decode("utf-8", "replace").rstrip("\0").split("\0"))


def holders_of(paths: Mapping[Path, int]) -> dict[Path, int]:
    """The process that has each of these files open, if one has: it is the one that holds the lock on it.

    The number given for a path is a guess, which is looked at first and never believed.
    """
    wanted = {signed: path for path in paths if (signed := _identity(path)) is not None}
    found: dict[Path, int] = {}
    for path, guess in paths.items():
        if guess > 0 and path in set(_open_files(guess, wanted)):
            found[path] = guess
    if len(found) < len(wanted):
        for pid in sorted((int(name) for name in _names() if name.isdigit()), reverse=True):
            if pid != os.getpid():
                for path in _open_files(pid, wanted):
                    found.setdefault(path, pid)
    return found


def _names() -> list[str]:
    try:
        return os.listdir(PROC)
    except OSError:
        return []


def _open_files(pid: int, wanted: Mapping[tuple[int, int], Path]) -> Iterator[Path]:
    try:
        with os.scandir(PROC / str(pid) / "fd") as entries:
            links = [entry.path for entry in entries]
    except OSError:
        return  # It ended, or belongs to somebody else.
    for link in links:
        signed = _identity(link)
        if signed is not None and signed in wanted:
            yield wanted[signed]


def _identity(path: Path | str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def processes_of(
    runs: Mapping[Path, int | None], table: Mapping[int, ProcessFacts]
) -> dict[Path, tuple[ProcessFacts, ...]]:
    """The processes of each run, by its folder: those below its supervisor, and those that carry its folder's mark.

    The supervisor itself is not among them. Parents come before their children.
    """
    marked = _marked(runs, table)
    children: dict[int, list[int]] = {}
    for each in table.values():
        children.setdefault(each.parent, []).append(each.pid)
    supervisors = {pid for pid in runs.values() if pid is not None}
    found: dict[Path, tuple[ProcessFacts, ...]] = {}
    for folder, supervisor in runs.items():
        roots = [*children.get(supervisor or -1, ()), *marked.get(folder, ())]
        pids = _below(roots, children, supervisors | {os.getpid()})
        found[folder] = tuple(table[pid] for pid in pids)
    return found


def _below(roots: Iterable[int], children: Mapping[int, list[int]], spared: set[int]) -> list[int]:
    found: dict[int, None] = {}
    waiting = sorted(set(roots), reverse=True)
    while waiting:
        pid = waiting.pop()
        if pid not in found and pid not in spared:
            found[pid] = None
            waiting += sorted(children.get(pid, ()), reverse=True)
    return list(found)


def _marked(runs: Mapping[Path, int | None], table: Mapping[int, ProcessFacts]) -> dict[Path, list[int]]:
    marks = {b"ORC_RUN_DIR=" + os.fsencode(folder): folder for folder in runs}
    found: dict[Path, list[int]] = {}
    for pid in table:
        try:
            words = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # It ended, or belongs to somebody else.
        for word in words:
            if word in marks:
                found.setdefault(marks[word], []).append(pid)
    return found
