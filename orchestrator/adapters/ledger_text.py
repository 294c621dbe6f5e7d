"""What the ledger keeps, as text: jobs, records and the messages of its commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from orchestrator.adapters.job_file import show_job
from orchestrator.adapters.orc_block import MAX_BLOCK_BYTES, clean
from orchestrator.adapters.strict_yaml import dump, load_mapping
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.job import Job
from orchestrator.core.transitions import Actor
from orchestrator.errors import InvalidFileError, LedgerError

RECORD_BYTES = 4_000_000
"""The largest record that is written, and read."""
_SMALL_BYTES = 8192
ENGINE_EMAIL = "engine@orc.invalid"
T = TypeVar("T")


def format_job(job: Job) -> bytes:
    """A job as the ledger keeps it. Raises ValueError if it is larger than what can be read again."""
    data = show_job(job)
    # One job that cannot be read again would take all others with it.
    if len(data) > MAX_BLOCK_BYTES:
        raise ValueError(f"the file of {job.id} would have {len(data)} bytes, at most {MAX_BLOCK_BYTES} can be read")
    return data


def format_record(record: Any) -> bytes:
    """A record as the ledger keeps it. Raises ValueError if it is larger than what can be read again."""
    data = dump(clean(to_mapping(record))).encode("utf-8", "replace")
    if len(data) > RECORD_BYTES:
        raise ValueError(f"a record would have {len(data)} bytes, at most {RECORD_BYTES} can be read")
    return data


def parse_record(kind: type[T], data: bytes, path: str) -> T:
    """The inverse of `format_record`. Raises LedgerError."""
    # The same few small records of a job are asked for at each of its steps.
    parse: Callable[..., T] = _parse_small if len(data) <= _SMALL_BYTES else _parse
    return parse(kind, data, path)


def _parse(kind: type[T], data: bytes, path: str) -> T:
    try:
        return from_mapping(kind, load_mapping(data, file=path, max_bytes=RECORD_BYTES).value)
    except (InvalidFileError, ValueError) as error:
        raise LedgerError(f"{path} in the ledger cannot be read: {error}", hint="orc verify") from error


_parse_small = lru_cache(maxsize=128)(_parse)


def one_line(text: str) -> str:
    """`text` without anything that could begin a line of its own in a message, or hide in one."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "\ufffd" for char in text)


def format_commit(
    tree: str, parent: str, subject: str, trailers: Iterable[tuple[str, str]], actor: Actor, now: datetime
) -> bytes:
    """A commit as git keeps it: by `actor`, committed by orc. `parent` is '' for the first one."""
    seconds = int(now.astimezone(UTC).timestamp())
    name = one_line(actor.name).replace("<", "").replace(">", "")
    lines = [f"tree {tree}"]
    if parent:
        lines.append(f"parent {parent}")
    lines.append(f"author {name} <{_email(name)}> {seconds} +0000")
    lines.append(f"committer orc <{ENGINE_EMAIL}> {seconds} +0000")
    body = "\n".join(f"{key}: {value}" for key, value in trailers)
    message = f"{subject}\n\n{body}\n" if body else f"{subject}\n"
    return ("\n".join(lines) + f"\n\n{message}").encode("utf-8", "replace")


def _email(name: str) -> str:
    plain = "".join(char if char.isalnum() or char in "-._" else "-" for char in name.removeprefix("human:"))
    return f"{plain or 'unknown'}@orc.invalid"
