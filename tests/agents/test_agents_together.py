"""Real agents together, from the queue to the ledger: one writes, the next one judges it, and each is its own program.

Run as `test_agents.py` is.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agent_kinds import KINDS, Kind, Turn
from agent_lab import key_of
from engine_world import World
from fake_dialects import Asked
from fake_models import FakeModels
from test_agents import programs

from orchestrator.adapters.audit import audit
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import State
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.engine.find import find_job
from orchestrator.engine.prompt import show_prompt, show_review
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.workspace import open_workspace

pytestmark = [pytest.mark.agents, pytest.mark.timeout(240)]
__all__ = ["programs"]

SOURCE = Path(__file__).resolve().parents[2]
DEMO = SOURCE / "docs" / "demos" / "three_agents.py"
AUTHOR, REVIEWER = "keeper", "warden"
IS = {AUTHOR: "Keeps the lamp burning.", REVIEWER: "Counts the waves twice."}
SOUNDS = {AUTHOR: "Speaks like a lighthouse.", REVIEWER: "Speaks like a tide table."}
JOB = "title: Write a greeting\nagent: keeper\nprompt: Write greeting.py, which says good morning.\n"
TASK = "# The task: Write a greeting"
FORM = "Your whole answer is exactly one JSON object"
FIRST_REVIEW = "None: this is the first review."
PROBLEM = "Nobody says good night."
ANSWERS = '```json\n{"answers": [{"id": "F1", "answer": "fixed", "reason": ""}]}\n```'
SHOWN = 6000
"""So many of the last characters that each program printed explain a failure."""


@dataclass(frozen=True)
class Pair:
    """Who writes and who judges."""

    author: Kind
    reviewer: Kind


PAIRS = tuple(Pair(kind, KINDS[(at + 1) % len(KINDS)]) for at, kind in enumerate(KINDS))


@pytest.fixture(params=PAIRS, ids=[f"{pair.author.name}-by-{pair.reviewer.name}" for pair in PAIRS])
def pair(request: pytest.FixtureRequest) -> Pair:
    """Each agent in turn as the author, and the next one as its reviewer."""
    found: Pair = request.param
    return found


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """As a person's workspace, it is not below /tmp, where each command of a sandboxed program may write."""
    with tempfile.TemporaryDirectory(prefix="orc-agents-", dir="/var/tmp") as made:
        yield Path(made)


@pytest.fixture
def service() -> Iterator[FakeModels]:
    with FakeModels([]) as fake:
        yield fake


