"""`orc workers`: the agents, what each is doing, and what it did lately."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import TABLE_GAP, App, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_agent

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.engine.outcomes import Measure
    from orchestrator.engine.workers import Tree, WorkerNow, Workers

HEADINGS = (
    "NAME",
    "BACKEND",
    "MODEL",
    "FAMILY",
    "ROLES",
    "TRIED",
    "PASSED",
    "JUDGED",
    "SESSION",
    "TOKENS",
    "LAST USED",
    "STATE",
)
NARROW = tuple(each for each in HEADINGS if each not in ("FAMILY", "ROLES", "LAST USED", "STATE"))
"""What a terminal shows in one line that has no room for all; the state stands below it."""
LEAST_STATE = 40
"""Characters of a state that say what it is."""


@click.command()
@click.argument("name", required=False, shell_complete=complete_agent)
@json_option
@pass_app
def workers(app: App, name: str | None) -> None:
    """Your agents: what each is doing, and what it did lately; with NAME all about one of them.

    \b
    TRIED   attempts it began          PASSED  of the verdicts on its work, those that approved it
    JUDGED  verdicts it gave           All counted over the newest steps of the ledger only.
    SESSION jobs of its conversation   TOKENS  used by it so far
    """
    from orchestrator.engine.services import told_services
    from orchestrator.engine.workers import find_worker, look_at_workers, trees_of

    with app.workspace(lean=True) as ws:
        found = look_at_workers(ws)
        services = told_services(ws)
        shown = [find_worker(found, name)] if name else list(found.workers)
        trees, kept = trees_of(ws, name) if name else ([], [])
    if app.json:
        data = {"workers": [_json(each) for each in shown], "problems": list(found.problems)}
        data["services"] = [each.to_json() for each in services]
        places = {"trees": [{**asdict(each), "path": str(each.path)} for each in trees], "set_aside": _texts(kept)}
        app.emit({**data, "counted": {"steps": found.steps, "since": found.since}, **places}, "")
        return
    if name:
        click.echo("\n".join(_about(shown[0], trees, kept, found)))
    else:
        _tell_all(app, found)
    for service in services:
        if name is None or service.backend == shown[0].backend:
            click.echo(clean_line(f"{'!' if service.state == 'shut' else '-'} {service.text}"))


def _json(worker: WorkerNow) -> dict[str, Any]:
    told = asdict(worker)
    record = told.pop("record")
    first_pass = {age: {**asdict(each), "enough": each.is_enough} for age, each in worker.first_pass.items()}
    return {**told, "first_pass": first_pass, "soul": f"souls/{worker.name}.md", **record}


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def _tell_all(app: App, found: Workers) -> None:
    if not found.workers:
        click.echo("There is no agent: write souls/NAME.md, or: orc init")
    else:
        rows = [_cells(worker) for worker in found.workers]
        if app.is_shown_on_terminal() and not _has_room(rows, app.console().width):
            at = [HEADINGS.index(each) for each in NARROW]
            app.table(NARROW, [[row[each] for each in at] for row in rows], below=[row[-1] for row in rows])
        else:
            app.table(HEADINGS, rows)
    for problem in found.problems:
        click.echo(f"! {clean_line(problem)}")
    if found.workers:
        click.echo(_counted(found))


def _has_room(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether all columns fit beside each other, the state as far as it says what it is."""
    needed = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
    return sum(needed[:-1]) + min(needed[-1], LEAST_STATE) + TABLE_GAP * (len(HEADINGS) - 1) <= width


def _counted(found: Workers) -> str:
    return f"\nCounted over the newest {found.steps} steps of the ledger" + (
        f", since {found.since}." * bool(found.since)
    )


def _cells(worker: WorkerNow) -> tuple[str, ...]:
    record = worker.record
    return (
        worker.name,
        clean_line(worker.backend),
        clean_line(worker.model) or "-",
        clean_line(worker.family) or "-",
        "+".join(worker.roles),
        str(record.attempts),
        f"{record.approved}/{record.judged}" if record.judged else "-",
        str(record.reviews),
        _jobs(worker),
        f"{sum(each.used.total for each in worker.sessions):,}" if worker.sessions else "-",
        record.last_used or "-",
        _state(worker),
    )


def _jobs(worker: WorkerNow) -> str:
    """How many jobs its conversations have had, if it goes on with one from job to job."""
    jobs = sum(each.jobs for each in worker.sessions if each.id)
    return str(jobs) if worker.persistent and worker.sessions else "each job" if not worker.persistent else "-"


def _state(worker: WorkerNow) -> str:
    if worker.why:
        return f"{worker.doing}: {clean_line(worker.why)}"
    since = f" since {worker.since}" if worker.since else ""
    rule = f", rule {worker.rule_number}" if worker.rule_number else ""
    return f"{worker.doing} on {worker.job}{since}{rule}" if worker.job else worker.doing.value


def _first_pass(age: str, measure: Measure) -> str:
    """How much of the work of a conversation of that age was approved at its first outcome."""
    few = "" if measure.is_enough else ", too few to tell"
    told = "-" if measure.value is None else f"{measure.value:.0%} (of {measure.n}{few})"
    return f"{told} in jobs {age}"


def _about(worker: WorkerNow, trees: Sequence[Tree], kept: Sequence[Path], found: Workers) -> Iterator[str]:
    from orchestrator.core.matching import tell_rule

    record = worker.record
    yield f"{worker.name}  {_state(worker)}"
    yield f"  soul:       souls/{worker.name}.md"
    tier = f" (tier {clean_line(worker.tier)})" if worker.tier else ""
    model, family = clean_line(worker.model) or "undeclared", clean_line(worker.family) or "undeclared"
    yield f"  backend:    {clean_line(worker.backend)}, model {model}{tier}, family {family}"
    yield f"  roles:      {', '.join(worker.roles)}"
    yield f"  kinds:      {', '.join(worker.kinds) or 'all'}"
    yield f"  projects:   {', '.join(worker.projects) or 'all'}"
    yield f"  skills:     {', '.join(worker.skills) or 'none of its own'}"
    if worker.run:
        yield f"  run:        {worker.run}   (orc logs -f {worker.run})"
    if worker.rule:
        yield f"  chosen:     {clean_line(tell_rule(worker.rule))}"
    passed = f", {record.approved} of {record.judged} verdicts on its work approved it" if record.judged else ""
    twice = ""
    if record.seconded:
        twice = f"; judged twice by lot: {record.seconded}, of which not shared: {record.contradicted}"
    yield f"  lately:     attempts: {record.attempts}{passed}; verdicts given: {record.reviews}{twice}; last used " + (
        record.last_used or "never"
    )
    if any(each.n for each in worker.first_pass.values()):
        yield f"  first pass: {', '.join(_first_pass(*each) for each in worker.first_pass.items())} of a conversation"
    for session in worker.sessions:
        told = f"{session.id or 'ended'}: {session.jobs} jobs in {session.runs} runs, {session.used.total:,} tokens"
        yield f"  session:    {clean_line(session.project)}: {clean_line(told)}, last used {session.last_used}"
    for tree in trees:
        sealed = f"kept as {tree.sealed[:12]}" if tree.sealed else "not sealed yet" if tree.job else "nothing is known"
        yield f"  tree:       {clean_line(str(tree.path))}   ({clean_line(tree.job) or 'no job'}; {sealed})"
    for path in kept:
        yield f"  set aside:  {clean_line(str(path))}"
    yield _counted(found).strip("\n").join(("  (", ")"))
