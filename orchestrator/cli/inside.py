"""What the verbs for agents share: the run that they are called in, and how a request is handed in."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli.app import App
from orchestrator.errors import InvalidFileError, NotFoundError, RefusedError

if TYPE_CHECKING:
    from orchestrator.adapters.outbox import Here
    from orchestrator.core.outbox import RequestKind

MOST_BYTES = 300_000


def here() -> Here:
    """The run that this process belongs to. Raises RefusedError outside of one that may ask anything."""
    from orchestrator.adapters.outbox import find_here

    found = find_here(os.environ)
    if found is None:
        run = os.environ.get("ORC_RUN")
        where = f"inside a run ({run}) that is no attempt and no review" if run else "outside of a run"
        raise RefusedError(
            f"this is not possible {where}",
            cause="It is for agents: orc sets ORC_RUN and ORC_RUN_DIR for the programs that it starts.",
            hint="orc submit FILE hands in a job; orc status shows what needs you",
        )
    return found


def request(kind: RequestKind, content: Mapping[str, Any]) -> tuple[str, Path]:
    """Hand in a request. Its name, and the file in which the engine will answer."""
    from orchestrator.adapters.outbox import write_request

    run = here()
    name = write_request(run, kind, {key: value for key, value in content.items() if value})
    return name, run.folder.answers / name


def told(name: str, answer: Path) -> str:
    """What to say of a request that was handed in."""
    return f"handed in as {name}; what comes of it will stand in {answer}"


def hand_in(app: App, kind: RequestKind, content: Mapping[str, Any]) -> None:
    """Hand in a request and say so."""
    app.emit({}, told(*request(kind, content)))


def read_input(file: Path) -> tuple[bytes, str]:
    """A file, or standard input for `-`, and its name. Raises NotFoundError, InvalidFileError."""
    from orchestrator.adapters.reading import safe_read

    if str(file) == "-":
        return sys.stdin.buffer.read(MOST_BYTES), ""
    try:
        return safe_read(file, max_bytes=MOST_BYTES).data, file.name
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}") from None


def give_verdict(data: bytes) -> Path:
    """Check the form of a review's answer and put it where the engine takes it from."""
    from orchestrator.adapters.files import write_atomic, write_in_place
    from orchestrator.adapters.schemas import validate
    from orchestrator.core.ids import RunKind

    run, result = here(), os.environ.get("ORC_RESULT", "")
    if run.run.kind is not RunKind.REVIEW or not result:
        raise RefusedError(f"{run.run} is no review, so it gives no verdict", hint="orc help ask")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"is not exactly one JSON object: {error}", file="verdict") from None
    # What is wrong with a follow-up is no reason not to take the verdict.
    rest = {key: each for key, each in value.items() if key != "follow_ups"} if isinstance(value, dict) else value
    validate(rest, "verdict", file="verdict")
    text = json.dumps(value, ensure_ascii=False, indent=1).encode()
    try:
        write_atomic(Path(result), text, mode=0o600, sync=False)
    except PermissionError:
        # A sandbox lets a run write this file, and nothing beside it.
        write_in_place(Path(result), text)
    return Path(result)
