"""The one hardened door to the git program, and the few acts on refs that everything needs.

Nothing of the caller's environment or of the machine's configuration reaches git, and git never looks for a
repository by itself: the folder is always named. The run shim imports this file, so it must stay quick to import.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from orchestrator.adapters.spans import span
from orchestrator.errors import NotFoundError, OrcError, UnavailableError

TIMEOUT_SECONDS = 600.0
_TERM_GRACE_SECONDS = 5.0
_TRIES = 6
"""One try and at most five more."""
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ASKED_AT_ONCE = select.PIPE_BUF
"""Bytes of questions before the first answer is read: so much fits into any pipe, so neither side waits for ever."""

# Options win over the configuration of the repository; each one turns off a way to run a program, to reach the
# network, or to change more than was asked for. Three are about what can be believed afterwards: `core.fsync` makes
# an acknowledged object survive a power cut ("batch": one flush for many), `core.checkStat` and `core.trustctime` make
# git notice a file whose times were put back.
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.alternateRefsCommand=",
    "core.sshCommand=false",
    "core.pager=cat",
    "core.editor=false",
    "core.fsync=committed",
    "core.fsyncMethod=batch",
    "core.checkStat=default",
    "core.trustctime=true",
    "core.protectHFS=true",
    "core.protectNTFS=true",
    "diff.external=",
    "diff.ignoreSubmodules=all",
    "diff.noprefix=false",
    "diff.mnemonicPrefix=false",
    "credential.helper=",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "protocol.allow=never",
    "protocol.file.allow=always",
    "safe.bareRepository=explicit",
    "fetch.fsckObjects=true",
    "transfer.fsckObjects=true",
    "merge.renames=true",
    "rerere.enabled=false",
)

_FLEETING = ("-c", "core.fsync=none")
"""For a repository in which nothing has to last."""

_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_EDITOR": "false",
    "GIT_SEQUENCE_EDITOR": "false",
    "GIT_PAGER": "cat",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "file",
}

# Only what another git process causes and what passes by itself.
_LOCKED = re.compile(r"\.lock': File exists|failed to read \S*worktrees/|unable to create temporary file", re.I)
_UNASKABLE = re.compile(r"[\n\r\0]")
_MOVED = re.compile(r"cannot lock ref .* is at \S+ but expected")
_NOT_AS_EXPECTED = re.compile(
    r"but expected|reference already exists|unable to resolve reference|reference is missing|cannot lock ref"
)


_PERSONAL = (
    *("PATH", "HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"),
    *("GIT_EDITOR", "VISUAL", "EDITOR", "TERM"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a commit is by."""

    name: str
    email: str


ENGINE = Identity("orc", "engine@orc.invalid")
"""The committer of all that orc commits."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a git command left."""

    code: int
    out: bytes
    err: str


