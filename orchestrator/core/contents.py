"""What the bytes of one changed file give away: keys, compiled programs, marks of a conflict, hidden lines, prose."""

from __future__ import annotations

import re
from collections.abc import Iterator

_KEYS = (
    ("a private key", rb"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY(?: BLOCK)?-----"),
    ("a key of AWS", rb"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    ("a token of GitHub", rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b"),
    ("a token of GitLab", rb"\bglpat-[A-Za-z0-9_-]{20,64}\b"),
    ("a token of Slack", rb"\bxox[abposr]-[0-9]{8,}-[A-Za-z0-9-]{10,255}"),
    ("a key of Anthropic", rb"\bsk-ant-[a-z0-9]{3,12}-[A-Za-z0-9_-]{60,255}"),
    ("a key of OpenAI", rb"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{40,255}"),
    ("a key of Google", rb"\bAIza[0-9A-Za-z_-]{35}"),
    ("a key of Stripe", rb"\b[rs]k_live_[0-9A-Za-z]{20,255}\b"),
    ("a token of npm", rb"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a token of PyPI", rb"\bpypi-AgE[A-Za-z0-9_-]{50,512}"),
)
"""The forms that their issuers gave them so that they can be found. A password of no form is for the reviewer."""
_KEY = re.compile(b"|".join(b"(%s)" % pattern for _, pattern in _KEYS))
_PROGRAMS = (
    ("ELF", (b"\x7fELF",)),
    ("Windows", (b"MZ\x90\x00", b"MZ\x00\x00")),
    ("Mach-O", (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe", b"\xfe\xed\xfa\xcf", b"\xfe\xed\xfa\xce")),
    ("Java", (b"\xca\xfe\xba\xbe",)),
    ("WebAssembly", (b"\x00asm",)),
)
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"\x00\x00\x01\x00")
_MARKS = re.compile(rb"^(<{7}|>{7})(?: |\r?$)", re.M)
_SNIFFED = 8000
"""So many bytes git looks at to tell a binary file."""
_WIDE = (b"\xff\xfe", b"\xfe\xff")
"""What begins a text in UTF-16, half of which are NUL bytes."""
_NOTE = re.compile(r"[^./]+(?:\.(?:txt|text|org|wiki|log|rtf))?\Z", re.I)
"""Without a folder: what stands in one may be data that a program looks for there."""
_WORD = re.compile(r"[(\"'\u201c\u2018]?[^\W\d_]+(?:['\u2019-][^\W\d_]+){0,5}[,.;:!?)\"'\u201d\u2019]{0,3}\Z")
_SENTENCE_END = re.compile(r"[^\W\d_][)\"'\u201d\u2019]?[.!?](?:\s|\Z)")
_FEW_WORDS, _WORDS_OF_A_LINE = 5, 3


def find_keys(old: bytes, new: bytes) -> Iterator[tuple[int, str]]:
    """What looks like a key or a token and was not there before: the line, and what it is."""
    known = {found[0] for found in _KEY.finditer(old)} if _KEY.search(new) else set()
    for found in _KEY.finditer(new):
        if found[0] not in known:
            assert found.lastindex is not None
            yield new.count(b"\n", 0, found.start()) + 1, _KEYS[found.lastindex - 1][0]


def program_form(data: bytes) -> str:
    """The form of a compiled program, which nobody can review; '' if it is none."""
    return next((name for name, heads in _PROGRAMS if data.startswith(heads)), "")


def is_image(data: bytes) -> bool:
    """Whether it begins like an image that every viewer shows."""
    boxed = (data[:4], data[8:12]) == (b"RIFF", b"WEBP") or data[4:12] in (b"ftypavif", b"ftypavis")
    return boxed or data.startswith(_IMAGES)


def has_conflict_marks(old: bytes, new: bytes) -> bool:
    """Whether both sides of a conflict that was not resolved are marked, as they were not before."""
    marks = [found[1] for found in _MARKS.finditer(new)]
    return len(set(marks)) > 1 and len(marks) > len(_MARKS.findall(old))


def is_binary(data: bytes) -> bool:
    """Whether git takes it for a binary file, of which a diff shows no line; UTF-16 is text that git cannot show."""
    return b"\0" in data[:_SNIFFED] and not data.startswith(_WIDE)


def is_named_as_note(path: str) -> bool:
    """Whether a file at the top of a tree has the name of a text, or none that says what it is."""
    return _NOTE.match(path) is not None


def holds_sentences(data: bytes) -> bool:
    """Whether a file is prose: mostly words, several to a line, with the end of a sentence. Comments do not count."""
    try:
        lines = [line for line in data.decode().splitlines() if line.strip() and line.lstrip()[0] not in "#;/"]
    except UnicodeDecodeError:
        return False
    parts = [part for line in lines for part in line.split()]
    words = sum(_WORD.match(part) is not None for part in parts)
    if words < _FEW_WORDS or 2 * words < len(parts) or len(parts) < _WORDS_OF_A_LINE * len(lines):
        return False
    return any(_SENTENCE_END.search(line) for line in lines)
