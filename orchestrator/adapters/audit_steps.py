"""What must hold for every step on the ledger, whatever it decides: who, when, what it touches, what it may change.

Reads the ledger only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.adapters.audit_chain import record_of
from orchestrator.adapters.audit_rules import (
    FIRST,
    MAX_SUBJECT,
    SKEW_S,
    Finding,
    Rule,
    Step,
    StepRule,
    clean_name,
    differ,
    show,
)
from orchestrator.adapters.audit_usage import check_usage
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.ids import is_job_id
from orchestrator.core.job import Priority, Standing, State
from orchestrator.core.records import RECORDS, Card
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.routine import RoutineRecord
from orchestrator.core.times import parse
from orchestrator.core.transitions import Actor as Who
from orchestrator.core.transitions import ActorKind, Event, IllegalStepError, check_step

# --- one step -----------------------------------------------------------------------------------------------------


def check_message(step: Step) -> Iterator[Finding]:
    """The subject names event and job; the trailers say what the job file shows."""
    subject = step.commit.subject
    if not subject.startswith(f"{step.event}: {step.id} ") or len(subject) > MAX_SUBJECT:
        yield Rule.MESSAGE, f"does not begin with {step.event}: {step.id}"
    if step.commit.rest:
        yield Rule.MESSAGE, f"has text between its trailers: {show(step.commit.rest)}"
    keys = [key for key, _ in step.commit.trailers]
    for key in sorted({key for key in keys if keys.count(key) > 1}):
        yield Rule.MESSAGE, f"has the trailer {key} more than once"
    was = step.before.state.value if step.before is not None else "-"
    facts = {"Job": step.id, "From": was, "To": step.after.state.value, "Seq": str(step.at.seq)}
    for key, found in facts.items():
        yield from differ(Rule.MESSAGE, f"the trailer {key}", step.commit.trailer(key), found)


def check_actor(step: Step) -> Iterator[Finding]:
    """The author is the actor, and the table allows the event to this actor from this state to that one."""
    actor = step.commit.trailer("Actor") or ""
    if not actor or clean_name(actor) != step.commit.author.name:
        yield Rule.ACTOR, f"says that {actor or 'nobody'} did it, but its author is {step.commit.author.name}"
    kind = Who(step.commit.author.name).kind
    if kind is ActorKind.HUMAN and not actor.removeprefix("human:").strip():
        yield Rule.ACTOR, "was done by a person without a name"
    try:
        check_step(step.event, step.before.state if step.before else None, step.after.state, kind)
    except IllegalStepError as error:
        yield Rule.STEP, f"is not a legal step: {error}"


def check_identity(step: Step) -> Iterator[Finding]:
    """The job is the same job one step later, and its text is the person's."""
    if step.at.id != step.id or not is_job_id(step.id):
        yield Rule.SCOPE, f"puts the job {step.at.id} into the folder of {step.id}"
    yield from differ(Rule.COUNTER, "the job's seq", step.at.seq, step.was.seq + 1)
    if step.before is None:
        origin = Who(step.commit.author.name).kind.value
        yield from differ(Rule.ACTOR, "where the job comes from", step.at.origin, origin)
        if step.after.priority is Priority.P0 and origin != ActorKind.HUMAN:
            yield Rule.ACTOR, f"takes in {step.id} as P0, for which only a person may ask"
        return
    if step.after.markdown != step.before.markdown:
        yield Rule.TEXT, "turns the job's file into another kind of file"
    if step.after.text != step.before.text and step.event is not Event.EDIT:
        yield Rule.TEXT, "changes what the person wrote, but is no edit"


def check_times(step: Step) -> Iterator[Finding]:
    """Times in the job file fit the commit's."""
    latest = step.commit.committer.seconds + SKEW_S
    for name, text in (("created", step.at.created), ("since", step.at.since)):
        if parse(text).timestamp() > latest:
            yield Rule.TIME, f"says {name}: {text}, which is later than the commit"
    if step.before is None:
        return
    if step.after.state is step.before.state:
        yield from differ(Rule.TIME, "the time since which it is in this state", step.at.since, step.was.since)
    elif parse(step.at.since).timestamp() < parse(step.was.since).timestamp() - SKEW_S:
        yield Rule.TIME, f"enters its state at {step.at.since}, before the one it left ({step.was.since})"


