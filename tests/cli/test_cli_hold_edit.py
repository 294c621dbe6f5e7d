"""Holding jobs, letting them go on, and changing what their files say: hold, release, edit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.errors import ExitCode

PLAYS = """\
- match: {kind: attempt, title: slow}
  run: |
    touch STARTED
    until test -e GO_FILE; do sleep 0.05; done
    echo 1 > slow.py
- match: {kind: attempt}
  write: {hello.py: "print('hello')\\n"}
- match: {kind: review}
  verdict: APPROVED
"""
JOB = """\
# what I want
title: greet  # short
prompt: |
  Greet the world.
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a workspace whose agents wait for the file `go` beside it, or do their work."""
    folder = tmp_path_factory.mktemp("made")
    plays = PLAYS.replace("GO_FILE", str(folder / "go")).replace("STARTED", str(folder / "started"))
    w.new_workspace(folder / "work", plays)
    return folder


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of the workspace."""
    copy = tmp_path / "work"
    shutil.copytree(made / "work", copy)
    return copy


def editor(tmp_path: Path, script: str, name: str = "my editor") -> str:
    """An editor that is a program of its own, with a blank in its path: as a person would write it into $VISUAL."""
    path = tmp_path / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return f"'{path}'"


def why(root: Path, job: str) -> str:
    """What the board says about a job."""
    jobs = w.orc(root, "status", "--json", code=0).json()["jobs"]
    return str(next(each["reason"] for each in jobs if each["id"] == job))


def text_of(root: Path, job: str) -> str:
    """What the person wrote, as the ledger has it."""
    shown = w.git(root, "show", f"orc/state:open/{job[-8:-6]}/{job}/job.yaml")
    return shown.partition("# --- ")[0]


def drafts(root: Path) -> list[Path]:
    """What is kept of edits that were not taken."""
    return sorted((root / ".git" / "orc" / "edits").glob("*"))


# --- hold and release -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_held_job_is_not_begun_until_it_is_released(root: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    done = w.orc(root, "hold", "greet", "--because", "until Anna is back", code=0)
    assert done.out.startswith(f"{job} is held: by Ada Lovelace since ")
    assert done.out.endswith(": until Anna is back.\n")
    assert why(root, job).startswith("held by Ada Lovelace since ")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    (shown,) = (root / "queue" / "waiting").glob("greet-*.yaml")
    assert shown.read_text().startswith(f"{JOB}hold: until Anna is back\n")
    assert 'reason: "held by Ada Lovelace since ' in shown.read_text()
    for words in (w.orc(root, "status").out, w.orc(root, "show", job).out):
        assert "held by Ada Lovelace since " in words
        assert "until Anna is back" in words
    assert "Needs you" not in w.orc(root, "status").out
    assert not w.git(root, "for-each-ref", "refs/orc/attempts")
    assert w.orc(root, "release", "greet", code=0).out == f"{job} is held no more: it is waiting.\n"
    assert why(root, job) == ""
    assert text_of(root, job) == JOB
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    w.orc(root, "approve", f"{job}.card-1", code=0)
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    w.orc(root, "verify", code=0)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_live_run_goes_on_and_nothing_follows_from_what_it_comes_to(root: Path, made: Path) -> None:
    job = w.submit(root, "title: slow\nprompt: x\n", name="slow")
    engine = subprocess.Popen(w.orc_argv("run", "--until-idle", "--quiet"), cwd=root, env=w.environment())
    try:
        w.wait_until((made / "started").exists)
        done = w.orc(root, "hold", job, "-m", "wait", "--json", code=0).json()
        assert done["jobs"][0]["run"] == f"{job}.attempt-1"
        again = w.orc(root, "hold", job, code=0).out
        assert f"{job} is held already: by Ada Lovelace" in again
        assert f"{job}.attempt-1 is under way and goes on" in again
        (made / "go").touch()
        assert engine.wait(timeout=50) == 1
    finally:
        engine.kill()
        engine.wait()
    shown = w.orc(root, "show", job, "--json").json()
    assert shown["job"]["state"] == "collected"
    assert shown["job"]["tip"]
    assert [line.split(":")[0] for line in w.git(root, "log", "--format=%s", "-2", "orc/state").splitlines()] == [
        "collect",
        "edit",
    ]
    w.orc(root, "release", job, code=0)
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert w.orc(root, "show", job, "--json").json()["job"]["state"] == "decide"
    w.orc(root, "verify", code=0)


