"""Retiring: an agent's soul goes to `souls/retired/`, where no agent is read from, and comes back from there."""

from __future__ import annotations

from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, move_no_replace, sync_folder
from orchestrator.adapters.library import read_souls
from orchestrator.engine.agents import soul_file
from orchestrator.engine.drain import drain_agent, work_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, RefusedError

RETIRED = "souls/retired"
"""The folder of the souls that are out of service, in the workspace."""
WHY = "it is to be retired"
MOST_TOLD = 5


def retire_agent(ws: Workspace, name: str) -> Path:
    """Take an agent out of service; where its soul lies then. One that still has work drains instead.

    An engine that begins something with it at this very moment finds no soul, and gives the job to somebody else.
    Raises NotFoundError, RefusedError while it has work or orc.yaml names it.
    """
    path = soul_file(ws, name)
    named = [kind for kind, route in ws.config.routing.items() if name in route.agents]
    if named:
        keys = ", ".join(f"routing.{kind}" for kind in named)
        raise RefusedError(f"orc.yaml names {name} under {keys}", hint=f"take it out there, then: orc retire {name}")
    work = work_of(ws, name)
    if work:
        soul = read_souls(ws.paths.root)[0].get(name)
        if soul is None or not soul.drain:
            drain_agent(ws, name, WHY)
        told = [f"{each.job} ({each.why})" for each in work[:MOST_TOLD]]
        more = f" and {len(work) - MOST_TOLD} more" if len(work) > MOST_TOLD else ""
        raise RefusedError(
            f"{name} still has work: {', '.join(told)}{more}",
            cause="It gets nothing new from now on, and what it has begun it brings to its end.",
            hint=f"orc retire {name} again when these jobs have ended, or to keep it: orc drain {name} --undo",
        )
    return _move(path, ws.paths.root / RETIRED / path.name)


def bring_back(ws: Workspace, name: str) -> Path:
    """Put a retired agent into service again; where its soul lies then. Raises NotFoundError, RefusedError."""
    folder = ws.paths.root / RETIRED
    known = sorted(path.stem for path in folder.glob("*.md"))
    if name not in known:
        raise NotFoundError(f"no agent {name!r} is retired (retired: {', '.join(known) or 'none'})", hint="orc workers")
    return _move(folder / f"{name}.md", ws.paths.root / "souls" / f"{name}.md")


def _move(path: Path, place: Path) -> Path:
    try:
        with effect(Effect.SOUL_WRITE):
            ensure_folder(place.parent)
            move_no_replace(path, place)
            sync_folder(place.parent)
            sync_folder(path.parent)
    except FileExistsError as error:
        raise RefusedError(f"{error.filename or place} exists already", hint="give that file another name") from error
    return place
