"""Retiring: an agent's soul goes to `souls/retired/`, where no agent is read from, and comes back from there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, move_no_replace, sync_folder
from orchestrator.adapters.job_text import unset_key
from orchestrator.core.agent import Soul
from orchestrator.engine.agents import soul_file
from orchestrator.engine.drain import DRAIN, change_soul, drain_agent, work_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, NotFoundError, RefusedError

RETIRED = "souls/retired"
"""The folder of the souls that are out of service, in the workspace."""
WHY = "it is to be retired"
MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Moved:
    """Where a soul lies now. `drain`: why the agent gets nothing new, though it is in service again."""

    place: Path
    drain: str = ""


def retire_agent(ws: Workspace, name: str) -> Moved:
    """Take an agent out of service. One that still has work drains instead.

    An attempt or a review that an engine gives it at this very moment finds no soul, and somebody else gets it; or it
    has begun already and comes to its end, and what is to be put right then is given to somebody else.
    Raises NotFoundError, RefusedError while it has work or orc.yaml names it.
    """
    path = soul_file(ws, name)
    named = [f"routing.{kind}" for kind, route in ws.config.routing.items() if name in route.agents]
    named += [f"fallback.{each}" for each, others in ws.config.fallback.items() if name in (each, *others)]
    if named:
        keys = ", ".join(named)
        raise RefusedError(f"orc.yaml names {name} under {keys}", hint=f"take it out there, then: orc retire {name}")
    work = work_of(ws, name)
    if work:
        drain_agent(ws, name, WHY, keep=True)
        told = [f"{each.job} ({each.why})" for each in work[:MOST_TOLD]]
        more = f" and {len(work) - MOST_TOLD} more" if len(work) > MOST_TOLD else ""
        raise RefusedError(
            f"{name} still has work: {', '.join(told)}{more}",
            cause="It gets nothing new from now on, and what it has begun it brings to its end.",
            hint=f"orc retire {name} again when these jobs have ended, or to keep it: orc drain {name} --undo",
        )
    return Moved(_move(path, ws.paths.root / RETIRED / path.name))


def bring_back(ws: Workspace, name: str) -> Moved:
    """Put a retired agent into service again; if it drains only because it was to be retired, that is over too.

    Raises NotFoundError, RefusedError, BusyError.
    """
    folder, place = ws.paths.root / RETIRED, ws.paths.root / "souls" / f"{name}.md"
    known = sorted(path.stem for path in folder.glob("*.md"))
    if name not in known:
        raise NotFoundError(f"no agent {name!r} is retired (retired: {', '.join(known) or 'none'})", hint="orc workers")
    if os.path.lexists(place):
        raise _exists(place)
    # Where it is retired: at its old place an engine would give it work before it is moved.
    drain = _end_draining(ws, folder / place.name)
    return Moved(_move(folder / place.name, place), drain)


def _end_draining(ws: Workspace, path: Path) -> str:
    """Take `drain:` out of a soul if it says what orc wrote there; why the agent drains otherwise."""

    def ended(soul: Soul, text: str) -> str:
        return unset_key(text, DRAIN, markdown=True) if soul.drain == WHY else text

    try:
        return change_soul(ws, path, ended).soul.drain
    except InvalidFileError:
        return ""  # No agent is read from such a file, so none drains; what is wrong with it is told where it lies.


def _move(path: Path, place: Path) -> Path:
    try:
        with effect(Effect.SOUL_WRITE):
            ensure_folder(place.parent)
            move_no_replace(path, place)
            sync_folder(place.parent)
            sync_folder(path.parent)
    except FileExistsError as error:
        raise _exists(place) from error
    return place


def _exists(place: Path) -> RefusedError:
    return RefusedError(f"{place} exists already", hint="give that file another name")
