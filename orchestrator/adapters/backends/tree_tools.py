"""The tools that a model works with in one folder: read, write, edit, glob, grep, bash.

They know no API. What they are called with is a model's, so every argument is checked, every path stays inside the
folder, and every answer is bounded. `bash` alone reaches as far as the process itself does: see `tree_server`.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orchestrator.adapters.backends.tree_tool_list import (
    BASH_MAX_SECONDS,
    BASH_SECONDS,
    READ_BYTES,
    READ_LINES,
    TOOLS,
    Tool,
    ToolDenied,
    ToolError,
    ToolResult,
    check_arguments,
)
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.programs import Captured, capture

LINE_CHARS = 2000
SCAN_BYTES = 64 * 1024 * 1024
"""How far into a file `read` looks for its first line."""
FILE_BYTES = 8 * 1024 * 1024
"""The largest file that `write` makes and `edit` changes."""
GLOB_RESULTS = 500
GREP_LINES = 200
GREP_LINE_CHARS = 400
LOOK_SECONDS = 20.0
"""For `glob` and `grep`."""
OUTPUT_BYTES = 32 * 1024
"""Of a command: the first half of it and the last."""
PATTERN_CHARS = 1000


@dataclass(frozen=True, slots=True)
class TreeTools:
    """The tools over the folder `root`. `environment` is what commands see; `wait` is called while one runs.

    `skills` is a folder outside of it that `read` may open files of, too.
    """

    root: Path
    environment: Mapping[str, str]
    read_only: bool = False
    wait: Callable[[], None] = lambda: None
    skills: Path | None = None

    def tools(self) -> tuple[Tool, ...]:
        """What the model may call. Without `write` and `edit` if it is to look only."""
        return tuple(tool for tool in TOOLS if not (self.read_only and tool.name in ("write", "edit")))

    def run(self, name: str, arguments: object) -> ToolResult:
        """Do one call. Never raises for what a model can bring about."""
        try:
            tool = next((tool for tool in self.tools() if tool.name == name), None)
            if tool is None:
                known = ", ".join(tool.name for tool in self.tools())
                wrong = ToolDenied if any(tool.name == name for tool in TOOLS) else ToolError
                raise wrong(f"There is no tool {name[:60]!r} here. There are: {known}.")
            checked = check_arguments(tool, arguments)
            text = getattr(self, f"_{name}")(**checked)
        except ToolError as error:
            return ToolResult(_sendable(str(error)), is_error=True, is_denied=isinstance(error, ToolDenied))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return ToolResult(_sendable(f"{name} failed: {reason}."), is_error=True)
        return ToolResult(_sendable(text))

    # --- files ---

    def _read(self, path: str, offset: int = 1, limit: int = READ_LINES) -> str:
        if offset < 1 or limit < 1:
            raise ToolError("`offset` and `limit` count lines from 1.")
        with _open_file(self._skill(path) or self._place(path), path) as file:
            if b"\0" in file.read(8192):
                raise ToolError(f"{path} is binary. Use bash to look at it (file, xxd, strings).")
            file.seek(0)
            return _numbered_lines(file, path, offset, limit)

    def _write(self, path: str, content: str) -> str:
        place = self._place(path, write=True)
        data = _encoded("content", content)
        there = _mode_of(place, path)
        ensure_folder(place.parent)
        write_atomic(place, data, mode=0o644 if there is None else there, sync=False)
        return f"{'Created' if there is None else 'Replaced'} {path}: {len(data)} bytes."

    def _edit(self, path: str, old: str, new: str) -> str:
        place = self._place(path, write=True)
        if not old:
            raise ToolError("`old` is empty. Use write for a new file.")
        if old == new:
            raise ToolError("`old` and `new` are the same: there is nothing to change.")
        mode = _mode_of(place, path)
        with _open_file(place, path) as file:
            data = file.read(FILE_BYTES + 1)
        if len(data) > FILE_BYTES:
            raise ToolError(f"{path} is larger than {FILE_BYTES} bytes. Change it with bash.")
        before, after = _encoded("old", old), _encoded("new", new)
        if before not in data and b"\r\n" in data:  # `read` shows such a file without its carriage returns.
            before, after = (re.sub(rb"(?<!\r)\n", b"\r\n", each) for each in (before, after))
        first = data.find(before)
        if first < 0:
            raise ToolError(f"`old` is not in {path}. Read the file again: it must match letter by letter, spaces too.")
        if data.find(before, first + 1) >= 0:
            raise ToolError(
                f"`old` is in {path} more than once. Give more of the lines around it, so that it is unique."
            )
        changed = data[:first] + after + data[first + len(before) :]
        write_atomic(place, changed, mode=mode if mode is not None else 0o644, sync=False)
        line = data.count(b"\n", 0, first) + 1
        return f"Changed {path} at line {line}."

    def _skill(self, path: str) -> Path | None:
        """Where a path below `skills` really is; None if it is not below it."""
        if self.skills is None or not path.startswith("/") or "\0" in path:
            return None
        root, place = Path(os.path.realpath(self.skills)), Path(os.path.realpath(path))
        return place if place.is_relative_to(root) else None

    def _place(self, path: str, *, write: bool = False) -> Path:
        """Where a path really is. Raises ToolDenied if that is outside, or in `.git` and to be written."""
        if not path or "\0" in path:
            raise ToolError("`path` must be the path of a file in this folder.")
        if ".." in path.split("/"):
            raise ToolDenied(f"{path!r} contains `..`. Give a path inside this folder, without `..`.")
        root = Path(os.path.realpath(self.root))
        place = Path(os.path.realpath(root / self._relative(path, root)))
        if not place.is_relative_to(root):
            raise ToolDenied(f"{path!r} is outside this folder. Only paths inside {root} can be used.")
        inside = place.relative_to(root).parts
        if write and (not inside or any(part.casefold() == ".git" for part in inside)):
            raise ToolDenied(f"{path!r} cannot be written: what is in .git belongs to Git. Use git through bash.")
        return place

    def _relative(self, path: str, root: Path) -> str:
        """An absolute path as one below `root`, by whichever of its names it was given."""
        for base in (str(root), str(self.root)):
            if path == base or path.startswith(base + "/"):
                return path[len(base) :].lstrip("/")
        return path

    # --- looking ---

    def _glob(self, pattern: str, path: str = ".") -> str:
        parts = _pattern_parts(pattern)
        place = self._place(path)
        if not place.is_dir():
            raise ToolError(f"{path} is not a folder.")
        until = time.monotonic() + LOOK_SECONDS
        found: list[str] = []
        note = ""
        for folder, name in _walk(place, until):
            if len(found) >= GLOB_RESULTS:
                note = f"\n[more than {GLOB_RESULTS} files: use a narrower pattern]"
                break
            if _fits((*folder, name), parts):
                found.append("/".join((*folder, name)))
        if time.monotonic() > until:
            note = f"\n[stopped after {LOOK_SECONDS:g} s: use a narrower path]"
        prefix = place.relative_to(os.path.realpath(self.root))
        listed = sorted(str(prefix / name) for name in found)
        return ("\n".join(listed) or "No file matches.") + note

    def _grep(self, pattern: str, path: str = ".", include: str = "") -> str:
        if not pattern or len(pattern) > PATTERN_CHARS or "\n" in pattern or "\0" in pattern:
            raise ToolError(f"`pattern` must be one line of at most {PATTERN_CHARS} characters.")
        place = self._place(path)
        root = os.path.realpath(self.root)
        if not os.path.lexists(place):
            raise ToolError(f"{path} does not exist.")
        if not place.is_dir() and not place.is_file():
            raise ToolError(f"{path} is neither a file nor a folder.")
        options = ["-rnsHIE", "-D", "skip", "--exclude-dir=.git", *([f"--include={include}"] if include else [])]
        target = "." if str(place) == root else f"./{place.relative_to(root)}"
        done = self._capture(["grep", *options, "-e", pattern, "--", target], LOOK_SECONDS, 1024 * 1024)
        output = done.head if done.left_out else done.head + done.tail
        lines = output.decode("utf-8", "replace").split("\n")[:-1]
        if done.exit not in (0, 1, None) and (done.exit < 0 or (lines and lines[0].startswith("grep:"))):
            reason = lines[0][:500] if lines else f"grep ended with signal {-done.exit}"
            raise ToolError(f"{reason}. The pattern is a POSIX extended regular expression (grep -E).")
        lines.sort(key=lambda line: line.partition(":")[0])  # By path; those of one file stay in order.
        shown = [line.removeprefix("./")[:GREP_LINE_CHARS] for line in lines[:GREP_LINES]]
        if done.timed_out:
            shown.append(f"[stopped after {LOOK_SECONDS:g} s: use a narrower path]")
        elif len(lines) > GREP_LINES or done.left_out:
            shown.append(f"[more than {GREP_LINES} lines: use a narrower pattern or path]")
        return "\n".join(shown) or "Nothing matches."

    # --- commands ---

    def _bash(self, command: str, timeout_s: float = BASH_SECONDS) -> str:
        if not command.strip() or "\0" in command:
            raise ToolError("`command` must be a line of shell.")
        if not 1 <= timeout_s <= BASH_MAX_SECONDS:
            raise ToolError(f"`timeout_s` must be from 1 to {BASH_MAX_SECONDS:g} seconds.")
        shell = shutil.which("bash", path=self.environment.get("PATH", "")) or "/bin/sh"
        began = time.monotonic()
        done = self._capture([shell, "-c", command], timeout_s, OUTPUT_BYTES)
        output = done.head.decode("utf-8", "replace")
        if done.left_out:
            output += f"\n[{done.left_out} bytes are left out here; put output into a file to read all of it]\n"
        output += done.tail.decode("utf-8", "replace")
        if done.timed_out:
            said = f" It had written:\n{output}" if output else " It had written nothing."
            raise ToolError(
                f"The command ran longer than {timeout_s:g} s and was ended with all it had started.{said}\n"
                "Run less at once, give a longer `timeout_s`, or put a server into the background, output in a file."
            )
        end = f"exit code {done.exit}" if done.exit is not None and done.exit >= 0 else f"signal {-(done.exit or 0)}"
        return f"[{end}, {time.monotonic() - began:.1f} s]\n{output}"

    def _capture(self, argv: list[str], timeout_s: float, keep: int) -> Captured:
        return capture(
            argv,
            cwd=self.root,
            env=self.environment,
            timeout_s=timeout_s,
            keep_bytes=keep,
            while_waiting=self.wait,
        )


def _sendable(text: str) -> str:
    """Without halves of surrogate pairs, which no request can hold. Names of files come with them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _encoded(name: str, text: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"`{name}` holds half of a surrogate pair, which no file can hold.") from error
    if len(data) > FILE_BYTES:
        raise ToolError(f"`{name}` is larger than {FILE_BYTES} bytes. Write the file in parts with bash.")
    return data


