"""What of a deliverable can be seen where it is talked about: an excerpt, or what it is. Never only a path."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from orchestrator.core.diffstat import Change
from orchestrator.core.evidence_record import Failure, Preview
from orchestrator.core.globs import matches
from orchestrator.core.job import JobSpec, Kind

MOST_PREVIEWS = 3
EXCERPT_LINES, EXCERPT_COLUMNS = 12, 160
PREVIEW_BYTES = 512 * 1024
"""A larger file is not read for its excerpt."""

_IMAGES = ("*.png", "*.jpg", "*.jpeg", "*.gif", "*.webp", "*.svg")
_SHOWS = ("md", "txt", "html", "png", "jpg", "jpeg", "gif", "webp", "svg")
_KINDS = (
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "zip archive or office document"),
    (b"\x1f\x8b", "gzip archive"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def deliverables_of(spec: JobSpec, changes: Iterable[Change], documents: tuple[str, ...]) -> list[Change]:
    """The changed files that a job is for: those it declares, else the changed documents, but for code and ops."""
    made = [each for each in changes if each.status != "D"]
    if spec.deliverables:
        return [each for each in made if matches(each.path, spec.deliverables)]
    if spec.kind not in (Kind.CODE, Kind.OPS):
        return [each for each in made if matches(each.path, documents)]
    return []


def need_preview(spec: JobSpec, changes: Iterable[Change]) -> list[Change]:
    """The declared deliverables that can neither be read as text nor looked at as an image."""
    return [each for each in deliverables_of(spec, changes, ()) if is_opaque(each)]


def is_opaque(change: Change) -> bool:
    """Whether a file can neither be read as text nor looked at as an image."""
    return change.added is None and not matches(change.path, _IMAGES)


def stand_in_for(path: str, there: Collection[str]) -> str:
    """The preview of a file, '' if there is none."""
    return next((name for ending in _SHOWS if (name := f"{path}.preview.{ending}") in there), "")


def not_viewable(spec: JobSpec, changes: tuple[Change, ...], there: Collection[str] = ()) -> list[Failure]:
    """Declared deliverables that nobody can see and that have no preview, neither a new one nor one that was `there`.

    A preview of no lines shows nothing.
    """
    shown = set(there) | {each.path for each in changes if each.status != "D"}
    shown -= {each.path for each in changes if each.added == 0 and each.deleted in (0, None) and each.status == "A"}
    found = []
    for each in need_preview(spec, changes):
        if not stand_in_for(each.path, shown):
            text = (
                f"{each.path} is binary: where it is reviewed, nobody can see it. "
                f"Put a preview beside it: {each.path}.preview.md (or .txt, .html, .png, .jpg, .svg)."
            )
            found.append(Failure("not_viewable", text, each.path))
    return found


def preview_of(path: str, data: bytes | None, before: bytes | None) -> Preview:
    """What is shown of a file; `data` is None if it is too large to be read."""
    if data is None:
        return Preview(path, f"larger than {PREVIEW_BYTES // 1024} kB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        return Preview(path, _describe(data))
    return excerpt(path, text, (before or b"").decode("utf-8-sig", "replace"))


def excerpt(path: str, text: str, before: str = "") -> Preview:
    """The first lines of a text, from the first one that `before` has not."""
    lines, old = text.splitlines(), before.splitlines()
    begin = next((at for at, line in enumerate(lines) if at >= len(old) or line != old[at]), 0)
    while begin < len(lines) and not lines[begin].strip():
        begin += 1
    shown = [_CONTROL.sub("\ufffd", line)[:EXCERPT_COLUMNS].rstrip() for line in lines[begin : begin + EXCERPT_LINES]]
    count = len(lines)
    return Preview(path, f"text, {count} line{'s' * (count != 1)}", begin + 1, "\n".join(shown))


def _describe(data: bytes) -> str:
    name = next((name for magic, name in _KINDS if data.startswith(magic)), "binary")
    size = f"{len(data):,} bytes"
    if name == "PNG image" and len(data) >= 24:
        wide, high = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
        return f"{name}, {wide} x {high}, {size}"
    return f"{name}, {size}"
