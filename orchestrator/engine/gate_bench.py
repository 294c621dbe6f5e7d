"""What the workspace at hand says of how a branch is judged: its configuration, agents, rules and criteria.

No branch writes its own judge, wherever the checkout stands: what Git keeps of these is read from the commit of the
base. What Git does not keep at all is the person's own, and is read from the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import list_tree, read_small_blobs
from orchestrator.adapters.git_person import common_dir, own_dir, top_level
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.places import find_root
from orchestrator.core.config import BackendConfig, Config, Project
from orchestrator.core.gated import Named
from orchestrator.errors import InvalidFileError, NotFoundError, OrcError, UnavailableError

FILE_NAME = "orc.yaml"
FOLDERS = ("souls", "rules", "criteria")
_ENDINGS = (".md", ".yaml")


@dataclass(frozen=True, slots=True)
class _Kept:
    """The commits that a workspace's files may stand in, and where those of the base are put to be read."""

    git: Git
    top: Path
    prefix: str
    """The workspace's folder in the repository, '' or with a slash at its end."""
    base: Named
    others: tuple[str, ...]
    """The branch under judgement, and what is checked out."""
    folder: Path

    def find(self, commit: str, path: str) -> str:
        """The id of what is at `path`, from the repository's top, in a commit; '' if nothing is."""
        return rev_parse(self.git, f"{commit}:{path}") or ""

    def is_foreign(self, path: str) -> bool:
        """Whether Git keeps it, but not in the base."""
        return any(self.find(each, path) for each in self.others)


@dataclass(frozen=True, slots=True)
class Bench:
    """What a workspace says of how branches are judged."""

    root: Path
    """The workspace."""
    places: Mapping[str, Path]
    """For `orc.yaml` and each of `FOLDERS` the folder to read it from."""
    config: Config
    project: Project | None = None
    """The project whose repository it is; None if the workspace has none such."""
    note: str = ""
    kept: _Kept | None = None
    """None where another repository holds the workspace than the one whose branch is judged."""

    def owner(self, name: str) -> str:
        """Whose `orc.yaml`, or whose folder of `FOLDERS`, it is."""
        return "the workspace" if self.kept is None or self.places[name] == self.root else self.kept.base.name


def find_bench(start: Path, source: Path, git: Git, folder: Path, branch: Named, base: Named) -> Bench | None:
    """The workspace that holds `start`, for a branch of the repository `source`; None where orc was never at work.

    `git` has the objects of `source`; what is read of the base is put below `folder`. Raises InvalidFileError.
    """
    root = _root_of(start)
    if root is None:
        return None
    from orchestrator.adapters.config_file import read_config

    kept = _kept(root, git, folder, branch, base) if common_dir(root) == source else None
    places = {name: root if kept is None else _place(kept, name, root) for name in (FILE_NAME, *FOLDERS)}
    try:
        config = read_config(places[FILE_NAME])
    except NotFoundError:
        told = f"{base.name} has no {FILE_NAME}, so the one in {root} was not used."
        return Bench(root, places, Config(), note=told, kept=kept)
    except InvalidFileError as error:
        if places[FILE_NAME] == root:
            raise
        # Not the file that the person sees in the folder.
        raise error.in_file(f"{FILE_NAME} of {base.name}") from error
    return Bench(root, places, config, _project_of(config, root, source), kept=kept)


def open_bench(start: Path) -> Bench | None:
    """The workspace that holds `start` as it lies in its folder, where no branch of it is judged; None as above.

    Raises InvalidFileError.
    """
    root = _root_of(start)
    if root is None:
        return None
    from orchestrator.adapters.config_file import read_config

    return Bench(root, dict.fromkeys((FILE_NAME, *FOLDERS), root), read_config(root))


def _root_of(start: Path) -> Path | None:
    """The workspace here. Its files alone may have come with a clone: nobody asked for what they name to be run."""
    try:
        root = find_root(start).resolve()
        return root if (common_dir(root) / "orc").is_dir() else None
    except NotFoundError:
        return None


def _project_of(config: Config, root: Path, source: Path) -> Project | None:
    for project in config.projects.values():
        try:
            if common_dir((root / project.path).resolve()) == source:
                return project
        except OrcError:
            continue  # A project that is not there is not the one at hand.
    return None