@pytest.mark.slow
def test_a_card_of_a_held_job_may_be_answered_and_nothing_follows_from_the_answer(root: Path) -> None:
    job = w.asked(root)
    w.orc(root, "hold", job, code=0)
    assert "(held by Ada Lovelace since " in w.orc(root, "status").out
    assert "is merging now: held by Ada Lovelace" in w.orc(root, "approve", f"{job}.card-1", code=0).out
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert w.orc(root, "show", job, "--json").json()["job"]["state"] == "merging"
    w.orc(root, "release", job, code=0)
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    assert (root / "hello.py").exists()


def test_several_jobs_are_held_at_once_and_a_mistake_changes_none(root: Path) -> None:
    one, two = (w.submit(root, f"{JOB}again: true\n", name=name) for name in ("one", "two"))
    assert w.orc(root, "hold", "one", "nobody").code == ExitCode.NOT_FOUND
    assert why(root, one) == ""
    assert len(w.orc(root, "hold", "one", "two", "one", "--json", code=0).json()["jobs"]) == 2
    assert why(root, two)
    w.orc(root, "release", two, code=0)
    refused = w.orc(root, "release", "one", "two", code=ExitCode.REFUSED)
    assert f"{two} is not held: it is ready" in refused.err
    assert why(root, one)


