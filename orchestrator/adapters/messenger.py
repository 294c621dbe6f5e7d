"""Takes a message to a person: by a webhook, by a program of theirs, or to their desktop."""

from __future__ import annotations

import html
import json
import os
import shutil
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.programs import capture, program_problem
from orchestrator.core.config import Channel

WEBHOOK_S, COMMAND_S = 15.0, 60.0
MOST_SAID = 2_000
_LOCAL = frozenset({"127.0.0.1", "::1", "localhost"})
_SILENT = f"it did not answer within {WEBHOOK_S:g} s"
_ON_MAC = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")


def send(channel: Channel, message: Mapping[str, Any], root: Path) -> str:
    """Tell a message (`core.notice.message_of`). '' if it arrived, else why not; never an address, which may be secret.

    `root`: the workspace, in which a program is started.
    """
    with effect(Effect.NOTICE_SEND):
        if problem := way_problem(channel, root):
            return problem
        if channel.command:
            return _start(channel.command, message, root)
        return _start(_desktop(message), message, root) if channel.desktop else _post(_address(channel), message)


def way_problem(channel: Channel, root: Path) -> str:
    """Why nobody can be told so, as far as that is seen without telling; '' if nothing is known. Starts nothing."""
    if argv := channel.command or (_desktop({"title": "", "text": ""}) if channel.desktop else ()):
        problem = program_problem(argv, path=os.environ.get("PATH", ""), cwd=root)
        # Whoever reads it in a table is not helped by the list of folders.
        return f"the program {argv[0]!r} is not on the PATH where orc runs" if "not on the PATH" in problem else problem
    address = _address(channel)
    return address_problem(address) if address else f"the variable {channel.webhook_env} is not set where orc runs"


def _address(channel: Channel) -> str:
    return channel.webhook or os.environ.get(channel.webhook_env, "")


def address_problem(address: str) -> str:
    """What is wrong with the address of a webhook; '' if nothing is."""
    try:
        parts = urlsplit(address)
        host, _, user = parts.hostname, parts.port, parts.username
    except ValueError:
        host, parts, user = None, urlsplit(""), None
    if not host or not address.isascii() or not address.isprintable() or " " in address:
        return "the address is none: it is to be like https://example.org/hook"
    if user is not None:
        return "the address holds a user or a password, which orc does not send"
    if parts.scheme == "https" or (parts.scheme == "http" and host in _LOCAL):
        return ""
    return "the address does not begin with https://, so that others could read along (http:// is for this machine)"


def is_local(address: str) -> bool:
    """Whether an address is one of this machine."""
    return urlsplit(address).hostname in _LOCAL


def told_address(address: str) -> str:
    """An address as it may stand in words: without what may be a secret in it."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "what was given as the address"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def _post(address: str, message: Mapping[str, Any]) -> str:
    told: list[str] = []
    # Who answers letter by letter keeps within each limit of a socket, and a name may be looked up for minutes.
    thread = threading.Thread(target=lambda: told.append(_try_post(address, message)), daemon=True)
    thread.start()
    thread.join(WEBHOOK_S)
    return told[0] if told else _SILENT


def _try_post(address: str, message: Mapping[str, Any]) -> str:
    import urllib.error
    import urllib.request

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        # What is told is for the address that the person wrote, and for no other.
        def redirect_request(self, *args: object, **extra: object) -> None:
            return None

    request = urllib.request.Request(
        address,
        data=json.dumps(message).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "orc", "Idempotency-Key": str(message["key"])},
    )
    # What is for this machine does not leave it by a proxy.
    near = [urllib.request.ProxyHandler({})] if is_local(address) else []
    try:
        with urllib.request.build_opener(NoRedirect, *near).open(request, timeout=WEBHOOK_S) as answer:
            answer.read(MOST_SAID)
    except urllib.error.HTTPError as error:
        error.close()
        leads_on = ", and a redirection is not followed" if 300 <= error.code < 400 else ""
        return f"it answered {error.code}{leads_on}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return _SILENT
        return f"it cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    except Exception as error:  # http.client has errors of its own, of no common kind.
        return f"it answered what cannot be read: {type(error).__name__}"
    return ""


def _desktop(message: Mapping[str, Any]) -> tuple[str, ...]:
    title, text = str(message["title"]), str(message["text"])
    if sys.platform == "darwin":
        return ("osascript", *(word for line in _ON_MAC for word in ("-e", line)), "--", title, text)
    # Its text may hold markup, and agents choose some of the words.
    return ("notify-send", "--app-name=orc", "--", title, html.escape(text, quote=False))


def _start(argv: tuple[str, ...], message: Mapping[str, Any], root: Path) -> str:
    told = {"ORC_NOTICE_KEY": message["key"], "ORC_NOTICE_TITLE": message["title"], "ORC_NOTICE_TEXT": message["text"]}
    env = {**os.environ, **{name: str(value) for name, value in told.items()}}
    program = shutil.which(argv[0], path=env.get("PATH", "")) if "/" not in argv[0] else argv[0]
    argv = (program or argv[0], *argv[1:])
    try:
        done = capture(
            argv,
            cwd=root,
            env=env,
            timeout_s=COMMAND_S,
            keep_bytes=MOST_SAID,
            stdin=json.dumps(message).encode() + b"\n",
        )
    except OSError as error:
        return f"{argv[0]} cannot be started: {error.strerror}"
    if done.timed_out:
        return f"{argv[0]} took longer than {COMMAND_S:g} s"
    said = (done.head + done.tail).decode("utf-8", "replace").strip().splitlines()
    return f"{argv[0]} ended with {done.exit}{': ' + said[-1][:200] if said else ''}" if done.exit else ""
