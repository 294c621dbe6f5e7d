"""`orc logs`: what a job's runs printed, live if one is under way."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, json_option, pass_app
from orchestrator.cli.complete import complete_any
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from orchestrator.core.ids import RunId
    from orchestrator.core.job import Job
    from orchestrator.engine.workspace import Workspace

STREAMS = ("setup.log", "stdout", "stderr", "shim.log")
POLL_S = 0.2
JSON_CHARACTERS = 200_000


@click.command()
@click.argument("job", shell_complete=complete_any)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends; wait for the first one if there is none.")
@json_option
@pass_app
def logs(app: App, job: str, follow: bool) -> None:
    """What the newest run of JOB printed (or of one run: give its id, such as fix-login-7f3a09c2.attempt-1)."""
    from orchestrator.engine.run_logs import log_folder

    with app.workspace(lean=True) as ws:
        run, others = _find_run(ws, job, wait=follow)
        places = (ws.paths.runs / run, log_folder(ws.paths, run))
    if app.json:
        texts = {name.removesuffix(".log"): "".join(_all(name, places))[-JSON_CHARACTERS:] for name in STREAMS}
        app.emit({"run": run, "others": others, **texts}, "")
        return
    click.echo(f"== {run}" + (f"   (others: {', '.join(others)})" if others else ""), err=True)
    _print(places, follow=follow)


def _print(places: tuple[Path, ...], *, follow: bool) -> None:
    from orchestrator.adapters.follow import Tail

    tails = [Tail(name) for name in STREAMS]
    while True:
        # Looked at first: what a run wrote before its end is there by then.
        ended = (places[0] / "result.json").exists() or not places[0].exists()
        for tail in tails:
            while text := tail.read(places):
                click.echo(clean(text), nl=False)
        if ended or not follow:
            return
        sys.stdout.flush()
        time.sleep(POLL_S)


def _all(name: str, places: tuple[Path, ...]) -> list[str]:
    from orchestrator.adapters.follow import Tail

    found = []
    with closing(Tail(name)) as tail:
        while text := tail.read(places):
            found.append(text)
    return found


def _find_run(ws: Workspace, name: str, *, wait: bool) -> tuple[str, list[str]]:
    """The run that is meant, and the job's other runs, the newest first."""
    from orchestrator.core.ids import RunId
    from orchestrator.engine.find import find_job

    job, part = find_job(ws, name).job, name.partition(".")[2]
    name = f"{job.id}.{part}" if part else job.id
    run = RunId.parse(name)
    if part and run is None:
        raise NotFoundError(f"{name!r} is not the id of a run", hint=f"orc logs {job.id}")
    told = False
    while True:
        found = _runs_of(ws, job.id)
        if run is not None and name in found:
            return name, [each for each in found if each != name]
        if found and run is None:
            return found[0], found[1:]
        if run is not None or not wait or job.state.ended:
            break
        if not told:
            click.echo(f"{job.id} has no run yet; waiting for one (Ctrl-C ends this)", err=True)
            told = True
        time.sleep(POLL_S)
    if _has_begun(job, run):
        raise _pruned(ws, name, job.id)
    state = f"It is {job.state}."
    raise NotFoundError(
        f"there is no run {name}" if run else f"{job.id} has printed nothing yet",
        cause=f"{state} There are: {', '.join(found)}." if found else state,
        hint=f"orc show {job.id}",
    )


def _has_begun(job: Job, run: RunId | None) -> bool:
    """Whether the job has had such a run, or any at all, that is not the one which is about to begin."""
    from orchestrator.core.ids import RunKind

    at = job.at
    if run is None:
        return at.starts > bool(at.run)
    numbers = {RunKind.ATTEMPT: at.attempt, RunKind.REVIEW: at.review, RunKind.ROUTINE: at.routine}
    return str(run) != at.run and run.number <= numbers.get(run.kind, at.starts)


def _pruned(ws: Workspace, name: str, job: str) -> NotFoundError:
    keep = ws.config.logs
    return NotFoundError(
        f"the log of {name} is gone: it was pruned, unless the run failed to start",
        cause=f"What the newest {keep.runs} runs printed is kept, for {keep.days} days (logs: in orc.yaml).",
        hint=f"orc show {job}",
    )


def _runs_of(ws: Workspace, job: str) -> list[str]:
    from orchestrator.engine.run_logs import logs_near

    places = (ws.paths.runs, logs_near(ws.paths, job))
    folders = [path for place in places if place.is_dir() for path in place.glob(f"{job}.*") if path.is_dir()]
    times: dict[str, float] = {}
    for path in folders:
        try:
            times[path.name] = (path / "spec.json").stat().st_mtime
        except OSError:
            continue  # It is being made, or being moved.
    return sorted(times, key=lambda name: times[name], reverse=True)
