"""Traces of jobs, read from the ledger."""

from __future__ import annotations

from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import State
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.times import parse
from orchestrator.core.trace import Trace, stays_of, trace_of
from orchestrator.engine.find import find_job
from orchestrator.engine.history import read_history, read_log
from orchestrator.engine.story import records_of
from orchestrator.engine.workspace import Workspace

MOST_STEPS, MOST_OF_ALL = 10_000, 100_000
"""So many steps of one job are read, and so many of the ledger to find the jobs that ended in a time."""
_ENDED = frozenset(state.value for state in State if state.ended)


def ended_since(ws: Workspace, seconds: int) -> list[str]:
    """The jobs that ended within so many seconds, the first to end first. Raises OrcError."""
    since = int(ws.now().timestamp()) - seconds
    options = ("--reverse", "--first-parent", f"--max-age={since}", f"--max-count={MOST_OF_ALL}")
    found = read_log(ws, *options, ws.ledger.tip(), "--", keys=("Job", "To"))
    return list(dict.fromkeys(each.facts["Job"] for each in found if each.facts.get("To") in _ENDED))


def read_trace(ws: Workspace, name: str) -> Trace:
    """The trace of a job, open or ended. Raises NotFoundError, OrcError."""
    folder = find_job(ws, name)
    job = folder.job
    steps = reversed(read_history(ws, job.id, MOST_STEPS))
    times = [(int(parse(step.time).timestamp()), step.facts.get("To", "")) for step in steps]
    stays = stays_of(times, int(ws.now().timestamp()))
    records = [each for each in records_of(ws, folder).values() if isinstance(each, Attempt | ReviewRecord)]
    runs = {each.run: _times(each) for each in records if each.ended}
    return trace_of(job, stays, records, runs)


def _times(record: Attempt | ReviewRecord) -> tuple[float, float]:
    start, end = parse(record.started).timestamp(), parse(record.ended).timestamp()
    # What the ledger writes is whole seconds; how long the run took is known better.
    return start, max(start + record.seconds, start) if record.seconds else max(start, end)