_ALWAYS = frozenset({"seq", "state", "since", "reason", "reserved", "used"})
_WITHDRAWN: Mapping[str, object] = {
    "approved": "",
    "merged": "",
    "target_was": "",
    "rebuilds": 0,
    "collided": "",
    "stuck": "",
    "expires": "",
}
"""What any event may take back: that is never an approval. The last two end with the state that they belong to."""
_BACK = frozenset({"spent", "fixes", "card"})
_NEW_GO = frozenset(
    {"allowance", "crashes", "failed_starts", "not_before", "run", "excluded", "inconclusive", "rebuilds", "asked"}
)
_NEW_MERGE = frozenset({"merged", "target_was", "rebuilds"})
_NEW_BASE = frozenset({"base", "tip", "approved"}) | _NEW_MERGE
_STARTED = frozenset({"attempt", "starts", "run", "agent", "author", "base", "excluded", "inconclusive", "second"})
_STARTED |= {"former"}
_JUDGED = frozenset({"run", "crashes", "failed_starts", "approved", "fixes", "weak", "rounds", "inconclusive"})
_JUDGED |= {"excluded", "second", "asked", "starts"}
_STOOD = frozenset({"crashes", "failed_starts", "not_before", "approved", "fixes", "weak", "second"})
_UNSERVED = frozenset({"unserved", "unserved_reviews"})
MAY_CHANGE: Mapping[Event, frozenset[str]] = {
    Event.ACCEPT: frozenset({*FIRST, "held", "card", "expires"}),
    Event.EDIT: frozenset({"priority", "held"}),
    Event.HOLD: frozenset({"needs", "stuck"}),
    Event.RELEASE: frozenset({"needs"}),
    Event.START: _STARTED,
    Event.RUN: frozenset({"run", "routine", "starts"}),
    Event.RAN: frozenset({"run", "crashes", "failed_starts"}),
    Event.COLLECT: frozenset({"run", "tip", "crashes", "failed_starts", "second", "expires"}) | _BACK,
    Event.LOST: frozenset({"run", "crashes", "not_before", "tip", "card"}),
    Event.NOT_STARTED: frozenset({"run", "failed_starts", "not_before", "card", "tip"}) | _UNSERVED,
    Event.EVIDENCE: frozenset({"evidence", "protected", "tampering", "tests"}) | _BACK,
    Event.CHECK: frozenset({"run", "starts"}),
    Event.CHECKED: frozenset({"run", "tests", "crashes", "failed_starts"}) | _BACK | _NEW_BASE,
    Event.REVIEW: frozenset({"run", "review", "starts", "reviewer"}),
    Event.VERDICT: _JUDGED | _NEW_MERGE | {"card"},
    Event.STAND: _STOOD | _NEW_MERGE | {"card"},
    Event.CARD: frozenset({"card", "asked_base", "stuck"}),
    Event.ANSWER: frozenset({"approved", "fixes", "recheck", "asked_base", "given", "second"}) | _NEW_MERGE | _NEW_GO,
    Event.DEFAULT: frozenset({"fixes"}),
    Event.SUPERSEDE: frozenset({"asked_base"}),
    Event.MERGE: frozenset({"merge", "conflicts", "collided", "given"}) | _NEW_BASE | _BACK,
    Event.REBUILD: _NEW_BASE | {"card", "fixes", "conflicts", "spent", "given"},
    Event.LAND: frozenset({"card"}),
    Event.DONE: frozenset({"run"}),
    Event.CANCEL: frozenset({"run"}),
    Event.REMIND: frozenset({"reminded"}),
    Event.RETRY: frozenset({"approved", "recheck", "asked_base", "given"}) | _NEW_GO,
}
"""What of a job's standing an event may change, besides its state and the reason."""


def check_standing(step: Step) -> Iterator[Finding]:
    """Nothing of the job's standing changes that the event has no business with."""
    allowed = MAY_CHANGE.get(step.event, frozenset()) | _ALWAYS
    for field in dataclasses.fields(Standing):
        was, now = getattr(step.was, field.name), getattr(step.at, field.name)
        taken_back = field.name in _WITHDRAWN and now == _WITHDRAWN[field.name]
        taken_back |= field.name == "weak" and not step.at.approved
        if was != now and field.name not in allowed and not taken_back:
            yield Rule.STANDING, f"changes {field.name} from {show(was)} to {show(now)}, which {step.event} may not"


_GOES_ON = frozenset(
    {
        Event.DEFAULT,
        Event.RELEASE,
        Event.START,
        Event.RUN,
        Event.EVIDENCE,
        Event.CHECK,
        Event.REVIEW,
        Event.STAND,
        Event.MERGE,
        Event.REBUILD,
        Event.LAND,
    }
)
"""What begins something new for a job, or brings its work further. It may be told that it was on the target already."""


