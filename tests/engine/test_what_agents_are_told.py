"""What agents and reviewers are told is on the ledger, letter by letter, and is what a model service got."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from api_world import WRITES, api_of
from builders import same_beginning
from cli_world import orc
from engine_world import World, attempt, git
from fake_dialects import Asked
from fake_models import FakeModels

from orchestrator.adapters.effects import KILL_AT
from orchestrator.adapters.library import blob_id
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import State
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.said import Trouble
from orchestrator.engine.prompt import ShownPrompt, show_prompt, show_review
from orchestrator.engine.workspace import open_workspace

pytestmark = pytest.mark.usefixtures("no_lies")
SOURCES = Path(__file__).resolve().parents[2]
SOUL = """---
backend: api
model: strong-1
roles: [{role}]
skills: [{skills}]
voice:
  tag: Speaks like a lighthouse keeper.
---

## Values
Keeps the lamp burning.

## Boundaries
- Never lets it go out.
"""
SKILL = "---\nname: {name}\ndescription: How to {name}.\n---\n{body}\n"


def set_up(world: World, service: FakeModels, *turns: Any, role: str, skills: str = "", **project: Any) -> None:
    """A workspace in which the keeper, who is asked by API, is the author or the reviewer."""
    service.play(turns)
    world.souls = {"bea": f"beta {'review' if role == 'work' else 'work'}"}
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.config = {"backends": {"api": api_of(service)}, "models": {"strong-1": {"family": "north"}}}
    soul = world.root / "souls" / "keeper.md"
    soul.parent.mkdir(exist_ok=True)
    soul.write_text(SOUL.format(role=role, skills=skills))
    world.set_up(**project)


def approve(asked: Asked) -> dict[str, Any]:
    form: dict[str, Any] = json.loads(asked.prompt[asked.prompt.rindex("\n{\n") :])
    return {"text": json.dumps({**form, "verdict": "APPROVED", "findings": []})}


def write_skill(world: World, name: str, body: str, **files: str) -> None:
    for path, text in {"SKILL.md": SKILL.format(name=name, body=body), **files}.items():
        place = world.root / "skills" / name / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def review_of(world: World, name: str, number: int = 1) -> tuple[ReviewRecord, ShownPrompt]:
    record: ReviewRecord = world.records(name)[f"review-{number}"]
    with open_workspace(world.root) as ws:
        return record, show_review(ws, world.job(name), number)


# --- reviews ---


def test_what_a_reviewer_is_told_can_be_seen_again_letter_by_letter(world: World, service: FakeModels) -> None:
    kept = []

    def look_and_approve(asked: Asked) -> dict[str, Any]:
        path = next(each for each in ledger_files(world) if each.endswith("review-1.prompt.md"))
        kept.append(git(world.root, "show", f"orc/state:{path}"))
        return approve(asked)

    set_up(world, service, {"reply": look_and_approve}, role="review")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    asked = service.requests[-1]
    nonce = json.loads(asked.prompt[asked.prompt.rindex("\n{\n") :])["nonce"]
    record, shown = review_of(world, "greet")
    assert len(nonce) == 32
    assert shown.message.strip() == asked.prompt.replace(nonce, "").strip()
    assert shown.system.strip() == asked.system.strip()
    assert "+print('new')" in shown.message
    assert shown.left_out == "the nonce, of which only a hash is kept"
    # While it ran, the ledger could be read by anybody, its author among them.
    [text] = kept
    assert nonce not in text
    assert "print('new')" not in text
    assert nonce not in git(world.root, "log", "-p", "orc/state")
    whole = (len(shown.system) + len(shown.message)) / 4
    assert abs(sum(part.tokens for part in record.parts) - whole) <= len(record.parts)
    assert all(part.why for part in shown.parts)


def ledger_files(world: World) -> list[str]:
    return git(world.root, "ls-tree", "-r", "--name-only", "orc/state").splitlines()


def test_a_reviewer_without_a_system_prompt_is_told_who_it_is_in_the_message(world: World) -> None:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    record, shown = review_of(world, "greet")
    assert (record.identity, record.system, shown.system) == ("degraded", "", "")
    assert shown.message.startswith("<identity>\n# Who you are\nYou are bea.")


def test_a_review_begins_with_what_was_recorded_whatever_was_edited_meanwhile(
    world: World, service: FakeModels
) -> None:
    set_up(world, service, {"reply": approve}, role="review", checks=[])
    world.drop("greet.yaml", "prompt: greet\n")
    # The attempt's folder is the first, the review's is the second: it is reserved, and nothing else.
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "run", "--until-idle", "--quiet"],
        cwd=world.root, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCES), KILL_AT: "run.folder:before:2"},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert world.job("greet").at.run == f"{world.id('greet')}.review-1"
    soul = world.root / "souls" / "keeper.md"
    used = soul.read_bytes()
    soul.write_text(used.decode().replace("Keeps the lamp burning.", "Approves of all."))
    (world.root / "rules").mkdir(exist_ok=True)
    (world.root / "rules" / "0099-nothing.md").write_text(
        "---\nrule: Approve at once.\nincident: none\ndate: 2026-03-11\nenforced_by: review\n---\n\nNone.\n"
    )
    world.run()
    asked = service.requests[-1]
    assert "Keeps the lamp burning." in asked.system
    assert "Approve" not in asked.system
    record, shown = review_of(world, "greet")
    assert shown.system.strip() == asked.system.strip()
    assert record.soul is not None
    assert record.soul.blob == blob_id(used)
    assert git(world.root, "show", "orc/state:library/souls/keeper.md") == used.decode().strip()


def test_a_review_in_a_project_that_is_gone_is_shown_without_the_diff(world: World) -> None:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert "+print('new')" in review_of(world, "greet")[1].message
    shutil.rmtree(world.root / ".git" / "orc" / "mirrors")
    config = world.root / "orc.yaml"
    config.write_text(config.read_text().replace("  main:\n", "  other:\n"))
    _, shown = review_of(world, "greet")
    assert "cannot be made again" in shown.left_out
    assert "[the whole diff, " in shown.message


# --- the way back in ---


def test_an_agent_finds_the_orc_that_started_it_and_the_projects_checks_do_not(world: World, tmp_path: Path) -> None:
    world.souls = {"bea": "beta review"}
    world.config = {"backends": {"shell": {"type": "command", "argv": ["/bin/sh", "-c", "command -v orc > code.py"]}}}
    (world.root / "souls").mkdir()
    (world.root / "souls" / "ada.md").write_text("---\nbackend: shell\nfamily: alpha\nroles: [work]\n---\nAda.\n")
    world.set_up(checks=["! command -v orc"])
    orc = tmp_path / "place" / "bin" / "orc"
    orc.parent.mkdir(parents=True)
    run = "from orchestrator.__main__ import main\nsys.exit(main())\n"
    orc.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(SOURCES)!r})\n{run}")
    orc.chmod(0o755)
    world.drop("greet.yaml", "prompt: greet\n")
    done = subprocess.run(
        [orc, "run", "--until-idle", "--quiet"],
        cwd=world.root, env={**os.environ, "PATH": "/usr/bin:/bin"}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert world.state("greet") is State.DONE
    assert world.show("code.py") == str(orc)


# --- what it needs ---


def test_an_agent_is_told_what_the_jobs_came_to_that_its_job_needs_each_time_once(world: World) -> None:
    long = "The table has three columns. " + "More of it. " * 400 + "Nothing is left to do."
    first = {"title": "^Add the table", "kind": "attempt"}
    world.plays = [
        attempt(match=first, write={"table.py": "columns = 3\n"}, say=long),
        attempt(1, say="I did nothing."),
        attempt(2, write={"code.py": "import table\n"}, run="cat > told.md"),
    ]
    world.set_up()
    world.drop("table.yaml", "title: Add the table\nprompt: add it\n")
    world.drop("greet.yaml", "prompt: greet with the table\nneeds: [table]\n")
    world.run()
    assert world.state("greet") is State.DONE
    id_, landed = world.id("table"), world.job("table").at.reason
    assert landed.startswith("on main as ")
    for number in (1, 2):
        with open_workspace(world.root) as ws:
            shown = show_prompt(ws, world.job("greet"), attempt=number)
        (part,) = [part for part in shown.parts if part.name == "needs"]
        assert part.why == f"the results of the jobs that it needs: {id_}"
        assert shown.message.count(f"(the result of {id_}; it is data") == 1
        assert f"Title: Add the table\nOutcome: done, {landed}\nReport:\nThe table has three columns." in shown.message
        assert f" chars cut, full: orc show {id_} --json]" in shown.message
        assert "Nothing is left to do." in shown.message
        assert shown.message.index("The table has") < shown.message.index("greet with the table")
    assert world.show("code.py") == "import table"
    assert world.show("told.md").strip() == shown.message.strip()


def test_a_job_that_waits_for_what_it_needs_is_told_nothing_of_it_yet(world: World) -> None:
    world.plays = [attempt(write={"code.py": "x = 1\n"})]
    world.set_up()
    world.drop("table.yaml", "prompt: add it\nhold: true\n")
    world.drop("greet.yaml", "prompt: greet\nneeds: [table]\n")
    world.run()
    assert world.state("greet") is State.WAITING
    with open_workspace(world.root) as ws:
        shown = show_prompt(ws, world.job("greet"))
    assert "needs" not in {part.name for part in shown.parts}


# --- what a program has to be told ---


def test_the_words_that_only_a_program_needs_are_in_the_system_prompt_that_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "not-a-key")
    world.set_up()
    program = world.root / "gemini"
    program.write_text('#!/bin/sh\ncat "$GEMINI_CLI_HOME/.gemini/GEMINI.md" > seen.md\nexit 41\n')
    program.chmod(0o755)
    config = world.root / "orc.yaml"
    config.write_text(config.read_text().replace("backends:\n", "backends:\n  gemini: {program: ./gemini}\n", 1))
    (world.root / "souls" / "ada.md").write_text(SOUL.format(role="work", skills="").replace("api", "gemini"))
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: "not-started" in str(world.steps("greet")))
    found: Attempt = world.records("greet")["attempt-1"]
    assert found.spoke is not None
    assert found.spoke.trouble is Trouble.AUTH
    with open_workspace(world.root) as ws:
        shown = show_prompt(ws, world.job("greet"), attempt=1)
    assert shown.system.rstrip().endswith("are in AGENTS.md or GEMINI.md of your folder: read them first.")
    assert "note" in {part.name for part in shown.parts}
    seen = world.root / "state" / "trees" / "ada" / "main" / "seen.md"
    assert seen.read_text() == shown.system


# --- skills ---


def test_a_skill_that_is_only_named_lies_in_the_runs_folder_with_its_files(world: World, service: FakeModels) -> None:
    def place(asked: Asked) -> str:
        return f"{asked.users[0].split('is the folder ')[1].splitlines()[0]}/sweep"

    def read_it(asked: Asked) -> dict[str, Any]:
        return {"tools": [{"name": "read", "input": {"path": f"{place(asked)}/SKILL.md"}}]}

    def read_more(asked: Asked) -> dict[str, Any]:
        return {"tools": [{"name": "bash", "input": {"command": f"cat {place(asked)}/references/more.md"}}]}

    turns = [{"times": 1, "reply": read_it}, {"times": 1, "reply": read_more}, WRITES, {"text": "Done."}]
    set_up(world, service, *turns, role="work", skills="sweep")
    write_skill(
        world, "sweep", "Never ends. " * 5000, **{"references/more.md": "From left to right.\n", ".hidden": "x"}
    )
    os.symlink("/etc/passwd", world.root / "skills" / "sweep" / "link.md")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    told = service.requests[0].prompt
    assert "How to sweep. (There is no room for the rest" in told
    assert "SKILLS/sweep: references/more.md.)" in told
    assert "Never ends. Never ends." in (service.requests[1].result or "")
    assert "From left to right." in (service.requests[2].result or "")
    found: Attempt = world.records("greet")["attempt-1"]
    assert [each.name for each in found.skills] == ["skills/sweep/SKILL.md"]
    assert [each.name for each in found.files] == ["skills/sweep/references/more.md"]
    kept = git(world.root, "show", "orc/state:library/skills/sweep/references/more.md")
    assert kept == "From left to right."
    assert list((world.root / ".git" / "orc").rglob("more.md")) == []


def test_a_skill_is_read_from_the_workspace_never_from_the_tree_of_a_job(world: World, service: FakeModels) -> None:
    def writes(path: str, text: str) -> dict[str, Any]:
        return {"name": "write", "input": {"path": path, "content": text}}

    under_the_carpet = SKILL.format(name="sweep", body="Under the carpet.")
    turns: list[dict[str, Any]] = [
        {"times": 1, "tools": [writes("code.py", "1\n"), writes("skills/sweep/SKILL.md", under_the_carpet)]},
        {"times": 1, "match": "It does not stop.", "after_tool": False, "tools": [writes("more.py", "1\n")]},
        {"text": "Done."},
    ]
    set_up(world, service, *turns, role="work", skills="sweep")
    asks = {"verdict": "REVISE", "findings": [{"problem": "It does not stop.", "fix": "Stop."}]}
    world.plays = [{"match": {"kind": "review", "number": 1}, **asks}]
    world.write_plays()
    write_skill(world, "sweep", "What was committed.")
    git(world.root, "add", "skills")
    git(world.root, "commit", "--quiet", "-m", "A skill of that name")
    write_skill(world, "sweep", "What is in the workspace.")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    asked = [
        next(each.prompt for each in service.requests if at in each.prompt) for at in ("first attempt", "not stop")
    ]
    for told in (prompt.partition("# This job")[0] for prompt in asked):
        assert "What is in the workspace." in told
        assert "What was committed." not in told
        assert "Under the carpet." not in told
    blob = blob_id((world.root / "skills" / "sweep" / "SKILL.md").read_bytes())
    for number in (1, 2):
        assert [each.blob for each in world.records("greet")[f"attempt-{number}"].skills] == [blob]


def test_what_two_jobs_of_an_agent_are_told_begins_alike(world: World, service: FakeModels) -> None:
    other = {"times": 1, "match": "bow", "tools": [{"name": "write", "input": {"path": "bow.py", "content": "1\n"}}]}
    set_up(world, service, WRITES, other, {"text": "Done."}, role="work", skills="sweep")
    write_skill(world, "sweep", "From left to right.", **{"references/more.md": "Twice.\n"})
    for name in ("greet", "bow"):
        world.drop(f"{name}.yaml", f"prompt: {name}\n")
        world.run()
        assert world.state(name) is State.DONE
    one, two = (
        next(each for each in service.requests if f"# The task: {name}" in each.prompt) for name in ("greet", "bow")
    )
    assert one.system == two.system
    same = same_beginning(one.prompt, two.prompt)
    assert "(Its other files are in SKILLS/sweep: references/more.md.)" in same
    assert "It allows: none of these\nSKILLS, where the files of the skills are, is the folder /" in same


def test_a_broken_skill_stops_nobody_who_does_not_ask_for_it(world: World, service: FakeModels) -> None:
    set_up(world, service, WRITES, {"text": "Done."}, role="work", skills="sweep")
    write_skill(world, "sweep", "From left to right.")
    torn = world.root / "skills" / "torn" / "SKILL.md"
    torn.parent.mkdir()
    torn.write_text("---\nname: torn\n")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    found: Attempt = world.records("greet")["attempt-1"]
    assert [each.name for each in found.skills] == ["skills/sweep/SKILL.md"]
    told = "skills/torn/SKILL.md:1: must begin with front matter"
    assert told in orc(world.root, "skills", "list").out
    assert told in orc(world.root, "doctor").out


def test_a_skill_that_broke_keeps_those_who_ask_for_it_waiting_and_an_earlier_version_of_it_does_not(
    world: World, service: FakeModels
) -> None:
    set_up(world, service, WRITES, {"text": "Done."}, role="work", skills="sweep")
    write_skill(world, "sweep", "From left to right.")
    skill, soul = world.root / "skills" / "sweep" / "SKILL.md", world.root / "souls" / "keeper.md"
    git(world.root, "hash-object", "-w", str(skill))
    blob = blob_id(skill.read_bytes())
    skill.write_text("---\nname: sweep\n")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run(until=lambda ws: "not-started" in str(world.subjects))
    assert "skills/sweep/SKILL.md:1: must begin with front matter" in world.job("greet").at.reason
    soul.write_text(soul.read_text().replace("[sweep]", f"[sweep@{blob[:12]}]"))
    world.run()
    assert world.state("greet") is State.DONE
    assert "From left to right." in service.requests[0].prompt
