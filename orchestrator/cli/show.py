"""`orc show`: everything about one job."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_any

if TYPE_CHECKING:
    from orchestrator.adapters.ledger_snapshot import Folder
    from orchestrator.core.attempt_record import Attempt, Spoke, Used
    from orchestrator.core.evidence_record import CheckResult, Evidence, Preview
    from orchestrator.core.job import Job
    from orchestrator.core.outbox import Requested
    from orchestrator.core.records import Card, MergeRecord, Reverted
    from orchestrator.core.review_record import ReviewRecord
    from orchestrator.core.routine import RoutineRecord
    from orchestrator.core.waits import Wait

SHOWN_TAIL = 3
"""Last lines shown of what a failed check printed."""
SHOWN_LINES = 12
SHOWN_PATHS = 10
_EXCERPT = "  | "


@click.command()
@click.argument("job", shell_complete=complete_any)
@json_option
@pass_app
def show(app: App, job: str) -> None:
    """Everything about JOB: what was asked, each attempt, what the engine saw, each verdict, each card.

    The name of a project that is to be finished shows how it stands, unless a job has that very name.
    """
    from orchestrator.core.codec import to_mapping
    from orchestrator.core.needs import blocked_by, needed_by
    from orchestrator.core.waits import wait_of
    from orchestrator.engine.agents import view_agents
    from orchestrator.engine.find import find_goal, find_job
    from orchestrator.engine.limits import Reasons
    from orchestrator.engine.report import refusal_json, wait_json
    from orchestrator.engine.story import asked_so_far, records_of, reverts_of

    with app.workspace(lean=True) as ws:
        if (goal := find_goal(ws, job)) is not None:
            from orchestrator.cli.goal import show_goal

            show_goal(app, ws, goal)
            return
        folder = find_job(ws, job)
        records, reverts = records_of(ws, folder), reverts_of(ws, folder.job.id)
        requests = list(asked_so_far(ws, folder.job.id).values())
        wait = wait_of(folder.job, ws.now())
        blocks = blocked_by(folder.job.id, needed_by(ws.ledger.snapshot().backlog.values()))
        refusal = Reasons(ws, view_agents(ws)[0]).of(folder.job)
        git = ws.git_words(folder.job.at.project) if folder.job.at.project in ws.config.projects else "git"
    data = {
        "job": to_mapping(folder.job.at),
        "spec": to_mapping(folder.job.spec),
        "lane": folder.job.lane.value,
        "waits": wait_json(wait),
        "limit": refusal_json(refusal) if refusal is not None else None,
        "blocks": list(blocks),
        "records": {stem: to_mapping(record) for stem, record in records.items()},
        "reverts": [to_mapping(each) for each in reverts],
        "requests": [to_mapping(each) for each in requests],
        "ledger": folder.path,
    }
    limit = refusal.told if refusal is not None else ""
    app.emit(data, "\n".join(_told(folder, records, reverts, requests, wait, git, blocks, limit)))


def _told(
    folder: Folder,
    records: Mapping[str, Any],
    reverts: Sequence[Reverted],
    requests: Sequence[Requested],
    wait: Wait | None,
    git: str,
    blocks: Sequence[str] = (),
    limit: str = "",
) -> Iterator[str]:
    from orchestrator.core.needs import blocked_in_words

    job = folder.job
    yield f"{job.id}  {job.priority.name}  {job.state}"
    yield f"  {clean_line(job.spec.heading)}"
    if job.why:
        yield f"  why:  {clean_line(job.why)}"
    if limit:
        yield f"  limit: {clean_line(limit)}"
    yield from _used(job)
    if job.at.reason not in ("", job.why):
        yield f"        {clean_line(job.at.reason)}"
    if wait is not None:
        yield f"  {clean_line(wait.in_words())}"
    if blocks:
        yield f"  {blocked_in_words(blocks)}"
    if job.at.conflicts and not job.state.ended:
        yield f"  conflicts: {job.at.conflicts}" + (f", given to {job.at.given}" if job.at.given else "")
    if job.at.second is not None and job.at.second.told not in (job.why, job.at.reason):
        yield f"  another reviewer is asked: {clean_line(job.at.second.told)}"
    for each in reverts:
        yield f"  undone on {each.target} as {each.commit[:12]}, by {clean_line(each.by)}"
    for at, line in enumerate(_cut(job.spec.prompt)):
        yield f"  {'task:' if not at else '     '} {line}"
    for stem, record in records.items():
        yield ""
        for line in _record_lines(stem, record, git):
            yield f"  {line}"
        for asked in requests:
            if asked.run == f"{job.id}.{stem}":
                yield f"      {clean_line(_request(asked))}"
    yield ""
    yield f'  git log orc/state --grep "^Job: {job.id}$"'


def _cut(text: str) -> list[str]:
    lines = text.strip().splitlines()
    return lines if len(lines) <= SHOWN_LINES else [*lines[:SHOWN_LINES], f"… {len(lines) - SHOWN_LINES} more lines"]


def _record_lines(stem: str, record: Any, git: str) -> Iterator[str]:
    """One record in a few lines; all of it is in `--json` and in the ledger."""
    from orchestrator.core.attempt_record import Attempt
    from orchestrator.core.evidence_record import Evidence
    from orchestrator.core.records import Card, MergeRecord
    from orchestrator.core.review_record import ReviewRecord
    from orchestrator.core.routine import RoutineRecord

    match record:
        case Attempt():
            lines = _attempt(record)
        case Evidence():
            lines = _evidence(record, git)
        case ReviewRecord():
            lines = _review(record)
        case MergeRecord():
            lines = _merge(record)
        case Card():
            lines = _card(record)
        case RoutineRecord():
            lines = _routine(record)
        case _:
            lines = iter(("",))
    # Agents wrote some of this: no line of theirs may look like one of ours.
    yield f"{stem}  {clean_line(next(lines))}".rstrip()
    for line in lines:
        yield f"    {_clean_excerpt(line) if line.startswith(_EXCERPT) else clean_line(line)}"


def _clean_excerpt(line: str) -> str:
    """A line of an excerpt, whose blanks are kept."""
    return clean(line).replace("\n", " ").expandtabs(4).rstrip()


def _request(asked: Requested) -> str:
    """One thing that a run asked, and what came of it."""
    made = asked.job or asked.memory
    came = f"refused: {asked.refused}" if asked.refused else asked.note
    told = f"{asked.kind or asked.file}: {asked.text}" + (f" -> {made}" if made else "")
    return f"{told} ({came})" if came else told


def _attempt(record: Attempt) -> Iterator[str]:
    from orchestrator.core.attempt_record import UNANSWERED
    from orchestrator.core.matching import tell_rule
    from orchestrator.core.report import last_words

    worker = record.worker
    yield f"{worker.agent} ({worker.model or worker.family or 'undeclared'})"
    if record.status is None:
        yield f"under way since {record.started}, from {record.base[:12]}"
    else:
        code = f", exit {record.exit}" if record.exit else ""
        made = f"from {record.base[:12]} to {record.tip[:12] or 'nothing'}"
        yield f"{record.status}{code}, {record.seconds:.0f} s, {made}"
    if record.error:
        yield f"last error: {record.error}"
    for escape in record.escapes:
        yield f"outside of its own tree ({escape.rule}): {escape.told}"
    if record.rule:
        yield f"chosen: {tell_rule(record.rule)}"
    if record.conflict:
        yield f"is to resolve the conflict of merge-{record.conflict}, with both diffs before it"
    if record.session or record.resumed or record.why_fresh:
        yield _session(record)
    yield from _identity(record)
    if record.skills:
        yield f"skills: {', '.join(_skill(each) for each in record.skills)}"
    yield from _spoke(record.spoke)
    if record.report.strip():
        yield f"said: {last_words(record.report)}"
    for fix in record.fixes:
        yield f"asked: {fix.id} {fix.problem}"
    for answer in record.answers:
        yield f"answered: {answer.id} {answer.answer} {answer.reason}"
    if record.ended and (silent := {fix.id for fix in record.fixes} - {answer.id for answer in record.answers}):
        yield f"{UNANSWERED}: {', '.join(sorted(silent))}"


def _session(record: Attempt) -> str:
    """With which conversation an attempt went on, or why with none."""
    if record.resumed:
        told = "session " + (f"{record.session}, gone on with" if record.session else "that was gone on with is over")
    else:
        told = f"session {record.session}, new" if record.session else "no session to go on with"
        told += f": {record.why_fresh}" if record.why_fresh else ""
    return told + (f" (its job {record.session_job})" if record.session_job else "")


def _identity(record: Attempt | ReviewRecord) -> Iterator[str]:
    if record.identity:
        yield f"identity {record.identity}: its program takes no system prompt, so who it is stands in the message"


def _skill(used: Used) -> str:
    from orchestrator.core.skills import skill_of_path

    return f"{skill_of_path(used.name) or used.name}@{used.blob[:12]}"


def _used(job: Job) -> Iterator[str]:
    """What its runs used, and what is set aside for the one that is alive."""
    used, reserved = job.at.used, job.at.reserved
    if used.runs:
        marks = [f"{used.estimated} by what was expected"] if used.estimated else []
        marks += [f"{used.unpriced} without a known cost"] if used.unpriced else []
        more = f" ({', '.join(marks)})" if marks else ""
        yield f"  used: {used.tokens:,} tokens, ${used.microusd / 1e6:.2f}, in {used.runs} runs{more}"
    if reserved is not None:
        yield f"  set aside: {reserved.tokens:,} tokens, ${reserved.microusd / 1e6:.2f}, for {reserved.agent}"


def _spoke(spoke: Spoke | None) -> Iterator[str]:
    """What an agent's program told of its run."""
    if spoke is None:
        return
    if (usage := spoke.usage) is not None:
        told = usage.cache_read or usage.cache_write
        cached = f", cache {usage.cache_read:,} read and {usage.cache_write:,} written" if told else ""
        cost = f", ${spoke.cost_microusd / 1e6:.4f} ({spoke.priced})" if spoke.cost_microusd is not None else ""
        yield f"used: {usage.total:,} tokens (in {usage.input:,}, out {usage.output:,}{cached}){cost}"
    more = [f"model {spoke.model}"] if spoke.model else []
    more += [f"{spoke.tool_calls} tool call{'s' * (spoke.tool_calls > 1)}"] if spoke.tool_calls else []
    more += [f"{spoke.retries} call{'s' * (spoke.retries > 1)} repeated"] if spoke.retries else []
    more += [f"trouble: {spoke.trouble}"] if spoke.trouble else []
    more += [f"sandbox {spoke.sandbox}"] if spoke.sandbox else []
    if more:
        yield ", ".join(more)
    yield from (f"fell back: {each}" for each in spoke.fallbacks)
    yield from (f"denied: {each}" for each in spoke.denials)