def _mode_of(place: Path, path: str) -> int | None:
    """The permissions of a file that may be replaced; None if nothing is there. Raises ToolError for all else."""
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise ToolError(f"{path} cannot be there: a part of the path is a file.") from error
    if not stat.S_ISREG(mode):
        raise ToolError(f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'not a plain file'}.")
    return stat.S_IMODE(mode) & 0o777


def _open_file(place: Path, path: str) -> BinaryIO:
    """Open a plain file to read. `place` has no link in it; one that is put there meanwhile is refused."""
    if _mode_of(place, path) is None:
        raise ToolError(f"{path} does not exist. Use glob to find the file.")
    try:  # It may be swapped since it was looked at: no waiting for a pipe, and another look once it is open.
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "a link" if error.errno == errno.ELOOP else error.strerror
        raise ToolError(f"{path} cannot be read: {reason}.") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ToolError(f"{path} is not a plain file.")
    return os.fdopen(fd, "rb")


def _numbered_lines(file: BinaryIO, path: str, offset: int, limit: int) -> str:
    number, scanned, size, shown = 0, 0, 0, []
    whole, note = True, ""
    while line := file.readline(READ_BYTES):
        begins, whole = whole, line.endswith(b"\n")
        number += begins
        scanned += len(line)
        if begins and (number >= offset + limit or size > READ_BYTES):
            note = f"[the file goes on: use offset {number}]"
            break
        if scanned > SCAN_BYTES:
            note = f"[stopped at line {number}, {scanned} bytes into the file: use bash]"
            break
        if number >= offset and begins:
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            cut = f"{text[:LINE_CHARS]} [line cut]" if len(text) > LINE_CHARS else text
            size += len(cut.encode("utf-8", "replace"))
            shown.append(f"{number}\t{cut}")
    if not shown and not note:
        return f"[{path} is empty]" if not number else f"[{path} has only {number} lines]"
    return "\n".join([*shown, note] if note else shown)


