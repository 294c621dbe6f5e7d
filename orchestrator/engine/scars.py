"""Scars: each guard of the gates with its incident, the cases and the test that try it, and how often it fired.

The counts are those of the newest steps of the ledger: of some days, and of a bounded number of steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from orchestrator.adapters.library import scan_rules
from orchestrator.core.rules import Enforcement
from orchestrator.core.selftest import Gate, Incident, Needs
from orchestrator.core.times import iso
from orchestrator.core.transitions import Event
from orchestrator.engine.history import Entry, read_log
from orchestrator.engine.selftest_files import read_gates, read_incidents
from orchestrator.engine.workspace import Workspace

MOST_STEPS = 20_000
"""No more steps are read, however many days they are of."""
DAYS = 30
"""So many days are counted unless somebody asks for others."""
ENOUGH = 20
"""With fewer decisions it says nothing that a gate always or never fired."""
TOLD_ALWAYS = (Event.EVIDENCE, Event.CHECKED, Event.VERDICT, Event.MERGE)
"""Events that tell of every decision; a card and a landing that waits are told of only where something was stopped."""


@dataclass(frozen=True, slots=True)
class Scar:
    """One guard, and what is known of it."""

    gate: str
    guard: str
    refuses: str
    incident: Incident
    test: str
    cases: tuple[str, ...]
    """The cases of the self-test that it must refuse."""
    fired: int | None
    """None where the ledger does not tell."""
    judged: int | None = None
    """How many works its gate has judged in that time; None where the ledger does not tell of all of them."""
    last: str = ""


@dataclass(frozen=True, slots=True)
class Register:
    """All guards, and what the counts rest on."""

    scars: tuple[Scar, ...]
    days: int
    steps: int
    since: str
    """The time of the oldest step that was counted; '' if there was none."""
    notes: tuple[str, ...] = ()


@dataclass
class _Count:
    """What was counted for one gate."""

    decisions: int = 0
    stopped: int = 0
    fired: dict[str, int] = field(default_factory=dict)
    last: dict[str, str] = field(default_factory=dict)


def read_scars(ws: Workspace, days: int) -> Register:
    """Every guard with its counts over the last days, and the rules of the workspace that a test keeps."""
    gates, steps = read_gates(), list(_steps(ws, days))
    counts = {gate.name: _count(gate, steps) for gate in gates}
    scars = [scar for gate in gates for scar in _scars(gate, counts[gate.name])]
    notes = [note for gate in gates if (note := _note(gate, counts[gate.name], days))]
    since = iso(datetime.fromtimestamp(steps[-1].at, UTC)) if steps else ""
    return Register((*scars, *_own_rules(ws)), days, len(steps), since, tuple(notes))


def find_odd_gates(ws: Workspace) -> tuple[str, ...]:
    """Which gates stopped none, and which all, of at least `ENOUGH` works in the last `DAYS` days: a sentence each."""
    steps = list(_steps(ws, DAYS))
    if len(steps) < ENOUGH:
        return ()  # The files of the gates need not even be read.
    odd: dict[str, list[str]] = {"none": [], "all": []}
    for gate in read_gates():
        count = _count(gate, steps)
        if share := _share(gate, count):
            odd[share].append(f"{gate.name} ({count.decisions})")
    asked = {"none": "Do they still look?", "all": "Do they let anything through?"}
    return tuple(
        f"these gates stopped {share} of so many works in {DAYS} days: {', '.join(names)}. {asked[share]}"
        for share, names in odd.items()
        if names
    )


def _steps(ws: Workspace, days: int) -> Iterator[Entry]:
    since = iso(ws.now() - timedelta(days=days))
    return read_log(ws, f"--max-count={MOST_STEPS}", f"--since={since}", ws.ledger.tip())


def _count(gate: Gate, steps: Iterable[Entry]) -> _Count:
    found = _Count()
    for step in steps:
        if not gate.event or step.subject.partition(":")[0] != gate.event:
            continue
        found.decisions += 1
        text = step.facts.get(gate.trailer, "") if gate.trailer else step.subject
        spoke = gate.guards_named_in(text) if gate.trailer else gate.guards_that_spoke((text,))
        found.stopped += bool(spoke)
        for rule in spoke:
            found.fired[rule] = found.fired.get(rule, 0) + 1
            found.last.setdefault(rule, iso(datetime.fromtimestamp(step.at, UTC)))  # The newest step comes first.
    return found


def _scars(gate: Gate, count: _Count) -> Iterator[Scar]:
    for rule, guard in gate.guards.items():
        cases = tuple(each.name for each in gate.cases if each.refused_by == rule and each.needs is not Needs.GATE)
        fired = count.fired.get(rule, 0) if gate.event else None
        judged = count.decisions if gate.event in TOLD_ALWAYS and not gate.sometimes else None
        about = (gate.name, rule, guard.refuses, read_incidents()[guard.incident], guard.test, cases)
        yield Scar(*about, fired, judged, count.last.get(rule, ""))


def _share(gate: Gate, count: _Count) -> str:
    """`none` or `all` if that is what a gate stopped of enough works, else ''."""
    if count.decisions < ENOUGH or gate.event not in TOLD_ALWAYS:
        return ""
    if not count.stopped:
        return "" if gate.sometimes else "none"
    return "all" if count.stopped == count.decisions else ""


def _note(gate: Gate, count: _Count, days: int) -> str:
    share = _share(gate, count)
    asked = "does it still look?" if share == "none" else "does it let anything through?"
    return f"{gate.name} stopped {share} of {count.decisions} in {days} days: {asked}" if share else ""


def _own_rules(ws: Workspace) -> Iterator[Scar]:
    """The rules of the workspace that are kept by code: orc knows their tests by name only."""
    for rule in scan_rules(ws.paths.root).good.values():
        if rule.enforced_by is Enforcement.CODE:
            incident = Incident(rule.id, rule.incident, rule.rule, rule.id)
            yield Scar("rules", rule.id, rule.rule, incident, rule.test, (), None)