def check_held(step: Step) -> Iterator[Finding]:
    """A job is held from the step in which its text begins to ask for it, by whom that was, and stays where it is."""
    wished, was, now = step.after.spec.hold is not None, step.was.held, step.at.held
    if (now is not None) != wished:
        yield Rule.HOLD, f"has it {'held' if now else 'not held'}, but its text says {'otherwise' if now else 'hold'}"
    elif now is not None and was is None:
        yield from differ(Rule.HOLD, "who holds it", clean_name(now.by), step.commit.author.name)
        if abs(parse(now.since).timestamp() - step.commit.committer.seconds) > SKEW_S:
            yield Rule.HOLD, f"has it held since {now.since}, which is not when it was committed"
    elif now is not None:
        yield from differ(Rule.HOLD, "who holds it, and since when", now, was)
    if was is not None and step.event in _GOES_ON:
        yield Rule.HOLD, f"goes on by {step.event} with a job that {show(was.by)} holds"


_STARTS = frozenset({Event.START, Event.RUN, Event.CHECK, Event.REVIEW})
_SPENDS = frozenset({Event.COLLECT, Event.EVIDENCE, Event.CHECKED, Event.MERGE})
_GIVES_BACK = frozenset({(Event.REBUILD, "spent"), (Event.REBUILD, "conflicts")})
"""How much, the rule of that event says."""


def check_counters(step: Step) -> Iterator[Finding]:
    """Counters only grow, by one, and by the events that they count; ceilings rise only by a person's hand."""
    was, now = step.was, step.at
    begun = step.event in _STARTS or _was_asked_again(step)
    yield from differ(Rule.COUNTER, "the number of starts", now.starts, was.starts + begun)
    for name in (
        "attempt",
        "review",
        "evidence",
        "merge",
        "card",
        "spent",
        "rounds",
        "allowance",
        "conflicts",
        "routine",
    ):
        grown = getattr(now, name) - getattr(was, name)
        if grown not in (0, 1) and (step.event, name) not in _GIVES_BACK:
            yield Rule.COUNTER, f"takes {name} from {getattr(was, name)} to {getattr(now, name)}"
    if now.spent > was.spent and step.event not in _SPENDS:
        yield Rule.COUNTER, f"spends an attempt by {step.event}"
    if now.allowance != was.allowance and Who(step.commit.author.name).kind is not ActorKind.HUMAN:
        yield Rule.LIMIT, "grants another set of attempts, but no person did"


def _was_asked_again(step: Step) -> bool:
    """Whether a reviewer took a second turn, which is one more start."""
    review = step.new.get(ReviewRecord, step.was.review) if step.event is Event.VERDICT else None
    return review is not None and bool(review.asked_again)


def check_limits(step: Step) -> Iterator[Finding]:
    """The ceilings that the job itself names hold; the workspace's are not in the ledger."""
    if step.before is None:
        return
    wishes, sets = step.before.spec.limits, 1 + step.was.allowance
    if step.event in _STARTS and wishes.starts and step.was.starts - step.was.unserved >= wishes.starts * sets:
        yield Rule.LIMIT, f"starts a run beyond the {wishes.starts * sets} that the job allows"
    if (
        step.event is Event.REVIEW
        and wishes.reviews
        and step.was.review - step.was.unserved_reviews >= wishes.reviews * sets
    ):
        yield Rule.LIMIT, f"starts a review beyond the {wishes.reviews * sets} that the job allows"
    used_up = wishes.attempts and step.at.spent >= wishes.attempts * sets
    if used_up and step.at.spent > step.was.spent and step.after.state is State.READY:
        yield Rule.LIMIT, f"sends the job back, though it has used its {wishes.attempts} attempts"


# --- records ------------------------------------------------------------------------------------------------------