def _walk(root: Path, until: float) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every file below a folder, with the names of the folders above it. Follows no link, leaves out `.git`."""
    waiting: list[tuple[str, ...]] = [()]
    while waiting and time.monotonic() <= until:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(root.joinpath(*folder)), key=lambda entry: entry.name)
        except OSError:
            continue  # It cannot be read, or is gone: the model sees what is left.
        waiting += [
            (*folder, e.name) for e in reversed(entries) if e.name != ".git" and e.is_dir(follow_symlinks=False)
        ]
        yield from ((folder, entry.name) for entry in entries if not entry.is_dir(follow_symlinks=False))


def _pattern_parts(pattern: str) -> list[str | re.Pattern[str]]:
    """A pattern, folder by folder; "**" stays as it is. Raises ToolError."""
    if not pattern or len(pattern) > PATTERN_CHARS or "\0" in pattern:
        raise ToolError(f"`pattern` must be a text of 1 to {PATTERN_CHARS} characters, such as src/**/*.py.")
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if pattern.startswith("/") or ".." in parts:
        raise ToolError("`pattern` must be relative and without `..`; name the folder in `path`.")
    try:
        return [part if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
    except re.error as error:
        raise ToolError(f"{pattern!r} is not a pattern: {error}.") from error


def _fits(names: tuple[str, ...], pattern: list[str | re.Pattern[str]]) -> bool:
    """Whether a path fits. All ways through the pattern are followed at once, so that none can be slow."""
    at = _past_stars({0}, pattern)
    for name in names:
        after = set()
        for place in at:
            part = pattern[place] if place < len(pattern) else None
            if isinstance(part, str):
                after.add(place)
            elif part is not None and part.match(name):
                after.add(place + 1)
        at = _past_stars(after, pattern)
    return len(pattern) in at


def _past_stars(at: set[int], pattern: list[str | re.Pattern[str]]) -> set[int]:
    reached = set(at)
    for place in sorted(at):
        while place < len(pattern) and pattern[place] == "**":
            place += 1
            reached.add(place)
    return reached
