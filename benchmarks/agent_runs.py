"""Figure 9: what orc adds to a run of a real agent's program, and the engine's memory when it knows many agents.

The programs are those of `make test-agents`; the model behind them is the scripted service of the tests, on loopback.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.result import Options, Result, compare, middle
from benchmarks.timeline import FOREIGN, JobTime, covered, read_spans, times_of
from benchmarks.world import (
    ADA,
    PROJECT,
    EngineProcess,
    drop,
    ended,
    git,
    make_repository,
    memory_of,
    temporary_folder,
    wait_until,
    write_configuration,
)
from orchestrator.adapters.strict_yaml import dump
from orchestrator.engine.init import init_workspace

sys.path[:0] = [str(PROJECT / "tests"), str(PROJECT / "tests" / "agents")]

from agent_kinds import CLAUDE, KINDS, Kind  # noqa: E402  (they lie in the tests)
from cli_install import PROGRAMS, has_only_loopback, only_loopback  # noqa: E402
from fake_dialects import Asked  # noqa: E402
from fake_models import FakeModels  # noqa: E402

LIMIT_MS = 60.0
RUNS = 6
MANY, FEW = 64, 2
LIMIT_GROWTH = 1.05
"""Of the engine's memory, from the end of the second job of each agent to the end of the last one's last.

With the first jobs it reads what it keeps of each agent, and with the second what it has written of each.
"""
ASKED = re.compile(r"As (?P<agent>[a-z0-9-]+), write (?P<file>out/\d+\.py)")


def measure(options: Options) -> list[Result]:
    """Both, in a network that has nothing but loopback; told as not measured where the programs are missing."""
    if not all(program.is_there() for program in PROGRAMS):
        note = "the agents' programs are not installed: `make test-agents` does that"
        return [Result("9", "what orc adds to a run of a real agent", None, "ms", note=note)]
    argv = [sys.executable, "-m", "benchmarks.agent_runs", *(["--quick"] if options.quick else [])]
    shut_in = has_only_loopback() or subprocess.run(only_loopback(["true"]), capture_output=True).returncode
    done = subprocess.run(argv if shut_in else only_loopback(argv), stdout=subprocess.PIPE, text=True, check=True)
    return [Result.from_json(each) for each in json.loads(done.stdout.splitlines()[-1])]


def main() -> None:
    """Measure here and print the results."""
    options = Options("--quick" in sys.argv[1:])
    results = [result for kind in KINDS for result in _overhead(kind, options.pick(RUNS, 1))]
    print(json.dumps([each.to_json() for each in (*results, _memory(options))]))


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt, from the durable step `start` to the durable step `collect`, in milliseconds."""

    wall_ms: float
    git_ms: float
    program_ms: float

    @property
    def overhead_ms(self) -> float:
        """What is neither git's nor the program's."""
        return self.wall_ms - self.git_ms - self.program_ms


def run_of(job: JobTime) -> Run:
    """The first attempt of a job."""
    at = {moment.name: moment.at for moment in job.moments}
    begin, end = at["ledger start"], at["ledger collect"]
    foreign = covered((each for each in job.spans if each.what in FOREIGN), begin, end) / 1e6
    run = f"{job.id}.attempt-1"
    program = sum(each.end - each.begin for each in job.spans if each.what == "program" and each.name == run) / 1e6
    return Run((end - begin) / 1e6, foreign - program, program)


def _overhead(kind: Kind, count: int) -> list[Result]:
    """What orc adds, without git's part and with it."""
    with temporary_folder("agents") as folder, FakeModels([]) as service:
        root = _workspace(folder / "project", kind, service, agents=1)
        spans, tip = root / ".git" / "bench-spans", git(root, "rev-parse", "orc/state")
        drops: dict[str, int] = {}
        with EngineProcess(root, spans, environment=_environment()) as engine:
            engine.wait_for_start()
            for number in range(1 + count):
                drops |= _drop(root, 0, number)
                _wait_done(engine, root, number + 1)
                engine.wait_for_rest()
        runs = [run_of(job) for job in times_of(root, read_spans(spans), drops, since=tip)[1:]]
    mid = middle([run.overhead_ms for run in runs])
    program, whole = middle([run.program_ms for run in runs]), middle([run.wall_ms for run in runs])
    with_git = middle([run.overhead_ms + run.git_ms for run in runs])
    alone = compare(
        "9",
        f"what orc adds to a run of {kind.name}",
        mid,
        program,
        "the program itself",
        limit=LIMIT_MS,
        bounded_by="two durable commits, the run's folder and starting its processes",
        note="from the durable step `start` to the durable step `collect`, less the program from its exec to its end, "
        f"and less git ({middle([run.git_ms for run in runs]).median:.0f} ms, which makes the tree ready and keeps the "
        f"work); all of it took {whole.median:.0f} ms",
    )
    both = compare(
        "9",
        f"what orc and git add to a run of {kind.name}",
        with_git,
        program,
        "the program itself",
        bounded_by="git, which makes the tree ready and keeps the work",
        note="the same runs with git's part; no limit: it grows with the project",
    )
    return [alone, both]


