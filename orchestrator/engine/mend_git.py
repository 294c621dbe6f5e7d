"""Mend what a killed git left behind in orc's own repositories and trees. In the person's own it is only told.

A lock is moved aside, not removed. A tree that was set aside goes only when all of it is proved to be under a ref.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, move_no_replace, remove, remove_tree, rename_folder
from orchestrator.adapters.git import Git, Identity
from orchestrator.adapters.harvest import Limits, door_of, harvest
from orchestrator.adapters.ledger import LOCK_TIMEOUT_S, REF, STALE_LOCK_S
from orchestrator.adapters.mirrors import hold_lease, is_kept, locked
from orchestrator.adapters.reading import signature, size_text
from orchestrator.adapters.tree_spec import TreeMode, TreeSpec, read_record
from orchestrator.adapters.tree_walk import is_real_folder
from orchestrator.engine.finding import Finding, Fix, Health
from orchestrator.engine.mend import alone, number
from orchestrator.engine.ps import find_runs
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import BusyError, OrcError

PERSONS_LOCK_S = 600.0
"""Age from which a lock in the person's own repository is told of."""
TEMPORARY_S = 86400.0
"""Age from which a temporary object of a mirror is nobody's: no git of ours runs for longer than ten minutes."""
KEPT_DAYS = 7
MOST_ENTRIES = 200_000
"""So many entries of a tree are counted, then it is `more than`."""
_OUR_REFS = "refs/orc"
_MAKING = ".making-"
_Act = Callable[[Workspace], str]


# --- locks ---


def look_at_locks(ws: Workspace) -> Iterator[Finding]:
    """Git locks that nobody holds any more."""
    ours = _stale(ws, _our_locks(ws), STALE_LOCK_S)
    if ours:
        told = f"move {number(len(ours), 'stale git lock')} to .git/orc/orphans/, under the locks that guard them"
        yield Finding("git locks", Health.WARN, _names(ws, ours), "orc run", Fix("locks", told, _free_locks))
    temporary = _temporary(ws)
    if temporary:
        told = f"remove {number(len(temporary), 'temporary file')} of killed git processes from the mirrors"
        fix = Fix("temporary", told, _remove_temporary)
        yield Finding("mirrors", Health.WARN, f"{number(len(temporary), 'temporary file')} of a killed git", "", fix)
    theirs = _stale(ws, _persons_locks(ws), PERSONS_LOCK_S)
    for path in theirs:
        minutes = int((ws.now().timestamp() - path.lstat().st_mtime) / 60)
        text = f"{_name(ws, path)} is {minutes} minutes old: a git of yours is at work, or was killed"
        yield Finding("your git locks", Health.WARN, text, f"if no git is at work: rm {shlex.quote(str(path))}")


def _our_locks(ws: Workspace) -> Iterator[Path]:
    yield ws.paths.git_dir / f"{REF}.lock"
    yield from _locks_below(ws.paths.git_dir / _OUR_REFS)
    for mirror in _mirrors(ws):
        yield from _mirror_locks(mirror)
    yield from (ws.paths.orcdir / "trees").glob("*.index.lock")


def _mirror_locks(mirror: Path) -> Iterator[Path]:
    yield from mirror.glob("*.lock")
    yield from (mirror / "objects").glob("*.lock")
    for below in ("refs", "logs", "objects/info"):
        yield from _locks_below(mirror / below)


def _persons_locks(ws: Workspace) -> Iterator[Path]:
    git_dir = ws.paths.git_dir
    yield from git_dir.glob("*.lock")
    ours = {git_dir / f"{REF}.lock"}
    yield from (path for path in _locks_below(git_dir / "refs" / "heads") if path not in ours)


def _locks_below(folder: Path) -> Iterator[Path]:
    for at, _, names in os.walk(folder):
        yield from (Path(at) / name for name in names if name.endswith(".lock"))


def _mirrors(ws: Workspace) -> list[Path]:
    return sorted(path for path in (ws.paths.orcdir / "mirrors").glob("*.git") if is_real_folder(path))


def _stale(ws: Workspace, locks: Iterable[Path], age_s: float) -> list[Path]:
    now, found = ws.now().timestamp(), []
    for path in locks:
        signed = signature(path)
        if signed is not None and now - signed.mtime_ns / 1e9 > age_s:
            found.append(path)
    return found


