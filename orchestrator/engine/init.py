"""Init: make a workspace in a git repository. What is there is left as it is; calling it twice changes nothing."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from orchestrator.adapters import clock
from orchestrator.adapters.config_file import FILE_NAME, config_template
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_person import common_dir, personal_config, top_level
from orchestrator.adapters.git_process import version
from orchestrator.adapters.git_refs import rev_parse, update_ref
from orchestrator.adapters.ledger import REF, open_ledger
from orchestrator.core.job import Lane
from orchestrator.core.transitions import Actor
from orchestrator.engine.rules import FILES, Outcome, build_rules
from orchestrator.errors import InvalidFileError, UnavailableError

OLDEST_GIT = (2, 38, 0)
QUEUE_IGNORE = "# The queue shows the ledger (git log orc/state); its files are not for this branch.\n*\n!.gitignore\n"
EXCLUDED = ("/state/",)
EXCLUDE = ".git/info/exclude"
_IGNORES = {"queue/.gitignore": QUEUE_IGNORE, "state/.gitignore": "*\n"}
_MARK = "# orc: what may vanish"


@dataclass(frozen=True, slots=True)
class Made:
    """What `init` made: paths relative to the workspace, and whether the ledger is new, adopted or was there."""

    root: Path
    files: tuple[str, ...]
    ledger: str
    has_commit: bool = True
    """Whether the repository has a commit that work can start from."""


def init_workspace(start: Path, actor: Actor, *, starter: bool = True) -> Made:
    """Make a workspace of the repository that holds `start`. Raises NotFoundError outside of one."""
    if version() < OLDEST_GIT:
        found = ".".join(map(str, version()))
        raise UnavailableError(f"git {found} is too old: orc needs 2.38", hint="install a newer git")
    root, git_dir = top_level(start), common_dir(start)
    _refuse_unknown_formats(git_dir)
    made: list[str] = []
    _write_new(root, FILE_NAME, config_template(target=current_branch(git_dir)).encode(), made)
    for lane in Lane:
        ensure_folder(root / "queue" / lane)
    if starter:
        _copy_starter(root, made, is_new=FILE_NAME in made)
        _build_missing_rules(root, made)
    made += restore_ignores(root, git_dir)
    has_commit = rev_parse(Git(git_dir), "HEAD^{commit}") is not None
    return Made(root, tuple(made), _ledger(git_dir, actor), has_commit)


def _refuse_unknown_formats(git_dir: Path) -> None:
    for key, known in (("extensions.objectformat", "sha1"), ("extensions.refstorage", "files")):
        found = personal_config(git_dir, key).strip().lower()
        if found and found != known:
            raise UnavailableError(
                f"this repository uses {key} = {found}, which orc does not support yet (it needs {known})",
                hint=f"clone it into a repository made with the format {known}",
            )


def current_branch(git_dir: Path) -> str:
    """The branch that is checked out, `main` if none is."""
    out = Git(git_dir).run("symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1, 128))
    return out.out.decode("utf-8", "replace").strip() or "main"


def _write_new(root: Path, name: str, data: bytes, made: list[str]) -> None:
    path = root / name
    if not os.path.lexists(path):
        ensure_folder(path.parent)
        write_atomic(path, data, sync=False)
        made.append(name)


def _copy_starter(root: Path, made: list[str], *, is_new: bool) -> None:
    """Examples of souls, skills and rules, each only where the workspace has none of that sort.

    Of schedules only where it `is_new`: nobody is to find that things happen by themselves which did not before.
    """
    with as_file(files("orchestrator").joinpath("starter")) as source:
        for sort in ("souls", "skills", "rules", *(("schedules",) if is_new else ())):
            if (root / sort).exists():
                continue
            for path in sorted(each for each in (source / sort).rglob("*") if each.suffix in (".md", ".yaml")):
                _write_new(root, str(path.relative_to(source)), path.read_bytes(), made)


def _build_missing_rules(root: Path, made: list[str]) -> None:
    """The files that carry the rules, where there is none yet. Rules that are broken stop nothing here."""
    lacking = [name for name in FILES if not os.path.lexists(root / name)]
    try:
        made += [each.file for each in build_rules(root, only=lacking) if each.outcome is Outcome.WRITTEN]
    except InvalidFileError:
        return  # `orc doctor` tells what is wrong with them.


def lacking_ignores(root: Path, git_dir: Path) -> list[str]:
    """Files that keep what orc makes out of the person's commits, and are not there or lack a line."""
    lacking = [name for name in _IGNORES if not os.path.lexists(root / name)]
    return [*lacking, *([EXCLUDE] if _lacking_lines(git_dir) else [])]


def restore_ignores(root: Path, git_dir: Path) -> list[str]:
    """Write what `lacking_ignores` names; what is there stays as it is."""
    made: list[str] = []
    for name, text in _IGNORES.items():
        _write_new(root, name, text.encode(), made)
    if added := _lacking_lines(git_dir):
        path, text = git_dir / "info" / "exclude", _exclude_text(git_dir)
        ensure_folder(path.parent)
        gap = "" if not text or text.endswith("\n") else "\n"
        lines = "\n".join((*([] if _MARK in text else [_MARK]), *added))
        write_atomic(path, f"{text}{gap}{lines}\n".encode("utf-8", "surrogateescape"), sync=False)
        made.append(EXCLUDE)
    return made


def _lacking_lines(git_dir: Path) -> list[str]:
    there = {line.strip() for line in _exclude_text(git_dir).splitlines()}
    return [line for line in EXCLUDED if line not in there]


def _exclude_text(git_dir: Path) -> str:
    path = git_dir / "info" / "exclude"
    return path.read_text("utf-8", "surrogateescape") if path.is_file() else ""


def _ledger(git_dir: Path, actor: Actor) -> str:
    """A clone takes over the ledger of its remote and never begins a second one."""
    git, orcdir = Git(git_dir), git_dir / "orc"
    ensure_folder(orcdir)
    if rev_parse(git, REF) is not None:
        return "there"
    remote = git.text("for-each-ref", "--format=%(objectname)", "refs/remotes/*/orc/state").split()
    if remote:
        update_ref(git, REF, remote[0], "")
        return "adopted"
    with open_ledger(git_dir, orcdir) as ledger:
        ledger.create(clock.now(), actor)
    return "new"