def _evidence(record: Evidence, git: str) -> Iterator[str]:
    yield f"{record.stat}; tests: {record.tests_in_words}"
    for path in record.paths[:SHOWN_PATHS]:
        yield f"{path.status} {path.path}"
    more = len(record.paths) + record.more_paths - SHOWN_PATHS
    if more > 0:
        yield f"… and {more} more"
    for failure in record.failures:
        yield f"refused ({failure.rule}): {failure.told}"
    for escape in record.escapes:
        yield f"held ({escape.rule}): outside of its own tree, attempt {escape.attempt}: {escape.told}"
    for found in record.tampering[:SHOWN_PATHS]:
        yield f"{'allowed' if found.declared else 'held'} ({found.rule}): {found.told}"
    if (left := len(record.tampering) + record.more_tampering - SHOWN_PATHS) > 0:
        yield f"… and {left} more of these (--json)"
    yield from _checks(record.checks)
    if record.reproduction_tree:
        yield f"the defect is {record.reproduction or 'not looked for yet'} (the base with the new tests)"
        yield from (f"  {line}" for line in _checks(record.reproduction_checks))
    for note in record.notes:
        yield f"note: {note}"
    for preview in record.previews:
        yield from _preview(preview, record.tip, git)
    if record.more_deliverables:
        yield f"… and {record.more_deliverables} more deliverables"


