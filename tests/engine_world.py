"""A workspace whose agents play from a script, driven by the real loop in this process."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.job import Job, State
from orchestrator.core.records import Card
from orchestrator.engine.answer import give_answer, open_card
from orchestrator.engine.find import find_job
from orchestrator.engine.init import init_workspace
from orchestrator.engine.loop import Loop, engine_of
from orchestrator.engine.people import person_of
from orchestrator.engine.story import records_of
from orchestrator.engine.tick import Engine, tick
from orchestrator.engine.workspace import Workspace, open_workspace

CHECK = "test ! -e broken"
"""The checks of these workspaces: they fail on every tree that holds a file `broken`."""
APPROVES = {"match": {"kind": "review"}, "verdict": "APPROVED"}


def git(root: Path, *args: str) -> str:
    """Plain git, as the person types it."""
    done = subprocess.run(["git", "-C", str(root), *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass
class World:
    """A repository with a workspace, and what happened in it."""

    root: Path
    plays: list[dict[str, Any]] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    souls: dict[str, str] = field(default_factory=lambda: {"ada": "alpha work", "bea": "beta review"})
    subjects: list[str] = field(default_factory=list)

    def set_up(self, **project: Any) -> World:
        """Write configuration, souls and plays, and make the workspace."""
        main = {"path": ".", "target": "main", "checks": [CHECK], "merge": "auto", **project}
        config = {"version": 1, "tick_seconds": 1, "projects": {"main": main}, **self.config}
        # Who is asked a second time is not left to chance.
        config["review"] = {"second": 0, **config.get("review", {})}
        config["backends"] = {"player": {"type": "scripted", "script": "plays.yaml"}, **config.get("backends", {})}
        (self.root / "orc.yaml").write_text(dump(config))
        for name, facts in self.souls.items():
            family, role = facts.split()
            path = self.root / "souls" / f"{name}.md"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"---\nbackend: player\nfamily: {family}\nroles: [{role}]\n---\nYou are {name}.\n")
        self.write_plays()
        init_workspace(self.root, person_of(self.root / ".git"), starter=False)
        return self

    def write_plays(self) -> None:
        """What the agents do; a review is approved unless a play says otherwise."""
        (self.root / "plays.yaml").write_text(dump([*self.plays, APPROVES]))

    def drop(self, name: str, text: str, lane: str = "inbox") -> None:
        """Save a file in `queue/`, as the documented client does."""
        temporary = self.root / "queue" / lane / f".{name}.part"
        temporary.write_text(text)
        os.utime(temporary, (1, 1))
        temporary.rename(self.root / "queue" / lane / name)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The engine, in this process."""
        with open_workspace(self.root) as ws, engine_of(ws, listener=self.subjects.append) as engine:
            yield engine

    def run(self, until: Callable[[Workspace], bool] | None = None, timeout_s: float = 40) -> None:
        """Work until idle, or until a condition holds after a tick."""
        with self.engine() as engine:
            loop = Loop(engine)

            def check(_: Engine) -> None:
                if until is not None and until(engine.ws):
                    loop.stop()

            loop.on_tick = check
            timer = threading.Timer(timeout_s, loop.stop)
            timer.start()
            try:
                loop.run(until_idle=True)
            finally:
                timer.cancel()

    def job(self, name: str) -> Job:
        """A job by name, open or ended."""
        with open_workspace(self.root) as ws:
            return find_job(ws, self.id(name)).job

    def id(self, name: str) -> str:
        """The id of the job that was dropped under this name, from the ledger."""
        out = git(
            self.root, "log", "orc/state", "--format=%(trailers:key=Job,valueonly)", "--grep", f"^accept: {name}-"
        )
        return out.split()[-1]

    def records(self, name: str) -> dict[str, Any]:
        """Every record of a job."""
        with open_workspace(self.root) as ws:
            return records_of(ws, find_job(ws, self.id(name)))

    def card(self, name: str) -> Card:
        """The open card of a job."""
        with open_workspace(self.root) as ws:
            return open_card(ws, self.id(name))[1]

    def answer(self, name: str, key: str, message: str = "") -> None:
        """Answer the open card of a job, as a person does."""
        with open_workspace(self.root) as ws:
            job, card = open_card(ws, self.id(name))
            give_answer(ws, job, card, key, message, person_of(ws.paths.git_dir))

    def state(self, name: str) -> State:
        """Where a job stands."""
        return self.job(name).state

    def steps(self, name: str) -> list[str]:
        """The first words of a job's commits on the ledger, oldest first."""
        out = git(self.root, "log", "orc/state", "--reverse", "--format=%s", "--grep", f"^Job: {self.id(name)}$")
        return [line.split(":", 1)[0] for line in out.splitlines()]

    def show(self, path: str, rev: str = "main") -> str:
        """A file on a branch."""
        return git(self.root, "show", f"{rev}:{path}")


def ticks_until(engine: Engine, condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Tick until something holds. Raises AssertionError if it does not come to that."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"it never came to it: {engine.problems}"
        tick(engine)
        threading.Event().wait(0.02)


def attempt(number: int | None = None, **play: Any) -> dict[str, Any]:
    """A play of an author."""
    match: dict[str, Any] = {"kind": "attempt", **play.pop("match", {})}
    if number is not None:
        match["attempt"] = number
    return {"match": match, "say": "done", **play}
