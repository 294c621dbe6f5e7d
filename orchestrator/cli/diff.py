"""`orc diff`: what a job changed, from the objects that the ledger names."""

from __future__ import annotations

from typing import Any

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_any
from orchestrator.errors import NotFoundError

MOST_BYTES = 4_000_000


@click.command()
@click.argument("job", shell_complete=complete_any)
@click.option("--stat", is_flag=True, help="Only the paths and the counts.")
@json_option
@pass_app
def diff(app: App, job: str, stat: bool) -> None:
    """What the newest work of JOB changes against the commit it started from."""
    from orchestrator.adapters.git import Git
    from orchestrator.adapters.git_objects import diff_text
    from orchestrator.core.codec import to_mapping
    from orchestrator.engine.answer import evidence_of
    from orchestrator.engine.find import find_job

    with app.workspace(lean=True) as ws:
        found = find_job(ws, job).job
        evidence = evidence_of(ws, found)
        if evidence is None:
            raise NotFoundError(
                f"{found.id} has nothing to show yet",
                cause=f"It is {found.state}; its first attempt has not ended.",
                hint=f"orc show {found.id}",
            )
        git, words = Git(ws.project_git_dir(found.at.project)), ws.git_words(found.at.project)
        text, is_cut = ("", False) if stat else diff_text(git, evidence.merge_base, evidence.tip, max_bytes=MOST_BYTES)
    if app.json:
        paths = [to_mapping(path) for path in evidence.paths]
        data = {"job": found.id, "base": evidence.merge_base, "commit": evidence.tip, "stat": evidence.stat}
        app.emit({**data, "paths": paths, "diff": text, "cut": is_cut}, "")
        return
    click.echo(clean(f"{evidence.merge_base[:12]}..{evidence.tip[:12]}  {evidence.stat}"))
    if stat:
        for path in evidence.paths:
            lines = "binary" if path.added is None else f"+{path.added} -{path.deleted}"
            click.echo(clean_line(f"  {path.status} {path.path} ({lines})"))
        return
    paint = app.paints()
    for line in clean(text).splitlines():
        click.echo(click.style(line, **_style(line)) if paint else line, color=paint)
    if is_cut:
        click.echo(
            f"… cut at {MOST_BYTES} bytes; all of it: {words} diff {evidence.merge_base} {evidence.tip}", err=True
        )


def _style(line: str) -> dict[str, Any]:
    """Colours of one line of a patch. Word for word: nothing is wrapped, so that it can still be copied."""
    if line.startswith(("diff ", "index ", "--- ", "+++ ", "new file", "deleted file")):
        return {"bold": True}
    return {"fg": {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])}