def _free_locks(ws: Workspace) -> str:
    moved = 0
    with alone(ws):
        with hold_lease(ws.paths.orcdir / "ledger.lock", timeout=LOCK_TIMEOUT_S, what="the ledger"):
            ours = [ws.paths.git_dir / f"{REF}.lock", *_locks_below(ws.paths.git_dir / _OUR_REFS)]
            moved += _set_aside(ws, _stale(ws, ours, STALE_LOCK_S))
        for mirror in _mirrors(ws):
            # Every git of ours that writes refs there holds this lock, so nobody is alive behind what is found.
            with locked(Git(mirror)):
                moved += _set_aside(ws, _stale(ws, _mirror_locks(mirror), STALE_LOCK_S))
        for path in (ws.paths.orcdir / "trees").glob("*.index.lock"):
            beside = path.with_name(path.name.removesuffix(".index.lock") + ".lock")
            with hold_lease(beside, timeout=0, what=f"the tree of {beside.name}"):
                moved += _set_aside(ws, _stale(ws, [path], STALE_LOCK_S))
    return f"moved {moved} aside"


def _set_aside(ws: Workspace, locks: Iterable[Path]) -> int:
    moved = 0
    folder = ws.paths.orcdir / "orphans"
    for path in locks:
        with effect(Effect.LEDGER_REF):
            ensure_folder(folder)
            stamp = int(ws.now().timestamp() * 1000)
            move_no_replace(path, folder / f"{path.name[:100]}.{stamp}-{moved}.orphan")
        moved += 1
    return moved


def _temporary(ws: Workspace) -> list[Path]:
    """Objects that a killed git left half written in a mirror, and mirrors that were never finished."""
    found: list[Path] = []
    for mirror in _mirrors(ws):
        for pattern in ("objects/*/tmp_obj_*", "objects/pack/tmp_*", "objects/tmp_objdir-*"):
            found += mirror.glob(pattern)
    return _stale(ws, [*found, *(ws.paths.orcdir / "mirrors").glob(f"{_MAKING}*")], TEMPORARY_S)


def _remove_temporary(ws: Workspace) -> str:
    with alone(ws):
        found = _temporary(ws)
        for path in found:
            mirrors = [each for each in _mirrors(ws) if each in path.parents]
            mirror = mirrors[0] if mirrors else path.with_name(path.name.removeprefix(_MAKING))
            with locked(Git(mirror)), effect(Effect.MIRROR_REFRESH):
                remove_tree(path)
    return f"removed {len(found)}"


def _names(ws: Workspace, paths: list[Path]) -> str:
    some = ", ".join(_name(ws, path) for path in paths[:5])
    return f"left by a git that was killed: {some}" + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")


def _name(ws: Workspace, path: Path) -> str:
    return str(path.relative_to(ws.paths.git_dir.parent)) if path.is_relative_to(ws.paths.git_dir.parent) else str(path)


# --- agents' trees ---


def look_at_trees(ws: Workspace) -> Iterator[Finding]:
    """Trees that cannot be read, or of which the record cannot: they are set aside whole, and built anew."""
    for path, record in _trees(ws):
        name = f"{path.parent.name}/{path.name}"
        if path.is_symlink() or path.parent.is_symlink():
            text, hint = f"{path} is a symbolic link, in which no agent can work", f"rm {shlex.quote(str(path))}"
            yield Finding(f"tree {name}", Health.FAIL, text, hint)
        elif why := _unreadable(path, record):
            told = f"move the tree of {name} to state/trees/.kept/ whole; the agent's next job builds a new one"
            fix = Fix(f"tree {name}", told, _set_tree_aside(path, record))
            yield Finding(f"tree {name}", Health.WARN, why, "the agent's next job saves what it can by itself", fix)


def _trees(ws: Workspace) -> Iterator[tuple[Path, Path]]:
    """Every tree, and where its record lies."""
    folder = ws.paths.state / "trees"
    for agent in sorted(folder.glob("[!.]*")):
        if agent.is_dir():
            for path in sorted(agent.glob("[!.]*")):
                if path.is_dir():
                    yield path, ws.paths.orcdir / "trees" / f"{agent.name}.{path.name}.json"


def _unreadable(path: Path, record: Path) -> str:
    try:
        if not os.listdir(path):
            return ""
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    if record.is_file() and read_record(record) is None:
        return f"the record of {path} cannot be read, so nothing is known of what lies there"
    return ""


def _set_tree_aside(path: Path, record: Path) -> _Act:
    def act(ws: Workspace) -> str:
        with alone(ws):
            if any(run.alive and run.agent == path.parent.name for run in find_runs(ws)):
                raise BusyError(f"{path.parent.name} is at work", hint="wait for its run to end: orc ps")
            with hold_lease(record.with_name(f"{record.name}.lock"), timeout=0, what=f"the tree {path}"):
                if not is_real_folder(path) or not _unreadable(path, record):
                    return "it can be read again"
                stamp = f"{ws.now():%Y%m%dT%H%M%SZ}"
                kept = ws.paths.state / "trees" / ".kept" / f"{path.parent.name}.{path.name}-{stamp}"
                with effect(Effect.TREE_SEAL):
                    ensure_folder(kept.parent)
                    rename_folder(path, kept)
                    for old in (record, record.with_name(f"{record.name}.index")):
                        remove(old)
        return f"moved to {kept}"

    return act


