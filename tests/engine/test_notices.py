"""What an engine has a person told, over days, by real programs and a real server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, attempt

from orchestrator.adapters import clock, messenger
from orchestrator.adapters.cron import zone_of
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.locks import hold_lock
from orchestrator.adapters.notices import NoticeBox
from orchestrator.core.config import About, Channel, NotifyPolicy, Quiet
from orchestrator.core.notice import MOST_FAILED, Notice
from orchestrator.core.times import iso
from orchestrator.engine import notices
from orchestrator.engine.notices import Notices, Sent, box_of, send_notices
from orchestrator.engine.workspace import open_workspace

EVERYTHING = tuple(About)
MINE = NotifyPolicy(EVERYTHING, {"mine": Channel(command=("cat",))})
CARDS = replace(MINE, about=(About.CARD,))
BROKEN = Channel(command=("false",))


@pytest.fixture
def world(repo: Path) -> World:
    return World(repo, [attempt(write={"one.py": "x = 1\n"})])


def put_forward(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    """The wall clock of this process goes so much ahead."""
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: real() + by)


def tell(world: World, policy: NotifyPolicy = MINE) -> list[Sent]:
    """`orc notify send` with these ways."""
    with open_workspace(world.root) as ws:
        ws.config = replace(ws.config, notify=policy)
        return list(send_notices(ws))


def box(world: World) -> NoticeBox:
    with open_workspace(world.root) as ws:
        return box_of(ws)


def add(world: World, number: int, *, urgent: bool = True) -> None:
    at = iso(clock.now())
    box(world).add(Notice(f"n{each}", About.FAILED, f"n{each}", at, urgent=urgent) for each in range(number))


def texts(world: World) -> list[str]:
    return [one.notice.text for one in box(world).told()]


def test_after_days_in_which_nothing_happened_the_next_thing_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_up(merge="ask")
    with monkeypatch.context() as patched:
        put_forward(patched, timedelta(days=-3))
        assert tell(world) == []
    world.drop("one.yaml", "prompt: one\n")
    world.run()
    assert [sent.title for sent in tell(world)] == [f"orc {world.root.name}: a question for you"]


def test_what_is_older_than_a_day_is_not_told_any_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set_up(merge="ask")
    tell(world)
    world.drop("one.yaml", "prompt: one\n")
    world.run()
    put_forward(monkeypatch, timedelta(hours=25))
    assert tell(world) == []


def test_a_briefing_is_told_and_so_is_a_routine_that_found_something_broken(world: World) -> None:
    world.set_up()
    tell(world)
    world.drop("morning.yaml", "title: Good morning\nroutine: briefing\n")
    world.drop("night.yaml", "title: The night\nroutine: pack\n")
    world.run()
    with open_workspace(world.root) as ws, ws.ledger.writing() as writer:
        facts = (("Job", world.id("night")), ("Routine", "maintenance"), ("Status", "fail"))
        steps = (("From", "running"), ("To", "done"))
        writer.file(Filing("ran: the night: an object is gone", {}, (*facts, *steps)), ws.now())
    tell(world)
    told = {one.notice.about: one.notice.text for one in box(world).told()}
    assert told.keys() == {About.DONE, About.ALERT}
    assert told[About.DONE].startswith(f"ran: {world.id('morning')} ok:")
    assert told[About.ALERT] == "ran: the night: an object is gone"


def test_what_happened_before_thousands_of_other_steps_is_told_all_the_same(world: World) -> None:
    world.set_up()
    tell(world)
    with open_workspace(world.root) as ws, ws.ledger.writing() as writer:
        writer.file(Filing("reject: queue/one.yaml: is empty", {}), ws.now())
        for number in range(1_200):
            writer.file(Filing(f"pressure: {number}", {}), ws.now())
    tell(world)
    assert texts(world) == ["reject: queue/one.yaml: is empty"]


def test_a_card_is_told_in_its_own_words(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set_up(merge="ask")
    tell(world)
    world.drop("one.yaml", "prompt: one\n")
    world.run()
    tell(world)
    id_ = world.id("one")
    assert texts(world) == [f"Merge {id_} into main? bea approved it."]
    put_forward(monkeypatch, timedelta(hours=25))
    world.run()
    tell(world, CARDS)
    since = world.job("one").at.since
    assert texts(world)[1:] == [
        f"{id_} waits for you since {since}, reminder 1: Merge {id_} into main? bea approved it."
    ]


def test_whether_a_project_is_finished_is_a_question_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set_up(goal="All is there.")
    tell(world)
    world.drop("one.yaml", "prompt: one\n")
    world.run()
    tell(world, CARDS)
    put_forward(monkeypatch, timedelta(hours=25))
    world.run()
    tell(world, CARDS)
    found = [(one.notice.text.split(" since ")[0], one.notice.command) for one in box(world).told()]
    assert found == [
        ("pending: main waits for your approval (main.finish-1)", "orc show main"),
        ("reminder: main waits for you", "orc show main"),
    ]


# --- a way that is broken ---------------------------------------------------------------------------------------------


def test_a_way_that_fails_keeps_nobody_waiting_for_each_of_many(world: World) -> None:
    world.set_up()
    tell(world)
    add(world, 20)
    both = NotifyPolicy(EVERYTHING, {"bad": BROKEN, "good": Channel(command=("cat",))})
    sent = tell(world, both)
    assert [each.way for each in sent if each.problem] == ["bad"] * MOST_FAILED
    assert len([each for each in sent if not each.problem]) == 20
    # The others are not forgotten: they are tried in the next goes.
    assert len(tell(world, both)) == MOST_FAILED
    assert len(box(world).pending()) == 20


@contextmanager
def server(say: bytes) -> Iterator[str]:
    """A server that answers a byte every 50 ms, without end, and its address."""
    found, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def answer() -> None:
        connection, _ = found.accept()
        with connection:
            while not over.wait(0.05):
                try:
                    connection.send(say)
                except OSError:
                    return

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield f"http://127.0.0.1:{found.getsockname()[1]}/hook"
    finally:
        over.set()
        thread.join()
        found.close()


@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 200 OK\r\n", b"x"])
def test_who_answers_slowly_is_not_waited_for_without_end(
    world: World, monkeypatch: pytest.MonkeyPatch, say: bytes
) -> None:
    monkeypatch.setattr(messenger, "WEBHOOK_S", 0.5)
    with server(say) as address:
        began = time.monotonic()
        problem = messenger.send(Channel(webhook=address), {"key": "k"}, world.root)
        assert time.monotonic() - began < 5
    assert problem == "it did not answer within 15 s"


def test_what_is_for_this_machine_goes_by_no_proxy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy, socket.create_server(("127.0.0.1", 0)) as near:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.setattr(messenger, "WEBHOOK_S", 0.5)
        messenger.send(Channel(webhook=f"http://localhost:{near.getsockname()[1]}/x"), {"key": "k"}, world.root)
        near.settimeout(5)
        near.accept()[0].close()
        proxy.settimeout(0.1)
        with pytest.raises(TimeoutError):
            proxy.accept()


@pytest.mark.parametrize("address", ["https://ann:key@example.org/x", "https://key@example.org/x"])
def test_an_address_with_a_password_in_it_is_none(address: str) -> None:
    assert messenger.address_problem(address) == "the address holds a user or a password, which orc does not send"


# --- when the engine has it told --------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The processes that an engine would start."""
    found: list[list[str]] = []

    def start(argv: list[str]) -> int:
        found.append(argv)
        return 0

    monkeypatch.setattr(notices, "start_in_background", start)
    monkeypatch.setattr(notices, "AGAIN_S", 0.0)
    monkeypatch.setattr(notices, "SPACE_S", 0.0)
    return found


