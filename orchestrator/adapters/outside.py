"""What lies outside of an agent's tree: read before its run begins and after it has ended, to be compared.

Everything is bounded, and nothing is run: git is asked through the hardened door, files are read as files.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.adapters.files import ensure_folder, sync_folder, write_atomic
from orchestrator.adapters.gate_facts import EMPTY_BLOBS
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import split_z
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.harvest import ignore_patterns
from orchestrator.adapters.mirrors import LEDGER_REF
from orchestrator.adapters.run_folder import read_bounded
from orchestrator.adapters.tree_spec import TreeMode, read_record
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.escapes import Outside, Settings
from orchestrator.errors import HostileFileError

NOTE_BYTES = 8_000_000
CONFIG_BYTES = 256_000
HASHED_BYTES = 1_000_000
"""The largest file whose content is compared."""
HASHED_IN_ALL = 16_000_000
MOST_HOOKS, MOST_REFS, MOST_PATHS, MOST_COMMITS, MOST_TREES = 256, 10_000, 2_000, 500, 32
READ_BY_GIT = ("info/attributes", "info/exclude", "info/grafts", "info/alternates", "objects/info/alternates")
CONFIGS = ("config", "config.worktree")
FEW_REFS = ("refs/orc/next", "refs/replace")
REFS = ("refs/heads", "refs/tags", *FEW_REFS)
_DIFF = ("-r", "-z", "--raw", "--root", "--no-renames", "--no-ext-diff", "--ignore-submodules=all")


# --- the note of the beginning -----------------------------------------------------------------------------------


def write_note(path: Path, outside: Outside) -> None:
    """Keep what there was. When the file was written is when the run began, on the clock of the file system.

    It outlives a power cut, as the run's lock does: the work of that run is gone on from.
    """
    if not path.parent.is_dir():
        ensure_folder(path.parent)
        sync_folder(path.parent.parent)
    write_atomic(path, json.dumps(to_mapping(outside)).encode(), mode=0o600)


def read_note(path: Path) -> tuple[Outside, int] | None:
    """What there was, and when it was noted, in nanoseconds; None if that is not known any more."""
    try:
        began = os.lstat(path).st_mtime_ns
        data, is_cut = read_bounded(path, NOTE_BYTES)
        return None if is_cut else (from_mapping(Outside, json.loads(data)), began)
    except (OSError, ValueError, RecursionError, HostileFileError):
        return None


# --- what git runs and reads -------------------------------------------------------------------------------------


def read_git_files(git_dir: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What git would run or read in a repository: files by path with a fingerprint, and files of configuration."""
    configs, files = {}, {}
    for name in CONFIGS:
        path = git_dir / name
        try:
            data, is_cut = read_bounded(path, CONFIG_BYTES)
        except (OSError, HostileFileError):
            data, is_cut = b"", True
        if is_cut:
            files[str(path)] = fingerprint(path)
        else:
            configs[str(path)] = data.decode("utf-8", "surrogateescape")
    named = [git_dir / "hooks", *(git_dir / name for name in READ_BY_GIT)]
    for path in (*named, *sorted(_hooks(git_dir / "hooks"))[:MOST_HOOKS]):
        files[str(path)] = fingerprint(path)
    return {path: found for path, found in files.items() if found}, configs


def _hooks(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if not name.endswith(".sample")]
    except OSError:
        return []


def fingerprint(path: Path) -> str:
    """What a path is: of a file whether it can be run, its size and a digest; '' for a folder and for nothing."""
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return f"link to {os.readlink(path)}"
        if stat.S_ISDIR(found.st_mode):
            return ""
        if not stat.S_ISREG(found.st_mode):
            return "no file"
        data, is_cut = read_bounded(path, HASHED_BYTES)
        about = found.st_mtime_ns if is_cut else hashlib.sha256(data).hexdigest()
        return f"{bool(found.st_mode & 0o111):d} {found.st_size} {about}"
    except FileNotFoundError:
        return ""
    except (OSError, HostileFileError):
        return "cannot be read"


