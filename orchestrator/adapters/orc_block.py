"""Files with two writers as bytes: a person's text, and the block under the key `orc:` that the engine writes after it.

It knows nothing of jobs or cards; where the two parts meet is decided in `core.document`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.adapters.reading import DEFAULT_MAX_BYTES, size_text
from orchestrator.adapters.strict_yaml import BYTE_ORDER_MARKS, dump, load, replace_unsafe
from orchestrator.core.document import join, split
from orchestrator.errors import InvalidFileError

KEY = "orc"
"""The only key of the block."""
MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""The largest block that is read; orc writes it, so it may exceed what a person may hand in."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The person's text to the letter, and what stands under `orc:` (None if there is no block)."""

    text: str
    block: Mapping[str, Any] | None


def read_parts(data: bytes, *, markdown: bool, file: str) -> Parts:
    """Take a file apart. Raises InvalidFileError for what is not text, is too large, or has a damaged block."""
    text = _decode(data, file)
    document = split(text, markdown=markdown)
    size = len(document.person.encode("utf-8"))
    if size > DEFAULT_MAX_BYTES:
        raise InvalidFileError(
            f"is {size_text(size)}; at most {size_text(DEFAULT_MAX_BYTES)} is read", file=file, hint="Make it smaller."
        )
    if document.block is None:
        return Parts(document.person, None)
    first_line = text.count("\n", 0, text.find(document.block)) + 1
    return Parts(document.person, _read_block(document.block, file=file, first_line=first_line))


def write_parts(text: str, block: Mapping[str, Any], *, markdown: bool) -> bytes:
    """The inverse of `read_parts`. Characters that no file may hold are shown as U+FFFD in the block."""
    return join(text, dump({KEY: clean(block)}), markdown=markdown).encode("utf-8")


def _read_block(block: str, *, file: str, first_line: int) -> Mapping[str, Any] | None:
    hint = (
        "Everything below the line that begins with `# --- ` is orc's: undo the change there, and write above the line."
    )
    try:
        # Behind as many empty lines, so that every line number is the file's.
        document = load("\n" * (first_line - 1) + block, file=file, max_bytes=MAX_BLOCK_BYTES)
    except InvalidFileError as error:
        reason = f"the part that orc writes was damaged: {error.reason}"
        raise InvalidFileError(reason, file=file, line=error.line, key=error.key, hint=hint) from error
    if document.value is None:
        return None
    keys = document.value if isinstance(document.value, dict) else {}
    for key in keys:
        if key != KEY:
            line = document.lines[key,]
            raise InvalidFileError("stands in the part that orc writes", file=file, line=line, key=key, hint=hint)
    value = keys.get(KEY)
    if not isinstance(value, dict):
        raise InvalidFileError("the part that orc writes was damaged", file=file, line=first_line, key=KEY, hint=hint)
    return value


def _decode(data: bytes, file: str) -> str:
    if data.startswith(BYTE_ORDER_MARKS):
        hint = "Save it as UTF-8 without BOM."
        raise InvalidFileError("starts with a byte order mark", file=file, line=1, hint=hint)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFileError("is not UTF-8 text", file=file, line=line, hint="Save it as UTF-8.") from error
    safe = replace_unsafe(text)
    if safe != text:
        at = next(index for index, (old, new) in enumerate(zip(text, safe, strict=True)) if old != new)
        reason = f"contains a character that no file may hold (U+{ord(text[at]):04X})"
        raise InvalidFileError(reason, file=file, line=text.count("\n", 0, at) + 1, hint="Remove it.")
    return text


def clean(value: Any) -> Any:
    """A value that the engine may write: with U+FFFD for every character that no file of the ledger may hold."""
    # Reasons and findings quote agents; a control character in one must not keep the engine from writing its ledger.
    if isinstance(value, str):
        return replace_unsafe(value)
    if isinstance(value, Mapping):
        return {replace_unsafe(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    return value
