"""The steps of one run: prepare the tree, set it up, start the backend or the checks, seal what is left.

Everything here happens in the shim's process. A step that fails raises `RunOver` with the status of the run.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from orchestrator.adapters import clock
from orchestrator.adapters.files import ensure_folder, sync_name
from orchestrator.adapters.locks import lease_is_free
from orchestrator.adapters.redact import Redactor
from orchestrator.adapters.run_folder import build_environment, with_orc
from orchestrator.adapters.run_values import RunKind, RunSpec, SealedWork
from orchestrator.adapters.worktrees import TreeSpec, prepare_tree, seal_tree, take_place
from orchestrator.core.attempt_record import RunStatus
from orchestrator.engine.run_agent import play, run_backend
from orchestrator.engine.run_checks import run_checks
from orchestrator.engine.run_setup import set_up
from orchestrator.engine.run_state import Run, RunOver, stop_if_asked
from orchestrator.errors import OrcError

GO_POLL_S = 0.003
LOOKS_AT_GATE = 50
"""A run that is held looks so rarely whether somebody still waits for it."""


def execute(run: Run, spec: RunSpec) -> None:
    """The whole run, up to and with the seal. Raises RunOver and whatever else goes wrong."""
    if spec.kind is RunKind.ROUTINE:
        run_routine(run, spec)
        return
    place, run.place = take_place(spec.tree)
    run.spec = spec = replace(spec, tree=place)
    tree = TreeSpec.from_json(dict(spec.tree))
    stop_if_asked(run)
    run.enter("preparing")
    prepared = prepare_tree(tree, alone=bool(spec.awaited_by))
    run.notes += prepared.notes
    run.note_event("prepared", fresh=prepared.fresh)
    _wait_for_go(run, spec)
    stop_if_asked(run)
    for folder in (run.folder.home, run.folder.tmp):
        ensure_folder(folder)
    environment = build_environment(run.folder, spec, os.environ)
    try:
        set_up(run, spec, prepared, environment)
        stop_if_asked(run)
        if spec.kind is RunKind.CHECKS:
            run_checks(run, spec, environment)
        else:
            # After a power cut a run whose lease is there has begun, and one without has not: or it would begin again.
            sync_name(run.folder.lease)
            run_backend(run, spec, with_orc(environment, spec.orc_folder))
    finally:
        if run.launched and spec.kind is RunKind.ATTEMPT and tree_is_sealed(spec):
            seal(run, tree)


def run_routine(run: Run, spec: RunSpec) -> None:
    """Maintenance: a program of orc's own, which sees nothing of the engine's environment and is no agent's run."""
    assert spec.launch is not None  # `RunSpec.from_json` refuses such a run without it.
    run.spec = spec
    stop_if_asked(run)
    for folder in (run.folder.home, run.folder.tmp):
        ensure_folder(folder)
    environment = build_environment(run.folder, spec, os.environ)
    # By these names orc knows that it was called by an agent, to which it gives no such verb.
    environment = {name: value for name, value in environment.items() if not name.startswith("ORC_")}
    sync_name(run.folder.lease)
    run.phase = "running"
    run.said = play(run, spec, spec.launch, environment)


def tree_is_sealed(spec: RunSpec) -> bool:
    """Whether the work in this tree is kept under a ref."""
    return spec.tree.get("mode") == "work" and bool(spec.tree.get("seal_ref"))


def _wait_for_go(run: Run, spec: RunSpec) -> None:
    """Wait until nothing speaks any more against what a run that is held is for."""
    looks = 0
    while spec.awaited_by and not os.path.lexists(run.folder.go):
        stop_if_asked(run)
        if looks % LOOKS_AT_GATE == 0 and lease_is_free(Path(spec.awaited_by)):
            raise RunOver(RunStatus.STOPPED, "Nobody waits for this run any more.")
        looks += 1
        time.sleep(GO_POLL_S)


def seal(run: Run, tree: TreeSpec) -> None:
    """Put what the agent left under a ref. A failure leaves `sealed` empty and says why in the notes."""
    run.phase = "sealing"
    try:
        sealed = seal_tree(tree, when=clock.now())
    except (OrcError, OSError) as error:
        run.notes.append(f"The work was not sealed: {error}")
        run.error = f"The work was not sealed: {error}"
        run.note_event("not_sealed", error=Redactor(run.secrets()).text(str(error)))
        return
    run.sealed = SealedWork(commit=sealed.commit, tree=sealed.tree, own_commits=bool(sealed.own_commits))
    run.notes += [str(note) for note in sealed.notes]
    run.note_event("sealed", commit=sealed.commit)