def _memory(options: Options) -> Result:
    many = options.pick(MANY, 3)
    few = _memory_with(FEW, rounds=2)
    values = _memory_with(many, rounds=3)
    name = f"memory of the engine, {many} agents with a session each"
    return Result(
        "9",
        name,
        round(max(values), 1),
        "MiB",
        baseline=f"after the second job of each: {values[1]:.1f} MiB",
        ratio=round(max(values) / values[1], 3),
        limit=LIMIT_GROWTH,
        on_ratio=True,
        bounded_by="Python and its modules",
        note=f"resident memory after each of {len(values)} rounds of one job for each agent, with {CLAUDE.name}: "
        f"{', '.join(f'{value:.1f}' for value in values)}; with {FEW} agents {max(few):.1f} MiB",
        series=tuple((number + 1.0, round(value, 2)) for number, value in enumerate(values)),
    )


def _memory_with(agents: int, *, rounds: int) -> list[float]:
    """MiB at the end of each round."""
    found = []
    with temporary_folder("agents") as folder, FakeModels([]) as service:
        root = _workspace(folder / "project", CLAUDE, service, agents=agents, persistent=True)
        with EngineProcess(root, environment=_environment()) as engine:
            engine.wait_for_start()
            for turn in range(rounds):
                for agent in range(agents):
                    _drop(root, agent, turn * agents + agent)
                _wait_done(engine, root, (turn + 1) * agents)
                engine.wait_for_rest()
                found.append(memory_of(engine.pid) / 2**20)
    return found


def _workspace(root: Path, kind: Kind, service: FakeModels, *, agents: int, persistent: bool = False) -> Path:
    """Authors who are real programs, a reviewer who is a script that approves."""
    slots = len(os.sched_getaffinity(0))
    make_repository(root, 10)
    write_configuration(root, slots=slots)
    program = next(each for each in PROGRAMS if each.name == kind.name)
    config = yaml.safe_load((root / "orc.yaml").read_text())
    config["backends"][kind.name] = {"type": kind.name, "program": str(program.path), "base_url": service.url}
    config["models"] = {kind.model: {"family": "alpha", "price": {"date": "2026-11-21", "input": 3, "output": 15}}}
    (root / "orc.yaml").write_text(dump(config))
    for number in range(slots):
        (root / "souls" / f"ada-{number}.md").unlink()
    front = f"backend: {kind.name}\nmodel: {kind.model}\nroles: [work]\npersistent: {str(persistent).lower()}"
    for number in range(agents):
        (root / "souls" / f"{_agent(number)}.md").write_text(f"---\n{front}\n---\nYou are {_agent(number)}.\n")
    init_workspace(root, ADA, starter=False)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a workspace")
    service.play(_turns(root, kind))
    return root


def _turns(root: Path, kind: Kind) -> Sequence[dict[str, Any]]:
    """The model writes the file that it is asked for, and says so."""

    def write(asked: Asked) -> dict[str, Any]:
        found = ASKED.search(asked.prompt)
        assert found is not None
        tree = root / "state" / "trees" / found["agent"] / "main"
        path = found["file"] if kind.name == "codex" else str(tree / found["file"])
        return {"tools": [kind.write(path, f"done = {time.monotonic_ns()}\n")]}

    usage = {"input": 1200, "output": 80, "cache_read": 9000}
    first = {"api": kind.api, "match": ASKED.pattern, "after_tool": False, "has_tools": True}
    return [{**first, "reply": write, "usage": usage}, {"api": kind.api, "text": "It is written.", "usage": usage}]


def _agent(number: int) -> str:
    return f"ada-{number:03d}"


def _drop(root: Path, agent: int, number: int) -> dict[str, int]:
    name = f"run-{number:04d}"
    asked = f"As {_agent(agent)}, write out/{number % 200}.py"
    text = f"title: Write a file\nagent: {_agent(agent)}\nprompt: {asked}, and nothing else.\n"
    return {name: drop(root, name, text)}


def _wait_done(engine: EngineProcess, root: Path, count: int) -> None:
    try:
        wait_until(lambda: len(ended(root)) >= count, seconds=120 + 10 * count, what=f"the end of {count} jobs")
    except TimeoutError as error:
        lanes = {lane: ended(root, "", lane) for lane in ("decide", "waiting", "running", "review", "rejected")}
        raise RuntimeError(f"{error}; {lanes}; {engine.log()}") from error


def _environment() -> dict[str, str]:
    """Keys that are none, and a PATH on which node is found."""
    node = shutil.which("node")
    path = os.environ["PATH"]
    return {
        **{kind.key_env: "sk-not-a-key" for kind in KINDS},
        "PATH": f"{Path(node).parent}{os.pathsep}{path}" if node else path,
    }


if __name__ == "__main__":
    main()
