"""`orc new`: a commented job file to fill in."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app


@click.command()
@click.option(
    "--kind",
    help="What sort of work it is.",
    type=click.Choice(["code", "writing", "research", "ops", "other"]),
    default="code",
    show_default=True,
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

    text = job_template(kind, prompt=prompt)
    app.emit({"text": text}, text.rstrip("\n"))
