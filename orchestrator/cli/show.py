"""`orc show`: everything about one job."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.app import App, json_option, pass_app
from orchestrator.cli.complete import complete_job


@click.command()
@click.argument("job", shell_complete=complete_job)
@json_option
@pass_app
def show(app: App, job: str) -> None:
    """Everything about JOB: what was asked, each attempt, what the engine saw, each verdict, each card."""
    from orchestrator.core.codec import to_mapping
    from orchestrator.engine.answer import find_job
    from orchestrator.engine.report import records_of

    with app.workspace() as ws:
        folder = find_job(ws, job)
        records = records_of(ws, folder)
    found = folder.job
    data = {
        "job": to_mapping(found.at),
        "spec": to_mapping(found.spec),
        "lane": found.lane.value,
        "records": {stem: to_mapping(record) for stem, record in records.items()},
        "ledger": folder.path,
    }
    lines = [f"{found.id}  {found.priority.name}  {found.state}", f"  {found.spec.heading}"]
    if found.at.reason:
        lines.append(f"  why: {found.at.reason}")
    lines += [f"  task: {line}" if not at else f"        {line}" for at, line in enumerate(_task(found.spec.prompt))]
    for stem, record in records.items():
        lines.append("")
        lines += _record_lines(stem, record)
    lines += ["", f"  ledger: git log orc/state -- {folder.path}"]
    app.emit(data, "\n".join(lines))


def _task(prompt: str) -> list[str]:
    lines = prompt.strip().splitlines()
    return lines if len(lines) <= 12 else [*lines[:12], f"… {len(lines) - 12} more lines"]


def _record_lines(stem: str, record: Any) -> list[str]:
    """One record in a few lines; all of it is in `--json` and in the ledger."""
    from orchestrator.core.records import Attempt, Card, Evidence, MergeRecord, ReviewRecord

    match record:
        case Attempt():
            told = [f"{stem}  {record.worker.agent} ({record.worker.model or record.worker.family or 'undeclared'})"]
            told += [
                f"    {record.status or 'under way'}, {record.seconds:.0f} s, from {record.base[:12]} to {record.tip[:12]}"
            ]
            told += [f"    last error: {record.error}"] if record.error else []
            told += [f"    asked: {fix.id} {fix.problem.splitlines()[0]}" for fix in record.fixes]
            told += [f"    answered: {each.id} {each.answer} {each.reason}" for each in record.answers]
        case Evidence():
            told = [f"{stem}  {record.stat}; tests: {record.tests or 'not run yet'}"]
            told += [f"    {path.status} {path.path}" for path in record.paths[:10]]
            told += [f"    refused ({each.rule}): {each.text}" for each in record.failures]
            told += [f"    {check.outcome}: {check.run}" for check in record.checks]
            told += [f"    note: {note}" for note in record.notes]
        case ReviewRecord():
            score = "" if record.score is None else f", score {record.score:.2f}"
            told = [f"{stem}  {record.reviewer.agent}: {record.verdict or 'under way'}{score} ({record.independence})"]
            told += [f"    {record.why}"] if record.why else []
            told += [f"    {each.severity}: {each.file}:{each.line} {each.problem}" for each in record.findings]
            told += [f"    {record.summary}"] if record.summary else []
        case MergeRecord():
            told = [
                f"{stem}  onto {record.target}: {record.merged[:12] or 'conflict'}; tests: {record.tests or 'not run yet'}"
            ]
            told += [f"    conflict: {path}" for path in record.conflicts]
        case Card():
            told = [f"{stem}  {record.question}"]
            answered = f"{record.answer} by {record.by}" if record.answer else record.superseded or "open"
            told += [f"    {answered}"] + ([f"    {record.message}"] if record.message else [])
        case _:
            told = [stem]
    return [f"  {line}" for line in told]
