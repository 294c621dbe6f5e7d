"""The one hardened door to the git program: a repository, and the process that answers questions about it.

Git never looks for a repository by itself: the folder is always named. The run shim imports this file, so it must stay
quick to import.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.adapters.git_process import (
    ENVIRONMENT,
    LOCKED,
    TERM_GRACE_SECONDS,
    GitError,
    Output,
    command_of,
    end_git,
    git_options,
    run_git,
    run_git_bounded,
    start_git,
)
from orchestrator.adapters.spans import span

TIMEOUT_SECONDS = 600.0
_TRIES = 6
"""One try and at most five more."""
_ASKED_AT_ONCE = select.PIPE_BUF
"""Bytes of questions before the first answer is read: so much fits into any pipe, so neither side waits for ever."""
_FLEETING = ("-c", "core.fsync=none")
"""For a repository in which nothing has to last."""
_UNASKABLE = re.compile(r"[\n\r\0]")
_MOVED = re.compile(r"cannot lock ref .* is at \S+ but expected")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str


ENGINE = Identity("orc", "engine@orc.invalid")
"""The committer of all that orc commits."""


@dataclass(frozen=True, slots=True)
class Git:
    """One repository, named by its folder, and how to work in it.

    Without `work_tree` the repository is taken to be bare, so that no file of a checkout is read. `inherit` are file
    descriptors that the git processes keep open: a lease among them is held until the last of them has ended.
    """

    git_dir: Path
    work_tree: Path | None = None
    index: Path | None = None
    identity: Identity = ENGINE
    timeout: float = TIMEOUT_SECONDS
    inherit: tuple[int, ...] = ()
    durable: bool = True
    """Whether what is written outlasts a power cut. Not where the whole repository is thrown away soon."""
    reader: Reader | None = field(default=None, compare=False, repr=False)
    """Answers in place of a process for each question."""

    def bare(self) -> Git:
        """The same without a work tree and an index."""
        return replace(self, work_tree=None, index=None)

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        ok: tuple[int, ...] = (0,),
        env: Mapping[str, str] | None = None,
        author: Identity | None = None,
    ) -> Output:
        """Run one git command. Raises GitError if its exit code is not in `ok`, or if it takes longer than `timeout`.

        What fails because another process holds one of git's locks is tried again, five times at most.
        """
        argv = self.argv(*args)
        environment = self.environment(author) | dict(env or {})
        for attempt in range(_TRIES):
            output = run_git(argv, environment, stdin, self.timeout, self.inherit)
            if output.code in ok:
                return output
            if not _is_passing(args, output) or attempt == _TRIES - 1:
                break
            time.sleep(0.05 * 2**attempt * _spread())
        raise GitError(argv, output.code, output.err)

    def text(self, *args: str) -> str:
        """The output of a command as text, without the final newline. Undecodable bytes become surrogates."""
        return self.run(*args).out.decode("utf-8", "surrogateescape").removesuffix("\n")

    def run_bounded(self, *args: str, max_bytes: int) -> tuple[bytes, bool]:
        """At most the first `max_bytes` of the output, and whether there was more. Raises GitError."""
        argv = self.argv(*args)
        found = run_git_bounded(argv, self.environment(None), max_bytes, self.timeout, self.inherit)
        if found is None:
            return self.run(*args).out[:max_bytes], False  # Again, for the words of the error.
        return found

    def argv(self, *args: str) -> list[str]:
        """The whole command line."""
        place = [f"--git-dir={self.git_dir}"]
        place += ["--bare"] if self.work_tree is None else [f"--work-tree={self.work_tree}"]
        return ["git", *place, *git_options(), *([] if self.durable else _FLEETING), *args]

    def environment(self, author: Identity | None) -> dict[str, str]:
        """The whole environment; nothing is inherited but PATH."""
        writer = author or self.identity
        environment = ENVIRONMENT | {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CEILING_DIRECTORIES": str((self.work_tree or self.git_dir).parent),
            "GIT_AUTHOR_NAME": writer.name,
            "GIT_AUTHOR_EMAIL": writer.email,
            "GIT_COMMITTER_NAME": self.identity.name,
            "GIT_COMMITTER_EMAIL": self.identity.email,
        }
        return environment | ({"GIT_INDEX_FILE": str(self.index)} if self.index else {})


def _spread() -> float:
    """0.5 to 1.5, by chance: who collided once is not to do so at each try."""
    return 0.5 + os.urandom(1)[0] / 255


def _is_passing(args: Sequence[str], output: Output) -> bool:
    if LOCKED.search(output.err):
        return True
    # For `update-ref` a moved ref is the answer to the question that was asked.
    return command_of(args) != "update-ref" and bool(_MOVED.search(output.err))


# --- answers without a process for each question ---


class Reader:
    """Answers about the objects and refs of one repository, from one git process that is started when first asked.

    It sees what other processes write. Used by one thread only; close it at the end. After the folder was replaced by
    another one, or the process was killed, a new process is started.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tuple[int, int] | None = None

    def find(self, revs: Sequence[str]) -> list[str | None]:
        """The id of the object that each revision names; None for one that names none."""
        return [facts[0] if len(facts) == 3 else None for facts, _ in self._ask("info", revs)]

    def facts(self, oids: Sequence[str]) -> list[tuple[str, int] | None]:
        """The type and the size of each object, in bytes; None for one that is missing."""
        return [(facts[1], int(facts[2])) if len(facts) == 3 else None for facts, _ in self._ask("info", oids)]

    def contents(self, oids: Sequence[str]) -> list[bytes | None]:
        """The content of each object; None for one that is missing."""
        return [data for _, data in self._ask("contents", oids)]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with process, suppress(BrokenPipeError):
            process.stdin.close()  # It ends when nobody can ask any more.
            try:
                process.wait(TERM_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                end_git(process)

    def _ask(self, what: str, names: Sequence[str]) -> list[tuple[list[str], bytes | None]]:
        # What cannot be asked names nothing; neither does a hyphen.
        names = ["-" if not name or _UNASKABLE.search(name) else name for name in names]
        for is_last in (False, True):
            found: list[tuple[list[str], bytes | None]] = []
            try:
                with span("git", "cat-file"):
                    process = self._started()
                    for questions in _in_parts([_encoded(f"{what} {name}\n") for name in names]):
                        found += _ask_git(process, what, questions)
                return found
            except (BrokenPipeError, EOFError):
                # It got the Ctrl-C that was meant for us, or was killed.
                self.close()
                if is_last:
                    raise GitError(("git", "cat-file"), -1, "it ended while it was asked") from None
        return []

    def _started(self) -> subprocess.Popen[bytes]:
        try:
            status = os.stat(self._git.git_dir)
        except OSError as error:
            raise GitError(("git", "cat-file"), 128, f"{self._git.git_dir}: {error.strerror}") from error
        if self._process is not None and self._folder != (status.st_dev, status.st_ino):
            self.close()
        if self._process is None:
            git = self._git.bare()
            argv = git.argv("cat-file", "--batch-command")
            self._process = start_git(argv, git.environment(None), git.inherit, subprocess.DEVNULL)
            self._folder = (status.st_dev, status.st_ino)
        return self._process


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _in_parts(questions: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The questions in parts of at most `_ASKED_AT_ONCE` bytes; a longer one is a part by itself."""
    first = size = 0
    for at, question in enumerate(questions):
        if first < at and size + len(question) > _ASKED_AT_ONCE:
            yield questions[first:at]
            first, size = at, 0
        size += len(question)
    yield questions[first:]


def _ask_git(
    process: subprocess.Popen[bytes], what: str, questions: Sequence[bytes]
) -> Iterator[tuple[list[str], bytes | None]]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"".join(questions))
    process.stdin.flush()
    for _ in questions:
        line = process.stdout.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        facts = line.decode("utf-8", "replace").split()
        is_found = len(facts) == 3 and facts[2].isdigit()
        if what != "contents" or not is_found:
            yield facts if is_found else [], None
            continue
        data = process.stdout.read(int(facts[2]) + 1)
        if len(data) != int(facts[2]) + 1:
            raise EOFError
        yield facts, data[:-1]


@contextmanager
def reading(git: Git) -> Iterator[Git]:
    """The same door with a `Reader`, which answers what `rev_parse` and `tree_of` ask; it ends with the block."""
    reader = Reader(git)
    try:
        yield replace(git, reader=reader)
    finally:
        reader.close()