def looks(world: World, each: Notices, policy: NotifyPolicy = MINE, alerts: tuple[str, ...] = ()) -> None:
    with open_workspace(world.root) as ws:
        ws.config = replace(ws.config, notify=policy)
        each.look(ws, alerts)


def test_while_nothing_is_due_no_process_is_started(
    world: World, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_up()
    begins = datetime.now(zone_of("UTC")).strftime("%H:00")
    quiet = Quiet(begins, f"{(int(begins[:2]) + 3) % 24:02}:00", "UTC")
    policy, engine = replace(MINE, quiet=quiet), Notices()
    looks(world, engine, policy)
    tell(world, policy)
    add(world, 1, urgent=False)
    assert tell(world, policy) == []
    looks(world, engine, policy)
    assert len(started) == 1
    put_forward(monkeypatch, timedelta(hours=3))
    looks(world, engine, policy)
    assert len(started) == 2
    # Whoever takes the quiet hours out of orc.yaml need not wait for their end.
    looks(world, engine)
    assert len(started) == 3


def test_what_another_process_did_not_read_is_read_by_the_next(world: World, started: list[Any]) -> None:
    world.set_up()
    tell(world)
    engine = Notices()
    world.drop("one.yaml", "prompt: one\nhold: later\n")
    world.run()
    looks(world, engine)
    # It did nothing, such as for want of disk space.
    looks(world, engine)
    assert len(started) == 2
    tell(world)
    looks(world, engine)
    assert len(started) == 2


def test_an_alert_that_stands_is_looked_at_each_day(
    world: World, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.set_up()
    tell(world)
    engine = Notices()
    looks(world, engine, alerts=("too_old",))
    looks(world, engine, alerts=("too_old",))
    assert len(started) == 1
    put_forward(monkeypatch, timedelta(days=1))
    looks(world, engine, alerts=("too_old",))
    assert len(started) == 2


def test_who_tells_waits_for_another_who_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set_up()
    tell(world)
    add(world, 1)
    is_held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with hold_lock(box(world).lock, timeout=0, what="a test"):
            is_held.set()
            let_go.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(30)
    threading.Timer(0.5, let_go.set).start()
    assert len(tell(world)) == 1
    thread.join()
