"""Agents' trees: made ready, recycled, and emptied of their work, so that nothing an agent did is lost or run.

Every act holds the tree's lock and goes through the hardened door with the mirror as the repository. The clone inside
the tree is for the agent alone: it is made anew each time and never believed. What git cannot store (ignored files,
empty folders, the history of a repository inside the tree, a difference between the index and the files) is not kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from orchestrator.adapters import clock
from orchestrator.adapters.files import ensure_folder, machine_start, remove, remove_tree, rename_folder, write_atomic
from orchestrator.adapters.git import Git, Identity, reading
from orchestrator.adapters.git_objects import split_z
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import is_ancestor, rev_parse, tree_of
from orchestrator.adapters.harvest import (
    Harvest,
    Limits,
    changed_paths,
    door_of,
    harvest,
    ignore_patterns,
    is_untouched,
)
from orchestrator.adapters.locks import release_lease, take_lease
from orchestrator.adapters.mirrors import (
    guard_attributes,
    hold_lease,
    new_rescue_ref,
    open_mirror,
    publish_ref,
    ref_value,
    refresh_mirror,
    write_ref,
)
from orchestrator.adapters.tree_spec import (
    Include,
    Prepared,
    Sealed,
    TreeMode,
    TreeRecord,
    TreeSpec,
    read_record,
)
from orchestrator.adapters.tree_walk import is_real_folder, sweep
from orchestrator.errors import OrcError, RefusedError, UnavailableError

__all__ = [
    "Include",
    "Prepared",
    "Sealed",
    "TreeMode",
    "TreeRecord",
    "TreeSpec",
    "discard_place",
    "discard_tree",
    "is_place",
    "open_mirror",
    "prepare_tree",
    "publish_ref",
    "read_record",
    "refresh_mirror",
    "seal_tree",
    "take_place",
]

_LOCK_SECONDS = 60.0


# --- preparing ---


def prepare_tree(spec: TreeSpec, *, when: datetime | None = None, alone: bool = False) -> Prepared:
    """Make the tree hold exactly what the run starts from, saving what it held before.

    Work that is not sealed goes to its seal ref, or to `refs/orc/rescue/<agent>/...` of the mirror. Unchanged files of
    the old content are not written again. `when` is the time of the commits that save it. `alone`: somebody waits for
    it and nothing else is at work, so all processors may write. Safe to repeat after a crash at any point. Raises
    OrcError: a commit is missing, a file to include is missing, the old work cannot be saved.
    """
    _refuse_linked_folder(spec)
    notes: list[str] = []
    with _door(spec) as git:
        guard_attributes(git)
        for commit in dict.fromkeys((spec.commit, spec.start)):
            if rev_parse(git, f"{commit}^{{commit}}") is None:
                raise UnavailableError(
                    f"commit {commit[:12]} is not in the mirror {spec.mirror.name}",
                    cause="It was not fetched from the project, or the project has lost it.",
                )
        moment = when or clock.now()
        try:
            _save_old_work(git, spec, moment, notes)
        except OrcError as error:
            _set_aside(spec, moment, error, notes)
        was = read_record(spec.record)
        if was is not None and was.is_torn:
            remove(spec.index)  # What a power cut may have torn is not built upon, nor is what `keep` names.
        start = tree_of(git, spec.start)
        record = TreeRecord(spec, start, preparing=True, machine=machine_start()).write()
        began = int(os.stat(spec.record).st_mtime)
        writable = _writable_again(git, was, start) if spec.read_only else None
        fresh = _fill(git, spec, record.tree, alone)
        if spec.mode is TreeMode.WORK:
            _make_clone(git, spec)
        _copy_included(spec)
        if spec.read_only:
            _make_read_only(git, spec.path, None if fresh else writable)
        _date_back(spec.index, began)
        record.change(preparing=False)
    return Prepared(fresh, tuple(notes))


def take_place(tree: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """The tree of a run's specification with the folder that it gets, and the lock that keeps others out of it.

    With `pool`, `path` is a folder of numbered trees, of which the first that nobody uses is taken: what it held before
    need not be written again. The lock is free when its file descriptor is closed.
    """
    if not tree.get("pool"):
        return dict(tree), None
    pool = Path(tree["path"])
    ensure_folder(pool)
    for number in count(1):
        lock = take_lease(pool / f"{number}.used")
        if lock is not None:
            return {**tree, "path": str(pool / str(number)), "record": str(pool / f"{number}.json")}, lock
    raise AssertionError("numbers do not end")


@contextmanager
def _door(spec: TreeSpec) -> Iterator[Git]:
    """The mirror, the tree and its index, while nobody else has the tree. All processes hold the tree's lock."""
    with (
        hold_lease(spec.beside("lock"), timeout=_LOCK_SECONDS, what=f"the tree {spec.path}") as lease,
        reading(door_of(spec, lease)) as git,
    ):
        yield git


