"""Takes known secret values out of bytes, also out of a stream in pieces. Where secrets come from, others know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

SHORTEST_SECRET = 6
"""Characters. A shorter value is not a secret but a word, and replacing it would make the output unreadable."""

MARK = b"[redacted]"


class Redactor:
    """Replaces each secret by `[redacted]`, also when it straddles two pieces. Holds back less than one secret."""

    def __init__(self, secrets: Iterable[str]) -> None:
        wanted = {form for value in secrets if len(value.strip()) >= SHORTEST_SECRET for form in _forms(value)}
        self._secrets = sorted(wanted, key=lambda secret: (-len(secret), secret))
        self._pattern = re.compile(b"|".join(re.escape(secret) for secret in self._secrets))
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What of the stream up to here is safe to write."""
        if not self._secrets:
            return piece
        data, out, position = self._held + piece, [], 0
        for match in self._pattern.finditer(data):
            if self._may_go_on(data[match.start() :]):
                break
            out += [data[position : match.start()], MARK]
            position = match.end()
        keep = self._start_of_held(data, position)
        self._held = data[keep:]
        return b"".join([*out, data[position:keep]])

    def flush(self) -> bytes:
        """The rest, at the end of the stream."""
        rest, self._held = self._held, b""
        return self.whole(rest)

    def whole(self, data: bytes) -> bytes:
        """`data`, which is complete, without secrets."""
        return self._pattern.sub(MARK, data) if self._secrets else data

    def text(self, text: str) -> str:
        """The same for text."""
        return self.whole(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _may_go_on(self, tail: bytes) -> bool:
        return any(len(secret) > len(tail) and secret.startswith(tail) for secret in self._secrets)

    def _start_of_held(self, data: bytes, position: int) -> int:
        """Where the longest tail begins that may be the beginning of a secret."""
        first = max(position, len(data) - len(self._secrets[0]) + 1)
        return next((start for start in range(first, len(data)) if self._may_go_on(data[start:])), len(data))


def _forms(value: str) -> set[bytes]:
    """The value as it is, and as it stands inside a JSON string."""
    plain = value.strip()
    return {
        plain.encode(),
        json.dumps(plain)[1:-1].encode(),
        json.dumps(plain, ensure_ascii=False)[1:-1].encode(),
    }
