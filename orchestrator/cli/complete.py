"""What the Tab key offers: ids of jobs and cards, answers, agents, branches.

Asked at every key, so nothing is opened that takes time: names in `queue/` first, Git only where `queue/` is behind the
ledger. Good enough to complete, never a reason to fail: where nothing can be read, nothing is offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import clean_line
from orchestrator.errors import OrcError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

REF = "refs/heads/orc/state"
MOST_HELP = 60
"""Files of so many jobs are opened for their titles; nobody reads a longer list."""
HEAD_BYTES = 8192
HELP_CHARACTERS = 70
MOST_BRANCHES = 500
"""So many are offered at most, of those that begin as it was typed."""
_ID = r"[a-z0-9-]+-[0-9a-f]{8}"
_NAME = re.compile(rf"(?P<id>{_ID}(?P<card>\.card-[0-9]+)?)\.(?:yaml|md)\Z")
_ENDED = ("done", "failed", "cancelled")
_OPEN = ("urgent", "normal", "background", "waiting", "running", "review", "decide")
_BRANCH = re.compile(r"[\w@+][\w./@+#=-]*")
"""Bash puts a name on the line as it is: one that means something to a shell is not offered, only taken when typed."""
_TITLE = re.compile(rb"^title:[ \t]*(?P<text>[^\s|>].*)$", re.M)
_PROMPT = re.compile(rb"^prompt:[ \t]*(?:[|>][-+0-9]*[ \t]*(?:#.*)?\n\s*)?(?P<text>\S.*)$", re.M)
_FINISH_KEYS = ("done", "more")
_PENDING = re.compile(r"^project: ['\"]?([a-z0-9-]+)['\"]?\nstate: pending_approval\ncard: ([0-9]+)$", re.M)
_QUESTION = re.compile(rb"^# (?P<text>.+)$", re.M)
_OPTION = re.compile(rb"^ +- key: \"?(?P<key>[a-z][a-z0-9-]*)\"?\n +label: (?P<label>.*)$", re.M)


def complete_any(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Ids of jobs that begin so, those that ended lately too."""
    return _items(_jobs(_root(ctx), incomplete, (*_OPEN, *_ENDED), ledger=True))


