"""Every change that orc makes to the world stands inside a named effect, so that there is a place to be killed at.

The real commands run under an audit hook of the interpreter, which sees each file that is opened for writing, renamed
or removed, each process that is started and each signal that is sent. It is blind for calls through ctypes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from crash_helpers import Expected, World, check_world, live, make_world

WATCHER = """
import json, os, sys

told = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
from orchestrator.adapters.effects import inside_effect
from orchestrator.__main__ import main

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
FILES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod",
         "os.chown", "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move", "shutil.copyfile"}
OTHERS = {"os.kill", "os.killpg", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty",
          "subprocess.Popen", "socket.connect", "socket.bind", "socket.sendto", "signal.pthread_kill"}


def is_change(event, arguments):
    if event == "open":
        path, _, flags = arguments
        return isinstance(path, (str, bytes)) and bool(flags & WRITING)
    return event in FILES or event in OTHERS


def watch(event, arguments):
    if is_change(event, arguments) and not inside_effect():
        if event == "subprocess.Popen":
            said = [str(word) for word in arguments[1]]
        else:
            said = [os.fsdecode(each) if isinstance(each, bytes) else str(each) for each in arguments]
        os.write(told, (json.dumps([event, *said]) + "\\n").encode())


sys.addaudithook(watch)
main()
"""

READING = {
    "cat-file", "config", "diff", "diff-tree", "for-each-ref", "log", "ls-files", "ls-tree", "merge-base", "rev-list",
    "rev-parse", "show", "status", "symbolic-ref", "version", "worktree",
}  # fmt: skip
"""Commands of git that change nothing as the engine calls them."""

ALLOWED = (
    # Locks: taking one opens its file. Whether it is held is the kernel's to say, not the file's.
    r"open .*/\.git/orc/(engine|ledger|notices)\.lock ",
    r"open .*/\.git/orc/(mirrors|trees)/[^ ]+\.lock ",
    r"open .*/\.git/orc/leases/",
    # A note of the engine about itself, by which nothing is decided.
    r"(open|os\.rename|os\.remove) .*/\.git/orc/(\.tmp-[0-9a-f]+-)?engine\.json( |$)",
    r"os\.mkdir .*/\.git/orc(/bell)? ",
    # Objects of the ledger that nothing names yet: they count once the ref names them, which is an effect.
    r"(open|os\.chmod|os\.rename|os\.mkdir) .*/\.git/objects/[0-9a-f]{2}(/tmp_obj_| )",
    # GitPython ends the `git cat-file` that it reads objects with, when a command ends.
    r"os\.kill \d+ 15 ",
    # What these tests themselves ask to be written.
    r"open .*/outside/trace-\d+ ",
    # Nothing but the terminal and the pipes of a process.
    r"open /dev/(null|tty) ",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = make_world(tmp_path)
    (made.outside / "watcher.py").write_text(WATCHER)
    made.program = (str(made.outside / "watcher.py"), str(made.outside / "escapes"))
    return made


def escapes(world: World) -> set[str]:
    """The changes that were made outside of every effect and are not allowed there, ids left out."""
    found = set()
    for line in (world.outside / "escapes").read_text().splitlines():
        event, *arguments = json.loads(line)
        told = f"{event} {' '.join(arguments)}"
        if event == "subprocess.Popen" and _git_verb(arguments) in READING:
            continue
        if not any(re.match(pattern, told + " ") for pattern in ALLOWED):
            found.add(re.sub(r"[0-9a-f]{8,}", "*", told.replace(str(world.root), "")))
    return found


def _git_verb(argv: list[str]) -> str:
    words = iter(argv[1:] if argv[0].rpartition("/")[2] == "git" else ["-not-git"])
    for word in words:
        if word in ("-c", "-C"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_is_changed_outside_of_an_effect(world: World) -> None:
    expected: dict[str, Expected] = live(world)
    assert "\n".join(sorted(escapes(world))) == ""
    check_world(world, expected)


def test_the_watcher_sees_what_is_changed_outside_of_an_effect(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    sly = WATCHER.replace("main()\n", "open('sly', 'w'); os.kill(os.getpid(), 0); os.mkdir('folder')\n")
    (world.outside / "watcher.py").write_text(
        sly.replace("'sly'", f"'{tmp_path}/sly'").replace("'folder'", f"'{tmp_path}/f'")
    )
    world.program = (str(world.outside / "watcher.py"), str(world.outside / "escapes"))
    world.orc("status")
    assert sorted(each.split()[0] for each in escapes(world)) == ["open", "os.kill", "os.mkdir"]
