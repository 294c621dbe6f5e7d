"""Hot files: where work has collided lately, as the ledger keeps it for each project."""

from __future__ import annotations

from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.strict_yaml import replace_unsafe
from orchestrator.core.hot import Clashes, HotFile, find_hot, note_clash
from orchestrator.core.job import Job
from orchestrator.core.records import MergeRecord
from orchestrator.engine.workspace import Workspace


def hot_files(ws: Workspace, project: str) -> list[HotFile]:
    """The hot files of a project now, the worst first."""
    return find_hot(project, _known(ws, project), ws.now())


def clash_filing(ws: Workspace, job: Job, merge: MergeRecord) -> Filing:
    """What is known of a project's files after one more conflict.

    Of two conflicts in one tick, which only two targets of a project can have, the later one is kept: it is a hint.
    """
    paths = [replace_unsafe(path) for path in merge.conflicts]
    known = note_clash(_known(ws, job.at.project), paths, ws.now())
    told = f"conflict: {job.at.project} in {', '.join(paths[:10])}"
    return Filing(told[:200], {_path(job.at.project): format_record(known)}, with_step_of=job.id)


def _known(ws: Workspace, project: str) -> Clashes:
    data = ws.ledger.read_file(_path(project))
    return Clashes() if data is None else parse_record(Clashes, data, _path(project))


def _path(project: str) -> str:
    return f"projects/{project}/conflicts.yaml"
