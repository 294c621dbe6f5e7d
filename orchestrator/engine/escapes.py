"""Escapes: around every attempt it is noted and compared what lies outside of its tree.

The note lies beside the runs' folders, of which agents are told, like the locks of runs. An attempt whose note is gone
was not looked at, and that is told and held like an escape.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_checkout import in_checkout
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import is_ancestor, rev_parse
from orchestrator.adapters.outside import (
    changed_blobs,
    changes_in_idle_tree,
    find_copies,
    list_commits,
    list_made,
    list_trees,
    read_git_files,
    read_note,
    read_refs,
    read_settings,
    were_there,
    write_note,
)
from orchestrator.core.attempt_record import Attempt, Escape
from orchestrator.core.escapes import (
    CHECKOUT,
    CONFIG,
    NOT_LOOKED,
    REFS,
    TREES,
    VERSION,
    Outside,
    changed_files,
    changed_settings,
    list_escapes,
    some,
)
from orchestrator.core.job import Job
from orchestrator.engine.attempts import attempt_tree
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

MOST_MOVED = 100
"""Of so many refs that moved it is asked what they hold, of the target first."""
TREES_S = 5.0
"""So long the trees of other agents are looked at: the engine does nothing else meanwhile."""


def note_outside(ws: Workspace, job: Job) -> None:
    """Note what lies outside of the tree of the attempt that is about to start. Raises OrcError."""
    try:
        seen = _look(ws, job)
        with effect(Effect.RUN_NOTE):
            write_note(ws.paths.note(job.at.run), seen)
    except OSError as error:
        raise OrcError(f"what lies outside of its tree could not be noted: {error.strerror or error}") from error


def with_escapes(ws: Workspace, job: Job, attempt: Attempt, tip: str) -> Attempt:
    """The record of an attempt that has ended, with what it did outside of its tree. `tip`: its work, '' if none."""
    found: list[Escape] = []
    try:
        noted = read_note(ws.paths.note(attempt.run))
        if noted is None:
            found = [Escape(NOT_LOOKED, "the note of its beginning", "is gone, so nobody can say what it did there")]
        else:
            found.extend(_find(_Look(ws, job, attempt, tip, *noted)))
    except (OrcError, OSError) as error:
        if isinstance(error, GitError) and error.was_killed:
            raise  # That is nothing about the run: it is told, and tried again at the next tick.
        # What was found by then is told as well.
        found.append(Escape(NOT_LOOKED, "what lies there", f"could not be read to its end: {error}"))
    return replace(attempt, escapes=list_escapes(found, attempt.number), escape_rules=VERSION)


def _look(ws: Workspace, job: Job) -> Outside:
    """What there is now."""
    git = ws.git(job.at.project)
    files: dict[str, str] = {}
    configs: dict[str, str] = {}
    for folder in dict.fromkeys((git.git_dir, ws.paths.git_dir)):
        more = read_git_files(folder)
        files.update(more[0])
        configs.update(more[1])
    snapshot = ws.ledger.snapshot()
    return Outside(
        files=files,
        configs=configs,
        refs=read_refs(git, ws.terms(job).target),
        ledger=snapshot.tip,
        merged=tuple(dict.fromkeys(_on_their_way(ws))),
        trees=list_trees(ws.paths.orcdir / "trees"),
    )


def _on_their_way(ws: Workspace) -> Iterator[str]:
    for folder in ws.ledger.snapshot().active:
        yield from (oid for oid in (folder.job.at.merged, folder.job.at.approved) if oid)


@dataclass(frozen=True)
class _Look:
    """One look after a run."""

    ws: Workspace
    job: Job
    attempt: Attempt
    tip: str
    before: Outside
    began: int
    """When its beginning was noted, in nanoseconds."""

    @property
    def git(self) -> Git:
        """The project's repository."""
        return self.ws.git(self.job.at.project)

    @property
    def bases(self) -> tuple[str, ...]:
        """The commits that the run was given."""
        tree = attempt_tree(self.ws, self.job, self.attempt)
        return tuple(dict.fromkeys((tree["reuse"] or tree["commit"], tree["commit"])))

    def named(self, path: str | os.PathLike[str]) -> str:
        """A path as people read it."""
        name = os.fspath(path)
        return os.path.relpath(name, self.ws.paths.root) if Path(name).is_relative_to(self.ws.paths.root) else name


def _find(look: _Look) -> Iterator[Escape]:
    now = _look(look.ws, look.job)
    yield from _config(look, now)
    mirror = look.ws.asking(Git(look.ws.paths.mirror(look.job.at.project)))
    made = list_made(mirror, look.bases, look.tip) if look.tip and look.tip not in look.bases else {}
    yield from _refs(look, now, mirror, made)
    yield from _checkout(look, made)
    yield from _trees(look)


# --- what git runs and reads -------------------------------------------------------------------------------------


def _config(look: _Look, now: Outside) -> Iterator[Escape]:
    for path, how in changed_files(look.before.files, now.files):
        yield Escape(CONFIG, look.named(path), f"{how} while it ran")
    for path in sorted(look.before.configs.keys() | now.configs.keys()):
        was, text = look.before.configs.get(path, ""), now.configs.get(path, "")
        if was == text:
            continue
        try:
            changed = list(changed_settings(read_settings(look.git, was), read_settings(look.git, text)))
        except GitError:
            changed = ["git cannot read it"]
        yield from (Escape(CONFIG, look.named(path), f"{each}, changed while it ran") for each in changed)


