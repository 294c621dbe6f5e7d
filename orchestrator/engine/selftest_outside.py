"""What happens outside of an agent's tree in cases of the self-test: by the agent, or by the person meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, remove, write_atomic
from orchestrator.adapters.worktrees import TreeSpec, prepare_tree, seal_tree
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import Job
from orchestrator.core.selftest import Case
from orchestrator.engine.attempts import attempt_tree
from orchestrator.engine.bases import mirror_with
from orchestrator.engine.escapes import note_outside, with_escapes
from orchestrator.engine.selftest_stage import Stage, make_commit

IDLE = "idle"
"""The agent whose tree lies at rest in `state/trees/idle/main/`."""

CONFIG = ".git/config"
"""What a case says of this file is written at its end."""


def play_outside(stage: Stage, case: Case, job: Job, attempt: Attempt) -> Attempt:
    """The attempt as the engine collects it, after what the case says was done while it ran."""
    ws = stage.ws
    mirror_with(ws, job.at.project, ws.terms(job).target, attempt.base, attempt.tip, job=job.id)
    _make_idle_tree(stage, job, attempt)
    note_outside(ws, job)
    config = ws.paths.git_dir / "config"
    files = {name: f"{config.read_text()}{text}" if name == CONFIG else text for name, text in case.outside.items()}
    was = _put(stage, files)
    if case.committed:
        make_commit(stage.git, f"refs/heads/{case.name}", case.committed, attempt.base)
    seen = with_escapes(ws, job, attempt, attempt.tip)
    with effect(Effect.RUN_FOLDER):
        remove(ws.paths.note(job.at.run))
    _put(stage, was)
    return seen


def _make_idle_tree(stage: Stage, job: Job, attempt: Attempt) -> None:
    other = replace(attempt, worker=replace(attempt.worker, agent=IDLE), number=9)
    spec = TreeSpec.from_json(attempt_tree(stage.ws, job, other))
    with effect(Effect.TREE_SEAL):
        prepare_tree(spec)
        seal_tree(spec, when=stage.ws.now())


def _put(stage: Stage, files: Mapping[str, Any]) -> dict[str, Any]:
    """Write files below the stage, null removes one; what there was before, to be put back in the same way."""
    was: dict[str, Any] = {}
    for name, text in files.items():
        path = stage.ws.paths.root / name
        was[name] = path.read_text() if path.is_file() else None
        with effect(Effect.RUN_FOLDER):
            if text is None:
                remove(path)
                continue
            ensure_folder(path.parent)
            write_atomic(path, str(text).encode(), sync=False)
    return was