def _checks(checks: tuple[CheckResult, ...]) -> Iterator[str]:
    for check in checks:
        yield f"{check.outcome}: {check.run}"
        if not check.passed and check.tail.strip():
            yield from (f"  {line}" for line in check.tail.strip().splitlines()[-SHOWN_TAIL:])


def _preview(preview: Preview, tip: str, git: str) -> Iterator[str]:
    """What can be seen of a deliverable; what is no text is opened with a command."""
    place = f", from line {preview.line}" if preview.line > 1 else ""
    yield f"{preview.path or 'the report'}: {preview.about}{place}"
    yield from (_EXCERPT + line for line in preview.text.splitlines())
    if not preview.text:
        name = preview.path.rpartition("/")[2]
        yield f"  to look at it: {git} show {shlex.quote(f'{tip[:12]}:{preview.path}')} > {shlex.quote(f'/tmp/{name}')}"


def _review(record: ReviewRecord) -> Iterator[str]:
    score = "" if record.score is None else f", score {record.score:.2f}"
    yield f"{record.reviewer.agent}: {record.verdict or 'under way'}{score} ({record.independence})"
    yield from _identity(record)
    yield from _spoke(record.spoke)
    if record.why:
        yield record.why
    if record.asked_again:
        yield f"asked once more: its first answer {record.asked_again}"
    for claim in record.claims:
        yield f"looked up {claim.id}: {claim.result}: {claim.evidence}"
    for doubt in record.doubts:
        yield f"suspicious: {doubt}"
    if record.drawn:
        yield "drawn by lot, to be judged by another reviewer as well"
    for finding in record.findings:
        place = finding.file + (f":{finding.line}" if finding.line else "")
        yield f"{finding.severity}: {place} {finding.problem}"
    for proposed in record.follow_ups:
        yield f"proposes: {proposed.title or 'a follow-up'}" + (f" ({proposed.problem})" if proposed.problem else "")
    if record.summary:
        yield record.summary


