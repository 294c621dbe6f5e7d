"""`orc new`: a commented job file to fill in."""

from __future__ import annotations

import re

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_kind
from orchestrator.errors import NotFoundError


@click.command()
@click.option(
    "--kind",
    metavar="NAME",
    help="What sort of work it is: code, writing, research, ops, other, or one that has a file in criteria/ here.",
    default="code",
    show_default=True,
    shell_complete=complete_kind,
)
@click.argument("prompt", required=False, default="")
@json_option
@pass_app
def new(app: App, kind: str, prompt: str) -> None:
    """Print a job file with every key explained. PROMPT, or what you write in its place, is what is to be done.

    \b
    orc new > fix.yaml            then write the prompt, and: orc submit fix.yaml
    orc new "Fix the login" | orc submit -
    """
    from orchestrator.adapters.job_file import job_template
    from orchestrator.adapters.schemas import load_schema
    from orchestrator.core.criteria import slip_of_kind, unknown_kind
    from orchestrator.core.job import Kind
    from orchestrator.engine.criteria import kinds_at

    known = kinds_at(app.start)
    if slip := slip_of_kind(kind, known):
        raise NotFoundError(slip, hint=f"kinds here: {', '.join(known)}")
    if not re.fullmatch(load_schema("job")["properties"]["kind"]["pattern"], kind):
        raise click.UsageError(f"--kind: {kind!r} is no name for a kind: small letters, digits and single hyphens.")
    text = job_template(kind, prompt=prompt)
    if note := unknown_kind(kind, kind if kind in known else Kind.OTHER):
        click.echo(clean_line(f"! {note}"), err=True)
    app.emit({"text": text}, text.rstrip("\n"))