def read_settings(git: Git, text: str) -> Settings:
    """The keys and values of a file of git's configuration. Raises GitError if git cannot read it."""
    data = text.encode("utf-8", "surrogateescape")
    found: dict[str, tuple[str, ...]] = {}
    for entry in split_z(git.run("config", "--file", "-", "--list", "-z", stdin=data).out):
        key, _, value = entry.partition("\n")
        found[key] = (*found.get(key, ()), value)
    return found


# --- refs and objects ----------------------------------------------------------------------------------------------


def read_refs(git: Git, target: str) -> dict[str, str]:
    """Branches, tags, replacements and what waits to land, by name, without the ledger: the commit that each names.

    Of a repository with too many branches and tags only the branch `target` is read.
    """
    facts = "%(refname) %(objecttype) %(objectname) %(*objecttype) %(*objectname)"
    shape = ("for-each-ref", f"--count={MOST_REFS}", f"--format={facts}")
    lines = git.text(*shape, *REFS).splitlines()
    if len(lines) == MOST_REFS:
        lines = git.text(*shape, f"refs/heads/{target}", *FEW_REFS).splitlines()
    listed = (line.split() for line in lines)
    # A tag may name a file: that is no history.
    return {name: facts[-1] for name, *facts in listed if name != LEDGER_REF and facts[-2] in ("commit", "tag")}


def list_made(git: Git, bases: Iterable[str], tip: str) -> dict[str, str]:
    """The files of `tip` with a content that none of `bases` has anywhere it differs: blob ids by path."""
    made: dict[str, str] | None = None
    for base in dict.fromkeys(bases):
        found = _new_blobs(git, base, tip)
        made = found if made is None else {path: oid for path, oid in made.items() if found.get(path) == oid}
    return dict(list((made or {}).items())[:MOST_PATHS])


def changed_blobs(git: Git, old: str, new: str) -> dict[str, str]:
    """The files that `new` has otherwise than `old`: blob ids by path. Raises GitError."""
    fields = iter(split_z(git.run("diff-tree", *_DIFF, "--no-abbrev", old, new).out))
    found = {}
    for facts in fields:
        _, mode, _, oid, _ = facts[1:].split(" ")
        path = next(fields)
        if mode.startswith("100"):
            found[path] = oid
    return found


def _new_blobs(git: Git, old: str, new: str) -> dict[str, str]:
    """As `changed_blobs`, without what says nothing about who made it: empty files, and what was only moved."""
    fields = split_z(git.run("diff-tree", *_DIFF, "--no-abbrev", old, new).out)
    facts = [each[1:].split(" ") for each in fields[::2]]
    were = {each[2] for each in facts} | EMPTY_BLOBS
    listed = zip(facts, fields[1::2], strict=True)
    return {path: each[3] for each, path in listed if each[1].startswith("100") and each[3] not in were}


