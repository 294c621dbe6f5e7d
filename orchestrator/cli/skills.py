"""`orc skills`: the skills of the agents, their versions, and what came of the work that was done with each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app

if TYPE_CHECKING:
    from orchestrator.engine.outcomes import Measure
    from orchestrator.engine.skill_log import SkillLog, Version
    from orchestrator.engine.skills import SkillDiff, SkillNow

LIST_HEADINGS = ("NAME", "TOKENS", "USED BY", "TRIGGER", "DESCRIPTION")
LOG_HEADINGS = ("VERSION", "FIRST USED", "LAST USED", "RUNS", "FIRST PASS", "SCORE", "TOKENS", "BEFORE", "NOTE")


def complete_skill(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of skills that begin so."""
    from pathlib import Path

    from orchestrator.adapters.places import find_root
    from orchestrator.errors import OrcError

    try:
        names = os.listdir(find_root(Path(ctx.find_root().params.get("where") or ".").absolute()) / "skills")
    except (OrcError, OSError):
        return []
    return sorted(name for name in names if name.startswith(incomplete) and not name.startswith("."))


@click.group()
def skills() -> None:
    """Skills: what your agents are told to do how, by version, and what came of it.

    A skill is skills/NAME/SKILL.md. NAME@BLOB is one version of it: the first 8 digits of its blob id, or more.
    """


@skills.command("list", short_help="Every skill, who brings it, its trigger, what is wrong.")
@json_option
@pass_app
def list_(app: App) -> None:
    """Every skill: its tokens, who brings it to every job, its trigger, and what is wrong with it."""
    from orchestrator.engine.skills import look_at_skills

    with app.workspace(lean=True) as ws:
        found = look_at_skills(ws)
    if app.json:
        app.emit({"skills": [asdict(each) for each in found.skills], "problems": list(found.problems)}, "")
        return
    if found.skills:
        app.table(LIST_HEADINGS, [_list_cells(each) for each in found.skills])
    elif not found.problems:
        click.echo("There is no skill: write skills/NAME/SKILL.md")
    for each in found.skills:
        for problem in each.problems:
            click.echo(clean_line(f"! {each.name}: {problem}"))
    for problem in found.problems:
        click.echo(clean_line(f"! {problem}"))


def _list_cells(skill: SkillNow) -> tuple[str, ...]:
    trigger = clean_line(skill.trigger) or "-"
    return (skill.name, str(skill.tokens), ", ".join(skill.agents) or "-", trigger, clean_line(skill.description))


@skills.command(short_help="One skill as an agent gets it.")
@click.argument("name", metavar="NAME[@BLOB]", shell_complete=complete_skill)
@json_option
@pass_app
def show(app: App, name: str) -> None:
    """One skill as an agent gets it, as it is now or in one of its versions."""
    from orchestrator.core.skills import tokens_of
    from orchestrator.engine.skills import find_skill

    with app.workspace(lean=True) as ws:
        skill = find_skill(ws, name)
    facts = {"name": skill.name, "blob": skill.blob, "description": skill.description, "trigger": skill.trigger}
    tokens = tokens_of(skill.body)
    lines = [
        f"{skill.name}@{skill.blob[:12]}  about {tokens} tokens",
        f"  {clean_line(skill.description)}",
        f"  trigger: {clean_line(skill.trigger) or 'none'}",
        "",
        skill.body.strip(),
    ]
    app.emit({**facts, "tokens": tokens, "body": skill.body}, "\n".join(lines))


