"""Starting a run: its folder with everything it needs, the lease, the supervising process.

What a run is for was committed before. So this may be called again after any crash: a folder that was never started is
made anew, a run that lives or has ended is left alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, remove, remove_tree, rename_folder, write_atomic
from orchestrator.adapters.locks import lease_is_free, release_lease, take_lease
from orchestrator.adapters.run_folder import RunFolder, find_orc, write_spec
from orchestrator.adapters.run_values import LimitsSpec, RunKind, RunSpec
from orchestrator.errors import UnavailableError

if TYPE_CHECKING:
    from orchestrator.core.config import Project
    from orchestrator.core.ids import RunId
    from orchestrator.core.job import Job
    from orchestrator.engine.workspace import Workspace

T = TypeVar("T")


class RunState(StrEnum):
    """What can be seen of a run."""

    MISSING = "missing"
    """It was never started: nothing has ever held its lease."""
    ALIVE = "alive"
    ENDED = "ended"
    """It left a result."""
    DEAD = "dead"
    """It was started, holds no lease and left no result."""


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that goes into a run's folder."""

    spec: RunSpec
    prompt: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    diff: bytes = b""
    system: str = ""
    """The system prompt; '' if there is none, or it is part of the prompt."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """What the prompt sends the agent to, by path in the folder."""


def folder_of(ws: Workspace, run: str) -> RunFolder:
    """A run's folder."""
    return RunFolder(ws.paths.runs / run)


def spec_for(
    ws: Workspace,
    run: RunId,
    kind: RunKind,
    job: Job,
    tree: dict[str, Any],
    agent: str | None,
    project: Project,
    minutes: int,
) -> RunSpec:
    """What every run of a job is told: who it is for, where it works and how long it may."""
    limits = ws.config.limits
    return RunSpec(
        run=str(run),
        kind=kind,
        job=job.id,
        number=run.number,
        orcdir=ws.paths.orcdir,
        agent=agent,
        project=project.name,
        tree=tree,
        limits=LimitsSpec(
            wall_s=minutes * 60,
            output_bytes=limits.output_mb * 1024 * 1024,
            silent_s=limits.silent_minutes * 60 if agent else 0,
        ),
        orc_folder=find_orc(sys.argv[0], sys.executable) if agent else "",
    )


def state_of(folder: RunFolder) -> RunState:
    """What can be seen of a run now. The lock tells, no process id and no clock."""
    # The lock first: a result that lies there while the run lives is not the supervisor's, which writes it last.
    if not lease_is_free(folder.lease):
        return RunState.ALIVE
    if folder.result.exists():
        return RunState.ENDED
    return RunState.DEAD if folder.lease.exists() else RunState.MISSING


def export_in(pool: Path, mirror: Path, commit: str, *, read_only: bool = False) -> dict[str, Any]:
    """A checkout of one commit of `mirror`, in a folder of `pool` that no other run uses."""
    return {
        "mode": "export",
        "path": str(pool),
        "pool": True,
        "mirror": str(mirror),
        "commit": commit,
        "reuse": None,
        "branch": "",
        "keep": [],
        "include": [],
        "record": None,
        "seal_ref": None,
        "author": {"name": "orc", "email": "engine@orc.invalid"},
        "read_only": read_only,
    }


def launch(ws: Workspace, start: Start) -> None:
    """Start a run that is not there yet. Raises UnavailableError if no process can be started."""
    launch_in(folder_of(ws, start.spec.run), start, ws.spawn)


def launch_in(folder: RunFolder, start: Start, spawn: Callable[[Path, int], T]) -> T | None:
    """Start a run in this folder; what `spawn` tells of its process, None if the run was there already."""
    with effect(Effect.RUN_FOLDER):
        _write_folder(folder.path, start)
        ensure_folder(folder.lease.parent)
    with effect(Effect.RUN_SPAWN):
        return _spawn(folder, spawn)


def _spawn(folder: RunFolder, spawn: Callable[[Path, int], T]) -> T | None:
    lease = take_lease(folder.lease)
    if lease is None:
        return None
    try:
        return spawn(folder.path, lease)
    except OSError as error:
        remove(folder.lease)
        raise UnavailableError(
            f"{folder.path.name} could not be started: {error.strerror or error}",
            cause="The machine has no room for another process.",
        ) from error
    finally:
        release_lease(lease)


def _write_folder(final: Path, start: Start) -> None:
    """The folder appears whole or not at all."""
    ensure_folder(final.parent)
    remove_tree(final)
    making = final.parent / f".new-{final.name}"
    remove_tree(making)
    making.mkdir(mode=0o700)
    folder = RunFolder(making)
    for box in (folder.outbox, folder.answers):
        box.mkdir(mode=0o700)
    write_spec(folder, start.spec)
    write_atomic(making / "prompt.md", start.prompt.encode("utf-8", "replace"), mode=0o600, sync=False)
    if start.system:
        write_atomic(making / "system.md", start.system.encode("utf-8", "replace"), mode=0o600, sync=False)
    for name, data in start.files.items():
        ensure_folder((making / name).parent)
        write_atomic(making / name, data, mode=0o600, sync=False)
    facts = dict(start.facts)
    if start.diff:
        facts["diff"] = str(final / "diff.patch")
        write_atomic(making / "diff.patch", start.diff, mode=0o600, sync=False)
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    # A review that has ended when the power goes still counts, if its nonce is known.
    must_last = "nonce" in facts
    data = text.encode("utf-8", "surrogateescape")
    write_atomic(making / "facts.json", data, mode=0o600, sync=must_last)
    rename_folder(making, final, sync=must_last)


def ask_to_stop(ws: Workspace, run: str) -> None:
    """Ask a run to end; it seals its work first."""
    folder = folder_of(ws, run)
    if folder.path.is_dir() and not folder.stop.exists():
        with effect(Effect.RUN_STOP):
            write_atomic(folder.stop, b"", sync=False)
