"""Mend: what may be left wrong in a workspace and is safe to put right. Each look offers the act that mends it.

No act removes what a person wrote, each may be done twice, and what an engine at work would do by itself is left to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, remove, remove_tree
from orchestrator.adapters.locks import hold_lock, lease_is_free, lock_is_free
from orchestrator.adapters.queue_folder import Difference, QueueFolder
from orchestrator.adapters.reading import scan
from orchestrator.core.job import Lane
from orchestrator.engine.clearing import clear_up
from orchestrator.engine.finding import Finding, Fix, Health
from orchestrator.engine.init import lacking_ignores, restore_ignores
from orchestrator.engine.launch import RunState
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.ps import find_runs
from orchestrator.engine.rules import build_rules, check_rules
from orchestrator.engine.workspace import Workspace

BUILD = "orc rules build"
_WAY_OUT = f"; run: {BUILD}"
HALF_MADE_S = 3600.0
"""Age from which a file that was to be renamed at once is nobody's."""


def alone(ws: Workspace) -> AbstractContextManager[None]:
    """While no engine is at work here. Raises BusyError if one is: it does such things by itself."""
    ensure_folder(ws.paths.orcdir)
    return hold_lock(ws.paths.orcdir / "engine.lock", timeout=0, what="this workspace (an engine is at work)")


def is_engine_free(ws: Workspace) -> bool:
    """Whether no engine is at work here."""
    return lock_is_free(ws.paths.orcdir / "engine.lock")


def number(count: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{count} {what}{'s' * (count != 1)}"


# --- generated rules ---


def look_at_rules(ws: Workspace) -> Iterator[Finding]:
    """Files that do not hold the rules: those that orc writes are one finding, those of the person's own one each."""
    problems = [str(problem) for problem in check_rules(ws.paths.root)]
    behind = [text for problem in problems if (text := problem.removesuffix(_WAY_OUT)) != problem]
    if behind:
        fix = Fix("rules", "write the rules into CLAUDE.md, AGENTS.md and GEMINI.md (orc rules build)", _build_rules)
        yield Finding("generated rules", Health.WARN, "; ".join(behind), BUILD, fix)
    for problem in problems:
        if not problem.endswith(_WAY_OUT):
            text, _, hint = problem.partition("; ")
            yield Finding("generated rules", Health.WARN, text, hint or "orc rules check")


def _build_rules(ws: Workspace) -> str:
    written = build_rules(ws.paths.root)
    return ", ".join(f"{each.file} {each.outcome}" for each in written)


# --- what git is to leave alone ---


def look_at_ignores(ws: Workspace) -> Iterator[Finding]:
    """Lines without which git would take what orc keeps for the person's own files."""
    lacking = lacking_ignores(ws.paths.root, ws.paths.git_dir)
    if lacking:
        fix = Fix("ignores", f"write {', '.join(lacking)} again, as orc init does", _restore_ignores)
        text = f"{', '.join(lacking)}: what keeps queue/ and state/ out of your commits is missing"
        yield Finding("ignored files", Health.WARN, text, "orc init", fix)


def _restore_ignores(ws: Workspace) -> str:
    return f"wrote {', '.join(restore_ignores(ws.paths.root, ws.paths.git_dir)) or 'nothing'}"


# --- queue/ ---


def look_at_queue(ws: Workspace) -> Iterator[Finding]:
    """Folders and files that `queue/` should have and has not. An engine at work sees to it by itself."""
    if not is_engine_free(ws):
        return
    folders = [lane.value for lane in Lane if not (ws.paths.queue / lane).is_dir()]
    hidden = Projection(ws, QueueFolder(ws.paths.queue)).missing()
    if not folders and not hidden:
        yield Finding("queue/", Health.OK, "shows every open job")
        return
    parts = [f"has no folder {', '.join(folders)}"] if folders else []
    parts += [f"does not show {number(len(hidden), 'file')} of open jobs"] if hidden else []
    fix = Fix("queue", "make the folders of queue/ and show the open jobs again; nothing is written over", _show_queue)
    yield Finding("queue/", Health.WARN, " and ".join(parts), "orc run does it too", fix)


def _show_queue(ws: Workspace) -> str:
    with alone(ws):
        queue = QueueFolder(ws.paths.queue)
        projection = Projection(ws, queue)
        projection.start()
        seen = queue.look()
        # A file that lies elsewhere now was moved by a person: that is a request, which an engine judges.
        moved = [each.path.name for each in seen if each.what is not Difference.MISSING]
        for each in seen:
            is_missing = each.what is Difference.MISSING and each.shown is not None
            if is_missing and each.path.name not in moved:
                queue.forget(each.path)
        projection.refresh()
        left = len(projection.missing())
    return (
        f"{left} files were moved or changed by you: orc run looks at them" if left else "queue/ shows every open job"
    )


# --- runs ---


def look_at_run_folders(ws: Workspace) -> Iterator[Finding]:
    """Runs that are over. An engine at work puts them away by itself."""
    if not is_engine_free(ws):
        return
    runs = find_runs(ws)
    waiting = [run for run in runs if run.named and run.state in (RunState.ENDED, RunState.DEAD)]
    for run in waiting:
        text = f"{run.run} has ended, and nobody has looked at its work"
        yield Finding("runs", Health.WARN, text, "orc run")
    left = [run.run for run in runs if not run.named]
    if left:
        some = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        told = f"put away {number(len(left), 'left-over run folder')}; the output stays in state/logs/, "
        told += "work that is under no ref yet is put under one first, what is alive is asked to stop"
        yield Finding("runs", Health.WARN, f"no job waits for {some}", "orc run", Fix("runs", told, _put_runs_away))


def _put_runs_away(ws: Workspace) -> str:
    with alone(ws):
        before = {run.run for run in find_runs(ws) if not run.named}
        clear_up(ws)
        for name in before:
            lease = ws.paths.orcdir / "leases" / name
            if not (ws.paths.runs / name).exists() and lease_is_free(lease):
                with effect(Effect.RUN_CLEAN):
                    remove(ws.paths.note(name))
                    remove(lease)
        left = [run.run for run in find_runs(ws) if not run.named]
    told = f"put away {len(before) - len(left)}"
    return f"{told}; still there: {', '.join(left)} (what is alive ends in a moment)" if left else told


# --- half-made things ---


def look_at_half_made(ws: Workspace) -> Iterator[Finding]:
    """What somebody was writing who was killed: nothing was ever built on it."""
    found = _half_made(ws)
    if found:
        text = f"{number(len(found), 'half-written file')} of processes that were killed"
        told = f"remove {number(len(found), 'half-written file')} below .git/orc: they never got their names"
        yield Finding("half-made", Health.WARN, text, "", Fix("half-made", told, _remove_half_made))


def _half_made(ws: Workspace) -> list[Path]:
    orcdir = ws.paths.orcdir
    now = ws.now().timestamp()
    places = [(orcdir / name, ".tmp-") for name in ("", "trees", "checks", "bell")] + [(ws.paths.runs, ".new-")]
    return [
        folder / entry.name
        for folder, begins in places
        for entry in scan(folder)
        if entry.name.startswith(begins) and now - entry.signature.mtime_ns / 1e9 > HALF_MADE_S
    ]


def _remove_half_made(ws: Workspace) -> str:
    with alone(ws):
        found = _half_made(ws)
        for path in found:
            with effect(Effect.RUN_CLEAN):
                remove_tree(path)
    return f"removed {len(found)}"
