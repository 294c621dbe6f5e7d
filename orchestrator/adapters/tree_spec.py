"""Values about agents' trees: what a run asks for, and the record of what a tree holds.

The record lies outside the agent's reach; it is what decides whether a tree's content may be thrown away.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.adapters.files import ensure_folder, machine_start, write_atomic
from orchestrator.adapters.git import Identity
from orchestrator.errors import InvalidFileError

_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*[A-Za-z0-9_]")
_SEAL_REF = re.compile(r"refs/orc/[A-Za-z0-9_/-]+(?:\.[A-Za-z0-9_/-]+)*")


class TreeMode(StrEnum):
    """What a tree is for."""

    WORK = "work"
    """A clone of its own in which an agent works."""
    EXPORT = "export"
    """The files of one commit, without a repository."""


@dataclass(frozen=True, slots=True)
class Include:
    """A file of the person's to put into the tree. It is never taken out again."""

    source: Path
    target: str
    """Relative to the tree."""


@dataclass(frozen=True, slots=True)
class TreeSpec:
    """The tree that a run works in, as its specification says it."""

    mode: TreeMode
    path: Path
    mirror: Path
    commit: str
    """The base: what the work is compared with."""
    reuse: str | None
    """An earlier snapshot to start from instead of `commit`."""
    branch: str
    keep: tuple[str, ...]
    """Folders that survive a recycle, as patterns of a `.gitignore`."""
    include: tuple[Include, ...]
    record: Path
    seal_ref: str | None
    author: Identity
    read_only: bool = False
    """For exports: take away the permission to write the files."""

    @property
    def start(self) -> str:
        """The commit whose content the tree gets."""
        return self.reuse or self.commit

    @property
    def index(self) -> Path:
        """The engine's own index of the tree, outside the agent's reach."""
        return self.beside("index")

    def beside(self, suffix: str) -> Path:
        """A path beside the record."""
        return self.record.with_name(f"{self.record.name}.{suffix}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TreeSpec:
        """Read the `tree` object of a run's specification. Raises InvalidFileError."""
        path = _absolute(data, "path")
        record = data.get("record")
        author = _get(data, "author", dict)
        return cls(
            mode=TreeMode(_one_of(data, "mode", tuple(TreeMode))),
            path=path,
            mirror=_absolute(data, "mirror"),
            commit=_oid(data, "commit"),
            reuse=_oid(data, "reuse") if data.get("reuse") else None,
            branch=_branch(_get(data, "branch", str) if data.get("branch") else "orc/tree"),
            keep=tuple(_pattern(each) for each in data.get("keep") or ()),
            include=tuple(_include(each) for each in data.get("include") or ()),
            record=_absolute(data, "record") if record else path.with_name(f"{path.name}.record.json"),
            seal_ref=_seal_ref(_get(data, "seal_ref", str)) if data.get("seal_ref") else None,
            author=Identity(_get(author, "name", str), _get(author, "email", str)),
            read_only=bool(data.get("read_only", False)),
        )

    def to_json(self) -> dict[str, Any]:
        """The inverse of `from_json`."""
        return {
            "mode": str(self.mode),
            "path": str(self.path),
            "mirror": str(self.mirror),
            "commit": self.commit,
            "reuse": self.reuse,
            "branch": self.branch,
            "keep": list(self.keep),
            "include": [{"from": str(each.source), "to": each.target} for each in self.include],
            "record": str(self.record),
            "seal_ref": self.seal_ref,
            "author": asdict(self.author),
            "read_only": self.read_only,
        }


@dataclass(frozen=True, slots=True)
class Prepared:
    """A tree that is ready."""

    fresh: bool
    """Built from nothing: what `keep` names is not there."""
    notes: tuple[str, ...] = ()
    """For people: what was saved or could not be reused."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An agent's work, under a ref of the mirror."""

    commit: str
    """The base itself if nothing was changed."""
    tree: str
    own_commits: bool
    """Whether the agent's own commits are in the history of `commit`."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """What a tree holds."""

    spec: TreeSpec
    tree: str
    """The git tree that the folder was last known to hold."""
    preparing: bool = False
    """The content is the engine's own; no agent has touched it yet."""
    sealing: str | None = None
    """The commit that is just being put under the seal ref."""
    sealed: str | None = None
    """The commit in which the work is kept."""
    machine: str = ""
    """The start of the machine in which the tree was made ready, as `files.machine_start` names it."""
    sealed_in: str = ""
    """The one in which its files were read to be sealed."""

    def write(self) -> TreeRecord:
        """Store the record and return it. It is on disk, and not only in memory, once the work is sealed."""
        spec = self.spec
        data = {
            "job": spec.branch.removeprefix("orc/"),
            "number": int(number) if (number := (spec.seal_ref or "").rpartition("/")[2]).isdigit() else 0,
            "base": spec.commit,
            "agent": spec.author.name,
            "project": spec.mirror.name.removesuffix(".git"),
            "sealed": self.sealed,
            "tree": self.tree,
            "preparing": self.preparing,
            "sealing": self.sealing,
            "machine": self.machine,
            "sealed_in": self.sealed_in,
            "spec": spec.to_json(),
        }
        ensure_folder(spec.record.parent)
        # After a power cut no tree is built upon (see `torn`), so only one thing is to be known then: what is kept.
        flushed = spec.mode is TreeMode.WORK and self.sealed is not None and not self.preparing
        write_atomic(spec.record, json.dumps(data, indent=1).encode(), mode=0o600, sync=flushed)
        return self

    @property
    def is_torn(self) -> bool:
        """Whether the machine went down since: nothing of a tree is flushed, so its files may be empty or gone."""
        return self.machine != machine_start()

    def change(self, **changes: Any) -> TreeRecord:
        """Store the record with some facts changed, and return it."""
        return replace(self, **changes).write()


def read_record(path: Path) -> TreeRecord | None:
    """The record at `path`; None if there is none, or none that can be read: then nothing is known of the tree."""
    try:
        data = json.loads(path.read_bytes())
        return TreeRecord(
            spec=TreeSpec.from_json(data["spec"]),
            tree=str(data["tree"]),
            preparing=data["preparing"] is True,
            sealing=data["sealing"],
            sealed=data["sealed"],
            machine=str(data.get("machine", "")),
            sealed_in=str(data.get("sealed_in", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, InvalidFileError):
        return None


def _get(data: Mapping[str, Any], key: str, kind: type[Any]) -> Any:
    value = data.get(key)
    if not isinstance(value, kind):
        raise InvalidFileError(f"must be a {kind.__name__}, is {value!r}", key=f"tree.{key}")
    return value


def _one_of(data: Mapping[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    value = str(_get(data, key, str))
    if value not in allowed:
        raise InvalidFileError(f"must be one of {', '.join(allowed)}, is {value!r}", key=f"tree.{key}")
    return value


def _absolute(data: Mapping[str, Any], key: str) -> Path:
    path = Path(_get(data, key, str))
    if not path.is_absolute() or ".." in path.parts or "\n" in str(path):
        raise InvalidFileError(f"must be an absolute path, is {str(path)!r}", key=f"tree.{key}")
    return path


def _oid(data: Mapping[str, Any], key: str) -> str:
    value = str(_get(data, key, str))
    if not _OID.fullmatch(value):
        raise InvalidFileError(f"must be a full object id, is {value!r}", key=f"tree.{key}")
    return value


def _branch(name: str) -> str:
    if not _BRANCH.fullmatch(name) or ".." in name or "//" in name:
        raise InvalidFileError(f"is not a name for a branch: {name!r}", key="tree.branch")
    return name


def _seal_ref(ref: str) -> str:
    if not _SEAL_REF.fullmatch(ref) or "//" in ref:
        raise InvalidFileError(f"must be a ref below refs/orc/, is {ref!r}", key="tree.seal_ref")
    return ref


def _pattern(value: Any) -> str:
    """A pattern that matches folders only, so that a link in a folder's place is not kept."""
    if not isinstance(value, str) or not value.strip("/") or value[0] in "!#" or "\n" in value:
        raise InvalidFileError(f"is not a folder to keep: {value!r}", key="tree.keep")
    return value.rstrip("/") + "/"


def _include(value: Any) -> Include:
    if not isinstance(value, Mapping):
        raise InvalidFileError(f"must be a mapping of `from` and `to`, is {value!r}", key="tree.include")
    target = str(value.get("to", ""))
    parts = target.split("/")
    if any(part in ("", ".", "..") or part.casefold() == ".git" for part in parts) or "\n" in target:
        raise InvalidFileError(f"is not a path inside the tree: {target!r}", key="tree.include.to")
    return Include(_absolute(value, "from"), target)
