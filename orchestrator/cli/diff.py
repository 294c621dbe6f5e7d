"""`orc diff`: what a job changed, from the objects that the ledger names."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, clean, json_option, pass_app
from orchestrator.cli.complete import complete_job
from orchestrator.errors import NotFoundError

MOST_BYTES = 4_000_000


@click.command()
@click.argument("job", shell_complete=complete_job)
@click.option("--stat", is_flag=True, help="Only the paths and the counts.")
@json_option
@pass_app
def diff(app: App, job: str, stat: bool) -> None:
    """What the newest work of JOB changes against the commit it started from."""
    from orchestrator.adapters.git import Git
    from orchestrator.adapters.git_objects import diff_text
    from orchestrator.engine.answer import evidence_of, find_job

    with app.workspace() as ws:
        found = find_job(ws, job).job
        evidence = evidence_of(ws, found)
        if evidence is None:
            raise NotFoundError(f"{found.id} has no finished attempt yet", hint=f"orc logs {found.id}")
        git = Git(ws.project_git_dir(found.at.project))
        text = "" if stat else diff_text(git, evidence.merge_base, evidence.tip, max_bytes=MOST_BYTES)[0]
    data = {"job": found.id, "base": evidence.merge_base, "commit": evidence.tip, "stat": evidence.stat}
    if app.json:
        app.emit({**data, "paths": [path.path for path in evidence.paths], "diff": text}, "")
        return
    console = app.console()
    click.echo(clean(f"{evidence.merge_base[:12]}..{evidence.tip[:12]}  {evidence.stat}"))
    if stat:
        for path in evidence.paths:
            click.echo(clean(f"  {path.status} {path.path} (+{path.added} -{path.deleted})"))
    elif console.is_terminal:
        from rich.syntax import Syntax

        console.print(Syntax(clean(text), "diff", background_color="default"))
    else:
        click.echo(clean(text))
