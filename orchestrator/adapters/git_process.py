"""How the git program is started and ended: what every call of it is told and may see, and how long it may take.

Nothing of the caller's environment or of the machine's configuration reaches git. The run shim imports this file, so
it must stay quick to import.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from orchestrator.adapters.spans import span
from orchestrator.errors import OrcError, UnavailableError

TERM_GRACE_SECONDS = 5.0
# Options win over the configuration of the repository; each one turns off a way to run a program, to reach the
# network, or to change more than was asked for. Three are about what can be believed afterwards: `core.fsync` makes
# an acknowledged object survive a power cut ("batch": one flush for many), `core.checkStat` and `core.trustctime` make
# git notice a file whose times were put back.
SETTINGS = (
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
ENVIRONMENT = {
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
LOCKED = re.compile(r"\.lock': File exists|failed to read \S*worktrees/|unable to create temporary file", re.I)


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
        super().__init__(f"git {command_of(argv)} failed: {said}", cause=cause, hint=hint)

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it that was not ours: it said nothing about what it was asked."""
        return self.code < -1


def command_of(argv: Sequence[str]) -> str:
    """Which command of git this is: the first word that is no option; '' if there is none."""
    words = iter(argv)
    for word in words:
        if word in ("-c", "-C"):
            next(words, None)
        elif not word.startswith("-") and word != "git":
            return word
    return ""


def git_options(settings: Iterable[str] = SETTINGS) -> list[str]:
    """What stands before every command of git."""
    options = ["--no-optional-locks"]
    for setting in settings:
        options += ["-c", setting]
    return options


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


def start_git(
    argv: Sequence[str], environment: Mapping[str, str], inherit: tuple[int, ...], stderr: int
) -> subprocess.Popen[bytes]:
    """Start git in a process group of its own, with pipes. Raises UnavailableError if there is none."""
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


def run_git(
    argv: Sequence[str],
    environment: Mapping[str, str],
    stdin: bytes | None,
    timeout: float,
    inherit: tuple[int, ...],
) -> Output:
    """Run git to its end, whatever its exit code. Raises GitError if that takes longer than `timeout` seconds."""
    with span("git", command_of(argv)), start_git(argv, environment, inherit, subprocess.PIPE) as process:
        try:
            out, err = process.communicate(stdin or b"", timeout=timeout)
        except subprocess.TimeoutExpired:
            end_git(process)
            raise GitError(argv, -1, f"it took longer than {timeout:g} seconds and was ended") from None
        except BaseException:
            end_git(process)
            raise
    return Output(process.returncode, out, err.decode("utf-8", "replace"))


def run_git_bounded(
    argv: Sequence[str],
    environment: Mapping[str, str],
    max_bytes: int,
    timeout: float,
    inherit: tuple[int, ...],
) -> tuple[bytes, bool] | None:
    """As `Git.run_bounded`; None if git failed. Raises GitError if it takes longer than `timeout` seconds."""
    with span("git", command_of(argv)), start_git(argv, environment, inherit, subprocess.DEVNULL) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(timeout, _signal_group, (process, signal.SIGKILL))
        timer.daemon = True
        try:
            timer.start()
            process.stdin.close()
            out = process.stdout.read(max_bytes + 1)
            if len(out) > max_bytes:
                end_git(process)
                return out[:max_bytes], True
            process.wait()
        except BaseException:
            end_git(process)
            raise
        finally:
            timer.cancel()
    if process.returncode == -signal.SIGKILL:
        raise GitError(argv, process.returncode, f"it took longer than {timeout:g} seconds and was ended")
    return (out, False) if process.returncode == 0 else None


def end_git(process: subprocess.Popen[bytes]) -> None:
    """End a git process with its group, and wait until it has ended."""
    # Politely first: a killed git leaves its lock files behind.
    _signal_group(process, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(TERM_GRACE_SECONDS)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return  # Already gone; macOS answers EPERM for a group of zombies.


@cache
def version() -> tuple[int, int, int]:
    """The version of git, such as (2, 39, 5). Raises UnavailableError if there is no git."""
    environment = ENVIRONMENT | {"PATH": os.environ.get("PATH", os.defpath)}
    output = run_git(["git", "--version"], environment, None, 60.0, ())
    found = re.search(rb"(\d+)\.(\d+)(?:\.(\d+))?", output.out)
    if found is None:
        raise UnavailableError("the version of git cannot be told", hint="install git 2.38 or newer")
    return int(found[1]), int(found[2]), int(found[3] or 0)
