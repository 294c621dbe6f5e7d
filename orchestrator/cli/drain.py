"""`orc drain`: give an agent nothing new."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_agent


@click.command()
@click.argument("name", shell_complete=complete_agent)
@click.option("--because", "-m", default="", metavar="TEXT", help="Why; it is shown wherever the agent is.")
@click.option("--undo", is_flag=True, help="Let it have work again.")
@json_option
@pass_app
def drain(app: App, name: str, because: str, undo: bool) -> None:
    """Give the agent NAME nothing new: no job that it has not begun, and no review.

    The same as writing `drain: true`, or `drain:` and the reason, into souls/NAME.md. What it is at, it brings to its
    end. To take it out of service then: orc retire NAME.
    """
    refuse_inside_run("orc drain")
    if undo and because:
        raise click.UsageError("--because does not go with --undo")
    from orchestrator.engine.drain import drain_agent, undrain_agent, waits_for_commit, work_of

    with app.workspace() as ws:
        done = undrain_agent(ws, name) if undo else drain_agent(ws, name, because)
        work = work_of(ws, name) if done.soul.drain else []
        uncommitted = waits_for_commit(ws, [ws.paths.root / "souls" / f"{name}.md"])
    told = [f"{name} gets work again."]
    if done.soul.drain:
        told = [f"{name} drains{'' if done.changed else ' already'}: {done.soul.drain}."]
        told += [f"  {each.job}: {each.why}" for each in work] or [
            f"  It has no work now; orc retire {name} takes it out of service."
        ]
    if uncommitted:
        told.append(f"  Commit souls/{name}.md: no work lands in a checkout with changes.")
    data = {"agent": name, "drain": done.soul.drain, "changed": done.changed, "uncommitted": uncommitted}
    app.emit({**data, "jobs": [{"job": each.job, "why": each.why} for each in work]}, "\n".join(told))
