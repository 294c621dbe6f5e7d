"""A workspace with somebody who looks at `queue/` as the engine does, and drops, edits and moves files there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.adapters.queue_folder import QueueFolder
from orchestrator.core.job import Job
from orchestrator.core.transitions import Move
from orchestrator.engine.accept import TakenIn, take_in
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.workspace import Workspace

PROMPT = "# my job\nprompt: Put the login right.\n"
PATIENCE_S = 20.0


@dataclass
class Desk:
    """A workspace with somebody who looks at `queue/` as the engine does."""

    ws: Workspace
    queue: QueueFolder = field(init=False)
    projection: Projection = field(init=False)
    moves: list[Move] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As a new engine does."""
        self.queue = QueueFolder(self.ws.paths.queue)
        self.projection = Projection(self.ws, self.queue)
        self.projection.start()
        self.projection.refresh()

    def look(self) -> TakenIn:
        taken = take_in(self.ws, self.queue)
        self.moves += taken.moves
        self.rejected += [each.reason for each in taken.rejected]
        self.projection.refresh()
        return taken

    def until(self, done: Callable[[], bool]) -> None:
        """Look again and again, as often as the engine is asked to, until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline, f"it did not come to it; jobs: {self.jobs()}, refused: {self.rejected}"
            taken = self.look()
            if taken.waiting_until is not None:
                time.sleep(max(0.0, min(0.05, taken.waiting_until - time.monotonic())))

    def settle(self) -> None:
        """Look until nothing waits any more and nothing differs."""
        quiet = [False]

        def still() -> bool:
            taken = self.look()
            quiet[0] = taken.waiting_until is None and not taken.moves and not taken.rejected
            return quiet[0]

        self.until(still)

    def jobs(self) -> dict[str, Job]:
        return {id_: each.job for id_, each in self.ws.ledger.snapshot().folders.items()}

    def job(self) -> Job:
        (job,) = self.jobs().values()
        return job

    def ended(self, id_: str) -> Job:
        folder = self.ws.ledger.closed(id_)
        assert folder is not None
        return folder.job

    def path(self, job: Job | None = None) -> Path:
        job = job or self.job()
        return self.queue.path(job.lane, job.file_name)

    def drop(self, name: str = "fix-login.yaml", text: str = PROMPT, lane: str = "inbox") -> Path:
        path = self.ws.paths.queue / lane / name
        path.write_text(text)
        return path

    def accepted(self, **keys: str) -> Job:
        """A job that was dropped and taken in."""
        known = set(self.jobs())
        self.drop(**keys)
        self.until(lambda: bool(set(self.jobs()) - known))
        self.settle()
        (id_,) = set(self.jobs()) - known
        return self.jobs()[id_]

    def commit(self, move: Move) -> None:
        assert self.ws.commit([move]) == [move]
        self.projection.refresh()

    def files(self) -> list[str]:
        root = self.ws.paths.queue
        found = sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())
        return [name for name in found if name != ".gitignore"]

    def subjects(self) -> list[str]:
        return self.ws.ledger.git.text("log", "--format=%s", "orc/state").splitlines()


def why(path: Path) -> str:
    return path.with_name(f"{path.name}.why.txt").read_text()