def test_holding_again_says_so_and_only_another_reason_is_a_change(root: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    w.orc(root, "hold", job, "-m", "one", code=0)
    before = w.git(root, "rev-parse", "orc/state")
    for words in ((), ("-m", "one")):
        assert w.orc(root, "hold", job, *words, code=0).out.startswith(f"{job} is held already: ")
    assert w.git(root, "rev-parse", "orc/state") == before
    env = {"GIT_AUTHOR_NAME": "Bob"}
    w.orc(root, "hold", job, "-m", "two", env=env, code=0)
    assert why(root, job).startswith("held by Ada Lovelace since ")
    assert why(root, job).endswith(": two")
    w.orc(root, "verify", code=0)


def test_what_has_ended_cannot_be_held_and_what_was_held_can_be_cancelled(root: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    w.orc(root, "hold", job, code=0)
    w.orc(root, "cancel", job, code=0)
    for verb in (("hold",), ("release",), ("edit", "--set", "title=x")):
        assert f"{job} is cancelled already" in w.orc(root, verb[0], job, *verb[1:], code=ExitCode.REFUSED).err
    assert "is ready again, but held by Ada Lovelace" in w.orc(root, "retry", job, code=0).out
    w.orc(root, "verify", code=0)


@pytest.mark.parametrize("verb", ["hold", "release", "edit"])
def test_an_agent_has_no_such_verb(root: Path, verb: str) -> None:
    job = w.submit(root, JOB, name="greet")
    done = w.orc(root, verb, job, env={"ORC_RUN": f"{job}.attempt-1"}, code=ExitCode.REFUSED)
    assert "not possible inside a run" in done.err


def test_a_reason_that_no_file_can_hold_is_refused(root: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    assert "control character" in w.orc(root, "hold", job, "-m", "\x1b[31m", code=ExitCode.REFUSED).err
    assert "at most 200 are allowed" in w.orc(root, "hold", job, "-m", "x" * 201, code=ExitCode.INVALID_FILE).err
    assert "text here" in w.orc(root, "hold", job, "-m", "no", code=ExitCode.INVALID_FILE).err


def test_a_job_in_braces_and_one_in_markdown_are_held_as_well(root: Path) -> None:
    one = w.submit(root, '{"title": "greet", "prompt": "x"}', name="one")
    (root / "two.md").write_text("Greet the world.\n")
    two = w.orc(root, "submit", "two.md", code=0).out.strip()
    w.orc(root, "hold", one, two, code=0)
    assert text_of(root, one) == '{"title": "greet", "prompt": "x", "hold": true}\n'
    w.orc(root, "release", one, two, code=0)
    shown = w.git(root, "show", f"orc/state:open/{two[-8:-6]}/{two}/job.md")
    assert shown.endswith("---\nGreet the world.")


# --- edit -------------------------------------------------------------------------------------------------------------


def test_the_editor_gets_the_text_as_it_was_written_and_what_it_changes_is_committed(
    root: Path, tmp_path: Path
) -> None:
    job = w.submit(root, JOB, name="greet")
    script = f'cp "$2" {tmp_path}/seen.yaml; sed -i "s/world/$1/" "$2"'
    visual = editor(tmp_path, script) + " moon"
    done = w.orc(root, "edit", "greet", env={"VISUAL": visual, "EDITOR": "false"}, code=0)
    assert done.out == f"{job}: changed prompt.\n"
    assert (tmp_path / "seen.yaml").read_text() == JOB
    assert text_of(root, job) == JOB.replace("world", "moon")
    assert w.git(root, "log", "-1", "--format=%an|%s", "orc/state") == f"human:Ada Lovelace|edit: {job} changed prompt"
    assert drafts(root) == []
    w.orc(root, "verify", code=0)


def test_the_editor_is_the_one_that_git_would_open(root: Path, tmp_path: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    none = {"VISUAL": "", "EDITOR": "", "GIT_EDITOR": ""}
    done = w.orc(root, "edit", job, env=none, code=ExitCode.FAILED)
    assert "no terminal for an editor" in done.err
    assert "orc edit JOB --set KEY=VALUE" in done.err
    w.git(root, "config", "core.editor", editor(tmp_path, 'echo "# from git" >> "$1"'))
    w.orc(root, "edit", job, env={**none, "EDITOR": "false"}, code=0)
    assert text_of(root, job) == f"{JOB}# from git\n"
    first = editor(tmp_path, 'echo "# first" >> "$1"', "first")
    assert w.orc(root, "edit", job, env={**none, "GIT_EDITOR": first}, code=0).out == f"{job}: changed comments.\n"
    assert text_of(root, job).endswith("# first\n")


@pytest.mark.parametrize("script", [":", 'rm "$1"', ': > "$1"'])
def test_an_edit_that_asks_for_nothing_says_so(root: Path, tmp_path: Path, script: str) -> None:
    job = w.submit(root, JOB, name="greet")
    before = w.git(root, "rev-parse", "orc/state")
    done = w.orc(root, "edit", job, "--json", env={"VISUAL": editor(tmp_path, script)}, code=0).json()
    assert done["changed"] == []
    assert w.orc(root, "edit", job, env={"VISUAL": ":"}, code=0).out == f"{job}: nothing was changed.\n"
    assert w.git(root, "rev-parse", "orc/state") == before
    assert drafts(root) == []


def test_a_line_end_that_an_editor_adds_is_no_change(root: Path, tmp_path: Path) -> None:
    w.submit(root, "title: greet\nprompt: x", name="greet")
    done = w.orc(root, "edit", "greet", env={"VISUAL": editor(tmp_path, 'echo >> "$1"')}, code=0)
    assert "nothing was changed" in done.out


def test_what_an_editor_prints_does_not_spoil_the_json(root: Path, tmp_path: Path) -> None:
    w.submit(root, JOB, name="greet")
    visual = editor(tmp_path, 'echo hello; echo "merge: auto" >> "$1"')
    assert w.orc(root, "edit", "greet", "--json", env={"VISUAL": visual}, code=0).json()["changed"] == ["merge"]


def test_a_mistake_is_told_with_its_line_and_what_was_typed_is_kept(root: Path, tmp_path: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    visual = editor(tmp_path, 'sed -i s/^title/titel/ "$1"')
    done = w.orc(root, "edit", job, env={"VISUAL": visual}, code=ExitCode.INVALID_FILE)
    (draft,) = drafts(root)
    assert done.err.startswith(f"error: .git/orc/edits/{draft.name}:2: titel: unknown key; did you mean `title`?")
    assert f"orc edit {job} --file .git/orc/edits/{draft.name}" in done.err
    assert draft.read_text() == JOB.replace("title", "titel")
    assert text_of(root, job) == JOB
    noted = w.orc(root, "edit", job, env={"VISUAL": ":"}, code=0).err
    assert f"an edit of it that was not taken lies in .git/orc/edits/{draft.name}" in noted
    draft.write_text(JOB.replace("world", "moon"))
    assert w.orc(root, "edit", job, "--file", str(draft), code=0).out == f"{job}: changed prompt.\n"
    assert drafts(root) == []


def test_on_a_terminal_one_goes_on_editing(root: Path, tmp_path: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    mend, spoil = "s/^titel/title/; s/world/moon/", "s/^title/titel/"
    script = f'if grep -q ^titel "$1"; then sed -i "{mend}" "$1"; else sed -i {spoil} "$1"; fi'
    terminal = w.Terminal(root, "edit", job, env={"VISUAL": editor(tmp_path, script)})
    terminal.read_until("Edit it again?")
    assert "titel" in terminal.shown
    assert "unknown key" in terminal.shown
    terminal.type("y\n")
    assert terminal.end() == 0
    assert f"{job}: changed prompt." in terminal.shown
    assert drafts(root) == []


@pytest.mark.parametrize("answer", ["n\n", "\x03"])
def test_whoever_gives_up_on_a_terminal_is_told_where_the_text_lies(root: Path, tmp_path: Path, answer: str) -> None:
    w.submit(root, JOB, name="greet")
    terminal = w.Terminal(root, "edit", "greet", env={"VISUAL": editor(tmp_path, 'echo "x: 1" >> "$1"')})
    terminal.read_until("Edit it again?")
    if answer == "\x03":
        terminal.interrupt()
    else:
        terminal.type(answer)
    assert terminal.end() == (ExitCode.INTERRUPTED if answer == "\x03" else ExitCode.INVALID_FILE)
    (draft,) = drafts(root)
    assert f"kept in .git/orc/edits/{draft.name}" in terminal.shown.replace("\r\n", " ")
    assert draft.read_text() == f"{JOB}x: 1\n"


def test_an_editor_that_fails_changes_nothing_and_loses_nothing(root: Path, tmp_path: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    visual = editor(tmp_path, 'echo "# typed" >> "$1"; exit 3')
    done = w.orc(root, "edit", job, env={"VISUAL": visual}, code=ExitCode.FAILED)
    assert "ended with 3" in done.err
    (draft,) = drafts(root)
    assert draft.read_text().endswith("# typed\n")
    assert text_of(root, job) == JOB
    w.orc(root, "edit", job, env={"VISUAL": "false"}, code=ExitCode.FAILED)
    assert drafts(root) == [draft]


def while_somebody_else(tmp_path: Path, job: str, setting: str, script: str) -> str:
    """An editor; while it is open somebody else changes the job."""
    command = " ".join(f"'{each}'" for each in w.orc_argv("edit", job, "--set", setting))
    return editor(tmp_path, f"{command} >/dev/null || exit 9\n{script}")


def test_two_people_change_different_keys_at_once(root: Path, tmp_path: Path) -> None:
    job = w.submit(root, JOB + "merge: auto\n", name="greet")
    visual = while_somebody_else(tmp_path, job, "title=Theirs", 'sed -i s/^merge:.*/merge:\\ ask/ "$1"')
    assert w.orc(root, "edit", job, env={"VISUAL": visual}, code=0).out == f"{job}: changed merge.\n"
    assert text_of(root, job) == JOB.replace("greet  #", "Theirs  #") + "merge: ask\n"


def test_of_two_changes_of_one_key_the_later_is_refused_and_kept(root: Path, tmp_path: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    visual = while_somebody_else(tmp_path, job, "title=Theirs", 'sed -i s/^title:.*/title:\\ Mine/ "$1"')
    done = w.orc(root, "edit", job, env={"VISUAL": visual}, code=ExitCode.REFUSED)
    assert "`title` was changed by somebody else meanwhile" in done.err
    (draft,) = drafts(root)
    assert f"kept in .git/orc/edits/{draft.name}" in done.err
    assert "title: Mine" in draft.read_text()
    # The draft is still about the version that it was made from.
    w.orc(root, "edit", job, "--file", str(draft), code=ExitCode.REFUSED)
    assert "Theirs" in text_of(root, job)


def test_keys_are_set_and_taken_away_without_an_editor(root: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    keys = ("--set", "priority=P1", "--set", "minutes=30", "--set", "needs=[one, two]", "--unset", "title")
    done = w.orc(root, "edit", job, *keys, "--json", code=0).json()
    assert done["changed"] == ["limits", "needs", "priority", "title"]
    assert text_of(root, job) == (
        "# what I want\nprompt: |\n  Greet the world.\npriority: P1\nlimits:\n  minutes: 30\nneeds:\n  - one\n  - two\n"
    )
    shown = w.orc(root, "show", job, "--json").json()
    assert shown["job"]["priority"] == 1
    assert shown["lane"] == "urgent"
    assert "nothing was changed" in w.orc(root, "edit", job, "--set", "limits.minutes=30", code=0).out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--set", "priority=P9"), ExitCode.INVALID_FILE, 'priority: is "P9"; allowed: "P0"'),
        (("--set", "prio=P1"), ExitCode.NOT_FOUND, "no key 'prio'; did you mean 'priority'?"),
        (("--set", "title=[x"), ExitCode.INVALID_FILE, "title: a `[` is not closed"),
        (("--set", "title"), ExitCode.USAGE, "'title' is not KEY=VALUE"),
        (("--set", "title="), ExitCode.USAGE, "--unset title"),
        (("--unset", "prompt"), ExitCode.INVALID_FILE, "prompt: this key is missing"),
        (("--set", "title=x", "--file", "-"), ExitCode.USAGE, "--file goes with no other option"),
        (("--file", "missing.yaml"), ExitCode.NOT_FOUND, "there is no file missing.yaml"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_allowed(
    root: Path, words: tuple[str, ...], code: ExitCode, told: str
) -> None:
    w.submit(root, JOB, name="greet")
    assert told in w.orc(root, "edit", "greet", *words, code=code).err


def test_a_key_that_may_not_change_any_more_is_refused_by_the_rules_of_the_queue(root: Path) -> None:
    job = w.asked(root)
    done = w.orc(root, "edit", job, "--set", "prompt=another", code=ExitCode.REFUSED)
    assert "`prompt` cannot change while it is decide" in done.err
    assert w.orc(root, "edit", job, "--set", "title=another", code=0).out == f"{job}: changed title.\n"


def test_a_text_from_standard_input_takes_the_place_of_the_old_one(root: Path) -> None:
    job = w.submit(root, JOB, name="greet")
    w.orc(root, "edit", job, "--file", "-", stdin="prompt: x\n", code=0)
    assert text_of(root, job) == "prompt: x\n"
    bad = w.orc(root, "edit", job, "--file", "-", stdin="promt: x\n", code=ExitCode.INVALID_FILE)
    assert "did you mean `prompt`?" in bad.err
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    (shown,) = (root / "queue" / "decide").glob(f"{job}.yaml")
    whole = w.orc(root, "edit", job, "--file", str(shown), code=ExitCode.INVALID_FILE)
    assert "holds the part that orc writes" in whole.err