# --- trees that were set aside ---


def look_at_kept(ws: Workspace) -> Iterator[Finding]:
    """Trees that were set aside whole, by name and size. They go only when all they hold is proved to be elsewhere."""
    for path in kept_trees(ws):
        days = int((ws.now() - set_aside_at(path)).total_seconds() // 86400)
        shown = path.relative_to(ws.paths.root)
        text = f"{shown} was set aside {number(days, 'day')} ago, whole; it holds {told_size(path)}"
        if days < KEPT_DAYS:
            yield Finding("kept trees", Health.OK, text)
            continue
        told = f"delete {shown} if each of its files is found under a ref; else leave it where it is"
        hint = f"look through it; when you do not need it: rm -r {shlex.quote(str(path))}"
        yield Finding("kept trees", Health.WARN, text, hint, Fix(f"kept {path.name}", told, drop_if_proved(path)))


def kept_trees(ws: Workspace) -> list[Path]:
    """The trees that were set aside whole."""
    return sorted(path for path in (ws.paths.state / "trees" / ".kept").glob("[!.]*") if is_real_folder(path))


def set_aside_at(path: Path) -> datetime:
    """When a tree was set aside."""
    try:
        return datetime.strptime(path.name.rpartition("-")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return datetime.fromtimestamp(path.lstat().st_mtime, UTC)


def told_size(path: Path) -> str:
    """How much a folder holds, in words; of a very large one so much that it is known to be more."""
    total = count = 0
    for at, _, names in os.walk(path):
        for name in names:
            signed = signature(Path(at) / name)
            total, count = total + (signed.size if signed else 0), count + 1
            if count >= MOST_ENTRIES:
                return f"more than {size_text(total)} in {count} files"
    return f"{size_text(total)} in {number(count, 'file')}"


def drop_if_proved(path: Path) -> _Act:
    """The act that deletes a tree which was set aside, if each of its files is under a ref."""

    def act(ws: Workspace) -> str:
        if not is_real_folder(path):
            return "it is gone"
        ref = prove_kept(ws, path)
        with effect(Effect.RUN_CLEAN):
            remove_tree(path)
        return f"deleted; all of it is under {ref}"

    return act


def prove_kept(ws: Workspace, path: Path) -> str:
    """The ref that holds every file of a tree that was set aside, and its commits. Raises OrcError if none does."""
    agent, _, project = path.name.rpartition("-")[0].partition(".")
    mirror = ws.paths.mirror(project)
    if not (mirror / "HEAD").is_file():
        raise OrcError(f"it stays: there is no mirror of a project {project!r} to compare it with")
    record = ws.paths.orcdir / "trees" / f".kept.{path.name}.json"
    spec = TreeSpec(
        TreeMode.WORK, path, mirror, "", None, "orc/kept", (), (), record, None, Identity(agent or "orc", "")
    )
    with hold_lease(spec.beside("lock"), timeout=0, what=f"the tree {path}") as lease:
        git = door_of(spec, lease)
        try:
            notes: list[str] = []
            work = harvest(git, spec, when=set_aside_at(path), limits=Limits(), notes=notes, known=False)
            missing = _not_in(git.bare(), work.tree, path)
            if missing or notes:
                raise OrcError("it stays: " + (f"{missing} is in no commit" if missing else notes[0]))
            if work.strays or (work.parent and not is_kept(git.bare(), work.parent)):
                raise OrcError("it stays: it holds commits that are under no ref")
            for line in git.bare().text("for-each-ref", "--format=%(refname) %(tree)").splitlines():
                ref, _, tree = line.partition(" ")
                if tree == work.tree:
                    return ref
        finally:
            for left in (spec.index, spec.beside("index.lock")):
                remove(left)
    raise OrcError("it stays: no ref of the project has the same files")


def _not_in(git: Git, tree: str, folder: Path) -> str:
    """A file of the folder that the git tree does not have, such as an ignored one; '' if it has them all."""
    out = git.run("ls-tree", "-rz", "--name-only", tree).out
    known = {os.fsdecode(name) for name in out.split(b"\0") if name}
    for at, folders, names in os.walk(folder):
        if Path(at) == folder and ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if (Path(at) / name).is_symlink()]
        for name in (*names, *links):
            shown = os.path.relpath(os.path.join(at, name), folder)
            if shown not in known:
                return shown
    return ""