def _kept(root: Path, git: Git, folder: Path, branch: Named, base: Named) -> _Kept:
    top = top_level(root).resolve()
    prefix = "".join(f"{part}/" for part in root.relative_to(top).parts)
    head = rev_parse(Git(own_dir(root)), "HEAD^{commit}") or ""
    others = tuple(dict.fromkeys(each for each in (branch.commit, head) if each))
    return _Kept(git, top, prefix, base, others, folder)


def _place(kept: _Kept, name: str, root: Path) -> Path:
    """The folder to read `name` from; where the base has it, a new one with its files."""
    from orchestrator.adapters.library import MOST_BYTES

    oid, library = kept.find(kept.base.commit, kept.prefix + name), kept.folder / "library"
    if not oid:
        return library if kept.is_foreign(kept.prefix + name) else root
    listed = {name: oid}
    if name in FOLDERS:
        is_folder = rev_parse(kept.git, f"{oid}^{{tree}}") is not None
        entries = list_tree(kept.git, oid) if is_folder else []
        # No link is read, as none is in a workspace, and no name leads out of the folder.
        fits = ((path, blob) for mode, blob, path in entries if mode.startswith("100") and "/" not in path)
        listed = {f"{name}/{path}": blob for path, blob in fits if path.endswith(_ENDINGS)}
    contents = read_small_blobs(kept.git, listed.values(), MOST_BYTES)
    with effect(Effect.RUN_FOLDER):
        for path, blob in listed.items():
            if blob in contents:
                ensure_folder((library / path).parent)
                write_atomic(library / path, contents[blob], sync=False)
    return library


# --- programs ---


def whole_words(words: Iterable[str], start: Path) -> tuple[str, ...]:
    """A command line with each argument whole that names a file from `start`: it is to run in another folder."""
    return tuple(str(start / word) if _names_file(word, at, start) else word for at, word in enumerate(words))


def _names_file(word: str, at: int, start: Path) -> bool:
    # A program without a slash is one of PATH.
    return (at > 0 or "/" in word) and not word.startswith("-") and os.path.isfile(start / word)


def pin_backend(bench: Bench, backend: BackendConfig) -> BackendConfig:
    """A backend with each of its files whole, those that Git keeps as the base has them. Raises UnavailableError."""
    argv = tuple(_pin_word(bench, word, is_program=at == 0) for at, word in enumerate(backend.argv))
    args = tuple(_pin_word(bench, word) for word in backend.args)
    program = _pin_word(bench, backend.program, is_program=True)
    return replace(backend, argv=argv, args=args, program=program, script=_pin_word(bench, backend.script))


def _pin_word(bench: Bench, word: str, *, is_program: bool = False) -> str:
    if not word or word.startswith("-") or (is_program and "/" not in word):
        return word
    path, kept = Path(os.path.normpath(bench.root / word)), bench.kept
    if kept is None:
        return str(path) if path.is_file() else word
    # Also where it leads: a link may stand in the branch only.
    inside = [each.relative_to(kept.top).as_posix() for each in (path, path.resolve()) if each.is_relative_to(kept.top)]
    for name in inside:
        oid = kept.find(kept.base.commit, name)
        if oid and rev_parse(kept.git, f"{oid}^{{blob}}"):
            return str(_checkout(kept) / name)
    if not path.is_file():
        return word
    if any(kept.is_foreign(name) for name in inside):
        raise UnavailableError(
            f"{word} cannot be used to judge the branch: {kept.base.name} has no such file",
            cause="It is in the branch, or in what is checked out, and no branch brings its own judge.",
        )
    return str(path)


def _checkout(kept: _Kept) -> Path:
    """All files of the base, for a program may load others that lie beside it."""
    folder = kept.folder / "base"
    if not folder.is_dir():
        with effect(Effect.RUN_FOLDER):
            folder.mkdir(parents=True)
            git = replace(kept.git, work_tree=folder, index=kept.folder / "base.index", reader=None)
            git.run("read-tree", "--reset", "-u", kept.base.commit)
    return folder
