"""Reads, through the hardened door, what the criteria of a kind ask of the work: its documents, claims and previews.

Everything has a bound, and what is beyond it is told as unread, never passed over. Only pages in HTML, which programs
make as large as they like, are passed over with a note.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import list_tree, read_links, read_small_blobs
from orchestrator.adapters.schemas import validate
from orchestrator.adapters.spelling import known_misspellings
from orchestrator.adapters.strict_yaml import load_mapping, replace_unsafe
from orchestrator.core.claims import MOST_CLAIMS, MOST_LISTS, REPORT, claim_blocks, path_of
from orchestrator.core.criteria import Checks
from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import Claim, Failure, Preview
from orchestrator.core.globs import matches
from orchestrator.core.job import Expects, JobSpec
from orchestrator.core.kinds import KindFacts
from orchestrator.core.pages import is_page
from orchestrator.core.preview import (
    MOST_PREVIEWS,
    PREVIEW_BYTES,
    deliverables_of,
    excerpt,
    is_opaque,
    need_preview,
    preview_of,
    stand_in_for,
)
from orchestrator.core.prose import Document, has_relative_links
from orchestrator.errors import InvalidFileError

MOST_DOCUMENTS = 100
DOCUMENT_BYTES = 256 * 1024
ALL_BYTES = 2 * 1024 * 1024
"""Of all documents of one change together."""
LIST_BYTES = 64 * 1024
"""Of one list of claims."""
SOURCE_BYTES, ALL_SOURCE_BYTES = 2 * 1024 * 1024, 16 * 1024 * 1024
"""The lines of a larger file that a locator names are not counted, nor those of one too many."""
_UNCOUNTED = 10**9


def read_kind_facts(
    git: Git, tip: str, changes: tuple[Change, ...], spec: JobSpec, checks: Checks, *, report: str
) -> KindFacts:
    """What the rules of a kind look at. `changes` lead to `tip`; `report` is the agent's final answer."""
    wants_tree = checks.viewable and bool(need_preview(spec, changes))
    if not checks.reads_documents:
        return KindFacts(changes, paths=_with_folders(_oids_in(git, tip) if wants_tree else {}))
    named = [each for each in changes if matches(each.path, checks.documents)]
    documents, unread = _read_documents(git, [each for each in named if not is_page(each.path)], checks.documents)
    pages, passed_over = _read_documents(git, [each for each in named if is_page(each.path)], checks.documents)
    documents += pages
    if spec.expects is Expects.NO_CHANGE:
        documents.append(Document(REPORT, replace_unsafe(report)))
    claims, bad = _read_claims(documents) if checks.claims else ([], [])
    wants_tree |= bool(claims) or (checks.links is not None and any(map(has_relative_links, documents)))
    tree = _oids_in(git, tip) if wants_tree else {}
    return KindFacts(
        changes,
        tuple(documents),
        tuple(unread),
        tuple(passed_over),
        tuple(claims),
        tuple(bad),
        _with_folders(tree),
        _count_lines(git, tree, {path_of(each.locator) for each in claims} - {""}),
        known_misspellings() if checks.spelling else None,
    )


def _oids_in(git: Git, tip: str) -> dict[str, str]:
    return {path: oid for _, oid, path in list_tree(git, tip)}


def _read_documents(
    git: Git, named: list[Change], globs: tuple[str, ...]
) -> tuple[list[Document], list[tuple[str, str]]]:
    chosen = [each for each in named if _is_file(each)]
    read, beyond = chosen[:MOST_DOCUMENTS], chosen[MOST_DOCUMENTS:]
    data = read_small_blobs(git, (each.new_oid for each in read if each.new_oid.strip("0")), DOCUMENT_BYTES)
    were = read_small_blobs(git, (each.old_oid for each in read if each.old_oid.strip("0")), ALL_BYTES)
    documents, left = [], ALL_BYTES
    unread = [(each.path, "leads to what is not read as a document") for each in _strange_links(git, named, globs)]
    for each in read:
        # Of what was there before nobody is to be blamed, however it was written and however much it was.
        before = _decode_old(were.get(each.old_oid))
        if each.status == "D":
            documents.append(Document(each.path, None, before))
            continue
        found = data.get(each.new_oid)
        text, left = _decode(found), left - len(found or b"")
        if found is None:
            unread.append((each.path, f"is larger than {DOCUMENT_BYTES // 1024} kB"))
        elif text is None:
            unread.append((each.path, "is not UTF-8 text"))
        elif left < 0:
            unread.append((each.path, f"is beyond the {ALL_BYTES // 1024} kB of documents that are read of one change"))
            break
        else:
            is_beyond = before is None and each.old_mode.startswith("100")
            documents.append(Document(each.path, text, text if is_beyond else before))
    if beyond:
        unread.append((beyond[0].path, f"is one of more than {MOST_DOCUMENTS} changed documents"))
    return documents, unread