def _merge(record: MergeRecord) -> Iterator[str]:
    merged = record.merged[:12] or ("conflict" if record.conflicts else "not built")
    yield f"onto {record.target}: {merged}" + (f"; tests: {record.tests or 'not run yet'}" if record.merged else "")
    for path in record.conflicts:
        yield f"conflict: {path}"
    if record.problem:
        yield record.problem


def _routine(record: RoutineRecord) -> Iterator[str]:
    if record.status is None:
        yield f"{record.routine}, under way since {record.started}"
        return
    yield f"{record.routine}: {record.status}, {record.seconds:.0f} s: {record.summary}"
    yield from (_EXCERPT + line for line in record.report.splitlines())
    if record.figures:
        yield "figures: " + ", ".join(f"{name} {number:,}" for name, number in record.figures.items())


def _card(record: Card) -> Iterator[str]:
    from orchestrator.core.card import choices_on
    from orchestrator.core.questions import default_in_words
    from orchestrator.core.transitions import ENGINE

    yield record.question
    yield from record.context.splitlines()[:SHOWN_LINES]
    if record.answer:
        by = "by default" if record.by == ENGINE.name else f"by {record.by}"
        yield f"{record.answer}, {by}" + (f": {record.message}" if record.message else "")
    elif record.superseded:
        yield f"taken back: {record.superseded}"
    else:
        yield from (f"{option.key}: {option.label}. {option.consequence}" for option in choices_on(record))
        if by_default := default_in_words(record):
            yield by_default
        keys = ", ".join(option.key for option in record.options)
        yield f"open: orc answer {record.id} KEY ({keys})"
