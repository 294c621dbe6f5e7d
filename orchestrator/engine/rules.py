"""Writes the rules into CLAUDE.md, AGENTS.md and GEMINI.md, and checks them. Touches only orc's block."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from orchestrator.adapters.files import write_atomic
from orchestrator.adapters.library import blob_id, read_rules, scan_rules
from orchestrator.adapters.reading import ReadFile, safe_read, signature
from orchestrator.core.attempt_record import Used
from orchestrator.core.rules import Refusal, RefusalKind, adopt, lint, merge_block, prompt_section, render_block
from orchestrator.errors import HostileFileError, InvalidFileError, NotFoundError, RefusedError

FILES = ("CLAUDE.md", "AGENTS.md", "GEMINI.md")
MOST_BYTES = 4 * 1024 * 1024
"""The tools that read these files skip larger ones."""


class Outcome(StrEnum):
    """What became of one file."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one file; `reason` says why it was refused and `hint` the way out."""

    file: str
    outcome: Outcome
    reason: str = ""
    hint: str = ""


def build_rules(root: Path, *, only: Collection[str] = FILES) -> list[Written]:
    """Bring the block in these files up to date. A file of the person's own is left alone and reported as refused.

    Raises InvalidFileError if a rule is broken: nothing is written then.
    """
    block = _render(root)
    return [_bring(root, name, block, merge_block) for name in _own_files(root) if name in only]


def check_rules(root: Path) -> list[str]:
    """Everything wrong with the rules, or the files that do not hold them as they are now; empty if all is well."""
    if problems := _problems(root):
        return problems
    block = _render(root)
    return [problem for name in _own_files(root) if (problem := _difference(root, name, block))]


def adopt_rules(root: Path, file: str) -> Written:
    """Put the block at the end of a file of the person's own, keeping all of their text.

    Raises NotFoundError for a file that orc does not write, RefusedError if it cannot be changed safely,
    InvalidFileError if a rule is broken.
    """
    if file not in FILES:
        raise NotFoundError(f"orc writes no block into {file}", hint=f"choose one of: {', '.join(FILES)}")
    if file not in _own_files(root):
        raise RefusedError(
            f"{file} is a link to another of the files", hint=f"orc rules adopt {(root / file).readlink().name}"
        )
    written = _bring(root, file, _render(root), adopt)
    if written.outcome is Outcome.REFUSED:
        raise RefusedError(f"{file}: {written.reason}", hint=written.hint)
    return written


def _render(root: Path) -> str:
    if problems := _problems(root):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InvalidFileError(problems[0] + more, hint="orc rules check lists them all")
    incidents = list(scan_rules(root).good.values())
    template = files("orchestrator").joinpath("prompts", "constitution.md").read_text(encoding="utf-8")
    return render_block(incidents, sources=[f"rules/ ({len(incidents)})"], template=template)


def _problems(root: Path) -> list[str]:
    shelf = scan_rules(root)
    return [str(problem) for problem in shelf.problems] + [f"rules/{p}" for p in lint(shelf.good.values())]


def _own_files(root: Path) -> list[str]:
    """The files to write: not those that are links to another of them, which then say the same."""
    return [name for name in FILES if not _links_to_sibling(root, name)]


def _links_to_sibling(root: Path, name: str) -> bool:
    path = root / name
    if not path.is_symlink():
        return False
    target = root / path.readlink()
    return target.name in FILES and target.parent.resolve() == root.resolve() and not target.is_symlink()


def _read(path: Path) -> ReadFile | None:
    try:
        return safe_read(path, max_bytes=MOST_BYTES)
    except FileNotFoundError:
        return None


def _text(current: ReadFile | None) -> str | None:
    """The file as text that becomes the same bytes again, whatever its encoding."""
    return current.data.decode("utf-8", "surrogateescape") if current else None


def _difference(root: Path, name: str, block: str) -> str:
    """What is wrong with one file and the way out; empty if it holds the block."""
    try:
        current = _read(root / name)
    except HostileFileError as error:
        return str(error.in_file(name))
    merged = merge_block(_text(current), block)
    if isinstance(merged, Refusal):
        return f"{name}: {merged.reason}; {_way_out(merged, name)}"
    if merged == _text(current):
        return ""
    return f"{name}: {'differs from the rules' if current else 'does not exist'}; run: orc rules build"


def _bring(root: Path, name: str, block: str, merge: Callable[[str | None, str], str | Refusal]) -> Written:
    path = root / name
    try:
        current = _read(path)
    except HostileFileError as error:
        return Written(name, Outcome.REFUSED, error.reason, error.hint)
    merged = merge(_text(current), block)
    if isinstance(merged, Refusal):
        return Written(name, Outcome.REFUSED, merged.reason, _way_out(merged, name))
    if merged == _text(current):
        return Written(name, Outcome.UNCHANGED)
    if signature(path) != (current.signature if current else None):
        return Written(name, Outcome.REFUSED, "it changed while it was being read", "run the command again")
    mode = path.stat().st_mode & 0o777 if current else 0o644
    write_atomic(path, merged.encode("utf-8", "surrogateescape"), mode=mode)
    return Written(name, Outcome.WRITTEN)


def _way_out(refusal: Refusal, name: str) -> str:
    match refusal.kind:
        case RefusalKind.OWN_FILE:
            return f"to let orc add its block at the end, run: orc rules adopt {name}"
        case RefusalKind.EDITED:
            return (
                f"move your text out of the markers and delete the block, or run: orc rules adopt {name} "
                "(it keeps the edited text as yours and adds the block anew)"
            )
        case RefusalKind.BROKEN_MARKERS:
            return f"repair or delete the orc:begin and orc:end lines in {name}, then run: orc rules build"


@dataclass(frozen=True, slots=True)
class PromptRules:
    """The rules as they go into a prompt: their text, the blob id of it, and each rule as `NNNN@BLOB`, its file's."""

    text: str
    used: Used | None
    ids: tuple[str, ...]


def rules_for_prompt(root: Path) -> PromptRules:
    """The rules of a workspace as they are now."""
    found = read_rules(root)
    text = prompt_section(found)
    used = Used("rules", blob_id(text.encode())) if found else None
    return PromptRules(text, used, tuple(f"{rule.number:04d}@{rule.blob}" for rule in found))