def list_commits(git: Git, tips: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Commits that can be reached from `tips` and not from `known`, not too many, with their trees. Raises GitError."""
    asked = "".join([*(f"{each}\n" for each in tips), *(f"^{each}\n" for each in known)])
    args = ("log", "--no-show-signature", f"--max-count={MOST_COMMITS}", "--format=%H %T", "--ignore-missing")
    out = git.run(*args, "--stdin", stdin=asked.encode()).out.decode()
    return dict(line.split(" ") for line in out.splitlines() if " " in line)


def were_there(git: Git, made: Mapping[str, str], before: Iterable[str]) -> frozenset[str]:
    """Those of the paths that had this content anywhere in the history of `before`: one walk, however many they are.

    Raises GitError.
    """
    asked = "".join(f"{each}\n" for each in before)
    if not asked or not made:
        return frozenset()
    wanted = [f"--find-object={oid}" for oid in dict.fromkeys(made.values())]
    shape = ("log", "--no-show-signature", "--no-diff-merges", "--format=", *_DIFF, "--no-abbrev", *wanted)
    told = git.run(*shape, "--ignore-missing", "--stdin", "--", *made, stdin=asked.encode()).out
    fields = iter(split_z(told))
    return frozenset(path for facts in fields if made.get(path := next(fields)) in facts.split(" ")[2:4])


# --- files ---------------------------------------------------------------------------------------------------------


def find_copies(folder: Path, made: Mapping[str, str], since_ns: int) -> Iterator[str]:
    """The paths below `folder` that were changed since then and hold exactly what the run made at the same path."""
    left = HASHED_IN_ALL
    for path, oid in made.items():
        place = folder / os.fsdecode(os.fsencode(path))
        size = _size_if_new(place, since_ns)
        if size is None or size > min(left, HASHED_BYTES):
            continue
        left -= size
        try:
            data, is_cut = read_bounded(place, HASHED_BYTES)
        except (OSError, HostileFileError):
            continue
        if data.strip() and not is_cut and blob_id(data, len(oid)) == oid:
            yield path


def blob_id(data: bytes, digits: int) -> str:
    """The id under which git keeps this content, in a repository whose ids have so many digits."""
    whole = b"blob %d\0" % len(data) + data
    return hashlib.sha256(whole).hexdigest() if digits == 64 else hashlib.sha1(whole, usedforsecurity=False).hexdigest()


def _size_if_new(path: Path, since_ns: int) -> int | None:
    """The size of a plain file that was changed since then; None for anything else."""
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    # A time that was set back is itself a change, and that one nobody can set.
    is_new = max(found.st_mtime_ns, found.st_ctime_ns) >= since_ns
    return found.st_size if is_new and stat.S_ISREG(found.st_mode) else None


# --- other agents' trees ---------------------------------------------------------------------------------------------


def list_trees(folder: Path) -> dict[str, str]:
    """The records of agents' trees, by path, with what tells one state of a record from another."""
    found = {}
    for path in sorted(folder.glob("*.json"))[:MOST_TREES]:
        if mark := _mark(path):
            found[str(path)] = mark
    return found


def _mark(path: Path) -> str:
    try:
        found = os.lstat(path)
    except OSError:
        return ""
    return f"{found.st_ino} {found.st_mtime_ns} {found.st_size}"


def changes_in_idle_tree(record_path: Path, mark: str, since_ns: int) -> tuple[Path, list[str]] | None:
    """Where a tree lies, and the paths changed there since then; None if it had a run meanwhile, or is gone."""
    record = read_record(record_path)
    if _mark(record_path) != mark or record is None or not record.sealed or record.preparing:
        return None
    spec = record.spec
    if spec.mode is not TreeMode.WORK or not spec.path.is_dir() or record.is_torn:
        return None
    git = replace(Git(spec.mirror), work_tree=spec.path, index=spec.index)
    ignored = [word for pattern in ignore_patterns(spec) for word in ("-x", pattern)]
    listed = ("-z", "--modified", "--others", "--exclude-per-directory=.gitignore", *ignored)
    try:
        paths = dict.fromkeys(split_z(git.run("ls-files", *listed).out))
    except GitError:
        return None if _mark(record_path) != mark else (spec.path, ["its files cannot be listed"])
    found = [path for path in paths if _is_touched(spec.path, path, since_ns)]
    # A run that has begun meanwhile makes the tree ready for itself.
    return (spec.path, found) if _mark(record_path) == mark else None


def _is_touched(top: Path, path: str, since_ns: int) -> bool:
    """Whether a path, or where it is gone the folder that it was in, was changed since then."""
    place = top / path
    while place != top.parent:
        try:
            found = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            place = place.parent
            continue
        except OSError:
            return True
        return max(found.st_mtime_ns, found.st_ctime_ns) >= since_ns
    return True