def complete_ended(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Ids of jobs that begin so and ended lately."""
    return _items(_jobs(_root(ctx), incomplete, _ENDED))


def complete_job(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Ids of open jobs that begin so."""
    return _items(_jobs(_root(ctx), incomplete, _OPEN, ledger=True))


def complete_card(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Ids of cards, and of the jobs that ask them."""
    root = _root(ctx)
    found = _jobs(root, incomplete, ("decide",), cards=True)
    return _items({**found, **{id_: None for id_ in _finish_cards(root) if id_.startswith(incomplete)}})


def complete_answer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The answers that the card offers which stands before them on the command line."""
    from click.shell_completion import CompletionItem

    root, named = _root(ctx), str(ctx.params.get("card") or "").removesuffix(".yaml").rpartition("/")[2]
    if root is None or not named:
        return []
    if ".finish-" in named:
        return [CompletionItem(key) for key in _FINISH_KEYS if key.startswith(incomplete)]
    job = named.partition(".")[0]
    files = [name for name in _list(root / "queue" / "decide") if ".card-" in name and name.startswith(job)]
    # By the job's name without the digits, else by the beginning of its id, as the commands themselves take it.
    files = [each for each in files if each.partition(".")[0][:-9] == job] or files
    texts = [_head(root / "queue" / "decide" / name) for name in sorted(files)]
    offered = {found["key"].decode(): _line(found["label"]) for text in texts for found in _OPTION.finditer(text)}
    return [CompletionItem(key, help=label) for key, label in offered.items() if key.startswith(incomplete)]


def complete_agent(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of agents that begin so."""
    return _agents(ctx, incomplete, "souls")


def complete_backend(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of backends of which the ledger knows something, that begin so."""
    root = _root(ctx)
    if root is None:
        return []
    from orchestrator.engine.services import read_services
    from orchestrator.engine.workspace import open_workspace
    from orchestrator.errors import OrcError

    try:
        with open_workspace(root, lean=True) as ws:
            return [name for name in read_services(ws) if name.startswith(incomplete)]
    except OrcError:
        return []


def complete_kind(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Kinds of work that begin so: those that orc knows, and those that have a file in `criteria/`."""
    from orchestrator.core.job import Kind

    root = _root(ctx)
    names = _list(root / "criteria") if root else []
    own = sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name[0] not in ".#")
    return [name for name in dict.fromkeys((*map(str, Kind), *own)) if name.startswith(incomplete)]


def complete_retired(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Names of agents that begin so; after --undo, of those that are retired."""
    return _agents(ctx, incomplete, "souls/retired" if ctx.params.get("undo") else "souls")


def _agents(ctx: click.Context, incomplete: str, folder: str) -> list[str]:
    root = _root(ctx)
    names = _list(root / folder) if root else []
    found = (name.removesuffix(".md") for name in names if name.endswith(".md") and name[0] not in ".#")
    return sorted(name for name in found if name.startswith(incomplete))


def complete_branch(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Branches that begin so, of the repository that one stands in, and of its remotes; after BASE.. too."""
    from orchestrator.adapters.git import Git
    from orchestrator.adapters.git_person import common_dir

    base, dots, begun = incomplete.rpartition("..")
    if (begun and not _BRANCH.fullmatch(begun)) or (dots and not base):
        return []
    try:
        git = Git(common_dir(_here(ctx)), timeout=2)
        # As a pattern of Git, so that it reads no other refs; its * goes to the next slash only.
        patterns = [f"refs/{kind}/{begun}*{rest}" for kind in ("heads", "remotes") for rest in ("", "/**")]
        form = "--format=%(if)%(symref)%(then)%(else)%(refname)%(end)"
        refs = git.text("for-each-ref", f"--count={MOST_BRANCHES}", form, *patterns).splitlines()
    except (OrcError, OSError):
        return []
    names = (ref.split("/", 2)[2] for ref in refs if ref and ref != REF)
    return [base + dots + name for name in names if _BRANCH.fullmatch(name)]


def _root(ctx: click.Context) -> Path | None:
    from orchestrator.adapters.places import find_root

    try:
        return find_root(_here(ctx))
    except (OrcError, OSError):
        return None


def _here(ctx: click.Context) -> Path:
    """The folder that the command is for."""
    return Path(ctx.find_root().params.get("where") or ".").absolute()


def _jobs(
    root: Path | None, incomplete: str, lanes: Iterable[str], *, cards: bool = False, ledger: bool = False
) -> dict[str, Path | None]:
    """Ids, each with the file that shows it."""
    if root is None:
        return {}
    found: dict[str, Path | None] = {}
    for lane in lanes:
        folder = root / "queue" / lane
        for name in _list(folder):
            if name.startswith(incomplete) and (match := _NAME.match(name)) and (cards or not match["card"]):
                found.setdefault(match["id"], folder / name)
    if ledger:
        for id_ in _behind(root):
            if id_.startswith(incomplete):
                found.setdefault(id_, None)
    return found


def _items(found: dict[str, Path | None]) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem

    # Bash shows no help, so nothing is read for it.
    told = not os.environ.get("_ORC_COMPLETE", "").startswith("bash") and len(found) <= MOST_HELP
    return [CompletionItem(id_, help=_title(found[id_]) if told else None) for id_ in sorted(found)]


def _title(path: Path | None) -> str | None:
    """What a job's or a card's file says it is about."""
    if path is None:
        return None
    text = _head(path)
    if ".card-" in path.name:
        match = _QUESTION.search(text)
    else:
        match = _TITLE.search(text) or _PROMPT.search(text)
        if match is None and path.suffix == ".md":
            match = re.search(rb"(?P<text>\S.*)", text.partition(b"\n---\n")[2])
    return _line(match["text"]) or None if match else None


def _line(data: bytes) -> str:
    text = clean_line(data.decode("utf-8", "replace")).strip("\"'")
    return text if len(text) <= HELP_CHARACTERS else text[: HELP_CHARACTERS - 1] + "…"


def _head(path: Path) -> bytes:
    """The beginning of a small file; b'' if it cannot be read. A link is not followed, a pipe not waited for."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, HEAD_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _list(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _finish_cards(root: Path | None) -> list[str]:
    """The open questions whether a project is finished, which no file shows."""
    git_dir = _git_dir(root) if root is not None else None
    if git_dir is None:
        return []
    from orchestrator.adapters.git import Git

    command = ("grep", "-h", "-E", "^(project|state|card): ", REF, "--", "projects")
    try:
        out = Git(git_dir, timeout=2).run(*command, ok=(0, 1, 128)).out
    except OrcError:
        return []
    return [f"{name}.finish-{number}" for name, number in _PENDING.findall(out.decode("utf-8", "replace"))]


# --- where queue/ is behind the ledger, because no engine is at work ---


def _behind(root: Path) -> list[str]:
    """The open jobs as the ledger has them, [] if `queue/` shows its newest commit."""
    git_dir = _git_dir(root)
    if git_dir is None:
        return []
    tip = _head(git_dir / REF).strip()
    if tip and tip == _head(root / "state" / "projected").strip():
        return []
    from orchestrator.adapters.git import Git

    try:
        out = Git(git_dir, timeout=2).run("ls-tree", "-rd", "--name-only", REF, "open/", ok=(0, 128)).out
    except OrcError:
        return []
    names = (line.rpartition("/")[2] for line in out.decode("utf-8", "replace").splitlines())
    return [name for name in names if re.fullmatch(_ID, name)]


def _git_dir(root: Path) -> Path | None:
    """The common git folder of a checkout, found without git; None if it is none."""
    place = root / ".git"
    if place.is_dir():
        return place
    link = _head(place).decode("utf-8", "replace").strip()
    if not link.startswith("gitdir: "):
        return None
    own = root / link.removeprefix("gitdir: ")
    common = _head(own / "commondir").decode("utf-8", "replace").strip()
    return (own / common) if common else own
