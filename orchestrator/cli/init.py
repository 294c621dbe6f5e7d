"""`orc init`: a workspace in this repository."""

from __future__ import annotations

import click

from orchestrator.cli.app import App, json_option, pass_app, refuse_inside_run


@click.command()
@json_option
@pass_app
def init(app: App) -> None:
    """Make a workspace in this git repository. Files that are there stay as they are; it may be called again."""
    refuse_inside_run("orc init")
    from orchestrator.adapters.git import common_dir
    from orchestrator.engine.init import init_workspace
    from orchestrator.engine.people import person_of

    made = init_workspace(app.start, person_of(common_dir(app.start)))
    data = {"root": str(made.root), "files": list(made.files), "ledger": made.ledger}
    app.emit(data, _told(made.root.name, made.files, made.ledger))


def _told(name: str, files: tuple[str, ...], ledger: str) -> str:
    if not files and ledger == "there":
        return f"{name} is a workspace already; nothing was changed."
    lines = [f"{name} is a workspace now."]
    lines += [f"  made {each}" for each in files]
    told = {"new": "begins", "adopted": "was taken over from the remote", "there": "was there"}
    lines.append(f"  the ledger {told[ledger]}: git log orc/state")
    lines += [
        "",
        "Next:",
        "  1. Name your agents' programs under `backends:` in orc.yaml, and your tests under `checks:`.",
        "  2. orc doctor           says what is still missing.",
        "  3. orc new > queue/inbox/first.yaml   and write what is to be done.",
        "  4. orc run              and watch.",
    ]
    return "\n".join(lines)
