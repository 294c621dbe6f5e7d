"""Every state has what takes a job further, asked of the real table and the real decision."""

from __future__ import annotations

from datetime import datetime

import pytest

from orchestrator.core.actions import Action, Hold, Land
from orchestrator.core.board import Board
from orchestrator.core.handlers import find_unhandled
from orchestrator.core.job import State
from orchestrator.core.schedule import decide
from orchestrator.core.transitions import TABLE, Event

OPEN = [state for state in State if not state.ended]


def test_each_open_state_has_what_takes_a_job_further() -> None:
    assert find_unhandled() == ()


@pytest.mark.parametrize("state", [state for state in OPEN if state not in (State.RUNNING, State.DECIDE)])
def test_a_state_about_which_nothing_is_ever_decided_is_found(state: State) -> None:
    def blind(board: Board, now: datetime) -> list[Action]:
        return [] if any(job.state is state for job in board.jobs.values()) else list(decide(board, now))

    assert find_unhandled(decide=blind) == (state,)


def test_to_be_asked_about_is_no_way_on() -> None:
    def asks(board: Board, now: datetime) -> list[Action]:
        found = decide(board, now)
        return [Hold(each.job, "why", {}) if isinstance(each, Land) else each for each in found]

    assert find_unhandled(decide=asks) == (State.LANDING,)


@pytest.mark.parametrize("state", OPEN)
def test_a_state_out_of_which_no_step_leads_is_found(state: State) -> None:
    ends = {
        event: type(legal)(frozenset(step for step in legal.steps if step[0] is not state), legal.actors)
        for event, legal in TABLE.items()
    }
    assert find_unhandled(ends) == (state,)


def test_a_question_that_nobody_may_answer_is_found() -> None:
    assert find_unhandled({event: legal for event, legal in TABLE.items() if event is not Event.ANSWER}) == (
        State.DECIDE,
    )