class GitError(OrcError):
    """A git command failed. Carries the whole command, its exit code and what it said."""

    def __init__(self, argv: Sequence[str], code: int, stderr: str, *, cause: str = "", hint: str = "") -> None:
        self.argv, self.code, self.stderr = tuple(argv), code, stderr
        lines = [line.strip() for line in stderr.splitlines() if line.strip()]
        # git sometimes goes on after its last word with advice.
        words = [line for line in lines if line.startswith(("fatal:", "error:", "!"))]
        said = (words or lines or [f"exit code {code}"])[-1]
        super().__init__(f"git {_command_of(argv)} failed: {said}", cause=cause, hint=hint)

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it that was not ours: it said nothing about what it was asked."""
        return self.code < -1


class RefMovedError(GitError):
    """A ref does not have the value that it was expected to have: somebody else moved it first."""


def _command_of(argv: Sequence[str]) -> str:
    words = iter(argv)
    for word in words:
        if word in ("-c", "-C"):
            next(words, None)
        elif not word.startswith("-") and word != "git":
            return word
    return ""


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
            output = _execute(argv, environment, stdin, self.timeout, self.inherit)
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
        found = _execute_bounded(argv, self.environment(None), max_bytes, self.timeout, self.inherit)
        if found is None:
            return self.run(*args).out[:max_bytes], False  # Again, for the words of the error.
        return found

    def argv(self, *args: str) -> list[str]:
        """The whole command line."""
        place = [f"--git-dir={self.git_dir}"]
        place += ["--bare"] if self.work_tree is None else [f"--work-tree={self.work_tree}"]
        return ["git", *place, *_options(), *([] if self.durable else _FLEETING), *args]

    def environment(self, author: Identity | None) -> dict[str, str]:
        """The whole environment; nothing is inherited but PATH."""
        writer = author or self.identity
        environment = _ENVIRONMENT | {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_CEILING_DIRECTORIES": str((self.work_tree or self.git_dir).parent),
            "GIT_AUTHOR_NAME": writer.name,
            "GIT_AUTHOR_EMAIL": writer.email,
            "GIT_COMMITTER_NAME": self.identity.name,
            "GIT_COMMITTER_EMAIL": self.identity.email,
        }
        return environment | ({"GIT_INDEX_FILE": str(self.index)} if self.index else {})


def _options(settings: Iterable[str] = _SETTINGS) -> list[str]:
    options = ["--no-optional-locks"]
    for setting in settings:
        options += ["-c", setting]
    return options


def _spread() -> float:
    """0.5 to 1.5, by chance: who collided once is not to do so at each try."""
    return 0.5 + os.urandom(1)[0] / 255


def _is_passing(args: Sequence[str], output: Output) -> bool:
    if _LOCKED.search(output.err):
        return True
    # For `update-ref` a moved ref is the answer to the question that was asked.
    return _command_of(args) != "update-ref" and bool(_MOVED.search(output.err))


class _Process(subprocess.Popen[bytes]):
    """A process whose end is waited for in the kernel. The standard library looks again and again, and so too late."""

    def wait(self, timeout: float | None = None) -> int:
        if timeout is not None and timeout > 0 and self.returncode is None and hasattr(os, "pidfd_open"):
            with suppress(OSError):  # It has been waited for, or the kernel is too old.
                handle = os.pidfd_open(self.pid)
                try:
                    watch = select.poll()  # Not `select`, which takes no descriptor above 1,023.
                    watch.register(handle, select.POLLIN)
                    watch.poll(timeout * 1000)
                finally:
                    os.close(handle)
        return super().wait(timeout)


def _start(
    argv: Sequence[str], environment: Mapping[str, str], inherit: tuple[int, ...], stderr: int
) -> subprocess.Popen[bytes]:
    try:
        return _Process(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(environment),
            cwd="/",
            pass_fds=inherit,
            process_group=0,
        )
    except FileNotFoundError as error:
        raise UnavailableError("git is not installed, or not in PATH", hint="install git 2.38 or newer") from error


def _execute(
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdin: bytes | None,
    timeout: float,
    inherit: tuple[int, ...],
) -> Output:
    with span("git", _command_of(argv)), _start(argv, environment, inherit, subprocess.PIPE) as process:
        try:
            out, err = process.communicate(stdin or b"", timeout=timeout)
        except subprocess.TimeoutExpired:
            _end(process)
            raise GitError(argv, -1, f"it took longer than {timeout:g} seconds and was ended") from None
        except BaseException:
            _end(process)
            raise
    return Output(process.returncode, out, err.decode("utf-8", "replace"))


def _execute_bounded(
    argv: Sequence[str],
    environment: Mapping[str, str],
    max_bytes: int,
    timeout: float,
    inherit: tuple[int, ...],
) -> tuple[bytes, bool] | None:
    with span("git", _command_of(argv)), _start(argv, environment, inherit, subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(timeout, _signal_group, (process, signal.SIGKILL))
        timer.daemon = True
        try:
            timer.start()
            process.stdin.close()
            out = process.stdout.read(max_bytes + 1)
            if len(out) > max_bytes:
                _end(process)
                return out[:max_bytes], True
            process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            timer.cancel()
    if process.returncode == -signal.SIGKILL:
        raise GitError(argv, process.returncode, f"it took longer than {timeout:g} seconds and was ended")
    return (out, False) if process.returncode == 0 else None


def _end(process: subprocess.Popen[bytes]) -> None:
    # Politely first: a killed git leaves its lock files behind.
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_TERM_GRACE_SECONDS)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return  # Already gone; macOS answers EPERM for a group of zombies.


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
                process.wait(_TERM_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                _end(process)

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
            self._process = _start(argv, git.environment(None), git.inherit, subprocess.DEVNULL)
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


# --- revisions and refs ---


def rev_parse(git: Git, rev: str) -> str | None:
    """The object id that `rev` names; None if there is no such ref or object."""
    if git.reader is not None:
        return git.reader.find([rev])[0]
    wanted = f"{rev}^{{object}}" if _FULL_ID.fullmatch(rev) else rev
    output = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", wanted, ok=(0, 1))
    return output.out.decode().strip() if output.code == 0 else None


def tree_of(git: Git, commit: str) -> str:
    """The tree of a commit. Raises GitError if there is none."""
    if git.reader is not None and (found := git.reader.find([f"{commit}^{{tree}}"])[0]):
        return found
    return git.text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")


def parents_of(git: Git, commit: str) -> list[str]:
    """The parents of a commit, the first one first, where a reader tells them without a process; else none."""
    data = git.reader.contents([commit])[0] if git.reader is not None and _FULL_ID.fullmatch(commit) else None
    head = data.partition(b"\n\n")[0].decode("ascii", "replace") if data else ""
    return [line.removeprefix("parent ") for line in head.splitlines() if line.startswith("parent ")]


def is_ancestor(git: Git, old: str, new: str) -> bool:
    """Whether `old` is in the history of `new`; a commit is in its own. Raises GitError if one is missing."""
    # Nearly always one was made right upon the other. Git may walk the whole history for it: where commits of the same
    # second meet, it cannot tell which of them are older.
    if old in parents_of(git, new):
        return True
    if new in parents_of(git, old):
        return False
    return git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).code == 0


def merge_base(git: Git, a: str, b: str) -> str | None:
    """The best common ancestor; None if the histories are not related."""
    for old, new in ((a, b), (b, a)):
        if old in parents_of(git, new):
            return old
    output = git.run("merge-base", a, b, ok=(0, 1))
    return output.out.decode().strip() if output.code == 0 else None


def update_ref(git: Git, ref: str, new: str, old: str) -> None:
    """Move `ref` from `old` to `new` in one step; `old` "" means that it must not exist.

    Raises RefMovedError if it has another value. Never use it for a branch that a person has checked out.
    """
    _change_ref(git, ref, "--no-deref", ref, new, old)


def delete_refs(git: Git, refs: Iterable[tuple[str, str]]) -> None:
    """Remove all of these refs, each of which must have the value beside it, or none. Raises RefMovedError."""
    lines = "".join(f"delete {ref} {old}\n" for ref, old in refs)
    _change_ref(git, "one of orc's refs", "--no-deref", "--stdin", stdin=lines.encode())


def _change_ref(git: Git, ref: str, *args: str, stdin: bytes = b"") -> None:
    try:
        git.run("update-ref", *args, stdin=stdin)
    except GitError as error:
        if not _NOT_AS_EXPECTED.search(error.stderr) or _LOCKED.search(error.stderr):
            raise
        raise RefMovedError(
            error.argv,
            error.code,
            error.stderr,
            cause=f"{ref} was moved by something else.",
            hint="look at it again, then decide again",
        ) from error


# --- discovery: for the person's own repository only, never for anything an agent can write ---


def common_dir(start: Path) -> Path:
    """The git folder shared by all worktrees of the PERSON's repository that holds `start`. Raises NotFoundError."""
    return Path(_discover(start, "--git-common-dir"))


