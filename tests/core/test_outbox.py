"""What a run may ask: the form, the scope, the bounds, and that the same request is known again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from builders import a_job as make_job

from orchestrator.adapters.schemas import find_problems
from orchestrator.core.ids import RunId, RunKind
from orchestrator.core.job import Area, JobSpec, MergePolicy, Priority, ReviewWishes
from orchestrator.core.outbox import (
    MOST,
    MOST_OF_A_JOB,
    ONLY_A_PERSON,
    SCOPE,
    Request,
    Requested,
    RequestKind,
    digest_of,
    follow_up_id,
    follow_up_problem,
    lower_priority,
    memory_path,
    record_name,
    scope_problem,
)

ATTEMPT = RunId("fix-login-7f3a09c2", RunKind.ATTEMPT, 1)
REVIEW = RunId("fix-login-7f3a09c2", RunKind.REVIEW, 1)
CHECKS = RunId("fix-login-7f3a09c2", RunKind.CHECKS, 1)
ASK = {"protocol": 1, "kind": "ask", "text": "Which one?"}
REMEMBER = {"protocol": 1, "kind": "remember", "type": "lesson", "text": "Tests need TZ=UTC."}
SUBMIT = {"protocol": 1, "kind": "submit", "job": "prompt: more\n"}
PROGRESS = {"protocol": 1, "kind": "progress", "text": "half of it"}


@pytest.mark.parametrize("value", [ASK, REMEMBER, SUBMIT, PROGRESS, {**ASK, "options": ["a", "b", "c", "d"]}])
def test_what_the_schema_allows_becomes_a_request(value: dict[str, Any]) -> None:
    assert find_problems(value, "request") == []
    assert Request.from_json(value).kind == value["kind"]


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({**ASK, "protocol": 2}, "protocol"),
        ({**ASK, "kind": "merge"}, "kind"),
        ({**ASK, "text": " "}, "text"),
        ({**ASK, "text": "x" * 301}, "text"),
        ({**ASK, "text": 5}, "text"),
        ({**ASK, "options": ["a", "b", "c", "d", "e"]}, "options"),
        ({**ASK, "options": [""]}, "options[0]"),
        ({**ASK, "job": "prompt: x"}, "job"),
        ({**REMEMBER, "type": "secret"}, "type"),
        ({**REMEMBER, "text": "x" * 601}, "text"),
        ({**REMEMBER, "tags": ["Not so"]}, "tags[0]"),
        ({"protocol": 1, "kind": "remember", "text": "x"}, "type"),
        ({**SUBMIT, "name": "../x.yaml"}, "name"),
        ({**SUBMIT, "name": "x.sh"}, "name"),
        ({"protocol": 1, "kind": "submit"}, "job"),
        ({**PROGRESS, "text": "one\ntwo"}, "text"),
    ],
)
def test_what_has_not_the_form_is_named_by_its_key(value: dict[str, Any], key: str) -> None:
    assert key in [problem.key for problem in find_problems(value, "request")]


@pytest.mark.parametrize("kind", RequestKind)
def test_an_attempt_may_ask_everything_a_review_only_tell_its_progress(kind: RequestKind) -> None:
    request = Request(kind, text="x")
    assert scope_problem(request, ATTEMPT, ()) == ""
    assert (scope_problem(request, REVIEW, ()) == "") is (kind is RequestKind.PROGRESS)
    assert scope_problem(request, CHECKS, ()) != ""
    assert RunKind.CHECKS not in SCOPE


def test_a_request_of_another_run_is_refused() -> None:
    request = Request.from_json({**ASK, "run": "fix-login-7f3a09c2.attempt-2"})
    assert "of another run" in scope_problem(request, ATTEMPT, ())
    assert scope_problem(replace(request, run=str(ATTEMPT)), ATTEMPT, ()) == ""


@pytest.mark.parametrize(("kind", "most"), MOST.items())
def test_a_kind_is_granted_only_so_often_and_refusals_do_not_count(kind: RequestKind, most: int) -> None:
    request = Request(kind, text="x")
    refused = Requested(str(ATTEMPT), "0.json", "", kind, refused="no")
    before = [Requested(str(ATTEMPT), f"{n}.json", "", kind) for n in range(most)]
    assert scope_problem(request, ATTEMPT, [*before[:-1], refused]) == ""
    assert f"at most {most} times" in scope_problem(request, ATTEMPT, before)


def test_the_same_request_is_known_again_but_not_that_of_another_run() -> None:
    turned = dict(reversed(list(ASK.items())))
    assert digest_of("a", ASK) == digest_of("a", turned) == digest_of("a", {**ASK, "run": "a"})
    assert len({digest_of("a", ASK), digest_of("b", ASK), digest_of("a", {**ASK, "text": "What?"})}) == 3


def test_names_follow_from_run_and_content_alone() -> None:
    digest = digest_of(str(ATTEMPT), REMEMBER)
    request = Request.from_json(REMEMBER)
    assert record_name(ATTEMPT, "remember", digest) == f"attempt-1.remember.{digest[:16]}.yaml"
    assert memory_path(request, digest, "2026-03-14T08:00:00Z").startswith("memory/items/2026-03/tests-need-tz-utc-")
    ids = {follow_up_id(Request(RequestKind.SUBMIT, name="Übung 1.md"), digest, turn) for turn in (0, 0, 1)}
    assert len(ids) == 2
    assert {each[:-9] for each in ids} == {"ubung-1"}


PLAIN = JobSpec(prompt="more")
LOOSER = {
    "merge": {"merge": MergePolicy.AUTO},
    "review": {"review": ReviewWishes(threshold=0.0)},
    "checks": {"checks": ()},
    "repairs_base": {"repairs_base": True},
    "repeats": {"repeats": True},
    "allows": {"allows": (Area.TESTS,)},
    "target": {"target": "release"},
    "hold": {"hold": "mine"},
}


@pytest.mark.parametrize("key", LOOSER)
def test_an_agent_may_not_loosen_what_its_follow_up_has_to_pass(key: str) -> None:
    assert f"`{key}`" in follow_up_problem(replace(PLAIN, **LOOSER[key]), make_job(), so_far=0)  # type: ignore[arg-type]
    assert key in ONLY_A_PERSON


def test_a_follow_up_is_for_the_same_project_and_of_a_persons_job_and_there_are_few() -> None:
    job = make_job(project="shop")
    assert follow_up_problem(PLAIN, job, so_far=0) == ""
    assert follow_up_problem(replace(PLAIN, project="shop"), job, so_far=0) == ""
    assert "'bank'" in follow_up_problem(replace(PLAIN, project="bank"), job, so_far=0)
    assert "already" in follow_up_problem(PLAIN, job, so_far=MOST_OF_A_JOB)
    assert "handed in by an agent" in follow_up_problem(PLAIN, make_job(origin="engine"), so_far=0)
    by_itself = make_job(origin="engine", source="schedule inbox 2026-11-20T07:30:00Z")
    assert "comes from a schedule" in follow_up_problem(PLAIN, by_itself, so_far=0)


def test_p0_is_for_people() -> None:
    assert lower_priority(Priority.P0) == (Priority.P1, "P0 is for people, so it became P1")
    assert [lower_priority(each)[0] for each in Priority][1:] == list(Priority)[1:]
