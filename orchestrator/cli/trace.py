"""`orc trace`: jobs as traces of OpenTelemetry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app, refuse_inside_run
from orchestrator.cli.complete import complete_any
from orchestrator.cli.health import read_period

if TYPE_CHECKING:
    from orchestrator.core.trace import Trace

VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=complete_any)
@click.option("--since", metavar="WHEN", callback=read_period, default="24h", show_default=True, help="As in health.")
@click.option("--to", "address", metavar="URL", help=f"The collector. [default: ${VARIABLE}, or http://127.0.0.1:4318]")
@json_option
@pass_app
def trace(app: App, jobs: tuple[str, ...], since: int, address: str | None) -> None:
    """Send each JOB to a collector as a trace, or the jobs that ended since WHEN.

    A span for the job, one for each state it was in, and one for each run of an agent with model, tokens and cost, by
    the GenAI conventions. No prompt, no answer and no file is sent, but the job's title, and why it failed. Ids follow
    from the job's, so that to send it again is no second trace. With --json nothing is sent: the spans are printed.
    Needs the extra otel.
    """
    from orchestrator.engine.trace import ended_since, read_trace

    refuse_inside_run("orc trace")
    with app.workspace(lean=True) as ws:
        traces = {each.id: each for each in (read_trace(ws, name) for name in jobs or ended_since(ws, since))}.values()
        workspace = ws.paths.root.name
    if app.json:
        app.emit({"traces": [_facts(each) for each in traces]}, "")
        return
    if not traces:
        app.emit({}, "No job ended in that time.")
        return
    from orchestrator.adapters.messenger import told_address
    from orchestrator.adapters.otel import DEFAULT, send_traces

    place = address or os.environ.get(VARIABLE) or DEFAULT
    spans = send_traces(list(traces), place, workspace)
    one = len(traces) == 1
    app.emit(
        {}, clean_line(f"{len(traces)} trace{'' if one else 's'} with {spans} spans sent to {told_address(place)}")
    )


def _facts(one: Trace) -> dict[str, Any]:
    return {
        "job": one.job,
        "trace_id": f"{one.id:032x}",
        "spans": [
            {
                "span_id": f"{one.span_id(each.key):016x}",
                "parent_id": f"{one.span_id(each.parent):016x}" if each.parent else "",
                "name": each.name,
                "start": each.start,
                "end": each.end,
                "attributes": dict(each.attributes),
                "error": each.error,
            }
            for each in one.spans
        ],
    }