@pytest.fixture
def world(
    pair: Pair, service: FakeModels, repo: Path, programs: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A repository with the two agents. At the end its ledger holds no lie."""
    for kind in KINDS:
        monkeypatch.setenv(kind.key_env, key_of(kind))
    made = World(repo, souls={})
    made.config = {
        "backends": {
            kind.name: {
                "type": kind.name,
                "program": programs[kind.name],
                "base_url": service.url,
                "quick": True,
                **kind.settings,
            }
            for kind in (pair.author, pair.reviewer)
        }
    }
    (repo / "souls").mkdir()
    for name, kind, role in ((AUTHOR, pair.author, "work"), (REVIEWER, pair.reviewer, "review")):
        (repo / "souls" / f"{name}.md").write_text(soul_text(name, kind, role))
    made.set_up()
    yield made
    assert audit(repo / ".git", {"main": repo / ".git"}).lies == ()


def soul_text(name: str, kind: Kind, role: str) -> str:
    """The soul of one of the two."""
    family = kind.backend.capabilities.family or "gateway"
    facts = f"backend: {kind.name}\nmodel: {kind.model}\nfamily: {family}\nroles: [{role}]\n"
    body = f"## Values\n{IS[name]}\n\n## Voice\nShort.\n\n## Boundaries\n- Never lets it go out.\n"
    return f"---\n{facts}voice:\n  tag: {SOUNDS[name]}\n---\n\n{body}"


def told(world: World, service: FakeModels) -> str:
    """Everything that could explain what became of the job."""
    asked = [f"{line.method} {line.path} -> {line.status} {line.turn}" for line in service.log_lines]
    printed = []
    for folder in sorted((world.root / ".git" / "orc" / "runs").iterdir()):
        for name in ("stdout", "stderr", "shim.log", "result.json"):
            path = folder / name
            printed.append(f"--- {folder.name} {name}\n{path.read_text()[-SHOWN:] if path.exists() else ''}")
    return "\n".join([*world.subjects, *asked, *service.unanswered, *printed])


# --- what the models say ---


def writes(world: World, kind: Kind, name: str) -> Turn:
    """The call that writes a program of one line into the author's tree."""
    return kind.write(str(world.root / "state" / "trees" / AUTHOR / "main" / name), f'print("{name}")\n')


def filled_form(asked: Asked) -> dict[str, Any]:
    """The form of a review: it asks for a change the first time, and finds that it was made the second time."""
    text = next(each for each in reversed(asked.users) if FORM in each)
    form: dict[str, Any] = json.JSONDecoder().raw_decode(text[text.rindex('{\n  "nonce"') :])[0]
    finding = {"severity": "blocking", "file": "greeting.py", "line": 1, "problem": PROBLEM, "fix": "Say it."}
    finding |= {"check": "", "earlier": ""}
    is_first = FIRST_REVIEW in text
    findings = [finding] if is_first else []
    verdict = "REVISE" if is_first else "APPROVED"
    # Who is told a form by its program has to fill in all of it.
    return {**form, "verdict": verdict, "claims": [], "findings": findings, "summary": "Read."}


def in_words(kind: Kind) -> Callable[[Asked], dict[str, Any]]:
    """The verdict as the reviewer's own answer."""

    def reply(asked: Asked) -> dict[str, Any]:
        form = filled_form(asked)
        return {"tools": [{"name": kind.form_tool, "input": form}]} if kind.form_tool else {"text": json.dumps(form)}

    return reply


def by_command(kind: Kind) -> Callable[[Asked], dict[str, Any]]:
    """The verdict by the command of orc, which is approval at once."""

    def reply(asked: Asked) -> dict[str, Any]:
        form = json.dumps({**filled_form(asked), "verdict": "APPROVED", "findings": []})
        command = f"orc progress 'read to its end' && printf '%s' {shlex.quote(form)} | orc verdict"
        return {"tools": [kind.shell(command)]}

    return reply


# --- one writes, another judges ---


def test_what_a_reviewer_of_another_family_finds_is_put_right_in_the_authors_own_session(
    world: World, service: FakeModels, pair: Pair
) -> None:
    author, reviewer = pair.author, pair.reviewer
    once = {"api": author.api, "after_tool": False, "times": 1}
    service.play(
        [
            *([{"api": reviewer.api, "after_tool": reviewer.form_tool, "text": "Told."}] if reviewer.form_tool else []),
            {"api": reviewer.api, "match": FORM, "reply": in_words(reviewer)},
            {**once, "match": re.escape(PROBLEM), "tools": [writes(world, author, "night.py")]},
            {**once, "match": re.escape(TASK), "tools": [writes(world, author, "greeting.py")]},
            {"api": author.api, "after_tool": True, "match": re.escape(PROBLEM), "text": f"Both are there.\n{ANSWERS}"},
            {"api": author.api, "after_tool": True, "text": "It is written."},
        ]
    )
    world.drop("greeting.yaml", JOB)
    world.run(timeout_s=180)
    assert world.state("greeting") is State.DONE, told(world, service)
    assert service.unanswered == []
    assert world.show("night.py") == 'print("night.py")'
    records = world.records("greeting")
    check_reviews(records, pair)
    asked = [each for each in service.requests if each.api == author.api]
    first, second = ([each for each in asked if (PROBLEM in each.prompt) is fixing] for fixing in (False, True))
    check_told(world, author, 1, first)
    check_told(world, author, 2, second)
    check_same_session(records, pair, first, second)
    judged = [each for each in service.requests if each.api == reviewer.api and FORM in each.prompt]
    for number in (1, 2):
        check_review_told(world, number, [each for each in judged if (FIRST_REVIEW in each.prompt) is (number == 1)])


def check_reviews(records: Mapping[str, Any], pair: Pair) -> None:
    """Two verdicts, each by the other family, each on the work of its own attempt."""
    reviews: list[ReviewRecord] = [records["review-1"], records["review-2"]]
    assert [each.verdict for each in reviews] == [Verdict.REVISE, Verdict.APPROVED]
    assert [each.attempt for each in reviews] == [1, 2]
    for each in reviews:
        assert each.independence == "family"
        assert (each.reviewer.backend, each.author.backend) == (pair.reviewer.name, pair.author.name)
        assert each.identity == ""
    assert "review-3" not in records
    assert "attempt-3" not in records


def check_told(world: World, author: Kind, number: int, asked: list[Asked]) -> None:
    """What the ledger says that an attempt was told is what the service got, each time, and where it belongs."""
    with open_workspace(world.root) as ws:
        shown = show_prompt(ws, find_job(ws, world.id("greeting")).job, attempt=number)
    assert len(asked) == 2, "one call before the tool and one after it"
    assert IS[AUTHOR] in shown.system
    assert author.backend.capabilities.note in shown.system
    voice, task = (shown.message.index(text) for text in (f"<voice>{SOUNDS[AUTHOR]}</voice>", TASK))
    assert shown.message.index("# The earlier changes") < voice < task
    for each in asked:
        assert shown.system.strip() in each.system
        assert each.prompt.strip() == shown.message.strip()
        assert not any(IS[AUTHOR] in text for text in each.users)


def check_review_told(world: World, number: int, asked: list[Asked]) -> None:
    """The same of a review, but for the nonce; and it learns neither who the author is nor how anybody sounds."""
    with open_workspace(world.root) as ws:
        shown = show_review(ws, find_job(ws, world.id("greeting")).job, number)
    assert IS[REVIEWER] in shown.system
    assert asked
    for each in asked:
        assert shown.system.strip() in each.system
        assert re.sub(r'"nonce": "[0-9a-f]{32}"', '"nonce": ""', each.prompt).strip() == shown.message.strip()
        assert not any(words in f"{each.system} {each.users}" for words in (IS[AUTHOR], *SOUNDS.values()))


def check_same_session(records: Mapping[str, Any], pair: Pair, first: list[Asked], second: list[Asked]) -> None:
    """The other family's finding reached the author, who knew what it had done before."""
    before: Attempt = records["attempt-1"]
    after: Attempt = records["attempt-2"]
    assert before.session
    assert pair.author.backend.capabilities.resume != "no"
    assert (before.resumed, after.resumed, after.session) == (False, True, before.session)
    assert [fix.problem for fix in after.fixes] == [PROBLEM]
    assert [(answer.id, answer.answer) for answer in after.answers] == [("F1", "fixed")]
    for each in second:
        assert first[0].prompt in "".join(each.users)
        assert f"F1 (greeting.py:1): {PROBLEM}" in each.prompt


# --- what they ask of orc ---


def test_an_author_tells_its_progress_and_a_reviewer_its_verdict_with_the_orc_that_started_them(
    world: World, service: FakeModels, pair: Pair, tmp_path: Path
) -> None:
    author, reviewer = pair.author, pair.reviewer
    progress = author.shell("orc progress 'half of it is there'")
    service.play(
        [
            {"api": reviewer.api, "match": FORM, "after_tool": False, "times": 1, "reply": by_command(reviewer)},
            # Who was told a form is reminded of it, and may still answer in words.
            {"api": reviewer.api, "text": "I have said it."},
            {"api": author.api, "after_tool": False, "times": 1, "tools": [writes(world, author, "greeting.py")]},
            {"api": author.api, "after_tool": True, "times": 1, "tools": [progress]},
            {"api": author.api, "after_tool": True, "text": "It is written."},
        ]
    )
    world.drop("greeting.yaml", JOB)
    orc = a_program(tmp_path / "place" / "bin" / "orc")
    assert str(orc.parent) not in os.environ["PATH"].split(os.pathsep)
    # By its path, as from a virtual environment that nobody has activated.
    done = subprocess.run([orc, "run", "--until-idle"], cwd=world.root, capture_output=True, text=True, timeout=200)
    why = f"{done.stdout}{done.stderr}\n{told(world, service)}"
    assert done.returncode == 0, why
    assert world.state("greeting") is State.DONE, why
    id_ = world.id("greeting")
    with open_workspace(world.root) as ws:
        asked = {(each.run, each.kind, each.text, each.refused) for each in asked_so_far(ws, id_).values()}
    assert asked == {
        (f"{id_}.attempt-1", "progress", "half of it is there", ""),
        (f"{id_}.review-1", "progress", "read to its end", ""),
    }, why
    review: ReviewRecord = world.records("greeting")["review-1"]
    assert (review.verdict, review.summary) == (Verdict.APPROVED, "Read."), why
    assert "handed in as" in "".join(each.result or "" for each in service.requests if each.api == author.api), why


def a_program(path: Path) -> Path:
    """This checkout's orc, as an installation makes it."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(SOURCE)!r})\n{CALL}")
    path.chmod(0o755)
    return path


CALL = "from orchestrator.__main__ import main\nsys.exit(main())\n"


# --- three at once ---


def test_the_demo_of_three_agents_side_by_side_plays_to_its_end(programs: Mapping[str, str]) -> None:
    done = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, timeout=220, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    commands = dict(part.split("\n", 1) for part in reversed(done.stdout.split("\n$ orc ")[1:]))
    at_work = re.findall(r"^(\w+) .* working on (\w+)-[0-9a-f]{8} since ", commands["workers"], re.M)
    assert sorted(at_work) == [("ada", "greeting"), ("grace", "welcome"), ("linus", "farewell")], printed
    for name in ("greeting", "farewell", "welcome"):
        assert re.match(rf"{name}-[0-9a-f]{{8}}  P2  done$", commands[f"show {name}"], re.M), printed
        assert re.search(r"^ +used: .*, \$0\.0\d+ \(", commands[f"show {name}"], re.M), printed
    assert len(re.findall(r"  done: ", commands["log"])) == 3, printed


def test_an_author_reads_a_skill_that_its_message_only_names(world: World, service: FakeModels, pair: Pair) -> None:
    author = pair.author
    place = world.root / "skills" / "sweep"
    (place / "references").mkdir(parents=True)
    (place / "SKILL.md").write_text("---\nname: sweep\ndescription: How to sweep.\n---\n" + "Never ends.\n" * 4000)
    (place / "references" / "more.md").write_text("From left to right.\n")
    soul = world.root / "souls" / f"{AUTHOR}.md"
    soul.write_text(soul.read_text().replace("roles:", "skills: [sweep]\nroles:", 1))

    def reads(name: str) -> Callable[[Asked], dict[str, Any]]:
        def reply(asked: Asked) -> dict[str, Any]:
            text = next(each for each in asked.users if "which is in SKILLS/sweep/SKILL.md" in each)
            folder = text.split("SKILLS, where the files of the skills are, is the folder ")[1].splitlines()[0]
            return {"tools": [author.read(f"{folder}/sweep/{name}")]}

        return reply

    service.play(
        [
            {"api": author.api, "after_tool": False, "times": 1, "reply": reads("references/more.md")},
            {"api": author.api, "after_tool": True, "times": 1, "reply": reads("SKILL.md")},
            {"api": author.api, "after_tool": True, "times": 1, "tools": [writes(world, author, "greeting.py")]},
            {"api": author.api, "text": "It is written."},
        ]
    )
    world.drop("greeting.yaml", JOB)
    world.run(until=lambda _: "collect" in str(world.steps("greeting")), timeout_s=100)
    asked = [each for each in service.requests if each.api == author.api]
    results = "".join(each.result or "" for each in asked)
    assert "From left to right." in results, told(world, service)
    assert "Never ends." in results, told(world, service)
    assert not any(each.failed for each in asked), told(world, service)
