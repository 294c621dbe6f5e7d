"""`orc gate selftest`: try every gate on what it must refuse and on what it must let through."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app
from orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from orchestrator.core.selftest import Score
    from orchestrator.engine.selftest import Report
    from orchestrator.engine.selftest_reviewers import Measured

HEADINGS = ("GATE", "CHEATS", "RECALL", "CONTROLS", "SPECIFICITY", "SECONDS", "WHAT IT LOOKS AT")


@click.command()
@click.option("--gate", "gates", multiple=True, metavar="NAME", help="Only this gate; may be given again.")
@click.option("--reviewer", metavar="NAME", help="Measure this agent, or BACKEND:MODEL, instead.")
@click.option("--reviewer-command", metavar="LINE", help="Measure a program that reviews instead.")
@json_option
@pass_app
def selftest(app: App, /, gates: tuple[str, ...], reviewer: str | None, reviewer_command: str | None) -> None:
    """Try every gate of orc on cheats that it must stop and on clean controls that must pass.

    Each case goes through the real program, in repositories that are thrown away. Needs no workspace, asks no model,
    and takes about a minute. Cheats that no rule can tell are left to a reviewer: with --reviewer they are put before
    one of yours, which costs what its program costs, and its figures are kept in state/selftest/ of the workspace.

    Exit codes: 0 every cheat was stopped and every control passed (by the gates, or by the reviewer), 1 not so.
    """
    from orchestrator.cli.gate import Progress, reviewer_words

    name, command = reviewer_words(reviewer, reviewer_command)
    if name or command:
        if gates:
            raise click.UsageError("a reviewer is measured on its own: leave --gate out.")
        _measure(app, name, command)
        return
    from orchestrator.engine.selftest import run_selftest

    with Progress() as progress:
        report = run_selftest(progress.tell, only=gates)
    _tell(app, report)
    if not report.is_perfect:
        sys.exit(int(ExitCode.FAILED))


# --- the gates ---


def _tell(app: App, report: Report) -> None:
    if app.json:
        app.emit(_json_of(report), "")
        return
    if app.is_shown_on_terminal():
        _tell_table(app, report)
    else:
        click.echo("\t".join(HEADINGS))
        click.echo("\n".join("\t".join(_cells(each)) for each in report.scores))
    for line in _lines(report):
        color = "red" if line.startswith("!") else "green" if line.startswith("recall") and report.is_perfect else None
        click.echo(click.style(clean(line), fg=color) if color else clean(line), color=app.paints())


def _cells(score: Score) -> tuple[str, ...]:
    return (
        score.gate,
        str(score.cheats),
        _share(score.caught, score.cheats),
        str(score.controls),
        _share(score.passed, score.controls),
        f"{score.seconds:.1f}",
        score.told,
    )


def _share(part: int, whole: int) -> str:
    # Rounded down: nothing but all of it is 100 %.
    return f"{part}/{whole} {100 * part // whole} %" if whole else "-"


def _tell_table(app: App, report: Report) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in HEADINGS:
        table.add_column(name, overflow="fold", no_wrap=name != HEADINGS[-1])
    for score in report.scores:
        *cells, told = _cells(score)
        style = ("green" if score.is_perfect else "red") if app.paints() else ""
        table.add_row(*(Text(cell, style=style) for cell in cells), Text(told))
    app.console().print(table)


def _lines(report: Report) -> Iterator[str]:
    for each in report.failures:
        yield clean_line(f"! {each.gate}: {each.case.name}: {each.problem}")
        yield f"    {clean_line(each.case.told)}"
    cheats, caught = sum(each.cheats for each in report.scores), sum(each.caught for each in report.scores)
    controls, passed = sum(each.controls for each in report.scores), sum(each.passed for each in report.scores)
    kinds = ", ".join(sorted({each.case.kind for each in report.results}))
    yield (
        f"recall {_share(caught, cheats)} of cheats, specificity {_share(passed, controls)} of clean controls "
        f"({kinds}), {report.seconds:.1f} s"
    )
    yield from _not_counted(report)


def _not_counted(report: Report) -> Iterator[str]:
    unspelled, judged = ([case for _, case in report.unguarded if case.needs == each] for each in ("spelling", "judge"))
    if unspelled:
        names = ", ".join(each.name for each in unspelled)
        yield f"not counted: {names}, for codespell is not installed (see orc doctor)"
    if judged:
        cheats = sum(each.is_cheat for each in judged)
        told = f"{cheats} cheats that no rule can tell, and {len(judged) - cheats} clean controls"
        yield f"left to a reviewer: {told} (--reviewer NAME puts them before one, --json tells why)"
    for is_cheat, told in ((True, "cheats that no gate stops yet"), (False, "clean controls that a gate stops today")):
        gaps: dict[str, list[str]] = {}
        for gate, case in report.unguarded:
            if case.needs == "gate" and case.is_cheat is is_cheat:
                gaps.setdefault(gate, []).append(case.name)
        if gaps:
            yield f"not counted: {sum(map(len, gaps.values()))} {told}:"
            yield from (f"    {gate}: {', '.join(each)}" for gate, each in gaps.items())


def _json_of(report: Report) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "ok": report.is_perfect,
        "recall": report.recall,
        "specificity": report.specificity,
        "gates": [asdict(each) for each in report.scores],
        "cases": [
            {
                "gate": each.gate,
                "case": each.case.name,
                "kind": each.case.kind,
                "told": each.case.told,
                "refused_by": each.case.refused_by,
                "ok": each.ok,
                "end": each.found.end,
                "guards": list(each.spoke),
                "problem": each.problem,
                "seconds": round(each.seconds, 4),
            }
            for each in report.results
        ],
        "not_counted": [
            {
                "gate": gate,
                "case": case.name,
                "told": case.told,
                "cheat": case.is_cheat,
                "needs": str(case.needs),
                "reason": case.reason,
            }
            for gate, case in report.unguarded
        ],
        "reviewer": None,
        "seconds": report.seconds,
    }


# --- a reviewer ---


def _measure(app: App, name: str, command: tuple[str, ...]) -> None:
    from orchestrator.cli.gate import Progress
    from orchestrator.engine.gate_bench import open_bench
    from orchestrator.engine.gate_review import find_reviewer
    from orchestrator.engine.selftest_reviewers import measure_reviewer

    judge = find_reviewer(app.start, name, command, open_bench(app.start))
    with Progress() as progress:
        found = measure_reviewer(judge, progress.tell)
    figures = {**found.figures(), "kept": found.kept}
    is_right = all(each.ok for each in found.judged)
    shares = {"recall": found.share(cheats=True), "specificity": found.share(cheats=False)}
    told: dict[str, Any] = {"ok": is_right, **shares, "gates": [], "cases": [], "not_counted": [], "reviewer": figures}
    app.emit({**told, "seconds": found.seconds}, "\n".join(_measured(found)))
    if not is_right:
        sys.exit(int(ExitCode.FAILED))


def _measured(found: Measured) -> Iterator[str]:
    who = " ".join(each for each in (found.reviewer.agent, found.reviewer.family, found.reviewer.model) if each)
    yield f"{who}, on cases that no rule can tell:"
    for each in found.judged:
        sort = "cheat" if each.case.is_cheat else "control"
        mark = "ok" if each.ok else "wrong" if each.is_clear else "unclear"
        why = f"  ({each.why})" if each.why else ""
        yield f"  {mark:<7}  {sort:<7}  {each.case.name}: {each.verdict or 'not asked'}{why}"
    caught = _share(found.count(cheats=True, ok=True), found.count(cheats=True, ok=False))
    passed = _share(found.count(cheats=False, ok=True), found.count(cheats=False, ok=False))
    unclear = f"{found.unclear} unclear, {found.seconds:.1f} s"
    yield f"recall {caught} of cheats, specificity {passed} of clean controls, {unclear}"
    if found.kept:
        yield f"kept in {found.kept}"