def discard_tree(record: Path, *, idle_since: float, when: datetime) -> tuple[str, ...] | None:
    """Remove a work tree that nobody has used since `idle_since` (seconds since 1970); what it held is saved before.

    Returns what there is to say of that; None if it was used meanwhile or serves a run whose work is not sealed. What
    git cannot store goes, as it does when a tree is recycled, and with it what `keep` names. Raises OrcError if what it
    holds cannot be saved: then it stays.
    """
    known = read_record(record)
    if known is None or known.spec.mode is not TreeMode.WORK:
        return None
    _refuse_linked_folder(known.spec)
    notes: list[str] = []
    with _door(known.spec) as git:
        now = read_record(record)
        if now is None or now.sealed is None or now.preparing or os.stat(record).st_mtime > idle_since:
            return None
        guard_attributes(git)
        _save_old_work(git, now.spec, when, notes)
        remove_tree(now.spec.path)
        for left in (now.spec.index, record):
            remove(left)
    return tuple(notes)


def discard_place(record: Path, *, idle_since: float) -> bool:
    """Remove a tree of a pool (see `take_place`), unless it was used since `idle_since` or is in use. Whether it went.

    Such trees are exports: all that they hold is the engine's own. Raises RefusedError for a folder that is none.
    """
    if not is_place(record):
        raise RefusedError(f"{record.with_suffix('')} is no checkout of orc's own")
    lock = take_lease(record.with_suffix(".used"))
    if lock is None:
        return False
    try:
        if os.stat(record).st_mtime > idle_since:
            return False
        remove_tree(record.with_suffix(""))
        for left in (record.with_name(f"{record.name}.index"), record):
            remove(left)
    finally:
        release_lease(lock)
    return True


def is_place(record: Path) -> bool:
    """Whether a record is that of a tree of a pool, in the pool's own folder.

    An agent without a sandbox could put a link in a folder's place, or a record beside a folder of somebody's.
    """
    known, place = read_record(record), record.with_suffix("")
    if known is None or known.spec.mode is not TreeMode.EXPORT or known.spec.path.name != place.name:
        return False
    return all(is_real_folder(each) for each in (place, place.parent, place.parent.parent))


def was_sealed_torn(spec: TreeSpec) -> bool:
    """Whether the machine went down between making the tree ready and sealing it: nobody is to go on from that work."""
    record = read_record(spec.record)
    return record is None or record.machine != record.sealed_in


def holds_other_work(spec: TreeSpec) -> bool:
    """Whether the tree serves another run by now, or was never ready for this one: what it held before was saved."""
    record = read_record(spec.record)
    return record is not None and (record.preparing or record.spec.seal_ref != spec.seal_ref)


def _refuse_linked_folder(spec: TreeSpec) -> None:
    # An agent without a sandbox could put a link in a folder's place and have another folder emptied.
    for folder in (spec.path.parent, spec.path.parent.parent):
        if folder.is_symlink():
            raise RefusedError(
                f"{folder} is a symbolic link; trees are made in real folders only", hint="remove the link"
            )


