"""How a job comes in, waits, and changes by a person's hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.core.job import KEEP_APPROVAL, Held, Job, JobSpec, Priority, Standing, State
from orchestrator.core.records import Card
from orchestrator.core.step import NOT_APPROVED, Step, another_go
from orchestrator.core.transitions import Actor, Event, Move, make_move
from orchestrator.core.twins import work_key
from orchestrator.core.waits import comes_by_itself


def accept(
    text: str,
    spec: JobSpec,
    *,
    id_: str,
    now: str,
    markdown: bool,
    source: str,
    actor: Actor,
    priority: Priority,
    project: str,
    lowered: str = "",
) -> Move:
    """A person's file becomes a job. `lowered`: why it has not the priority that was asked for; '' if it has."""
    at = Standing(
        id=id_,
        seq=1,
        state=State.READY,
        created=now,
        since=now,
        source=source,
        origin=actor.kind.value,
        priority=priority.value,
        project=project,
        held=_held(spec, None, now, actor),
    )
    facts = {"source": source, "priority": priority.name, "kind": spec.kind, "project": project, "lowered": lowered}
    facts["work"] = work_key(spec, project)
    facts["routine"] = spec.routine
    told = f"from {source}: {spec.heading}"
    return make_move(Event.ACCEPT, None, Job(text, markdown, spec, at), told, actor=actor, facts=facts)


def edit(
    job: Job, text: str, spec: JobSpec, now: str, *, actor: Actor, keys: Iterable[str], priority: Priority
) -> Move:
    """A person changed the file of an open job; `keys` are those that differ. So one is held, and let go on."""
    held = _held(spec, job.at.held, now, actor)
    reason = job.at.reason if job.at.held is None or held is not None or job.at.reason != job.why else ""
    # What was approved is not what is asked for any more.
    collided = job.at.collided if KEEP_APPROVAL.issuperset(keys) else ""
    changes = {"priority": priority.value, "held": held, "reason": reason, "collided": collided}
    moved = job.moved(job.state, job.at.since, **changes)
    after, changed = replace(moved, text=text, spec=spec), ", ".join(sorted(keys))
    told = f"changed {changed}"
    if held is not None and job.at.held is None:
        told = f"{told}: held" + (f", {spec.hold}" if spec.hold else "")
    elif held is None and job.at.held is not None:
        told = f"{told}: may go on"
    return make_move(Event.EDIT, job, after, told, actor=actor, facts={"keys": changed})


def _held(spec: JobSpec, before: Held | None, now: str, actor: Actor) -> Held | None:
    """In whose name a job is held: whoever first said so, also if another changes the reason."""
    if spec.hold is None:
        return None
    return before or Held(actor.name, now)


def hold(job: Job, reason: str, now: str, *, needs: dict[str, str]) -> Move:
    """A ready job cannot start yet; `reason` says what it waits for."""
    stuck = "" if job.is_held or comes_by_itself(reason) else job.at.stuck or now
    step = Step(Event.HOLD, job, now, facts={"reason": reason})
    return step.to(State.WAITING, reason, reason=reason, needs=needs, stuck=stuck)


def release(job: Job, now: str, *, needs: dict[str, str]) -> Move:
    """What a job waited for has come."""
    return Step(Event.RELEASE, job, now).to(State.READY, "may start", needs=needs)


def cancel(job: Job, now: str, *, actor: Actor, why: str = "", card: Card | None = None) -> Move:
    """A person gives a job up. Its work stays under its refs; its open card, if it has one, is closed with it."""
    step = Step(Event.CANCEL, job, now, _closed(card, "the job was cancelled"), facts={"reason": why}, actor=actor)
    return step.to(State.CANCELLED, why or "given up", reason=why or "cancelled")


def retry(job: Job, now: str, *, actor: Actor, card: Card | None = None) -> Move:
    """A person gives a job another go, with a fresh set of attempts; its open card is closed."""
    changes = {**another_go(job), **NOT_APPROVED, "recheck": now, "asked_base": "", "given": ""}
    step = Step(Event.RETRY, job, now, _closed(card, "the job was given another go"), actor=actor)
    return step.to(State.READY, "given another go", **changes)


def _closed(card: Card | None, why: str) -> dict[str, Card]:
    return {f"card-{card.number}": replace(card, superseded=why)} if card is not None and card.open else {}
