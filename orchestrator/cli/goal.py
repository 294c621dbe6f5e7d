"""Projects that are to be finished, for `orc show` and for whoever answers whether one is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from orchestrator.cli.app import App, clean, clean_line, human

if TYPE_CHECKING:
    from orchestrator.core.goal import FinishCard, Goal
    from orchestrator.core.waits import Wait
    from orchestrator.engine.workspace import Workspace

KEYS = {"approve": "done", "revise": "more"}
"""What `orc approve` and `orc reject` mean here."""


def show_goal(app: App, ws: Workspace, known: Goal) -> None:
    """Print how a project stands that has a goal."""
    from orchestrator.core.codec import to_mapping
    from orchestrator.core.goal import wait_for
    from orchestrator.engine.goal_counts import read_card
    from orchestrator.engine.report import wait_json

    card = read_card(ws.ledger.read_file, known) if known.card else None
    wait = wait_for(known, ws.now())
    data = {
        "project": to_mapping(known),
        "finish": to_mapping(card) if card is not None else None,
        "waits": wait_json(wait),
    }
    app.emit(data, "\n".join(clean(line) for line in _told(known, card, wait)))


def _told(known: Goal, card: FinishCard | None, wait: Wait | None) -> Iterator[str]:
    from orchestrator.core.goal import tell_goal

    yield f"{known.project}  {known.state}  since {known.since}"
    yield f"  goal: {known.goal or 'none any more'}"
    if wait is not None:
        yield f"  {wait.in_words()}"
    yield from (f"  {line}" for line in tell_goal(known))
    if card is not None:
        yield ""
        yield f"  {card.id}: {_said(card)}"


def _said(card: FinishCard) -> str:
    if card.answer:
        message = f": {clean_line(card.message)}" if card.message else ""
        return f"{card.answer}, by {card.by} at {card.answered}{message}"
    return f"closed, {card.superseded}" if card.superseded else f"open since {card.asked} (orc approve {card.id})"


def describe_finish(card: FinishCard) -> str:
    """The question in words, what it rests on, and the answers."""
    lines = [f"{card.id}: {card.question}", *(f"  {line}" for line in card.context.splitlines())]
    lines += [f"  [{option.key}] {option.label}: {option.consequence}" for option in card.options]
    return clean("\n".join(lines))


def give_finish_answer(app: App, ws: Workspace, known: Goal, card: FinishCard, key: str, message: str) -> None:
    """Commit a person's answer, and say what came of it."""
    from orchestrator.engine.goal import answer_goal

    step, job = answer_goal(ws, known, card, key, message, human(ws))
    data: dict[str, Any] = {"project": known.project, "card": card.id, "answer": key, "state": step.goal.state.value}
    told = f"{known.project} is {step.goal.state} now"
    if job is not None:
        data["job"], told = job.job.id, f"{told}: {job.job.id} is to do it"
    app.emit(data, f"{told}.")
