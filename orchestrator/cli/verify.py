"""`orc verify`: prove the ledger again from the objects that it cites."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, json_option, pass_app
from orchestrator.errors import ExitCode, OrcError

if TYPE_CHECKING:
    from orchestrator.adapters.audit import Report

QUIET_S = 1.0
"""Nothing is said of the progress before this many seconds have passed."""
_TOLD = 5


@click.command()
@click.option("--since", metavar="COMMIT", help="Believe the ledger up to this commit, and prove what came after it.")
@json_option
@pass_app
def verify(app: App, since: str | None) -> None:
    """Recompute every decision on the ledger from the objects it cites. Exit code 1 if one does not hold.

    It believes no record: diffs, merges, gates, verdicts and approvals are worked out again. What can be neither
    proved nor disproved, because its objects are gone, is counted and named, and is no lie.
    """
    from orchestrator.adapters.audit import audit
    from orchestrator.adapters.git_person import common_dir

    root = app.root
    report = audit(common_dir(root), find_projects(root), since=since, progress=_progress(app))
    data = {
        "holds": not report.lies,
        "commits": report.commits,
        "jobs": report.jobs,
        "lies": [asdict(lie) for lie in report.lies],
        "unverifiable": [asdict(doubt) for doubt in report.unverifiable],
    }
    app.emit(data, describe(report))
    if report.lies:
        sys.exit(int(ExitCode.FAILED))


def find_projects(root: Path) -> dict[str, Path]:
    """The git folder of each project of a workspace; those that are not there are left out."""
    from orchestrator.adapters.config_file import read_config
    from orchestrator.adapters.git_person import common_dir

    found: dict[str, Path] = {}
    for name, project in read_config(root).projects.items():
        try:
            found[name] = common_dir((root / project.path).resolve())
        except OrcError:
            continue  # What was done there is named as unverifiable.
    return found


def describe(report: Report) -> str:
    """What an audit found, in a few lines."""
    seen = f"{_count(report.commits, 'commit')} about {_count(report.jobs, 'job')}"
    lines = []
    if report.lies:
        first, forged = report.lies[0], {lie.commit for lie in report.lies}
        lines += [f"commit {first.commit[:12]} ({first.subject})", f"  {first.text}"]
        more = [f"  {lie.commit[:12]} {lie.rule}: {lie.text}" for lie in report.lies[1 : 1 + _TOLD]]
        lines += ["also:", *more] if more else []
        lines.append(f"The ledger does not hold: {_count(len(forged), 'commit')} of {seen} cannot be true.")
        lines.append(f"See git show {first.commit[:12]}; orc verify --json lists everything.")
    elif not report.unverifiable:
        lines.append(f"The ledger holds: {seen}, every decision proved again.")
    else:
        lines.append(f"The ledger holds as far as it can be proved: {seen}.")
    if report.unverifiable:
        first_doubt = report.unverifiable[0]
        lines.append(
            f"{_count(len(report.unverifiable), 'step')} cannot be proved any more, "
            f"such as {first_doubt.commit[:12]} ({first_doubt.subject}): {first_doubt.text}"
        )
    return clean("\n".join(lines))


def _count(number: int, word: str) -> str:
    return f"{number} {word if number == 1 else word + 's'}"


def _progress(app: App) -> Callable[[int, int], None] | None:
    """A line that counts up on a terminal, once it has taken a while."""
    if app.json or not sys.stderr.isatty():
        return None
    began = told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - began < QUIET_S:
            return
        if done == total:
            click.echo("\r\x1b[K", nl=False, err=True)
        elif now - told > 0.1:
            told = now
            click.echo(f"\r{done} of {total} commits proved", nl=False, err=True)

    return tell
