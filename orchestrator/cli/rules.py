"""`orc rules`: bring the rules into the files that agents read, and check that they stand there."""

from __future__ import annotations

from dataclasses import asdict

import click

from orchestrator.cli.app import App, json_option, pass_app, refuse_inside_run
from orchestrator.engine.rules import FILES, Outcome, Written, adopt_rules, build_rules, check_rules
from orchestrator.errors import ExitCode


@click.group()
def rules() -> None:
    """Rules: what went wrong once, in every agent's instructions."""


@rules.command(short_help="Write the rules into CLAUDE.md, AGENTS.md, GEMINI.md.")
@json_option
@pass_app
def build(app: App) -> None:
    """Write the rules into CLAUDE.md, AGENTS.md and GEMINI.md, between orc's markers.

    Exits with 4 if a file was left alone because it is your own.
    """
    refuse_inside_run("writing the rules")
    written = build_rules(app.root)
    app.emit({"files": [asdict(one) for one in written]}, "\n".join(map(_sentence, written)))
    if any(one.outcome is Outcome.REFUSED for one in written):
        raise SystemExit(ExitCode.REFUSED)


@rules.command(short_help="Whether the files carry the rules as they are.")
@json_option
@pass_app
def check(app: App) -> None:
    """Check the rules and the files that carry them; exits with 1 if a file differs."""
    problems = check_rules(app.root)
    app.emit({"problems": problems}, "\n".join(problems) or "The rules are in every file.")
    if problems:
        raise SystemExit(ExitCode.FAILED)


@rules.command(short_help="Add the block to FILE, a file of your own.")
@click.argument("file", type=click.Choice(FILES))
@json_option
@pass_app
def adopt(app: App, file: str) -> None:
    """Add the block at the end of FILE, a file of your own; your text stays as it is."""
    refuse_inside_run("writing the rules")
    written = adopt_rules(app.root, file)
    app.emit({"files": [asdict(written)]}, _sentence(written))


def _sentence(one: Written) -> str:
    match one.outcome:
        case Outcome.WRITTEN:
            return f"{one.file}: written"
        case Outcome.UNCHANGED:
            return f"{one.file}: up to date"
        case Outcome.REFUSED:
            return f"{one.file}: left alone, {one.reason}; {one.hint}"
