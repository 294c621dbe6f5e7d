"""A job as a trace."""

from __future__ import annotations

from dataclasses import replace

from builders import a_job

from orchestrator.core.attempt_record import Attempt, RunStatus, Spoke
from orchestrator.core.job import State, Worker
from orchestrator.core.said import Usage
from orchestrator.core.trace import Stay, stays_of, trace_of


def attempt(**more: object) -> Attempt:
    worker = Worker("ada", "anthropic", "opus", "claude")
    return replace(Attempt(1, worker, "base", "fix-1.attempt-1", "2026-11-22T10:00:00Z"), **more)  # type: ignore[arg-type]


def test_stays_are_what_lies_between_steps_that_change_the_state() -> None:
    steps = [(10, "ready"), (12, "running"), (13, "running"), (20, ""), (30, "decide")]
    assert stays_of(steps, 99) == [Stay("ready", 10, 12), Stay("running", 12, 30), Stay("decide", 30, 99)]
    assert stays_of([*steps, (40, "done")], 99)[-1] == Stay("decide", 30, 40)
    assert stays_of([], 99) == []
    # A clock that went back makes no stay of less than nothing.
    assert stays_of([(10, "ready"), (8, "running"), (9, "done")], 99) == [Stay("ready", 10, 10), Stay("running", 8, 9)]


def test_a_run_is_a_part_of_the_stay_in_which_it_began() -> None:
    stays = [Stay("ready", 0, 10), Stay("running", 10, 30), Stay("reviewing", 30, 40)]
    spoke = Spoke(Usage(100, 20, cache_read=1000, cache_write=10), model="opus-4", cost_microusd=1234)
    record = attempt(status=RunStatus.ENDED, exit=0, spoke=spoke)
    found = trace_of(a_job(), stays, [record], {record.run: (11.0, 29.5)})
    root, *parts, run = found.spans
    assert (root.parent, root.start, root.end, root.error) == ("", 0, 40, "")
    assert [(each.name, each.parent) for each in parts] == [("ready", "job"), ("running", "job"), ("reviewing", "job")]
    assert (run.name, run.parent, run.start, run.end) == ("invoke_agent ada", "stay-1", 11.0, 29.5)
    assert run.attributes["gen_ai.provider.name"] == "anthropic"
    assert run.attributes["gen_ai.usage.input_tokens"] == 1110
    assert run.attributes["gen_ai.usage.output_tokens"] == 20
    assert run.attributes["orc.cost.microusd"] == 1234
    assert run.error == ""


def test_what_failed_is_an_error_with_its_reason() -> None:
    stays = [Stay("running", 10, 30)]
    record = attempt(status=RunStatus.TIMEOUT, exit=None, error="took too long")
    ended = a_job()
    ended = replace(ended, at=replace(ended.at, state=State.FAILED, reason="dropped"))
    root, _, run = trace_of(ended, stays, [record], {record.run: (11.0, 29.5)}).spans
    assert (root.error, run.error) == ("dropped", "took too long")
    assert len(trace_of(ended, stays, [record], {}).spans) == 2  # A run that has not ended has no span yet.


def test_no_line_of_a_prompt_is_the_name_of_a_trace() -> None:
    plain = a_job()
    plain = replace(plain, spec=replace(plain.spec, title="", prompt="The password is 1234."))
    assert trace_of(plain, [Stay("ready", 0, 1)], [], {}).spans[0].name == f"job {plain.id}"


def test_ids_follow_from_the_job_and_differ_within_it() -> None:
    stays = [Stay("ready", 0, 10), Stay("running", 10, 30)]
    one, again = (trace_of(a_job(), stays, [], {}) for _ in range(2))
    assert one == again
    assert one.id == again.id < 1 << 128
    ids = [one.span_id(each.key) for each in one.spans]
    assert len(set(ids)) == len(ids)
    assert max(ids) < 1 << 64
