"""Completion of job and card ids, read from the folders of `queue/`: quick, and good enough to complete."""

from __future__ import annotations

from pathlib import Path

import click

_OPEN = ("inbox", "urgent", "normal", "background", "waiting", "running", "review", "decide")


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of jobs that begin so."""
    return _names(incomplete, _OPEN, cards=False)


def complete_card(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Ids of cards and of the jobs that ask them."""
    return _names(incomplete, ("decide",), cards=True)


def _names(incomplete: str, lanes: tuple[str, ...], *, cards: bool) -> list[str]:
    from orchestrator.engine.workspace import find_root
    from orchestrator.errors import OrcError

    try:
        queue = find_root(Path.cwd()) / "queue"
    except OrcError:
        return []
    names = {path.stem for lane in lanes for path in (queue / lane).glob("[!.]*") if path.suffix in (".yaml", ".md")}
    return sorted(name for name in names if name.startswith(incomplete) and (cards or "." not in name))
