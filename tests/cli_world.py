"""A workspace whose agents play from a script, and the `orc` command, which is always a process of its own.

`orc` runs it warm, see `warm_python`; `orc_argv` is the command line by which a person starts it.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made_once import put_copy
from warm_python import ORC, run_warm

SOURCE = Path(__file__).resolve().parents[1]
SEALED = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
CONFIG = """\
version: 1
tick_seconds: 1
review: {{second: 0}}
projects:
  main:
    path: .
    target: main
    checks: ["test -f README.md"]
    merge: {merge}
backends:
  player:
    type: scripted
    script: plays.yaml
"""
WORKER = "---\nbackend: player\nfamily: alpha\nroles: [work]\n---\nYou do what is asked.\n"
CRITIC = "---\nbackend: player\nfamily: beta\nroles: [review]\n---\nYou look twice.\n"
GREET = """\
- match: {kind: attempt, title: greet}
  write: {hello.py: "print('hello')\\n"}
  say: I wrote it.
- match: {kind: review}
  verdict: APPROVED
"""


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Its one object."""
        value: dict[str, Any] = json.loads(self.out)
        return value


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment with nothing of the person's or the machine's configuration, and with this checkout's package."""
    dropped = ("NO_COLOR", "COLUMNS", "FORCE_COLOR", "ORC_RUN", "GIT_DIR", "GIT_WORK_TREE")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return {**kept, **SEALED, "PYTHONPATH": str(SOURCE), "TERM": "xterm-256color", **(extra or {})}


def orc_argv(*args: str) -> list[str]:
    """The command line of the console script's entry."""
    return [sys.executable, "-m", "orchestrator", *args]


def orc(root: Path, *args: str, stdin: str = "", env: Mapping[str, str] | None = None, code: int | None = None) -> Done:
    """Run `orc` in `root`, off a terminal. With `code` the exit code must be that."""
    if "PYTHONPATH" in (env or {}):  # Other modules than the warm ones.
        done = subprocess.run(
            orc_argv(*args), cwd=root, input=stdin, env=environment(env), capture_output=True, text=True, timeout=100
        )
    else:
        code_of_orc, program = ORC
        done = run_warm(code_of_orc, [program, *args], cwd=root, env=environment(env), stdin=stdin, timeout=100)
    found = Done(done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in found.err, found.err
    assert code is None or found.code == code, f"{found.code}\n{found.out}\n{found.err}"
    return found


def git(root: Path, *args: str) -> str:
    """Run git there as the person."""
    done = subprocess.run(
        ["git", "-C", str(root), *args], env=environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def new_repository(root: Path) -> Path:
    """A repository with one commit on `main`."""
    return put_copy(_first_commit, root)


def _first_commit(root: Path) -> None:
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "config", "user.name", "Ada Lovelace")
    git(root, "config", "user.email", "ada@example.invalid")
    (root / "README.md").write_text("hello\n")
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "first")


def new_workspace(root: Path, plays: str = GREET, *, merge: str = "ask") -> Path:
    """A workspace with one worker and one reviewer, everything committed."""
    put_copy(_one_pair, root, merge)
    (root / "plays.yaml").write_text(plays)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a workspace")
    return root


def _one_pair(root: Path, merge: str) -> None:
    put_copy(_first_commit, root)
    (root / "orc.yaml").write_text(CONFIG.format(merge=merge))
    (root / "plays.yaml").write_text(GREET)
    (root / "souls").mkdir()
    (root / "souls" / "worker.md").write_text(WORKER)
    (root / "souls" / "critic.md").write_text(CRITIC)
    orc(root, "init", code=0)


def submit(root: Path, text: str, *, name: str = "job") -> str:
    """Hand a job in; its id."""
    return orc(root, "submit", "-", "--name", name, stdin=text, code=0).out.strip()


def asked(root: Path, title: str = "greet") -> str:
    """A job whose approved work waits for a yes; its id."""
    id_ = submit(root, f"title: {title}\nprompt: {title} the world\n", name=title)
    orc(root, "run", "--until-idle", "--quiet", code=1)
    return id_


def wait_until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    """Wait for a condition; fail when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


@contextmanager
def hearing_signals() -> Iterator[None]:
    """What is started here hears Ctrl-C and a terminal that closes, also where the tests themselves do not.

    Who begins the tests in the background, or with `nohup`, has them ignore these, and children take that over.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, root: Path, *args: str, env: Mapping[str, str] | None = None) -> None:
        master, slave = pty.openpty()
        self._master = master
        self.shown = ""
        with hearing_signals():
            self.process = subprocess.Popen(
                orc_argv(*args), cwd=root, stdin=slave, stdout=slave, stderr=slave, env=environment(env)
            )
        os.close(slave)

    def read_until(self, text: str, *, seconds: float = 30) -> None:
        """Read until `text` is shown."""
        deadline = time.monotonic() + seconds
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} did not come: {self.shown!r}"

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._master, text.encode())

    def interrupt(self) -> None:
        """Ctrl-C, as far as the command itself is concerned; a person whose first one is lost presses it again.

        One that comes between two steps of the interpreter's line editor waits there for the next key.
        """
        for _ in range(5):
            self.process.send_signal(signal.SIGINT)
            if select.select([self._master], [], [], 3)[0] or self.process.poll() is not None:
                return

    def end(self, *, seconds: float = 30) -> int:
        """Everything until the end; the exit code."""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        code = self.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        os.close(self._master)
        return code

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more came: {self.shown!r}"
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: the other end is closed.
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)