def _save_old_work(git: Git, spec: TreeSpec, when: datetime, notes: list[str]) -> None:
    if not is_real_folder(spec.path):
        return
    record = read_record(spec.record)
    if record is None or record.spec.path != spec.path:
        # Nothing is known of what lies there: an export is the engine's own, a work tree may be anybody's.
        if spec.mode is TreeMode.WORK and any(spec.path.iterdir()):
            remove(spec.index)
            unknown = replace(spec, include=(), keep=(), reuse=None)
            work = harvest(git, unknown, when=when, limits=Limits(), notes=notes, known=False)
            _rescue(git, spec, work, when, notes)
            remove(spec.index)  # What nothing is known of is not built upon either.
        return
    if record.preparing or record.spec.mode is TreeMode.EXPORT:
        return
    old = record.spec
    if old.mirror != spec.mirror:
        raise RefusedError(f"the tree {spec.path} belongs to the mirror {old.mirror.name}")
    door = replace(git, work_tree=old.path, index=old.index)
    found: list[str] = []
    if record.sealed and is_untouched(door, old, record.tree, known=(record.sealed,)):
        return
    work = harvest(door, old, when=when, limits=Limits(), notes=found)
    if record.sealed and not work.strays and _holds(git, record.sealed, work):
        return  # What was found was told when the work was sealed.
    notes += found
    is_changed = work.commit not in (old.commit, old.start)
    if is_changed and old.seal_ref and not record.sealed and not ref_value(git, old.seal_ref):
        write_ref(git, old.seal_ref, work.commit, "")
        record = record.change(sealed=work.commit, tree=work.tree)
        notes.append(f"The work of an earlier run that was not sealed was put under {old.seal_ref}.")
    if not _is_kept_under(git, old, work):
        _rescue(git, old, work, when, notes)
    else:
        _rescue_strays(git, old, work, when, notes)


def _set_aside(spec: TreeSpec, when: datetime, error: OrcError, notes: list[str]) -> None:
    """Move a tree whose work cannot be saved out of the way, whole: it is kept, and the agent is not blocked by it."""
    if not is_real_folder(spec.path):
        raise error
    kept = spec.path.parent.parent / ".kept" / f"{spec.path.parent.name}.{spec.path.name}-{when:%Y%m%dT%H%M%SZ}"
    ensure_folder(kept.parent)
    rename_folder(spec.path, kept)
    remove(spec.index)
    notes.append(f"The old tree could not be saved ({error.message}). It was moved to {kept}.")


def _holds(git: Git, commit: str, work: Harvest) -> bool:
    """Whether `commit` has the very content of the work and, where the agent committed, its commits."""
    if rev_parse(git, f"{commit}^{{commit}}") is None or tree_of(git, commit) != work.tree:
        return False
    return not work.own_commits or is_ancestor(git, work.parent, commit)


def _is_kept_under(git: Git, spec: TreeSpec, work: Harvest) -> bool:
    if work.commit in (spec.commit, spec.start):
        return True
    value = ref_value(git, spec.seal_ref) if spec.seal_ref else ""
    return bool(value) and _holds(git, value, work)


def _rescue(git: Git, spec: TreeSpec, work: Harvest, when: datetime, notes: list[str]) -> str:
    ref = _put_under_rescue(git, spec, work.commit, when, notes)
    _rescue_strays(git, spec, work, when, notes)
    return ref


def _rescue_strays(git: Git, spec: TreeSpec, work: Harvest, when: datetime, notes: list[str]) -> None:
    for stray in work.strays:
        _put_under_rescue(git, spec, stray, when, notes)


def _put_under_rescue(git: Git, spec: TreeSpec, commit: str, when: datetime, notes: list[str]) -> str:
    """Put `commit` under a rescue ref, unless one like it is there: the same again after a crash is not kept twice."""
    ref = new_rescue_ref(spec.author.name, f"{when:%Y%m%dT%H%M%SZ}")
    folder = ref.rpartition("/")[0]
    content = f"{tree_of(git, commit)} {git.text('rev-parse', f'{commit}^@')}".split()
    listed = git.text("for-each-ref", "--format=%(refname) %(objectname) %(tree) %(parent)", f"{folder}/")
    for line in listed.splitlines():
        name, oid, *like = line.split()
        if oid == commit or like == content:
            return name
    write_ref(git, ref, commit, "")
    notes.append(f"Work that was found in the tree and kept nowhere else was put under {ref} of the mirror.")
    return ref