# --- refs ----------------------------------------------------------------------------------------------------------


def _refs(look: _Look, now: Outside, mirror: Git, made: dict[str, str]) -> Iterator[Escape]:
    before, ledger = look.before, look.ws.ledger.git
    if before.ledger not in ("", now.ledger) and not is_ancestor(ledger, before.ledger, now.ledger):
        yield Escape(REFS, "refs/heads/orc/state", "does not build on what orc had written before it ran")
    moved = {ref: oid for ref, oid in now.refs.items() if before.refs.get(ref) != oid}
    if not moved:
        return
    ours = _made_by_engine(look, now)
    branches = {}
    for ref, oid in moved.items():
        if ref.startswith("refs/replace/"):
            yield Escape(REFS, ref, f"replaces a commit by {oid[:12]}, made while it ran")
        elif ref.startswith("refs/orc/") and oid not in ours:
            yield Escape(REFS, ref, f"is orc's own and names {oid[:12]}, which orc did not make")
        elif oid not in ours and oid not in before.refs.values():
            branches[ref] = oid
    if branches and look.tip and look.tip not in look.bases:
        yield from _held_by(
            look, _first_of(branches, f"refs/heads/{look.ws.terms(look.job).target}"), mirror, made, ours
        )


def _first_of(branches: dict[str, str], target: str) -> dict[str, str]:
    """The refs that are looked into: the target, and of each commit one, for much of one hides no other."""
    by_commit: dict[str, str] = {}
    for ref in sorted(branches, key=lambda each: each != target):
        by_commit.setdefault(branches[ref], ref)
    return {ref: oid for oid, ref in list(by_commit.items())[:MOST_MOVED]}


def _held_by(
    look: _Look, branches: dict[str, str], mirror: Git, made: dict[str, str], ours: frozenset[str]
) -> Iterator[Escape]:
    """What these refs hold since the run that the run made."""
    own, known = list_commits(mirror, [look.tip], look.bases), (*look.before.refs.values(), *ours)
    same: dict[str, list[str]] = {}
    for ref, oid in branches.items():
        if what := _work_in(look, ref, oid, own, known):
            yield Escape(REFS, ref, f"names {oid[:12]} since it ran, which has {what}")
            continue
        here = changed_blobs(look.git, look.before.refs.get(ref) or look.attempt.base, oid)
        same[ref] = [path for path, blob in made.items() if here.get(path) == blob]
    old = were_there(look.git, {path: made[path] for paths in same.values() for path in paths}, known)
    for ref, paths in same.items():
        if copied := [path for path in paths if path not in old]:
            text = f"names {branches[ref][:12]} since it ran, which has what it made of {some(copied)}"
            yield Escape(REFS, ref, text)


def _made_by_engine(look: _Look, now: Outside) -> frozenset[str]:
    """The commits that the engine put on branches meanwhile, or may have put there."""
    span = [now.ledger, *([f"^{look.before.ledger}"] if look.before.ledger else [])]
    shape = "--format=%(trailers:key=Merged,valueonly)%(trailers:key=Reviewed-Sha,valueonly)"
    try:
        told = look.ws.ledger.git.text("log", "--no-show-signature", shape, *span).split()
    except GitError:
        told = []  # The ledger was rewritten, which is told.
    return frozenset((*told, *look.before.merged, *now.merged))


def _work_in(look: _Look, ref: str, oid: str, own: dict[str, str], known: Iterable[str]) -> str:
    """What a commit has of the run's work as a whole; '' if there is nothing."""
    came = list_commits(look.git, [oid], known)
    if came.keys() & own.keys():
        return "a commit of its own"
    before = (*look.bases, look.before.refs.get(ref, ""))
    given = {rev_parse(look.git, f"{each}^{{tree}}") for each in before if each}
    return "exactly the files of its work" if set(came.values()) & set(own.values()) - given else ""


# --- files ---------------------------------------------------------------------------------------------------------


def _checkout(look: _Look, made: dict[str, str]) -> Iterator[Escape]:
    """Copies of the work in the checkout that people work in. What is committed there the look at the refs tells."""
    checkout = (look.ws.paths.root / look.ws.project(look.job.at.project).path).resolve()
    copies = list(find_copies(checkout, made, look.began))
    if not copies:
        return
    here = in_checkout(look.git, checkout)
    copies = [path for path in copies if rev_parse(here, f"HEAD:{path}") != made[path]]
    old = were_there(look.git, {path: made[path] for path in copies}, look.before.refs.values())
    for path in copies:
        if path not in old:
            text = "holds exactly what it made in its tree, and was written while it ran"
            yield Escape(CHECKOUT, look.named(checkout / path), text)


def _trees(look: _Look) -> Iterator[Escape]:
    own, until = attempt_tree(look.ws, look.job, look.attempt)["record"], time.monotonic() + TREES_S
    for record, mark in look.before.trees.items():
        if time.monotonic() > until:
            return
        found = changes_in_idle_tree(Path(record), mark, look.began) if record != own else None
        if found is not None:
            yield from (Escape(TREES, look.named(found[0] / path), "changed while it ran") for path in found[1])