@skills.command(short_help="The versions of a skill, and what came of each.")
@click.argument("name", metavar="NAME[@BLOB]", shell_complete=complete_skill)
@json_option
@pass_app
def log(app: App, name: str) -> None:
    """The versions of a skill, and what came of the work that was done with each.

    With NAME@BLOB, of that version alone, and in which attempts it was used.

    \b
    FIRST PASS  of the jobs begun with it, those whose work was approved at once
    SCORE       the mean score of the verdicts on that work
    TOKENS      the mean tokens of a run, of those whose program tells
    BEFORE      the same of the version before
    (n)         how many were counted; fewer than 20 are too few to tell
    """
    from orchestrator.engine.skill_log import read_skill_log

    with app.workspace(lean=True) as ws:
        found = read_skill_log(ws, name)
    if app.json:
        counted = {"steps": found.steps, "since": found.since}
        versions = [_json(each) for each in found.versions]
        app.emit({"name": found.name, "versions": versions, "counted": counted}, "")
        return
    app.table(LOG_HEADINGS, [_log_cells(each) for each in found.versions])
    click.echo(_counted(found))
    if "@" in name:
        for each in found.versions:
            click.echo("\n".join(_outputs(each)))


def _counted(found: SkillLog) -> str:
    since = f", since {found.since}" if found.since else ""
    return f"\nCounted over the newest {found.steps} steps of the ledger{since}. The version in skills/ is marked *."


def _outputs(version: Version) -> Iterator[str]:
    """The attempts that used a version."""
    yield "\nUsed in, the newest first (orc show JOB):" if version.outputs else "\nNot used in these steps."
    for run in version.outputs:
        yield f"  {clean_line(run)}"
    if (more := version.runs - len(version.outputs)) > 0:
        yield f"  … and {more} before"


def _measures(version: Version) -> dict[str, Measure]:
    return {
        "first_pass": version.first_pass,
        "score": version.score,
        "tokens": version.tokens,
        "tokens_before": version.tokens_before,
    }


def _json(version: Version) -> dict[str, Any]:
    told = {name: {**asdict(each), "enough": each.is_enough} for name, each in _measures(version).items()}
    return {**asdict(version), **told}


def _log_cells(version: Version) -> tuple[str, ...]:
    return (
        version.blob[:12] + "*" * version.is_current,
        version.first or "-",
        version.last or "-",
        str(version.runs),
        _cell(version.first_pass, "{:.0%}"),
        _cell(version.score, "{:.2f}"),
        _cell(version.tokens, "{:,.0f}"),
        _cell(version.tokens_before, "{:,.0f}"),
        "; ".join(_notes(version)) or "-",
    )


def _cell(measure: Measure, form: str) -> str:
    return "-" if measure.value is None else f"{form.format(measure.value)} ({measure.n})"


def _notes(version: Version) -> Iterator[str]:
    if not version.runs:
        yield "not used in these steps"
    elif not all(each.is_enough for each in (version.first_pass, version.score)):
        yield "too few to tell"
    elif version.tokens.n and not (version.tokens.is_enough and version.tokens_before.is_enough):
        yield "tokens: too few to tell"


@skills.command(short_help="How two versions differ, or the skills of two runs.")
@click.argument("what", nargs=-1, required=True, metavar="NAME BLOB BLOB | RUN RUN", shell_complete=complete_skill)
@json_option
@pass_app
def diff(app: App, what: tuple[str, ...]) -> None:
    """How two versions of a skill differ, or the skills that two runs used.

    A RUN is JOB.attempt-1; a JOB alone is its newest attempt.
    """
    from orchestrator.engine.skills import diff_runs, diff_versions

    if len(what) not in (2, 3):
        raise click.UsageError("give NAME BLOB BLOB, or RUN RUN.")
    with app.workspace(lean=True) as ws:
        found = diff_versions(ws, *what) if len(what) == 3 else diff_runs(ws, *what)
    if app.json:
        listed = [{"name": name, "old": old, "new": new} for name, (old, new) in found.blobs.items()]
        app.emit({"old": found.old, "new": found.new, "skills": listed, "diff": found.text}, "")
        return
    _tell_diff(app, found)


def _tell_diff(app: App, found: SkillDiff) -> None:
    if not found.text:
        what = f"{len(found.blobs)} skill{'s' * (len(found.blobs) != 1)}" if found.blobs else "no skill at all"
        click.echo(f"Nothing differs: {what}, in the same version.")
        return
    paint = app.paints()
    for line in clean(found.text).splitlines():
        bold, color = line.startswith(("--- ", "+++ ")), {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
        click.echo(click.style(line, bold=bold, fg=None if bold else color) if paint else line, color=paint)
