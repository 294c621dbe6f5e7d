"""Completion of job and card ids, read from the folders of `queue/`: quick, and good enough to complete."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from orchestrator.errors import OrcError

_NAME = re.compile(r"(?P<id>[a-z0-9-]+-[0-9a-f]{8}(?P<card>\.card-[0-9]+)?)\.(?:yaml|md)\Z")
_ENDED = ("done", "failed", "cancelled")
_OPEN = ("urgent", "normal", "background", "waiting", "running", "review", "decide")


def complete_any(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of jobs that begin so, those that ended lately too."""
    return _names(ctx, incomplete, (*_OPEN, *_ENDED), cards=False)


def complete_ended(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of jobs that begin so and ended lately."""
    return _names(ctx, incomplete, _ENDED, cards=False)


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of jobs that begin so."""
    return _names(ctx, incomplete, _OPEN, cards=False)


def complete_card(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of cards and of the jobs that ask them."""
    return _names(ctx, incomplete, ("decide",), cards=True)


def _names(ctx: click.Context, incomplete: str, lanes: tuple[str, ...], *, cards: bool) -> list[str]:
    from orchestrator.adapters.places import find_root

    where = ctx.find_root().params.get("where") or "."
    try:
        queue = find_root(Path(where).absolute()) / "queue"
    except (OrcError, OSError):
        return []
    found = (_NAME.match(name) for lane in lanes for name in _list(queue / lane) if name.startswith(incomplete))
    return sorted({each["id"] for each in found if each and (cards or not each["card"])})


def _list(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
