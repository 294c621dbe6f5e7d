"""One question to the Messages API, asked until it is answered, and in words why it is not.

Only the program of a run loads this with the package `anthropic`; it knows nothing of tools or files.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from orchestrator.adapters import clock
from orchestrator.core.said import NOTHING_USED, Trouble, Usage

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import Message
    from anthropic.types import Usage as ApiUsage

CONNECT_SECONDS = 15.0
STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""What an error inside a stream, which began with 200, would have been before it. All else is 500."""


class CallFailed(Exception):
    """No answer. `again`: asking once more may help. `status` is that of HTTP, 0 if there was none."""

    def __init__(self, trouble: Trouble, why: str, *, status: int = 0, again: bool = False, wait_s: float = 0) -> None:
        super().__init__(why)
        self.trouble, self.why, self.status, self.again, self.wait_s = trouble, why, status, again, wait_s


@dataclass(slots=True)
class Service:
    """The API. `note` tells an event, `alive` is called whenever something arrives.

    `tries` bounds the requests for one answer, `wait_s` the time between two of them.
    """

    client: anthropic.Anthropic
    request: Mapping[str, Any]
    """What all requests have in common."""
    note: Callable[..., None]
    alive: Callable[[], None]
    tries: int
    wait_s: float
    usage: Usage = NOTHING_USED
    retries: int = 0

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> Message:
        """The answer, whole. Raises CallFailed."""
        for number in range(1, self.tries + 1):
            try:
                return self._ask_once(messages)
            except CallFailed as failure:
                # With some chance in it, so that those who were refused together do not come back together.
                wait = failure.wait_s * random.uniform(1, 1.1) or 2 ** (number - 1) * random.uniform(0.5, 1)
                if not failure.again or number == self.tries or failure.wait_s > self.wait_s:
                    raise
                wait = min(wait, self.wait_s)
                self.retries += 1
                self.note("retry", number=number, status=failure.status, why=failure.why, wait_s=round(wait, 3))
                time.sleep(wait)
        raise AssertionError("there is at least one try")

    def _ask_once(self, messages: Sequence[Mapping[str, Any]]) -> Message:
        import anthropic

        spent, is_open = NOTHING_USED, False
        try:
            with self.client.messages.stream(**self.request, messages=messages) as stream:  # type: ignore[arg-type]
                is_open, whole = True, False
                for event in stream:
                    self.alive()
                    if event.type == "message_start":
                        spent = usage_of(event.message.usage)
                    whole = whole or event.type == "message_stop"
                if not whole:
                    raise CallFailed(Trouble.OVERLOADED, "The answer broke off.", again=True)
                message = stream.get_final_message()
                if message.stop_reason is None:
                    raise CallFailed(Trouble.OVERLOADED, "The answer broke off.", again=True)
                spent = usage_of(message.usage)
                return message
        except CallFailed:
            raise
        except anthropic.APIStatusError as error:
            raise understand(error) from error
        except anthropic.APIConnectionError as error:
            raise CallFailed(
                Trouble.OVERLOADED, f"The service cannot be reached: {_cause(error)}", again=True
            ) from error
        except Exception as error:
            if not is_open:
                raise
            # A stream that is cut, stalls, or is no answer: the package lets through whatever that brings up.
            raise CallFailed(Trouble.OVERLOADED, f"The answer broke off: {_cause(error)}", again=True) from error
        finally:
            self.usage = self.usage.plus(spent)


def understand(error: anthropic.APIStatusError) -> CallFailed:
    """What an answer that is an error means for the run."""
    status = error.status_code if error.status_code >= 400 else STATUS_OF_TYPE.get(str(error.type), 500)
    message = error.api_message or error.message
    why = f"The service answers {status}: {' '.join(str(message).split())[:300]}"
    headers = error.response.headers
    told = headers.get("x-should-retry")
    wait = retry_after(headers)
    if status in (401, 403):
        return CallFailed(Trouble.AUTH, why, status=status)
    if status == 402 or (status == 400 and "credit balance" in why):
        return CallFailed(Trouble.RATE_LIMITED, why, status=status, wait_s=wait)
    if status == 429:
        return CallFailed(Trouble.RATE_LIMITED, why, status=status, again=told != "false", wait_s=wait)
    if status in (408, 409) or status >= 500:
        return CallFailed(Trouble.OVERLOADED, why, status=status, again=told != "false", wait_s=wait)
    return CallFailed(Trouble.REQUEST, why, status=status)


def retry_after(headers: Mapping[str, str]) -> float:
    """How many seconds the service asks to wait, told in milliseconds, seconds or as a date; 0 if it does not."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return seconds if 0 < seconds < 1e9 else 0.0
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, (date - clock.now()).total_seconds())
    except (TypeError, ValueError):
        return 0.0


def usage_of(usage: ApiUsage) -> Usage:
    """What one answer used."""
    details = usage.output_tokens_details
    return Usage(
        input=usage.input_tokens or 0,
        output=usage.output_tokens or 0,
        cache_read=usage.cache_read_input_tokens or 0,
        cache_write=usage.cache_creation_input_tokens or 0,
        reasoning=(details.thinking_tokens or 0) if details else 0,
    )


def open_client(key: str, *, stall_s: float) -> anthropic.Anthropic:
    """The package's client, without retries of its own. It waits `stall_s` for the next byte."""
    import anthropic

    timeout = anthropic.Timeout(stall_s, connect=min(stall_s, CONNECT_SECONDS))
    return anthropic.Anthropic(api_key=key, max_retries=0, timeout=timeout)


def _cause(error: BaseException) -> str:
    inner = error.__cause__ or error
    return f"{type(inner).__name__} {' '.join(str(inner).split())[:200]}".strip()
