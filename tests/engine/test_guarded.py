"""Whatever goes wrong in a tick is told, and ends neither the engine nor the work on other jobs."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from engine_world import World, attempt, git, ticks_until

from orchestrator.adapters.audit import audit
from orchestrator.adapters.ledger import REF, Filing
from orchestrator.adapters.ledger_text import format_record
from orchestrator.adapters.run_values import LARGEST, MAX_ITEMS, PROTOCOL, RunResult
from orchestrator.core.accept import hold
from orchestrator.core.evidence import KEPT_PATHS
from orchestrator.core.evidence_record import CheckResult, Outcome
from orchestrator.core.job import State
from orchestrator.core.records import CardKind
from orchestrator.core.said import Usage
from orchestrator.engine.loop import Loop
from orchestrator.engine.tick import LEDGER, Engine, commit_steps, tick
from orchestrator.errors import InvalidFileError

WRITES = attempt(write={"code.py": "print('new')\n"})
MANY = 2_400
"""More empty files than one record could list."""


def settled(engine: Engine) -> Callable[[], bool]:
    """Whether every job has ended."""
    return lambda: not engine.ws.ledger.snapshot().folders


# --- the ledger cannot be written, or read --------------------------------------------------------------------------


def lock_is_a_folder(root: Path) -> Callable[[], None]:
    """Nobody can take the ledger's lock."""
    path = root / ".git" / "orc" / "ledger.lock"
    path.unlink(missing_ok=True)
    path.mkdir()
    return path.rmdir


def git_holds_the_ref(root: Path) -> Callable[[], None]:
    """Another git is about to move the ref."""
    path = root / ".git" / f"{REF}.lock"
    path.write_text("")
    # An older one is taken for what a killed git left, and moved away: the ticks may take longer than that.
    os.utime(path, (time.time() + 3600,) * 2)
    return path.unlink


def tip_is_gone(root: Path) -> Callable[[], None]:
    """The ref names what is not there."""
    path = root / ".git" / REF
    before = path.read_text()
    path.write_text(f"{'1' * 40}\n")

    def mend() -> None:
        path.write_text(before)

    return mend


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [lock_is_a_folder, git_holds_the_ref, tip_is_gone])
def test_the_engine_outlives_a_ledger_that_it_cannot_use(
    world: World, spoil: Callable[[Path], Callable[[], None]]
) -> None:
    world.plays = [WRITES]
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    with world.engine() as engine:
        ticks_until(engine, lambda: any(each.startswith("accept") for each in world.subjects))
        before = git(world.root, "rev-parse", "orc/state")
        mend = spoil(world.root)
        ticks_until(engine, lambda: LEDGER in engine.problems)
        assert [tick(engine) for _ in range(2)] == [False, False]
        assert LEDGER in engine.problems
        mend()
        assert git(world.root, "rev-parse", "orc/state") == before
        ticks_until(engine, settled(engine))
    assert world.state("greet") is State.DONE


@contextmanager
def events_in(folder: Path) -> Iterator[None]:
    """Something in a folder changes all the time."""
    over = threading.Event()

    def change() -> None:
        while not over.wait(0.01):
            (folder / ".noise").write_text("x")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_the_loop_pauses_when_nothing_can_be_committed_whatever_wakes_it(world: World) -> None:
    world.set_up()
    world.drop("greet.yaml", "prompt: greet\n")
    ticks: list[float] = []
    with world.engine() as engine, events_in(world.root / "queue" / "inbox"):
        lock_is_a_folder(world.root)
        loop = Loop(engine)

        def count(_: Engine) -> None:
            ticks.append(time.monotonic())
            if len(ticks) == 4:
                loop.stop()

        loop.on_tick = count
        loop.run()
    assert min(after - before for before, after in pairwise(ticks[1:])) > 0.9


# --- one step cannot be written -------------------------------------------------------------------------------------


def test_a_step_that_no_file_can_hold_becomes_a_card_and_others_go_on(world: World) -> None:
    world.set_up()
    world.drop("bad.yaml", "prompt: bad\n", lane="normal")
    world.drop("good.yaml", "prompt: good\n", lane="normal")
    with world.engine() as engine:
        engine.stopping = True
        ticks_until(engine, lambda: len(engine.ws.ledger.snapshot().folders) == 2)
        jobs = {folder.job.id: folder.job for folder in engine.ws.ledger.snapshot().folders.values()}
        steps = [hold(job, "later", engine.ws.stamp(), needs={}) for job in jobs.values() if job.state is State.READY]
        assert len(steps) == 2
        record = CheckResult("t", "t", Outcome.FAILED, 10**30)
        moves = [replace(m, records={"attempt-1": record}) if m.job.id == world.id("bad") else m for m in steps]
        assert commit_steps(engine, moves, [])
        assert "18 digits" in engine.problems[world.id("bad")]
    assert world.state("good") is State.WAITING
    assert world.state("bad") is State.DECIDE
    assert world.card("bad").kind is CardKind.CANNOT_START
    assert "18 digits" in world.card("bad").context