def own_dir(start: Path) -> Path:
    """The git folder of the PERSON's checkout that holds `start`, with its own HEAD. Raises NotFoundError."""
    return Path(_discover(start, "--git-dir"))


def top_level(start: Path) -> Path:
    """The top folder of the PERSON's checkout that holds `start`. Raises NotFoundError."""
    return Path(_discover(start, "--show-toplevel"))


def _discover(start: Path, what: str) -> str:
    output = _ask_as_person(("-C", str(start)), "rev-parse", "--path-format=absolute", what)
    if output.code != 0:
        raise _not_found(start, output.err.strip())
    return os.fsdecode(output.out).removesuffix("\n")


def _not_found(start: Path, said: str) -> NotFoundError:
    if "dubious ownership" in said:
        return NotFoundError(
            f"git does not trust the repository at {start}",
            cause="It belongs to another user.",
            hint=f"git config --global --add safe.directory {start}",
        )
    if "must be run in a work tree" in said:
        return NotFoundError(
            f"{start} is not in a checkout",
            cause="It is a bare repository, or a folder inside .git: there are no files to work on.",
            hint="git clone it, and go to the clone",
        )
    cause = "" if "not a git repository" in said else said
    return NotFoundError(f"{start} is not in a git repository", cause=cause, hint="go to yours; or make one: git init")


def personal_config(git_dir: Path, key: str) -> str:
    """A setting as the PERSON's own git sees it in their repository; "" if it is not set."""
    return os.fsdecode(_ask_as_person((f"--git-dir={git_dir}",), "config", "--get", key).out).removesuffix("\n")


def personal_editor(git_dir: Path) -> str:
    """The editor that the PERSON's git would open here, as a line of shell; "" if it has none for this terminal."""
    return os.fsdecode(_ask_as_person((f"--git-dir={git_dir}",), "var", "GIT_EDITOR").out).removesuffix("\n")


def _ask_as_person(place: Sequence[str], *args: str) -> Output:
    # The person's own configuration is read here, for `safe.directory`, their name and their editor; none of the
    # commands that are asked runs anything that it names.
    environment = {name: value for name, value in _ENVIRONMENT.items() if name not in _PERSONAL}
    given = {name: os.environ[name] for name in _PERSONAL if name in os.environ}
    # An editor that is set to nothing is none; a configuration that is set to nothing is empty.
    environment |= {name: value for name, value in given.items() if value or name.startswith("GIT_CONFIG")}
    options = _options(setting for setting in _SETTINGS if not setting.startswith(("safe.", "core.editor=")))
    return _execute(["git", *place, *options, *args], environment, None, 60.0, ())


@cache
def version() -> tuple[int, int, int]:
    """The version of git, such as (2, 39, 5). Raises UnavailableError if there is no git."""
    environment = _ENVIRONMENT | {"PATH": os.environ.get("PATH", os.defpath)}
    output = _execute(["git", "--version"], environment, None, 60.0, ())
    found = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", output.out)
    if found is None:
        raise UnavailableError("the version of git cannot be told", hint="install git 2.38 or newer")
    return int(found[1]), int(found[2]), int(found[3] or 0)
