"""`orc drain` and `orc retire`: an agent gets nothing new, brings to its end what it is at, and goes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.core.agent import Soul
from orchestrator.engine.drain import change_soul
from orchestrator.engine.workspace import open_workspace
from orchestrator.errors import BusyError, ExitCode

PLAYS = """\
- match: {kind: review, number: 1}
  verdict: REVISE
  findings: [{severity: blocking, file: hello.py, line: 1, problem: quiet, fix: louder}]
- match: {kind: review}
  verdict: APPROVED
- match: {kind: attempt, number: 1}
  write: {hello.py: "print('hello')\\n"}
- match: {kind: attempt}
  write: {hello.py: "print('HELLO')\\n"}
  answers: fixed
"""
OTHER = """\
---
# who it is
backend: player   # plays
family: alpha
roles:
  - work

---
---
Does what is asked.\t
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an author, a second one, and a reviewer that asks for changes once."""
    root = tmp_path_factory.mktemp("made") / "work"
    w.new_workspace(root, PLAYS)
    (root / "souls" / "other.md").write_text(OTHER)
    w.git(root, "add", "-A")
    w.git(root, "commit", "--quiet", "-m", "another agent")
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of the workspace."""
    shutil.copytree(made, tmp_path / "work")
    return tmp_path / "work"


def soul(root: Path, name: str = "other") -> Path:
    return root / "souls" / f"{name}.md"


# --- drain ---


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_byte_that_a_person_wrote_stays(root: Path, ends: str, mark: str) -> None:
    written = (mark + OTHER.replace("\n", ends)).encode()
    soul(root).write_bytes(written)
    soul(root).chmod(0o640)
    w.orc(root, "drain", "other", "--because", "moving: on", code=0)
    line = f'drain: "moving: on"{ends}'.encode()
    assert line in soul(root).read_bytes()
    assert soul(root).read_bytes().replace(line, b"") == written
    assert soul(root).stat().st_mode & 0o777 == 0o640
    w.orc(root, "drain", "other", "--undo", code=0)
    assert soul(root).read_bytes() == written


def test_it_says_what_the_agent_is_at_and_that_nothing_lands_before_it_is_committed(root: Path) -> None:
    told = w.orc(root, "drain", "other", code=0).out
    assert told.splitlines() == [
        "other drains: its file says so.",
        "  It has no work now; orc retire other takes it out of service.",
        "  Commit souls/other.md: no work lands in a checkout with changes.",
    ]
    assert "drain: true\n" in soul(root).read_text()
    w.git(root, "commit", "--quiet", "--all", "-m", "other drains")
    again = w.orc(root, "drain", "other", "--json", code=0).json()
    assert (again["changed"], again["uncommitted"], again["jobs"]) == (False, False, [])
    assert w.orc(root, "drain", "other", "-m", "for good", code=0).out.startswith("other drains: for good.\n")
    assert "drains: for good" in w.orc(root, "workers", code=0).out
    assert w.orc(root, "drain", "other", "--undo", code=0).out.startswith("other gets work again.\n")
    assert soul(root).read_text() == OTHER
    assert "other does not drain" in w.orc(root, "drain", "other", "--undo", code=ExitCode.REFUSED).err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("drain", "othr"), ExitCode.NOT_FOUND, "(there: critic, other, worker); did you mean 'other'?"),
        (("drain", "../souls/other"), ExitCode.NOT_FOUND, "there is no agent"),
        (("retire", "othr"), ExitCode.NOT_FOUND, "there is no agent 'othr'"),
        (("retire", "other", "--undo"), ExitCode.NOT_FOUND, "(retired: none)"),
        (("drain", "other", "--undo", "-m", "x"), ExitCode.USAGE, "does not go with --undo"),
        (("drain", "other", "-m", "x" * 201), ExitCode.INVALID_FILE, "souls/other.md: drain: "),
        (("drain", "other", "-m", "\x1b[31m"), ExitCode.REFUSED, "control character"),
    ],
)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    root: Path, words: tuple[str, ...], code: ExitCode, told: str
) -> None:
    assert told in w.orc(root, *words, code=code).err
    assert w.git(root, "status", "--porcelain", "souls") == ""


