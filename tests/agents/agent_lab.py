"""A real agent on the bench: the program, a scripted model, and the machinery that runs it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agent_kinds import Kind, Turn
from fake_models import FakeModels, Handler
from run_helpers import Bench, StartedRun, git, wait_until

from orchestrator.adapters.backends.base import Order
from orchestrator.adapters.run_folder import write_spec
from orchestrator.adapters.run_values import RunResult, RunSpec
from orchestrator.core.said import NOTHING_USED, Said, Usage
from orchestrator.engine.reviews import answer_schema
from orchestrator.engine.sessions import new_session_id

LINES, LINE = 60, 1500
"""So much of what a program printed explains a failure."""


class HeardModels(FakeModels):
    """The service, which keeps each request as it came: a client puts words of its own beside the result of a tool."""

    def __enter__(self) -> HeardModels:
        super().__enter__()
        self.server.RequestHandlerClass = _HearingHandler
        return self

    def play(self, script: Sequence[Mapping[str, Any]]) -> None:
        """Begin a new script, and forget what was asked."""
        self.bodies: list[str] = []
        super().play(script)


class _HearingHandler(Handler):
    def _body(self) -> bytes:
        raw = super()._body()
        assert isinstance(self.server.fake, HeardModels)
        self.server.fake.bodies.append(raw.decode())
        return raw


@dataclass(repr=False)
class Lab:
    """One kind of agent, ready to be run."""

    kind: Kind
    bench: Bench
    fake: HeardModels
    settings: Mapping[str, Any]
    orders: list[Order] = field(default_factory=list)
    runs: list[StartedRun] = field(default_factory=list)

    @property
    def tree(self) -> Path:
        """Where the agent works."""
        return self.bench.tree

    def script(self, *turns: Turn) -> None:
        """What the model says from now on."""
        self.fake.play([{"api": self.kind.api, **turn} for turn in turns])

    def calls(self, *tools: Turn, then: str = "Done.", **usage: Any) -> None:
        """The model calls these tools, one in each turn, and then says a text."""
        steps = [{"times": 1, "after_tool": at > 0, "tools": [tool], **usage} for at, tool in enumerate(tools)]
        self.script(*steps, {"after_tool": bool(tools), "text": then, **usage})

    def programs(self) -> list[int]:
        """The processes of the agent's program that work here: other tests drive the same program at the same time."""
        mark = str(self.settings.get("program") or f"--state={self.orders[-1].state}")
        return [pid for pid in processes_with(mark) if _is_below(pid, self.bench.root)]

    @property
    def review_tree(self) -> Path:
        """Where a review works."""
        return self.bench.root / "state" / "trees" / ".reviews" / "main" / "1"

    def start(
        self,
        prompt: str = "Do it.\n",
        *,
        system: str = "",
        resume: str = "",
        before: Usage = NOTHING_USED,
        read_only: bool = False,
        settings: Mapping[str, Any] | None = None,
        tree: str = "",
        agent: str = "engineer",
        **limits: float,
    ) -> StartedRun:
        """Start a run as the engine does. `tree` names another one than the usual; an agent has a state of its own."""
        raw = self._raw_spec(tree, limits, read_only=read_only)
        run_folder = self.bench.orcdir / "runs" / raw["run"]
        order = Order(
            run_folder=run_folder,
            tree=Path(raw["tree"]["path"]),
            state=run_folder / "home" / ".orc-agent" if read_only else self.bench.orcdir / "agents" / agent,
            model=self.kind.model,
            system=run_folder / "system.md" if system else None,
            system_text=system,
            session="" if resume else new_session_id(f"{self.bench.root} {raw['run']}"),
            resume=resume,
            read_only=read_only,
            answer_schema=answer_schema() if read_only else "",
        )
        self.orders.append(order)
        # As in the engine: the run folder, and the system prompt in it, do not exist yet.
        launch = self.kind.backend.launch({**self.settings, **(settings or {})}, order)
        session = resume or (order.session if self.kind.backend.capabilities.names_session else "")
        told = launch.to_spec(backend=self.kind.name, session=session, before=before, state=str(order.state))
        spec = RunSpec.from_json(json.loads(json.dumps({**raw, "launch": asdict(told)})))
        folder = self.bench.folder_of(raw)
        write_spec(folder, spec)
        for name, text in {
            "prompt.md": prompt,
            "facts.json": "{}",
            **({"system.md": system} if system else {}),
        }.items():
            (folder.path / name).write_text(text)
        self.runs.append(self.bench.start_folder(folder))
        return self.runs[-1]

    def _raw_spec(self, tree: str, limits: Mapping[str, float], *, read_only: bool) -> dict[str, Any]:
        bounds = {"wall_s": 100, "output_bytes": 1 << 25, **limits}
        if read_only:
            place: dict[str, Any] = {"path": str(self.review_tree.parent), "pool": True, "read_only": True}
            return self.bench.spec("review", tree={**place, "record": None}, limits=bounds)
        if not tree:
            return self.bench.spec("attempt", limits=bounds)
        record = self.bench.orcdir / "trees" / f"{tree}.json"
        place = {"path": str(self.tree_of(tree)), "record": str(record)}
        return self.bench.spec("attempt", tree=place, limits=bounds)

    def tree_of(self, name: str) -> Path:
        """Where the tree of that name is."""
        return self.bench.root / "state" / "trees" / name / "main"

    def run(self, prompt: str = "Do it.\n", **more: Any) -> RunResult:
        """Start a run and wait for its end."""
        return self.wait(self.start(prompt, **more))

    def wait(self, run: StartedRun) -> RunResult:
        """The result of a run, which its limits bring to an end."""
        wait_until(lambda: not run.is_running(), seconds=180)
        return run.wait()

    def end_all(self) -> None:
        """End what is still there, whatever a test has left."""
        for run in self.runs:
            if run.is_running():
                os.kill(run.shim, signal.SIGKILL)
                self.bench.kill_strays(run.folder)

    def commit(self, files: Mapping[str, str]) -> None:
        """Put files into the project, from which the next tree is made."""
        project = self.bench.root / "project"
        for name, text in files.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        git("add", "--all", "--force", cwd=project)
        git("commit", "--quiet", "--message=More", cwd=project)
        git("push", "--quiet", str(self.bench.mirror), "main", cwd=project)
        self.bench.commit = git("rev-parse", "HEAD", cwd=project)

    def told(self, result: RunResult) -> str:
        """Everything that could explain what became of a run."""
        folder = self.bench.orcdir / "runs" / result.run
        asked = [f"{line.method} {line.path} -> {line.status} {line.turn}" for line in self.fake.log_lines]
        printed = "\n".join((folder / name).read_text() for name in ("stdout", "stderr", "shim.log"))
        lines = [line if len(line) < LINE else f"{line[:LINE]}[...]" for line in printed.splitlines()[-LINES:]]
        return "\n".join([repr(result), *asked, *self.fake.unanswered, *lines])

    def well(self, result: RunResult) -> Said:
        """What it said, if all is well."""
        said = result.said
        assert said is not None, self.told(result)
        assert said.ok, self.told(result)
        assert (result.exit, said.trouble, said.why) == (0, "", ""), self.told(result)
        assert self.fake.unanswered == [], self.told(result)
        return said


def processes_with(word: str) -> list[int]:
    """The processes with this word in their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words: Sequence[bytes] = file.read().split(b"\0")
        except OSError:
            continue
        if word.encode() in words:
            found.append(int(name))
    return found


def _is_below(pid: int, root: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(root.resolve())
    except OSError:
        return False  # It ended while we looked.


def key_of(kind: Kind) -> str:
    """The key that the engine holds for an agent."""
    return f"dummy-{kind.name}-key-5701"
