"""`orc init`: a workspace in this repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, json_option, pass_app, refuse_inside_run

if TYPE_CHECKING:
    from orchestrator.engine.init import Made

_LEDGER = {"new": "begins", "adopted": "was taken over from the remote", "there": "was there"}


@click.command()
@json_option
@pass_app
def init(app: App) -> None:
    """Make a workspace in this git repository. Files that are there stay as they are; it may be called again."""
    refuse_inside_run("orc init")
    from orchestrator.adapters.git_person import common_dir, top_level
    from orchestrator.engine.init import init_workspace
    from orchestrator.engine.people import person_of

    top_level(app.start)  # Before anything else: a bare repository has no place for the files.
    made = init_workspace(app.start, person_of(common_dir(app.start)))
    data = {"root": str(made.root), "files": list(made.files), "ledger": made.ledger}
    app.emit(data, _told(made))


def _told(made: Made) -> str:
    if not made.files and made.ledger == "there":
        return f"{made.root} is a workspace already; nothing was changed."
    lines = [f"{made.root} is a workspace now."]
    lines += [f"  made {each}" for each in made.files]
    lines.append(f"  the ledger {_LEDGER[made.ledger]}: git log orc/state")
    lines += ["", "Next:"]
    lines += [f"  {number}. {step}" for number, step in enumerate(_next_steps(made), start=1)]
    return "\n".join(lines)


def _next_steps(made: Made) -> list[str]:
    steps = []
    if "orc.yaml" in made.files:
        steps.append("Say who works in souls/*.md (backend, model), and what your tests are in orc.yaml (checks).")
    steps.append("orc doctor              says what is still missing.")
    own = sorted({name.partition("/")[0] for name in made.files} - {".git", "state"})
    if own:
        why = "" if made.has_commit else "   (this repository has no commit yet, and work starts from one)"
        steps.append(f"git add {' '.join(own)}; git commit -m 'A workspace for orc'{why}")
    steps.append("orc new > first.yaml    write what is to be done, then: orc submit first.yaml")
    steps.append("orc run                 and watch.")
    return steps