def test_what_is_left_out_with_its_step_is_no_movement_and_nobody_is_told_of_it(world: World) -> None:
    world.set_up()
    world.drop("one.yaml", "prompt: Do it\nhold: true\n")
    with world.engine() as engine:
        ticks_until(engine, lambda: bool(engine.ws.ledger.snapshot().jobs))
        (job,) = engine.ws.ledger.snapshot().jobs.values()
        late = hold(replace(job, at=replace(job.at, seq=job.at.seq + 3)), "too late", engine.ws.stamp(), needs={})
        note = Filing("library: a note of it", {"library/note": b"it\n"}, with_step_of=job.id)
        tip, told = engine.ws.ledger.tip(), len(world.subjects)
        assert not commit_steps(engine, [late], [note])
        assert (engine.ws.ledger.tip(), world.subjects[told:]) == (tip, [])
        other = replace(note, subject="library: another", with_step_of="")
        assert commit_steps(engine, [late], [note, other])
        assert world.subjects[told:] == ["library: another"]
        assert engine.ws.ledger.read_file("library/note") == b"it\n"


def result(**keys: Any) -> dict[str, Any]:
    """A result that a run left."""
    known = {"protocol": PROTOCOL, "run": "a", "status": "ended", "started": "", "ended": "", "seconds": 1}
    return {**known, "error": "", "report": "", "report_from": "stdout", "output_bytes": 0, **keys}


def a_command(**keys: Any) -> dict[str, Any]:
    """What a command said."""
    return {"name": "t", "run": "t", "exit": 0, "seconds": 1, "outcome": "passed", "tail": "", **keys}


def test_numbers_of_a_forged_result_are_bounded_so_that_every_file_can_hold_them() -> None:
    said = {"usage": {"input": 10**30, "output": -(10**30)}, "retries": 10**30, "denials": ["x"] * 5_000}
    forged = result(exit=10**30, signal=-(10**30), output_bytes=10**30, commands=[a_command(exit=10**30)], said=said)
    read = RunResult.from_json(forged)
    assert (read.exit, read.signal, read.output_bytes) == (LARGEST, -LARGEST, LARGEST)
    command = read.commands[0]
    assert str(LARGEST).encode() in format_record(CheckResult("t", "t", Outcome.PASSED, command.exit))
    assert read.said is not None
    assert read.said.usage == Usage(input=LARGEST, output=-LARGEST)
    assert (read.said.retries, len(read.said.denials)) == (LARGEST, MAX_ITEMS)


def test_a_forged_result_of_endless_commands_is_not_read() -> None:
    with pytest.raises(InvalidFileError, match="commands: are more than 200"):
        RunResult.from_json(result(commands=[a_command()] * 201))


# --- large diffs ----------------------------------------------------------------------------------------------------

_started: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen" and _started is not None:
        _started.append(" ".join(map(os.fsdecode, arguments[1])))


@contextmanager
def processes() -> Iterator[list[str]]:
    """The command lines that this process starts meanwhile."""
    global _started
    sys.addaudithook(_watch)
    found: list[str] = []
    _started = found
    try:
        yield found
    finally:
        _started = None


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_diff_of_thousands_of_files_is_a_question_and_costs_no_process_for_each(world: World) -> None:
    world.plays = [attempt(write={f"made/{number}": "x\n" for number in range(MANY)})]
    world.set_up()
    world.drop("large.yaml", "prompt: large\n")
    with world.engine() as engine:
        ticks_until(engine, lambda: any(each.startswith("start") for each in world.subjects))
        costs, before = [], 0

        def is_gathered() -> bool:
            nonlocal before
            costs.append(len(started) - before)
            before = len(started)
            return any(each.startswith("evidence") for each in world.subjects)

        with processes() as started:
            ticks_until(engine, is_gathered)
        ticks_until(engine, lambda: world.state("large") is State.DECIDE)
    assert 0 < max(costs) < 100
    assert world.card("large").kind is CardKind.TOO_LARGE
    evidence = world.records("large")["evidence-1"]
    assert len(evidence.paths) == KEPT_PATHS
    assert evidence.more_paths == MANY - KEPT_PATHS
    assert evidence.stat == f"{MANY} files changed, {MANY} insertions(+)"
    git_dir = world.root / ".git"
    assert audit(git_dir, {"main": git_dir}).lies == ()


def test_links_and_empty_files_are_still_seen(world: World) -> None:
    links = "ln -s ../outside out && ln -s code.py in && touch doc.txt"
    world.plays = [attempt(1, run=links), attempt(2, delete=["out"], write={"doc.txt": "text\n"})]
    world.set_up()
    world.drop("links.yaml", "prompt: links\ndeliverables: [doc.txt]\n")
    world.run()
    first, second = (world.records("links")[f"evidence-{number}"] for number in (1, 2))
    assert [each.rule for each in first.failures] == ["missing_deliverable", "hostile_entry"]
    assert "tree: out." in first.failures[1].text
    assert second.failures == ()
    assert {path.path for path in second.paths} == {"doc.txt", "in"}
