"""Requests of real runs: a file in the outbox becomes a commit, once, and an answer; what is not allowed is refused."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.cli.verify import find_projects
from orchestrator.core.job import State
from orchestrator.core.outbox import MOST_REQUESTS, Requested
from orchestrator.core.records import CardKind
from orchestrator.engine.find import find_job
from orchestrator.engine.run_logs import log_folder
from orchestrator.engine.story import asked_so_far
from orchestrator.engine.workspace import Paths, open_workspace
from orchestrator.errors import RefusedError

SOURCE = Path(__file__).resolve().parents[2]
WRITES = {"code.py": "print('new')\n"}
LESSON = {"protocol": 1, "kind": "remember", "type": "lesson", "text": "The tests need TZ=UTC.", "tags": ["tests"]}
PROGRESS = {"protocol": 1, "kind": "progress", "text": "half of it"}
SUBMIT = {"protocol": 1, "kind": "submit", "name": "more.yaml", "job": "prompt: more\nkind: ops\n"}
QUESTION = {"protocol": 1, "kind": "ask", "text": "Which page is meant?", "options": ["/login", "both"]}


def puts(request: object, name: str = "1.json") -> str:
    """A line of shell that puts a request into the outbox as a program without our command does."""
    text = request if isinstance(request, str) else json.dumps(request)
    box = '"$ORC_RUN_DIR"/outbox'
    return f"printf %s {shlex.quote(text)} > {box}/.part && mv {box}/.part {box}/{shlex.quote(name)}"


def calls(world: World, *args: str) -> str:
    """A line of shell that calls our command; the exit code and what it says go to files beside the repository."""
    script = world.root.parent / "orc"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={SOURCE} exec {sys.executable} -m orchestrator "$@"\n')
    script.chmod(0o755)
    out = world.root.parent / "said"
    return f"{script} {shlex.join(args)} >> {out} 2>&1; echo $? >> {out}"


def said(world: World) -> str:
    return (world.root.parent / "said").read_text()


def play(world: World, *lines: str, **more: Any) -> None:
    world.plays = [attempt(write=WRITES, run="\n".join(lines), match={"title": "greet"}, **more), attempt(write=WRITES)]
    world.set_up()
    world.drop("greet.yaml", "title: greet\nprompt: greet\n")


def asked(world: World, name: str = "greet") -> list[Requested]:
    with open_workspace(world.root) as ws:
        return list(asked_so_far(ws, world.id(name)).values())


def prove(world: World) -> None:
    report = audit(world.root / ".git", find_projects(world.root))
    assert [(lie.subject, lie.text) for lie in report.lies] == []


def answers(world: World, run: str) -> dict[str, Any]:
    folder = log_folder(Paths(world.root, world.root / ".git"), f"{world.id('greet')}.{run}") / "answers"
    return {path.name: json.loads(path.read_text()) for path in folder.iterdir()}


def memories(world: World) -> list[str]:
    return git(world.root, "ls-tree", "-r", "--name-only", "orc/state", "memory/").splitlines()


def test_a_memory_is_a_file_of_the_ledger_with_its_source(world: World) -> None:
    play(world, puts(LESSON))
    world.run()
    (path,) = memories(world)
    assert path.startswith("memory/items/20")
    text = world.show(path, "orc/state")
    for line in ("type: lesson", "- tests", "project: main", "agent: ada", f"source: {world.id('greet')}.attempt-1"):
        assert line in text
    assert text.endswith("---\n\nThe tests need TZ=UTC.")
    assert answers(world, "attempt-1")["1.json"] == {
        "protocol": 1, "request": "1.json", "accepted": True, "memory": path,
    }  # fmt: skip
    assert world.state("greet") is State.DONE
    prove(world)


def test_the_commands_write_the_same_files(world: World) -> None:
    play(
        world,
        calls(world, "remember", "Tests need TZ=UTC.", "--type", "lesson", "-t", "tests"),
        calls(world, "progress", "half of it"),
        "printf 'prompt: more\\n' > ../more.yaml",
        calls(world, "submit", "../more.yaml"),
        calls(world, "submit", "../absent.yaml"),
        calls(world, "run"),
        calls(world, "approve", "greet"),
        calls(world, "verdict"),
    )
    world.run()
    text = said(world)
    assert [line for line in text.splitlines() if line.isdigit()] == ["0", "0", "0", "3", "4", "4", "4"]
    assert text.count("not possible inside a run") == 2
    assert "orc ask, remember, submit, progress, verdict" in text
    assert "is no review" in text
    assert [(each.kind, each.refused) for each in asked(world)] == [
        ("remember", ""), ("progress", ""), ("submit", ""),
    ]  # fmt: skip
    assert world.state("more") is State.DONE
    prove(world)


def test_a_follow_up_is_a_job_like_any_other_and_says_where_it_comes_from(world: World) -> None:
    play(world, puts({**SUBMIT, "job": "prompt: more\nkind: ops\npriority: P0\n"}))
    world.run()
    job = world.job("more")
    assert (job.state, job.at.origin, job.at.priority) == (State.DONE, "engine", 1)
    assert job.at.source == f"run {world.id('greet')}.attempt-1"
    (request,) = asked(world)
    assert (request.job, request.note) == (job.id, "P0 is for people, so it became P1")
    prove(world)


def test_a_follow_up_that_no_command_would_prove_is_refused(world: World) -> None:
    play(world, puts(SUBMIT))
    world.set_up(checks=[])
    world.run()
    (request,) = asked(world)
    assert "work of the kind ops is proved by a check command" in request.refused
    prove(world)


def test_the_same_request_twice_is_one(world: World) -> None:
    play(world, puts(SUBMIT), puts(dict(reversed(SUBMIT.items())), "2.json"), puts(LESSON, "3.json"))
    world.run()
    assert [each.kind for each in asked(world)].count("submit") == 1
    assert sorted(answers(world, "attempt-1")) == ["1.json", "2.json", "3.json"]
    assert git(world.root, "log", "--format=%s", "--grep", "^accept: more-", "orc/state").count("accept") == 1


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ("{not json", "not JSON"),
        ("[" * 50_000, "not JSON"),
        ('{"protocol": 1, "kind": "ask", "text": "\\ud800"}', "not JSON"),
        ({**LESSON, "kind": "merge"}, "kind"),
        ({**LESSON, "text": ""}, "text"),
        ({**LESSON, "run": "other-00000000.attempt-1"}, "of another run"),
        ({**PROGRESS, "more": "x" * 20_000}, "unknown key"),
        ({**SUBMIT, "job": "promt: more\n"}, "prompt"),
        ({**SUBMIT, "job": "prompt: x\nproject: bank\n"}, "'bank'"),
        ({**SUBMIT, "job": "prompt: x\nmerge: auto\nchecks: []\n"}, "only a person may set `merge`, `checks`"),
        ({**SUBMIT, "job": "prompt: x\nreview: {threshold: 0.1}\n"}, "only a person may set `review`"),
        ({**SUBMIT, "job": "prompt: x\nskills: [tidy]\n"}, "there is no skill 'tidy'"),
        ({**SUBMIT, "job": "prompt: " + "x" * 65_000}, ""),
    ],
)
def test_what_is_not_allowed_is_refused_with_the_reason_and_stops_nothing(
    world: World, request_: object, why: str
) -> None:
    box = '"$ORC_RUN_DIR"/outbox/1.json'
    source = world.root.parent / "request"
    source.write_text(request_ if isinstance(request_, str) else json.dumps(request_))
    play(world, f"cp {source} {box}")
    world.run()
    (request,) = asked(world)
    if why:
        assert why in request.refused
        assert answers(world, "attempt-1")["1.json"]["accepted"] is False
        assert git(world.root, "log", "-1", "--format=%(trailers:key=Reason,valueonly)", "--grep", "^refuse: greet-",
                   "orc/state") == request.refused  # fmt: skip
    else:
        assert request.refused == ""
    assert world.state("greet") is State.DONE
    prove(world)


HOSTILE = {
    "a link to a file": ("ln -s /etc/passwd $BOX/1.json", "symbolic link"),
    "a hard link": (f"printf %s {shlex.quote(json.dumps(PROGRESS))} > $BOX/.1; ln $BOX/.1 $BOX/1.json", "hard link"),
    "a pipe": ("mkfifo $BOX/1.json", "named pipe"),
    "a folder": ("mkdir $BOX/1.json", "folder"),
    "a huge file": ("truncate -s 3G $BOX/1.json", "is read"),
    "a name with a line break": ("touch \"$BOX/a\nb.json\"", "its name"),
    "a name that is no text": ("touch $BOX/$(printf '\\377').json", "its name"),
    "a name that goes up": ("touch $BOX/..json", None),
    "a folder that is a link": ("rmdir $BOX; ln -s /etc $BOX", None),
    "no folder": ("rmdir $BOX", None),
    "a file for a folder": ("rmdir $BOX; touch $BOX", None),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_whatever_lies_in_the_outbox_hurts_nobody(world: World, case: str) -> None:
    line, why = HOSTILE[case]
    play(world, f'BOX="$ORC_RUN_DIR"/outbox; {line}')
    world.run()
    found = asked(world)
    if why is None:
        assert found == []
    else:
        (request,) = found
        assert why in request.refused
        assert request.file.isprintable()
    assert world.state("greet") is State.DONE
    prove(world)


def test_ten_thousand_requests_are_twenty_and_one_refusal(world: World) -> None:
    body = shlex.quote('{"protocol": 1, "kind": "progress", "text": "%s"}')
    play(world, f'cd "$ORC_RUN_DIR"/outbox && for n in $(seq 10000); do printf {body} $n > $n.json; done')
    world.run()
    found = asked(world)
    assert len(found) == MOST_REQUESTS + 1
    assert [each.refused[:26] for each in found if each.refused] == ["a run may make 20 requests"]
    assert world.state("greet") is State.DONE


def test_answers_follow_no_link_out_of_the_run(world: World) -> None:
    aim = world.root.parent / "aim"
    aim.mkdir()
    play(world, puts(LESSON), f'rmdir "$ORC_RUN_DIR"/answers; ln -s {aim} "$ORC_RUN_DIR"/answers')
    world.run()
    assert list(aim.iterdir()) == []
    assert len(memories(world)) == 1
    assert world.state("greet") is State.DONE


def test_a_forged_answer_grants_nothing_and_is_replaced(world: World) -> None:
    forged = shlex.quote('{"protocol": 1, "accepted": true}')
    bad = {**LESSON, "text": ""}
    play(world, f'printf %s {forged} > "$ORC_RUN_DIR"/answers/1.json', puts(bad))
    world.run()
    assert memories(world) == []
    assert answers(world, "attempt-1")["1.json"]["accepted"] is False


def test_a_review_may_tell_its_progress_and_nothing_else(world: World) -> None:
    requests = [puts(PROGRESS), puts(LESSON, "2.json"), puts(SUBMIT, "3.json"), puts(QUESTION, "4.json")]
    world.plays = [
        attempt(write=WRITES),
        {"match": {"kind": "review"}, "run": "\n".join(requests), "verdict": "APPROVED"},
    ]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert [(each.kind, bool(each.refused)) for each in asked(world)] == [
        ("progress", False), ("remember", True), ("submit", True), ("ask", True),
    ]  # fmt: skip
    assert memories(world) == []
    assert world.state("greet") is State.DONE
    prove(world)


def test_a_reviewers_nonce_does_not_reach_the_ledger_by_its_progress(world: World) -> None:
    leak = (
        'n=$(sed -n \'s/.*"nonce": "\\([0-9a-f]*\\)".*/\\1/p\' "$ORC_FACTS"); '
        'printf \'{"protocol":1,"kind":"progress","text":"it is %s"}\' "$n" > "$ORC_RUN_DIR"/outbox/1.json'
    )
    world.plays = [attempt(write=WRITES), {"match": {"kind": "review"}, "run": leak, "verdict": "APPROVED"}]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert [each.text for each in asked(world)] == ["it is [redacted]"]


def test_the_verdict_can_be_given_by_command(world: World) -> None:
    script = world.root.parent / "review.py"
    script.write_text(
        "import json, os\nf = json.load(open(os.environ['ORC_FACTS']))\n"
        "print(json.dumps({'nonce': f['nonce'], 'job': f['job'], 'commit': f['commit'], 'verdict': 'APPROVED',\n"
        "  'files': f['files'], 'items': [{'id': i['id'], 'pass': True, 'evidence': 'seen'} for i in f['items']],\n"
        "  'findings': []}))\n"
    )
    gives = f"echo '{{}}' | {calls(world, 'verdict')}\n{sys.executable} {script} | {calls(world, 'verdict', '-')}"
    world.plays = [attempt(write=WRITES), {"match": {"kind": "review"}, "run": gives}]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert [line for line in said(world).splitlines() if line.isdigit()] == ["6", "0"]
    assert world.records("greet")["review-1"].verdict == "APPROVED"
    assert world.state("greet") is State.DONE


def test_a_follow_up_may_not_have_follow_ups(world: World) -> None:
    world.plays = [attempt(write=WRITES, run=puts(SUBMIT))]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    (refused,) = asked(world, "more")
    assert "handed in by an agent" in refused.refused


# --- while the run lives ---


def wait(world: World) -> str:
    return f"until test -e {world.root.parent}/go; do sleep 0.05; done"


def until(world: World, condition: Callable[[list[Requested]], object]) -> None:
    def check(ws: Any) -> bool:
        return bool(condition(list(asked_so_far(ws, world.id("greet")).values())))

    world.run(until=check)


def test_a_living_run_is_heard_and_answered(world: World) -> None:
    play(world, puts(PROGRESS), wait(world))
    until(world, lambda found: found)
    assert world.state("greet") is State.RUNNING
    place = world.root / ".git/orc/runs" / f"{world.id('greet')}.attempt-1"
    assert json.loads((place / "answers/1.json").read_text())["accepted"] is True
    (world.root.parent / "go").touch()
    world.run()
    assert len(asked(world)) == 1
    assert world.state("greet") is State.DONE
    prove(world)


def test_a_half_written_request_of_a_living_run_is_not_refused(world: World) -> None:
    text = json.dumps(LESSON)
    box = '"$ORC_RUN_DIR"/outbox'
    first, rest = (shlex.quote(part) for part in (text[:20], text[20:]))
    # As if it had just been written, however long this machine takes.
    begins = f"printf %s {first} > {box}/1.json; touch -t 209901010000 {box}/1.json"
    play(world, begins, puts(PROGRESS, "2.json"), wait(world), f"printf %s {rest} >> {box}/1.json")
    until(world, lambda found: found)
    assert [each.kind for each in asked(world)] == ["progress"]
    (world.root.parent / "go").touch()
    world.run()
    assert sorted((each.kind, each.refused) for each in asked(world)) == [("progress", ""), ("remember", "")]


# --- questions ---


def test_a_question_waits_for_the_person_and_the_answer_reaches_the_author(world: World) -> None:
    world.plays = [attempt(1, run=puts(QUESTION)), attempt(2, write=WRITES, answers="fixed")]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    card = world.card("greet")
    assert card.kind is CardKind.QUESTION
    assert card.question == "Which page is meant?"
    assert [(option.key, option.label) for option in card.options[:2]] == [("a", "/login"), ("b", "both")]
    with pytest.raises(RefusedError, match="needs words"):
        world.answer("greet", "reply")
    world.answer("greet", "reply", "both, please")
    world.run()
    (fix,) = world.records("greet")["attempt-2"].fixes
    assert (fix.problem, fix.fix) == ("You asked: Which page is meant?", "The answer: both, please")
    assert world.job("greet").at.spent == 0
    assert world.state("greet") is State.DONE
    prove(world)


def test_finished_work_with_a_question_goes_on_when_it_is_answered(world: World) -> None:
    world.plays = [attempt(1, write=WRITES, run=puts(QUESTION)), attempt(2)]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DECIDE
    world.answer("greet", "reply", "as it is")
    world.run()
    assert world.state("greet") is State.DONE
    assert world.show("code.py") == "print('new')"


def test_a_question_can_be_answered_by_dropping_the_job(world: World) -> None:
    play(world, puts(QUESTION), puts({**QUESTION, "text": "And when?"}, "2.json"))
    world.run()
    assert world.card("greet").question == "ada has 2 questions"
    assert "2. And when?" in world.card("greet").context
    world.answer("greet", "drop")
    assert world.state("greet") is State.CANCELLED
    prove(world)


def test_show_tells_what_a_run_asked(world: World) -> None:
    from orchestrator.cli.show import _told

    play(world, puts(LESSON), puts({**SUBMIT, "job": "x: 1\n"}, "2.json"))
    world.run()
    with open_workspace(world.root) as ws:
        folder: Folder = find_job(ws, world.id("greet"))
        lines = list(_told(folder, world.records("greet"), [], asked(world), None, "git"))
    assert any(line.strip().startswith("remember: The tests need TZ=UTC. -> memory/items/") for line in lines)
    assert any(line.strip().startswith("submit: hands in more.yaml (refused: ") for line in lines)
