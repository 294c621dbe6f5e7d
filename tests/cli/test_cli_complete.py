"""Completion, in real shells: what the Tab key offers, how quickly, and that it is silent where there is nothing."""

from __future__ import annotations

import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.adapters.card_file import show_card
from orchestrator.cli.complete import MOST_BRANCHES
from orchestrator.core.card import OPTIONS
from orchestrator.core.questions import choices_of
from orchestrator.core.records import Card, CardKind

QUICK_S = 0.2
"""Seconds of processor time that one answer may take."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a job that asks, and one that was handed in since an engine last ran."""
    root = w.new_workspace(tmp_path_factory.mktemp("complete") / "work")
    w.asked(root)
    w.submit(root, "title: Late in\nprompt: x\n", name="late")
    return root


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program `orc`, as an installed one."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "orc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator "$@"\n')
    program.chmod(0o755)
    return folder


def offered(root: Path, line: str, *, shell: str = "bash") -> list[str]:
    """What is offered at the end of a line."""
    words = line.split(" ")
    env = {"_ORC_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = w.orc(root, env=env, code=0)
    assert done.err == ""
    if shell == "bash":
        return [each.removeprefix("plain,") for each in done.out.splitlines() if each]
    told = done.out.splitlines()
    return [": ".join(told[at + 1 : at + 3]) for at in range(0, len(told) - 2, 3)]


def cost() -> float:
    """Seconds of processor time that this process's children have taken so far."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def jobs(root: Path) -> tuple[str, str]:
    """The job that asks, and the one that no folder of queue/ shows."""
    ids = sorted(job["id"] for job in w.orc(root, "status", "--json").json()["jobs"])
    asks, late = ids
    assert not list((root / "queue").rglob(f"{late}*"))
    return asks, late


def test_ids_come_with_their_titles_where_the_shell_shows_them(root: Path) -> None:
    asks, late = jobs(root)
    assert offered(root, "orc show ") == [asks, late]
    assert offered(root, "orc cancel la") == [late]
    assert offered(root, "orc show gr", shell="zsh") == [f"{asks}: greet"]
    assert offered(root, "orc revert ") == []
    assert offered(root, "orc approve ", shell="zsh") == [
        f"{asks}: greet",
        f"{asks}.card-1: Merge {asks} into main? critic approved it.",
    ]


@pytest.mark.parametrize("card", ["greet", "{}", "{}.card-1"])
def test_answers_are_those_of_the_card(root: Path, card: str) -> None:
    card = card.format(jobs(root)[0])
    assert offered(root, f"orc answer {card} ") == ["approve", "revise", "drop"]
    assert offered(root, f"orc answer {card} re", shell="zsh") == ["revise: Ask for changes"]
    assert offered(root, "orc answer nothing-of-the-kind ") == []


def test_answers_of_an_agents_own_are_offered_as_well(root: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "work", symlinks=True))
    own = choices_of(["/login", {"key": "no", "label": "Neither"}, {"key": "page-2", "label": "The second"}])
    options = (*own, *OPTIONS[CardKind.QUESTION])
    id_ = "ask-0a1b2c3d.card-1"
    card = Card(id_, "ask-0a1b2c3d", 1, CardKind.QUESTION, "Which?", options, "2026-11-20T23:00:00Z")
    (copy / "queue" / "decide" / f"{id_}.yaml").write_bytes(show_card(card, "Ask"))
    assert offered(copy, f"orc answer {id_} ") == ["a", "no", "page-2", "reply", "drop"]


def test_verbs_agents_and_options_are_offered(root: Path) -> None:
    assert offered(root, "orc st") == ["status"]
    assert offered(root, "orc st", shell="zsh") == ["status: What needs you, what is going on, what ended."]
    for verb in ("workers", "drain", "retire", "drain --undo"):
        assert offered(root, f"orc {verb} ") == ["critic", "worker"]
    assert offered(root, "orc retire --undo ") == []
    assert offered(root, "orc new --kind o") == ["ops", "other"]
    (root / "criteria").mkdir(exist_ok=True)
    (root / "criteria/ode.yaml").touch()
    for verb in ("new", "gate"):
        assert offered(root, f"orc {verb} --kind o") == ["ops", "other", "ode"]
    assert "--fix" in offered(root, "orc doctor --")
    assert "--version" in offered(root, "orc --")


def test_completing_a_verb_imports_none_of_them(root: Path) -> None:
    env = w.environment({"_ORC_COMPLETE": "zsh_complete", "COMP_WORDS": "orc ", "COMP_CWORD": "1"})
    argv = [sys.executable, "-X", "importtime", "-m", "orchestrator"]
    traced = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False).stderr
    mine = {line.rpartition("|")[2].strip() for line in traced.splitlines() if "orchestrator." in line}
    assert mine == {"orchestrator.cli", "orchestrator.cli.app", "orchestrator.cli.main", "orchestrator.errors"}


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    """A repository that is no workspace, with branches of its own and of a remote."""
    repo = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(repo)], check=True)
    w.git(repo, "commit", "--quiet", "--allow-empty", "-m", "one")
    for ref in ("heads/feat/log-in", "heads/fix", "heads/orc/state", "heads/f;reboot", "remotes/origin/far", "tags/f1"):
        w.git(repo, "update-ref", f"refs/{ref}", "HEAD")
    w.git(repo, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/far")
    (repo / "below").mkdir()
    return repo


def test_branches_are_offered_where_there_is_no_workspace(branches: Path) -> None:
    for place in (branches, branches / "below"):
        assert offered(place, "orc gate ") == ["feat/log-in", "fix", "main", "origin/far"]
    assert offered(branches, "orc gate f") == ["feat/log-in", "fix"]
    assert offered(branches, "orc gate feat/l", shell="zsh") == ["feat/log-in: _"]
    assert offered(branches, "orc gate main..fi") == ["main..fix"]
    assert offered(branches, "orc gate fix --base ma") == ["main"]
    for nothing in ("ma*", "..f", "no"):
        assert offered(branches, f"orc gate {nothing}") == []


def test_branches_take_little_time_where_there_are_thousands(branches: Path) -> None:
    commit = w.git(branches, "rev-parse", "HEAD")
    lines = "".join(f"create refs/heads/many/{number:04} {commit}\n" for number in range(3000))
    subprocess.run(["git", "update-ref", "--stdin"], cwd=branches, input=lines, text=True, check=True)
    w.git(branches, "pack-refs", "--all")
    for line, found in (("orc gate ", MOST_BRANCHES - 1), ("orc gate many/001", 10), ("orc gate fi", 1)):
        costs = []
        for _ in range(3):
            before = cost()
            assert len(offered(branches, line)) == found, "all but the one that a shell would take for a command"
            costs.append(cost() - before)
        assert min(costs) < QUICK_S, line


@pytest.mark.parametrize("line", ["orc show ", "orc answer x ", "orc workers ", "orc approve gr", "orc gate "])
def test_outside_of_a_workspace_nothing_is_offered(tmp_path: Path, line: str) -> None:
    assert offered(tmp_path, line) == []
    (tmp_path / "orc.yaml").write_text("no: [yaml")  # A workspace that is broken, and in no repository.
    assert offered(tmp_path, line) == []


def test_what_lies_in_the_way_of_a_file_is_not_waited_for(root: Path, tmp_path: Path) -> None:
    (tmp_path / "orc.yaml").write_text("version: 1\n")
    lane = tmp_path / "queue" / "normal"
    lane.mkdir(parents=True)
    os.mkfifo(lane / "pipe-00000000.yaml")
    (lane / "link-00000000.yaml").symlink_to("/dev/zero")
    (lane / "esc-00000000.yaml").write_bytes(b"title: 'a\x1b[31mb: c'\n")
    assert offered(tmp_path, "orc show ", shell="zsh") == [
        "esc-00000000: a[31mb: c",
        "link-00000000: _",
        "pipe-00000000: _",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_an_answer_takes_little_time_with_a_thousand_jobs(root: Path, tmp_path: Path, shell: str) -> None:
    shutil.copytree(root, tmp_path / "work", symlinks=True)
    lane = tmp_path / "work" / "queue" / "normal"
    for number in range(1000):
        (lane / f"many-{number:08x}.yaml").write_text(f"title: Number {number}\nprompt: x\n")
    for line, found in (("orc show many-0000000", 16), ("orc show ", 1002), ("orc ", 20)):
        costs = []
        for _ in range(3):
            before = cost()
            assert len(offered(tmp_path / "work", line, shell=shell)) >= found
            costs.append(cost() - before)
        assert min(costs) < QUICK_S, line


# --- real shells ---


class Shell:
    """A shell on a terminal, as a person has it."""

    def __init__(self, argv: list[str], root: Path, programs: Path) -> None:
        env = w.environment({"PATH": f"{programs}:{os.environ['PATH']}", "PS1": "$ ", "HOME": str(programs)})
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(argv, cwd=root, env=env, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = ""

    def type(self, text: str, until: str, *, seconds: float = 40) -> str:
        """Type, and read until something new is shown."""
        self.shown = ""
        os.write(self._master, text.encode())
        deadline = time.monotonic() + seconds
        while until not in self.shown:
            ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{until!r} did not come: {self.shown!r}"
            self.shown += os.read(self._master, 65536).decode("utf-8", "replace")
        return self.shown

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def need(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"NOT TESTED: there is no {shell} here (apt-get install {shell})")
    return path


def test_bash_completes_ids_and_answers(root: Path, programs: Path) -> None:
    asks, _ = jobs(root)
    shell = Shell([need("bash"), "--norc", "--noprofile", "-i"], root, programs)
    try:
        shell.type('eval "$(orc completion bash)"; complete -p orc\n', "-F _orc_completion orc")
        shell.type("orc show gr\t", asks)
        shell.type(f"\x15orc answer {asks} dr\t", f"{asks} drop ")
        shell.type("\x15orc sta\t", "orc status ")
        shown = shell.type("\x15cd /; orc show gr\t\t; echo out''side\n", "outside\r\n")
        assert "Traceback" not in shown
    finally:
        shell.end()


def test_zsh_completes_ids_with_their_titles(root: Path, programs: Path) -> None:
    asks, _ = jobs(root)
    shell = Shell([need("zsh"), "-f", "-i"], root, programs)
    try:
        setup = 'autoload -Uz compinit; compinit -u -D; eval "$(orc completion zsh)"; echo rea""dy\n'
        shell.type(setup, "ready\r\n")
        shell.type("orc show gr\t", asks)
        shown = shell.type("\x15orc answer greet \t", "drop")
        assert "Merge it" in shown
    finally:
        shell.end()


def test_fish_completes_ids_with_their_titles(root: Path, programs: Path, tmp_path: Path) -> None:
    asks, late = jobs(root)
    script = 'orc completion fish | source; complete -C "orc show "; complete -C "orc answer greet "'
    env = w.environment({"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path)})
    argv = [need("fish"), "--no-config", "-c", script]
    done = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert [f"{asks}\tgreet", late] == sorted(told[:2])
    assert "approve\tMerge it" in told


def test_the_line_for_the_shell_is_told(tmp_path: Path) -> None:
    told = w.orc(tmp_path, "help", "completion", code=0).out
    assert 'eval "$(orc completion bash)"     in ~/.bashrc' in told
    assert "~/.zshrc" in told
    assert "orc completion fish | source" in told