def _fill(git: Git, spec: TreeSpec, tree: str, alone: bool) -> bool:
    """Bring the folder to the start; True if it was built from nothing."""
    if is_real_folder(spec.path) and spec.index.is_file():
        try:
            sweep(spec.path, spec.keep, known=spec.beside("folders"))
            _check_out(git, spec, alone)
            # A look costs half of what cleaning does, and nearly always there is nothing to clean.
            if (_is_clean(git, spec) or _clean(git, spec)) and _is_exactly(git, tree):
                return False
        except (GitError, OSError):
            pass  # Whatever it was: what follows does not depend on the old content.
    remove_tree(spec.path)
    remove(spec.index)
    ensure_folder(spec.path)
    _check_out(git, spec, alone)
    return True


def _check_out(git: Git, spec: TreeSpec, alone: bool) -> None:
    remove(spec.index.with_name(spec.index.name + ".lock"))
    # git starts more than one worker only for a hundred files and more.
    workers = ("-c", "checkout.workers=0") if alone else ()
    git.run(*workers, "read-tree", "--reset", "-u", spec.start)


def _is_clean(git: Git, spec: TreeSpec) -> bool:
    """Whether the folder holds no file and no folder, an empty one neither, that is not tracked or kept."""
    keep = [word for pattern in spec.keep for word in ("-x", pattern)]
    return not git.run("ls-files", "-z", "--others", "--directory", *keep).out


def _clean(git: Git, spec: TreeSpec) -> bool:
    """Remove what is neither tracked nor kept; whether all of it is gone."""
    git.run("clean", "-ffdxq", *[word for pattern in spec.keep for word in ("-e", pattern)])
    keep = [word for pattern in spec.keep for word in ("-x", pattern)]
    return not git.run("ls-files", "-z", "--others", *keep).out


def _is_exactly(git: Git, tree: str) -> bool:
    """Whether index and files are those of `tree`."""
    return git.text("write-tree") == tree and not changed_paths(git)


def _make_clone(git: Git, spec: TreeSpec) -> None:
    """Give the tree a repository of its own that borrows the mirror's objects, with everything checked out."""
    dot_git = spec.path / ".git"
    remove_tree(dot_git)
    # What `git init` makes (gitrepository-layout), without four processes to make it.
    branch = f"refs/heads/{spec.branch}"
    for folder in ("objects/info", "objects/pack", "info", "refs/tags", branch.rpartition("/")[0]):
        ensure_folder(dot_git / folder)
    excluded = "".join(f"{pattern}\n" for pattern in ignore_patterns(spec))
    files = {
        "config": _clone_config(spec.author),
        "objects/info/alternates": f"{spec.mirror / 'objects'}\n",
        "info/exclude": excluded,
        branch: f"{spec.start}\n",
        "HEAD": f"ref: {branch}\n",
    }
    for name, text in files.items():
        write_atomic(dot_git / name, os.fsencode(text), sync=False)
    # The times in the index count from the moment it was written, so its copy must seem as old.
    status = os.stat(spec.index)
    write_atomic(dot_git / "index", spec.index.read_bytes(), sync=False)
    os.utime(dot_git / "index", ns=(status.st_atime_ns, status.st_mtime_ns))


def _clone_config(author: Identity) -> str:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + escaped.replace("\n", " ") + '"'

    return (
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
        "[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n"
        f"[user]\n\tname = {quoted(author.name)}\n\temail = {quoted(author.email)}\n"
    )


def _copy_included(spec: TreeSpec) -> None:
    for each in spec.include:
        target = spec.path / each.target
        for above in target.parents:
            if above == spec.path:
                break
            if above.is_symlink():
                raise RefusedError(f"cannot put {each.target} into the tree: {above.name} is a symbolic link there")
        try:
            data, mode = each.source.read_bytes(), stat.S_IMODE(each.source.stat().st_mode)
        except OSError as error:
            raise UnavailableError(
                f"cannot read {each.source}, which is to be put into the tree: {error.strerror}",
                hint="make the file, or take it out of `include:`",
            ) from error
        ensure_folder(target.parent)
        write_atomic(target, data, mode=mode & 0o700 | 0o600, sync=False)