def test_a_soul_that_is_not_valid_or_no_plain_file_is_left_alone(root: Path) -> None:
    soul(root).write_text(OTHER.replace("family", "famly"))
    assert "souls/other.md:4" in w.orc(root, "drain", "other", code=ExitCode.INVALID_FILE).err
    soul(root).unlink()
    soul(root).symlink_to("worker.md")
    assert "symbolic link" in w.orc(root, "drain", "other", code=ExitCode.INVALID_FILE).err
    assert "drain" not in soul(root, "worker").read_text()


@pytest.mark.parametrize("verb", ["drain", "retire"])
def test_an_agent_has_no_such_verb(root: Path, verb: str) -> None:
    done = w.orc(root, verb, "other", env={"ORC_RUN": "x-00000000.attempt-1"}, code=ExitCode.REFUSED)
    assert "not possible inside a run" in done.err


# --- what it is at ---


@pytest.mark.timeout(180)
def test_an_agent_that_drains_ends_its_job_and_then_retires(root: Path, tmp_path: Path) -> None:
    soul(root).unlink()
    plays = root / "plays.yaml"
    waits = f"  run: touch {tmp_path}/begun; until test -e {tmp_path}/go; do sleep 0.05; done\n"
    plays.write_text(plays.read_text().replace("number: 1}\n  write", f"number: 1}}\n{waits}  write"))
    w.git(root, "commit", "--quiet", "--all", "-m", "one author only")
    job = w.submit(root, "title: greet\nprompt: greet the world\n", name="greet")
    engine = subprocess.Popen(w.orc_argv("run", "--until-idle", "--quiet"), cwd=root, env=w.environment())
    try:
        w.wait_until((tmp_path / "begun").exists)
        refused = w.orc(root, "retire", "worker", code=ExitCode.REFUSED).err
        assert f"worker still has work: {job} ({job}.attempt-1 is under way)" in refused
        assert "drain: it is to be retired\n" in soul(root, "worker").read_text()
        w.git(root, "commit", "--quiet", "--all", "-m", "worker drains")
        other = w.submit(root, "title: another\nprompt: x\n", name="another")
        (tmp_path / "go").touch()
        assert engine.wait(timeout=100) == 1
    finally:
        engine.kill()
        engine.wait()
    records = w.orc(root, "show", job, "--json", code=0).json()["records"]
    assert [records[f"attempt-{number}"]["worker"]["agent"] for number in (1, 2)] == ["worker", "worker"]
    assert records["attempt-2"]["rule"] == "same author"
    assert "it drains: it is to be retired" in _why(root, other)
    assert f"{job} (its work, which is decide)" in w.orc(root, "retire", "worker", code=ExitCode.REFUSED).err
    w.orc(root, "approve", f"{job}.card-1", code=0)
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert (root / "hello.py").read_text() == "print('HELLO')\n"
    told = w.orc(root, "retire", "worker", code=0).out
    assert told.startswith("worker is retired: its soul is souls/retired/worker.md.\n")
    assert "  To bring it back: orc retire worker --undo\n" in told
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert "no agent in souls/ fits" in _why(root, other)
    back = w.orc(root, "retire", "worker", "--undo", code=0).out
    assert back.startswith("worker is in service again: its soul is souls/worker.md.\n")
    assert "drain" not in back + soul(root, "worker").read_text()
    w.git(root, "commit", "--quiet", "--all", "-m", "worker is back")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert "it drains" not in _why(root, other)
    w.orc(root, "verify", code=0)


def _why(root: Path, job: str) -> str:
    jobs = w.orc(root, "status", "--json", code=0).json()["jobs"]
    return str(next(each["reason"] for each in jobs if each["id"] == job))