_ADDS: Mapping[Event, str] = {
    Event.START: "attempt",
    Event.EVIDENCE: "evidence",
    Event.REVIEW: "review",
    Event.MERGE: "merge",
    Event.RUN: "routine",
}
_ENDED = frozenset({"ended", "status", "exit"})
_ATTEMPT = _ENDED | {
    "error",
    "tip",
    "tree",
    "own_commits",
    "seconds",
    "report",
    "answers",
    "spoke",
    "session",
    "session_job",
    "forgeable",
    "escapes",
    "escape_rules",
}
_REVIEWED = _ENDED | {
    "verdict",
    "score",
    "why",
    "nonce_sha256",
    "reply",
    "items",
    "claims",
    "findings",
    "summary",
    "spoke",
    "seconds",
    "doubts",
    "drawn",
    "asked_again",
    "first_reply",
    "follow_ups",
}
_CHECKED = frozenset({"tests", "checks", "checked_tree", "check_key", "notes"})
_CHECKED |= {"reproduction", "reproduction_checks", "reproduction_key"}
_CLOSES = frozenset({"superseded"})
_COMPLETES: Mapping[tuple[Event, str], frozenset[str]] = {
    (Event.COLLECT, "attempt"): _ATTEMPT,
    (Event.LOST, "attempt"): _ATTEMPT,
    (Event.NOT_STARTED, "attempt"): _ATTEMPT,
    (Event.LOST, "review"): _REVIEWED,
    (Event.NOT_STARTED, "review"): _REVIEWED,
    (Event.VERDICT, "review"): _REVIEWED,
    (Event.CHECKED, "evidence"): _CHECKED,
    (Event.CHECKED, "merge"): frozenset({"tests", "checks", "check_key", "problem"}),
    (Event.DONE, "merge"): frozenset({"landed", "problem"}),
    (Event.RAN, "routine"): frozenset({"ended", "seconds", "status", "summary", "report", "key", "states", "figures"}),
    (Event.ANSWER, "card"): frozenset({"answer", "message", "answered", "by"}),
    (Event.DEFAULT, "card"): frozenset({"answer", "answered", "by"}),
    (Event.SUPERSEDE, "card"): _CLOSES,
    (Event.CANCEL, "card"): _CLOSES,
    (Event.RETRY, "card"): _CLOSES,
}
"""What an event may still fill in of the newest record of a kind."""


def check_records(step: Step) -> Iterator[Finding]:
    """A step adds the records that it counts, completes the newest one, and leaves all others as they are."""
    old, new = step.old.entries, step.new.entries
    added: dict[str, list[int]] = {kind: [] for kind in RECORDS}
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after or name in ("job.yaml", "job.md"):
            continue
        record = record_of(name)
        if after is None:
            yield Rule.RECORD, f"removes {name}"
        elif after.mode != "100644":
            yield Rule.RECORD, f"has {name} with the mode {after.mode}"
        elif before is None:
            if record:
                added[record[0]].append(record[1])
        elif record is None:
            yield Rule.RECORD, f"changes {name}"
        else:
            yield from _completed(step, *record)
    for kind, numbers in added.items():
        yield from _added(step, kind, numbers)


def _added(step: Step, kind: str, numbers: list[int]) -> Iterator[Finding]:
    was, now = getattr(step.was, kind), getattr(step.at, kind)
    if numbers != list(range(was + 1, now + 1)):
        written = ", ".join(f"{kind}-{number}" for number in numbers) or f"no {kind}"
        yield Rule.RECORD, f"writes {written}, but counts from {kind} {was} to {now}"
    wanted = step.asks if kind == "card" else _ADDS.get(step.event) == kind
    if bool(numbers) != wanted:
        yield (
            Rule.RECORD,
            f"{'writes' if numbers else 'lacks'} a record of the kind {kind}, which {step.event} "
            + ("does not write" if numbers else "writes"),
        )
    for number in numbers:
        found = step.new.get(RECORDS[kind], number)
        yield from differ(Rule.RECORD, f"the number in {kind}-{number}", getattr(found, "number", None), number)


def _completed(step: Step, kind: str, number: int) -> Iterator[Finding]:
    allowed = _COMPLETES.get((step.event, kind))
    name = f"{kind}-{number}"
    if allowed is None or number != getattr(step.was, kind):
        yield Rule.RECORD, f"changes {name}, which was written before"
        return
    was, now = step.old.get(RECORDS[kind], number), step.new.get(RECORDS[kind], number)
    for field in _changed_fields(was, now):
        if field not in allowed:
            yield Rule.RECORD, f"changes `{field}` of {name}, which was written before"
    if _is_complete(was):
        yield Rule.RECORD, f"changes {name}, which was complete"


def _changed_fields(was: Any, now: Any) -> list[str]:
    names = [field.name for field in dataclasses.fields(was)]
    return [name for name in names if getattr(was, name) != getattr(now, name)]


def _is_complete(record: object) -> bool:
    if isinstance(record, Card):
        return not record.open
    if isinstance(record, RoutineRecord):
        return bool(record.ended)
    return isinstance(record, Attempt | ReviewRecord) and (record.status is not None or bool(record.ended))


GENERAL: tuple[StepRule, ...] = (
    check_message,
    check_actor,
    check_identity,
    check_times,
    check_standing,
    check_held,
    check_counters,
    check_limits,
    check_records,
    check_usage,
)
