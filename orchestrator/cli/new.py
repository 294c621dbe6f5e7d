"""`orc new`: a commented job file to fill in."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app


@click.command()
@click.option("--kind", type=click.Choice(["code", "writing", "research", "ops"]), default="code", show_default=True)
@click.argument("prompt", required=False, default="")
@json_option
@pass_app
def new(app: App, kind: str, prompt: str) -> None:
    """Print a job file with every key explained. Fill in the prompt and save it in queue/inbox/."""
    from orchestrator.adapters.job_file import job_template
    from orchestrator.core.job import Kind

    text = job_template(Kind(kind), prompt=prompt)
    app.emit({"text": text}, text.rstrip("\n"))