def _strange_links(git: Git, changes: Iterable[Change], globs: tuple[str, ...]) -> list[Change]:
    """Symbolic links in the place of documents that lead to something else, which nobody would read."""
    targets = dict(read_links(git, changes))
    found = []
    for each in changes:
        target = targets.get(each.path)
        if target is None:
            continue
        if not matches(posixpath.normpath(posixpath.join(posixpath.dirname(each.path), target)), globs):
            found.append(each)
    return found


def _is_file(change: Change) -> bool:
    return (change.old_mode if change.status == "D" else change.new_mode).startswith("100")


def _decode_old(data: bytes | None) -> str | None:
    return None if data is None else replace_unsafe(data.decode("utf-8-sig", "replace"))


def _decode(data: bytes | None) -> str | None:
    """The text of a file, None if it is none."""
    try:
        text = data.decode("utf-8-sig") if data is not None else None
    except UnicodeDecodeError:
        return None
    return None if text is None or "\0" in text else replace_unsafe(text)


def _read_claims(documents: Iterable[Document]) -> tuple[list[Claim], list[Failure]]:
    claims: list[Claim] = []
    bad: list[Failure] = []
    lists = ((each.path, *block) for each in documents for block in claim_blocks(each.text or ""))
    for number, (path, line, text) in enumerate(lists):
        if number == MOST_LISTS:
            told = f"There are more than {MOST_LISTS} lists of claims. Put the key ones into one."
            bad.append(Failure("claims_form", told, path, line))
            break
        try:
            claims += parse_claims(text, path, line)
        except InvalidFileError as error:
            told = f"{error.key}: {error.reason}" if error.key else error.reason
            bad.append(Failure("claims_form", f"The list of claims cannot be read: {told}", path, error.line))
    if len(claims) > MOST_CLAIMS:
        text = f"{len(claims)} key claims are listed; more than {MOST_CLAIMS} are no longer the key ones."
        bad.append(Failure("claims_form", text, claims[MOST_CLAIMS].file, claims[MOST_CLAIMS].line))
    return claims[:MOST_CLAIMS], bad


def parse_claims(text: str, file: str, first_line: int = 1) -> list[Claim]:
    """The claims of one list, with the lines they stand on. Raises InvalidFileError."""
    document = load_mapping(text, file=file, max_bytes=LIST_BYTES, first_line=first_line)
    validate(document.value, "claims", file=file, lines=document.lines)
    lines = document.lines
    return [
        Claim(each["id"], each["claim"], each.get("locator") or "", file, lines.get(("claims", at), first_line))
        for at, each in enumerate(document.value["claims"])
    ]


def _with_folders(tree: Mapping[str, str]) -> frozenset[str]:
    found = {"."} if tree else set()
    for path in tree:
        while path and path not in found:
            found.add(path)
            path = path.rpartition("/")[0]
    return frozenset(found)


def _count_lines(git: Git, tree: Mapping[str, str], names: set[str]) -> dict[str, int]:
    folders = _with_folders(tree)
    data = read_small_blobs(git, [tree[name] for name in sorted(names) if name in tree], SOURCE_BYTES, ALL_SOURCE_BYTES)
    lines = {name: 0 for name in names if name in folders}
    for name in names & tree.keys():
        text = data.get(tree[name])
        lines[name] = _UNCOUNTED if text is None else len(text.splitlines())
    return lines


def read_previews(
    git: Git, tip: str, changes: tuple[Change, ...], spec: JobSpec, documents: tuple[str, ...], *, report: str
) -> tuple[tuple[Preview, ...], int]:
    """What can be seen of the first deliverables, each with its preview file behind it, and how many more there are.

    `changes` lead to `tip`.
    """
    if spec.expects is Expects.NO_CHANGE:
        return ((_safe(excerpt("", report)),) if report.strip() else (), 0)
    made = [each for each in deliverables_of(spec, changes, documents) if _is_file(each)]
    first = made[:MOST_PREVIEWS]
    shown = [(each.path, each.new_oid, each.old_oid) for each in first]
    shown = _with_stand_ins(git, tip, changes, first) if any(map(is_opaque, first)) else shown
    data = read_small_blobs(git, [oid for _, *both in shown for oid in both if oid.strip("0")], PREVIEW_BYTES)
    previews = (preview_of(path, data.get(new), data.get(old)) for path, new, old in shown)
    return tuple(map(_safe, previews)), len(made) - len(first)


def _with_stand_ins(
    git: Git, tip: str, changes: Iterable[Change], made: Iterable[Change]
) -> list[tuple[str, str, str]]:
    """(path, object id, the one before) of these deliverables, and behind each that nobody can read its preview."""
    there = {path: oid for mode, oid, path in list_tree(git, tip) if mode.startswith("100")}
    before = {each.path: each.old_oid for each in changes}
    shown: dict[str, tuple[str, str, str]] = {}
    for each in made:
        shown[each.path] = (each.path, each.new_oid, each.old_oid)
        if is_opaque(each) and (name := stand_in_for(each.path, there)):
            # One that is not among the changes is shown from its beginning.
            shown[name] = (name, there[name], before.get(name, ""))
    return list(shown.values())


def _safe(preview: Preview) -> Preview:
    return Preview(replace_unsafe(preview.path), preview.about, preview.line, replace_unsafe(preview.text))