@pytest.mark.parametrize("keys", ["agent: other\n", "review: {by: [other]}\n"])
def test_a_job_that_waits_for_nobody_else_keeps_it(root: Path, keys: str) -> None:
    job = w.submit(root, f"title: greet\nprompt: x\n{keys}", name="greet")
    assert f"{job} (asks for i" in w.orc(root, "retire", "other", code=ExitCode.REFUSED).err
    told = w.orc(root, "drain", "other", "--json", code=0).json()
    assert [each["job"] for each in told["jobs"]] == [job]
    assert told["drain"] == "it is to be retired"
    key = "agent" if "agent" in keys else "review.by"
    w.orc(root, "edit", job, "--unset", key, code=0)
    w.orc(root, "retire", "other", code=0)


# --- retire ---


def test_a_retired_agent_is_none_any_more_and_comes_back_as_it_was(root: Path) -> None:
    told = w.orc(root, "retire", "other", code=0).out
    assert told.endswith("  Commit the change in souls/: no work lands in a checkout with changes.\n")
    assert not soul(root).exists()
    assert (root / "souls" / "retired" / "other.md").read_text() == OTHER
    assert [each["name"] for each in w.orc(root, "workers", "--json", code=0).json()["workers"]] == ["critic", "worker"]
    assert "retired" not in w.orc(root, "doctor", "--json").out
    assert _offered(root, "orc retire --undo ") == ["other"]
    assert _offered(root, "orc retire ") == ["critic", "worker"]
    back = w.orc(root, "retire", "other", "--undo", "--json", code=0).json()
    assert (back["soul"], back["retired"], back["uncommitted"]) == ("souls/other.md", False, False)
    assert soul(root).read_text() == OTHER
    assert w.git(root, "status", "--porcelain") == ""


def test_an_agent_that_a_person_drained_drains_when_it_is_back(root: Path) -> None:
    w.orc(root, "drain", "other", "-m", "too dear", code=0)
    assert w.orc(root, "retire", "other", "--json", code=0).json()["drain"] == ""
    told = w.orc(root, "retire", "other", "--undo", code=0).out.splitlines()
    assert told[1] == "  It still drains: too dear. To let it have work: orc drain other --undo"
    w.orc(root, "drain", "other", "--undo", code=0)
    assert soul(root).read_text() == OTHER


def _offered(root: Path, line: str) -> list[str]:
    words = line.split(" ")
    env = {"_ORC_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    return [each.removeprefix("plain,") for each in w.orc(root, env=env, code=0).out.splitlines() if each]


def test_nothing_is_written_over(root: Path) -> None:
    w.orc(root, "retire", "other", code=0)
    soul(root).write_text("---\nbackend: player\n---\nAnother of that name.\n")
    for words in (("retire", "other", "--undo"), ("retire", "other")):
        assert "exists already" in w.orc(root, *words, code=ExitCode.REFUSED).err
    assert (root / "souls" / "retired" / "other.md").read_text() == OTHER
    assert soul(root).read_text().endswith("Another of that name.\n")


def test_what_somebody_writes_meanwhile_is_not_written_over(root: Path) -> None:
    def slow(_: Soul, text: str) -> str:
        soul(root).write_text(OTHER + "And says so.\n")
        return text.replace("alpha", "beta")

    with open_workspace(root) as ws, pytest.raises(BusyError, match=r"souls/other\.md is being changed by somebody"):
        change_soul(ws, soul(root), slow)
    assert soul(root).read_text() == OTHER + "And says so.\n"


def test_an_agent_that_the_configuration_names_stays(root: Path) -> None:
    config = root / "orc.yaml"
    text = config.read_text()
    config.write_text(f"{text}routing:\n  code: [worker, other]\nfallback:\n  worker: [other]\n")
    refused = w.orc(root, "retire", "other", code=ExitCode.REFUSED).err
    assert "orc.yaml names other under routing.code, fallback.worker" in refused
    assert soul(root).read_text() == OTHER
    config.write_text(text)
    w.orc(root, "retire", "other", code=0)


def test_a_soul_that_cannot_be_read_may_be_retired_too(root: Path) -> None:
    soul(root).write_text("nothing of the kind\n")
    os.utime(soul(root), (1, 1))
    w.orc(root, "retire", "other", code=0)
    assert (root / "souls" / "retired" / "other.md").read_text() == "nothing of the kind\n"
    w.orc(root, "retire", "other", "--undo", code=0)
    assert soul(root).read_text() == "nothing of the kind\n"
