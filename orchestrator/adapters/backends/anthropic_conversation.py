"""A conversation with the Messages API, as it is sent and as it is kept in a file. It asks nothing itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.reading import safe_read
from orchestrator.errors import HostileFileError

SESSION_BYTES = 64 * 1024 * 1024
CACHED = {"type": "ephemeral"}
"""Up to here a request is read from the cache, or put there."""

Block = dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """What was said so far, kept in a file after each turn. It always ends where the model or a person may speak."""

    file: Path
    model: str
    messages: list[Block] = field(default_factory=list)
    is_saved: bool = False

    @property
    def session(self) -> str:
        """The id under which it can go on; '' as long as nothing is kept."""
        return self.file.stem if self.is_saved else ""

    def load(self) -> str:
        """Go on with what the file holds. '' or the reason why that cannot be."""
        try:
            kept = json.loads(safe_read(self.file, max_bytes=SESSION_BYTES).data)
        except FileNotFoundError:
            return f"There is no session {self.file.stem}."
        except (OSError, ValueError, RecursionError, HostileFileError) as error:
            return f"The session {self.file.stem} cannot be read: {error}"
        messages = kept.get("messages") if isinstance(kept, dict) else None
        if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
            return f"The session {self.file.stem} is not of a form that is known."
        self.messages, self.is_saved = messages, True
        if kept.get("model") != self.model:
            self._leave_out_thoughts()
        return ""

    def _leave_out_thoughts(self) -> None:
        """Another model is not shown what this one thought: the service refuses signatures that are not its own."""
        for message in self.messages:
            kept = [block for block in message["content"] if block.get("type") not in ("thinking", "redacted_thinking")]
            message["content"] = kept or [{"type": "text", "text": "(thought only)"}]

    def save(self) -> None:
        """Keep it, whole or not at all."""
        content = {"format": 1, "model": self.model, "messages": self.messages}
        ensure_folder(self.file.parent)
        write_atomic(self.file, json.dumps(content).encode("ascii"), mode=0o600, sync=False)
        self.is_saved = True

    def add(self, role: str, blocks: list[Block]) -> None:
        """Add what somebody said; two in a row by the same become one."""
        if not blocks:
            return
        if self.messages and self.messages[-1]["role"] == role:
            blocks = [*self.messages.pop()["content"], *blocks]
        self.messages.append({"role": role, "content": blocks})

    def marked(self) -> list[Block]:
        """The messages, the two newest user turns marked for the cache: up to where it was read last time, and now.

        With the tools and the system prompt that makes the four marks that a request may have.
        """
        mine = [number for number, message in enumerate(self.messages) if message["role"] == "user"][-2:]
        marked = list(self.messages)
        for number in mine:
            *rest, last = marked[number]["content"]
            marked[number] = {"role": "user", "content": [*rest, {**last, "cache_control": CACHED}]}
        return marked


def _is_message(value: object) -> bool:
    if not isinstance(value, dict) or value.get("role") not in ("user", "assistant"):
        return False
    content = value.get("content")
    return isinstance(content, list) and bool(content) and all(isinstance(block, dict) for block in content)