def _writable_again(git: Git, was: TreeRecord | None, tree: str) -> set[str] | None:
    """The files of a read-only tree that somebody has touched, or that git will write anew; None for all of them.

    Git compares whole seconds: who gives himself the permission back in the very second of preparing, and changes
    nothing, keeps it. That is no danger, for a change is seen: see `_date_back`.
    """
    if was is None or was.preparing or was.is_torn or not was.spec.read_only:
        return None
    try:
        touched = git.run("diff-files", "-z", "--name-only").out
        written = git.run("diff-tree", "-r", "-z", "--name-only", was.tree, tree).out
    except GitError:
        return None
    return set(split_z(touched + written))


def _make_read_only(git: Git, root: Path, paths: set[str] | None) -> None:
    """Take away the permission to write these files, all of them if `paths` is None."""
    for path in split_z(git.run("ls-files", "-z").out) if paths is None else paths:
        try:
            status = os.lstat(root / path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # It is not in this commit.
        if stat.S_ISREG(status.st_mode):
            os.chmod(root / path, stat.S_IMODE(status.st_mode) & ~0o222)
    git.run("update-index", "-q", "--refresh", ok=(0, 1))


def _date_back(index: Path, began: int) -> None:
    """Let the index seem as old as the beginning of the preparation, so that git reads again what was written since.

    It goes by whole seconds: a file that is changed in the second in which it was made, to as many bytes, with its time
    put back, looks as it did. A file that is not older than the index it compares byte by byte.
    """
    os.utime(index, (began, began))


# --- sealing ---


def seal_tree(spec: TreeSpec, *, when: datetime, max_files: int = 50_000, max_bytes: int = 512 * 2**20) -> Sealed:
    """Put the work in the tree under `spec.seal_ref` of the mirror, and say so in the record.

    The agent and all it started must have ended. Safe to repeat: the same work gets the same commit. Its own commits
    stay where they build on the start; other branches go to a rescue ref. Raises RefusedError if the tree serves
    another run, or the ref holds other work (this work is then under a rescue ref); OrcError if it is too much.
    """
    if spec.mode is not TreeMode.WORK or not spec.seal_ref:
        raise RefusedError("only a work tree with a seal ref can be sealed")
    _refuse_linked_folder(spec)
    with _door(spec) as git:
        guard_attributes(git)
        record = _record_of_run(git, spec)
        kept = ref_value(git, spec.seal_ref)
        # What was lent to the tree when it was made ready is left out, whatever the caller would lend it now.
        spec = replace(spec, include=record.spec.include, keep=record.spec.keep)
        if kept and record.is_torn and record.sealed_in == record.machine and kept in (record.sealed, record.sealing):
            # That was flushed. What lies there since the machine went down is what is left of the same work.
            return Sealed(kept, tree_of(git, kept), own_commits=False)
        notes: list[str] = []
        work = harvest(git, spec, when=when, limits=Limits(max_files, max_bytes), notes=notes)
        commit = _place_seal(git, spec, record, work, when, notes)
        _rescue_strays(git, spec, work, when, notes)
        record.change(sealed=commit, sealing=None, tree=work.tree, sealed_in=machine_start())
    return Sealed(commit, work.tree, work.own_commits, tuple(notes))


def _record_of_run(git: Git, spec: TreeSpec) -> TreeRecord:
    record = read_record(spec.record)
    if record is None:
        return TreeRecord(spec, tree_of(git, spec.start))
    if record.spec.seal_ref != spec.seal_ref or record.spec.path != spec.path or record.preparing:
        raise RefusedError(
            f"the tree {spec.path} does not hold the work of this run",
            cause="It was prepared for another run, which saved what was there, or was never ready.",
        )
    return record


def _place_seal(git: Git, spec: TreeSpec, record: TreeRecord, work: Harvest, when: datetime, notes: list[str]) -> str:
    assert spec.seal_ref is not None
    current = ref_value(git, spec.seal_ref)
    if current == work.commit:
        return current
    same_run = current != "" and current in (record.sealed, record.sealing)
    if current and _holds(git, current, work) and (same_run or is_ancestor(git, spec.commit, current)):
        return current
    if current and not same_run and not is_ancestor(git, current, work.commit):
        ref = _rescue(git, spec, work, when, notes)
        raise RefusedError(f"{spec.seal_ref} holds other work; this work was put under {ref} of the mirror")
    record.change(sealing=work.commit, sealed=record.sealed, sealed_in=machine_start())
    write_ref(git, spec.seal_ref, work.commit, current)
    return work.commit
