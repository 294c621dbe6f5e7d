"""`orc retire`: take an agent out of service."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_retired


@click.command()
@click.argument("name", shell_complete=complete_retired)
@click.option("--undo", is_flag=True, help="Put it into service again.")
@json_option
@pass_app
def retire(app: App, name: str, undo: bool) -> None:
    """Take the agent NAME out of service: its soul is moved to souls/retired/, where no agent is read from.

    While it still has work it is refused; the agent drains from then on, and you run it again later. What it did stays
    in the ledger, and its conversations too.
    """
    refuse_inside_run("orc retire")
    from orchestrator.engine.drain import waits_for_commit
    from orchestrator.engine.retire import bring_back, retire_agent

    with app.workspace() as ws:
        moved = bring_back(ws, name) if undo else retire_agent(ws, name)
        soul = moved.place.relative_to(ws.paths.root).as_posix()
        places = [ws.paths.root / "souls" / f"{name}.md", moved.place]
        uncommitted = waits_for_commit(ws, places)
    told = [f"{name} is {'in service again' if undo else 'retired'}: its soul is {soul}."]
    if not undo:
        told.append(f"  To bring it back: orc retire {name} --undo")
    if moved.drain:
        told.append(f"  It still drains: {clean_line(moved.drain)}. To let it have work: orc drain {name} --undo")
    if uncommitted:
        told.append("  Commit the change in souls/: no work lands in a checkout with changes.")
    data = {"agent": name, "soul": soul, "retired": not undo, "drain": moved.drain, "uncommitted": uncommitted}
    app.emit(data, "\n".join(told))
