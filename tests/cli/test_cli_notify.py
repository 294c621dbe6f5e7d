"""`orc notify`, and an engine that has a person told: with real programs and a real server on loopback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cli_world as w
import pytest
from local_server import Posted, taking_posts

WRITER = "#!/bin/sh\nprintf '%s\\n' \"$ORC_NOTICE_TITLE\" >> titles\ncat >> told.jsonl\n"
"""What is waited for it writes last."""


def workspace(root: Path, notify: str) -> Path:
    w.new_workspace(root)
    (root / "tell.sh").write_text(WRITER)
    (root / "tell.sh").chmod(0o755)
    with (root / "orc.yaml").open("a") as file:
        file.write(f"notify:\n{notify}")
    with (root / ".git" / "info" / "exclude").open("a") as file:
        file.write("told.jsonl\ntitles\n")
    w.git(root, "add", "-A")
    w.git(root, "commit", "--quiet", "-m", "ways")
    # From here on: what was before the first look is not told.
    w.orc(root, "notify", "send", code=0)
    return root


def told(root: Path) -> list[dict[str, Any]]:
    path = root / "told.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


BY_COMMAND = "  to: {mine: {command: [./tell.sh]}}\n"


def test_an_engine_has_the_person_told_of_a_card_once(tmp_path: Path) -> None:
    root = workspace(tmp_path / "work", BY_COMMAND)
    id_ = w.asked(root)
    titles = root / "titles"  # Written last.
    w.wait_until(lambda: titles.exists() and titles.read_text())
    (message,) = told(root)
    (notice,) = message["notices"]
    assert (notice["about"], notice["job"], notice["command"]) == ("cards", id_, f"orc show {id_}")
    assert titles.read_text() == "orc work: a question for you\n"
    # Neither another engine nor a person's own call tells it again.
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    w.wait_until(lambda: w.orc(root, "notify", "send").code == 0)
    assert len(told(root)) == 1
    listed = w.orc(root, "notify", "list", "--json", code=0).json()
    assert [(each["key"], each["waits"], list(each["told"])) for each in listed["notices"]] == [
        (notice["key"], False, ["mine"])
    ]
    assert "mine told" in w.orc(root, "notify", "list", code=0).out


def test_what_is_not_asked_for_is_not_told(tmp_path: Path) -> None:
    root = workspace(tmp_path / "work", f"  about: [done]\n{BY_COMMAND}")
    id_ = w.asked(root)
    w.orc(root, "approve", f"{id_}.card-1", code=0)
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    w.wait_until(lambda: told(root))
    assert [each["notices"][0]["about"] for each in told(root)] == ["done"]


def test_who_cannot_be_reached_is_told_later(tmp_path: Path) -> None:
    root = workspace(tmp_path / "work", "  to: {mine: {command: [./absent.sh]}, other: {command: [./tell.sh]}}\n")
    w.asked(root)
    w.wait_until(lambda: told(root))

    def failed() -> list[dict[str, Any]]:
        notices: list[dict[str, Any]] = w.orc(root, "notify", "list", "--json", code=0).json()["notices"]
        return [each for each in notices if each["failed"]]

    w.wait_until(failed)
    (notice,) = failed()
    assert "absent.sh" in notice["failed"]["mine"]
    # Not at once, and the other way not twice.
    w.wait_until(lambda: w.orc(root, "notify", "send").code == 0)
    assert len(told(root)) == 1
    (root / "absent.sh").write_text(WRITER)
    (root / "absent.sh").chmod(0o755)
    pending = next((root / ".git" / "orc" / "notices" / "pending").iterdir())
    value = json.loads(pending.read_text())
    value["next"]["mine"] = "2026-01-01T00:00:00Z"
    pending.write_text(json.dumps(value))
    assert "mine: orc work: a question for you: told" in w.orc(root, "notify", "send", code=0).out
    assert not list(pending.parent.iterdir())


@pytest.mark.parametrize("place", ["notice.send:before", "notice.send:after", "notice.write:before:2"])
def test_a_kill_loses_no_notice_and_its_key_tells_who_gets_it_twice(tmp_path: Path, place: str) -> None:
    root = workspace(tmp_path / "work", "  about: [cards]\n  to: {}\n")
    w.asked(root)
    text = (root / "orc.yaml").read_text().replace("to: {}", BY_COMMAND.strip())
    (root / "orc.yaml").write_text(text)
    assert w.orc(root, "notify", "send", env={"ORC_KILL_AT": place}).code == -9
    w.orc(root, "notify", "send", code=0)
    keys = [each["key"] for each in told(root)]
    assert len(keys) == (2 if place == "notice.send:after" else 1)
    assert len(set(keys)) == 1
    assert w.orc(root, "notify", "send", code=0).out == ""


def test_on_a_terminal_the_list_shows_what_was_told_though_ways_failed(tmp_path: Path) -> None:
    words = "a long reason why this cannot be done in this place at this time"
    ways = ", ".join(f"way-{each}: {{command: [sh, -c, 'echo {words}; exit 3']}}" for each in "abc")
    root = workspace(tmp_path / "work", f"  to: {{{ways}}}\n")
    id_ = w.asked(root)
    w.wait_until(lambda: "way-c failed" in w.orc(root, "notify", "list", code=0).out)
    terminal = w.Terminal(root, "notify", "list", env={"COLUMNS": "80", "NO_COLOR": "1"})
    assert terminal.end() == 0
    head, row, *reasons = [line.rstrip() for line in terminal.shown.splitlines()]
    assert head.split() == ["AT", "ABOUT", "STANDS", "WHAT"]
    assert "cards" in row
    assert "way-a, way-b" in row
    assert f"Merge {id_}"[:12] in row
    assert len(row) <= 80
    assert reasons[0].startswith(f"  way-a: {shutil.which('sh')} ended with 3: {words}")


def test_the_doctor_knows_the_ways_that_lead_nowhere(tmp_path: Path) -> None:
    ways = "a: {webhook_env: NO_HOOK}, b: {command: [absent]}, c: {command: ['false']}, d: {command: [./tell.sh]}"
    root = workspace(tmp_path / "work", f"  to: {{{ways}}}\n")
    w.asked(root)
    w.wait_until(lambda: "failed" in w.orc(root, "notify", "list", code=0).out)

    def found() -> dict[str, str]:
        return {each["what"]: each["text"] for each in w.orc(root, "doctor", "--json").json()["findings"]}

    w.wait_until(lambda: "yet" in found()["notify c"])
    assert {name: text for name, text in found().items() if name.startswith("notify")} == {
        "notify a": "the variable NO_HOOK is not set where orc runs",
        "notify b": "the program 'absent' is not on the PATH where orc runs",
        "notify c": f"1 notice could not be told yet: {shutil.which('false')} ended with 1",
        "notify d": "nothing speaks against it (orc notify test d)",
    }


# --- a webhook ------------------------------------------------------------------------------------------------------


@contextmanager
def server(code: int = 200, location: str = "") -> Iterator[tuple[str, list[tuple[str, dict[str, Any], str]]]]:
    """A server on loopback, its address, and what it was sent: path, body and key."""
    got: list[tuple[str, dict[str, Any], str]] = []

    def take(posted: Posted) -> None:
        got.append((posted.path, json.loads(posted.body), posted.headers["Idempotency-Key"]))

    with taking_posts(take, code, {"Location": location} if location else {}) as address:
        yield f"{address}/hook", got


def test_a_webhook_gets_one_object_by_post(tmp_path: Path) -> None:
    with server() as (address, got):
        root = workspace(tmp_path / "work", "  to: {phone: {webhook_env: MY_HOOK}}\n")
        done = w.orc(root, "notify", "test", "--json", env={"MY_HOOK": address}, code=0).json()
        assert done["sent"][0]["problem"] == ""
        ((path, body, key),) = got
        assert (path, body["title"], body["key"]) == ("/hook", "orc work: a test", key)
        unset = w.orc(root, "notify", "test", "phone", code=1)
        assert "the variable MY_HOOK is not set where orc runs" in unset.out


def test_a_webhook_that_refuses_or_leads_elsewhere_has_told_nobody(tmp_path: Path) -> None:
    with server(500) as (broken, _), server() as (other, got), server(307, other) as (leads, _):
        root = workspace(tmp_path / "work", f"  to: {{a: {{webhook: '{broken}'}}, b: {{webhook: '{leads}'}}}}\n")
        found = w.orc(root, "notify", "test", code=1)
        assert "a: orc work: a test: it answered 500" in found.out
        assert "b: orc work: a test: it answered 307, and a redirection is not followed" in found.out
        assert got == []
        assert broken not in found.out


@pytest.mark.parametrize(
    ("notify", "told"),
    [
        (
            "  to: {a: {webhook: 'http://example.org/x'}}\n",
            "notify.to.a.webhook: the address does not begin with https",
        ),
        ("  to: {a: {webhook: 'ftp:x'}}\n", "notify.to.a.webhook: the address is none"),
        ("  to: {a: {desktop: true, command: [x]}}\n", "notify.to.a"),
        ("  to: {a: {}}\n", "notify.to.a"),
        ("  to: {a: {mail: x}}\n", "notify.to.a"),
        ("  quiet: {start: '22:00', end: '7', tz: UTC}\n", "notify.quiet.end"),
        ("  quiet: {start: '22:00', end: '07:00', tz: Europe/Berlim}\n", "did you mean Europe/Berlin?"),
        ("  quiet: {start: '07:00', end: '07:00', tz: UTC}\n", "notify.quiet.end: is as `start`"),
        (
            "  to: {a: {webhook: 'https://ann:key@example.org'}}\n",
            "holds a user or a password, which orc does not send",
        ),
    ],
)
def test_a_wrong_way_is_told_with_its_line(tmp_path: Path, notify: str, told: str) -> None:
    root = w.new_workspace(tmp_path / "work")
    with (root / "orc.yaml").open("a") as file:
        file.write(f"notify:\n{notify}")
    found = w.orc(root, "notify", "list", code=6)
    assert told in found.err
    assert "orc.yaml:15: notify." in found.err


def test_without_a_way_nobody_is_told(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    assert "Nobody is told anything: orc.yaml has no notify.to." in w.orc(root, "notify", "list", code=0).out
    assert "has no notify.to" in w.orc(root, "notify", "test", code=1).err
    assert "there is none" in w.orc(root, "notify", "test", "phone", code=3).err
