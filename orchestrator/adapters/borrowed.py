"""A private, bare repository that borrows the objects of another one, which is neither changed nor believed.

Of the other repository only the objects and the list of where its history ends are read: no configuration, no hook, no
attribute. It costs the same for a repository of any size. It is thrown away soon, so nothing of it is flushed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import FORGIVEN
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.mirrors import guard_attributes, init_bare, object_format
from orchestrator.adapters.run_folder import read_bounded
from orchestrator.errors import HostileFileError, UnavailableError

_SHALLOW_BYTES = 64 * 1024 * 1024
_FSCK = re.compile(r"object (?P<oid>[0-9a-f]{40,64}): (?P<what>.+)")


def borrow_objects(source_git_dir: Path, path: Path) -> Git:
    """A new repository at `path` with all objects of `source_git_dir` (the common git folder). Raises OrcError."""
    with effect(Effect.MIRROR_REFRESH):
        git = replace(init_bare(path, object_format(Git(source_git_dir))), durable=False)
        guard_attributes(git)
        # A commit-graph that lies would have another history judged than the one that the commits have.
        config = (path / "config").read_bytes()
        write_atomic(path / "config", config + b"[core]\n\tcommitGraph = false\n", sync=False)
        write_atomic(path / "objects" / "info" / "alternates", _quoted(source_git_dir / "objects"), sync=False)
        shallow = _read_shallow(source_git_dir / "shallow")
        if shallow:
            write_atomic(path / "shallow", shallow, sync=False)
    return git


def _quoted(path: Path) -> bytes:
    """A line of git's list of alternates: whatever the path holds, it is one line."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"\n'.encode("utf-8", "surrogateescape")


def _read_shallow(path: Path) -> bytes:
    """Where the history of a shallow clone ends; b"" if it is whole."""
    try:
        data, is_cut = read_bounded(path, _SHALLOW_BYTES)
    except FileNotFoundError:
        return b""
    except (HostileFileError, OSError) as error:
        raise UnavailableError(f"{path} cannot be read: {error}") from error
    if is_cut or not re.fullmatch(rb"(?:(?:[0-9a-f]{40}|[0-9a-f]{64})\n)*", data):
        raise UnavailableError(f"{path} is not a list of commits, as git writes it")
    return data


def find_missing(git: Git, source_git_dir: Path, commits: Sequence[str], new: Sequence[str]) -> int:
    """How many objects of these commits, or of the history that `new` selects, a partial clone has yet to fetch.

    0 for any other repository, at once. Raises GitError.
    """
    # Git itself marks so what it got from somebody who has promised the rest.
    if not any((source_git_dir / "objects" / "pack").glob("*.promisor")):
        return 0
    missing: set[str] = set()
    for revs in (("--no-walk", *commits), new):
        listed = git.run("rev-list", "--objects", "--missing=print", "--quiet", *revs).out
        missing.update(line for line in listed.decode("ascii", "replace").splitlines() if line.startswith("?"))
    return len(missing)


def find_broken_object(git: Git, tip: str, base: str) -> str:
    """What git's own check says about the objects that `tip` has and `base` has not, as at a fetch; "" if nothing.

    Raises GitError where git fails for another reason, such as a full disk: that says nothing about the objects.
    """
    new = f"{tip}\n^{base}\n".encode()
    with effect(Effect.MIRROR_REFRESH):
        pack = git.git_dir / "looked-at"
        name = (
            git.run("pack-objects", "--revs", "--non-empty", "--threads=1", "-q", str(pack), stdin=new)
            .out.decode()
            .strip()
        )
        if not name:
            return ""
        forgiven = ",".join(f"{each}=ignore" for each in FORGIVEN)
        try:
            index = str(git.git_dir / "looked-at.idx")
            git.run("index-pack", f"--strict={forgiven}", "-o", index, f"{pack}-{name}.pack")
        except GitError as error:
            found = _FSCK.search(error.stderr)
            if not found:
                raise
            return f"object {found['oid'][:12]}: {found['what']}"
    return ""
