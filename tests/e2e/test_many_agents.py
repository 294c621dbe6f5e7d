"""Sixty-four agents at once, each a process of its own: what holds then, whatever it takes on a slow machine.

The agents wait until the test lets them go on, so nothing here rests on how long anything takes. How long it takes is
what `benchmarks/many_agents.py` measures.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.many_agents import make_house
from benchmarks.world import (
    CHOOSE,
    JOB,
    REVIEWER,
    EngineProcess,
    drop,
    git,
    orc_argv,
    orc_environment,
    run,
    wait_until,
)
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.job import Job, State
from orchestrator.engine.find import find_job
from orchestrator.engine.workspace import open_workspace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
SLOTS, JOBS, LET_GO = 64, 92, 12
BUDGET = 200_000
"""Tokens, before they are raised: more than forty of these runs are expected to use, and less than sixty-four are."""
URGENT = "priority: P0\n"
AUTHOR = f"""#!/bin/sh
cat > /dev/null
{CHOOSE}mkdir -p out
echo "begun" > "$file"
echo "begin $ORC_RUN $ORC_TREE $$" >> @/log
while [ ! -e @/all ] && [ ! -e "@/$ORC_RUN" ]; do
  sleep 1
  echo "I go on with $file."
done
echo "done = '$ORC_JOB'" > "$file"
echo "end $ORC_RUN $ORC_TREE $$" >> @/log
echo "I wrote the file that was asked for."
"""


@dataclass(frozen=True)
class Line:
    """What the program of an author noted: that it begins, or ends."""

    what: str
    run: str
    tree: str
    pid: int

    @property
    def job(self) -> str:
        """The job that it works on."""
        return self.run.partition(".")[0]


@dataclass(frozen=True)
class House:
    """A workspace and the place where its agents tell what they do, and find what they may."""

    root: Path
    place: Path

    def told(self) -> list[Line]:
        """What they told so far, in the order in which it happened."""
        log = self.place / "log"
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        return [Line(what, name, tree, int(pid)) for what, name, tree, pid in lines]

    def at_work(self) -> list[Line]:
        """The agents that have begun and not ended."""
        told = self.told()
        over = {each.run for each in told if each.what == "end"}
        return [each for each in told if each.what == "begin" and each.run not in over]

    def has_begun(self, name: str) -> bool:
        """Whether an agent has begun with the job that was dropped under this name."""
        return any(each.job.startswith(f"{name}-") for each in self.told())

    def open_jobs(self) -> list[Job]:
        """The jobs that have not ended, as the ledger has them."""
        with open_workspace(self.root, lean=True) as ws:
            return list(ws.ledger.snapshot().jobs.values())

    def set_aside(self) -> list[int]:
        """The tokens that are set aside, by run."""
        return [job.at.reserved.tokens for job in self.open_jobs() if job.at.reserved is not None]

    def see_a_tick(self, name: str) -> None:
        """Wait until the engine has decided once more than now: a job that is held has been taken in, and one after."""
        for each in (f"{name}-1", f"{name}-2"):
            drop(self.root, each, f"{JOB.format(name=each)}hold: only to be seen\n")
            seen(partial(self.has_taken, each), f"taking in {each}")

    def has_taken(self, name: str) -> bool:
        """Whether the job that was dropped under this name is on the ledger, and open."""
        return any(job.id.startswith(f"{name}-") for job in self.open_jobs())

    def running(self) -> list[str]:
        """The jobs whose agents are at work, as the ledger has it."""
        return [job.id[:-9] for job in self.open_jobs() if job.state is State.RUNNING]

    def configure(self, tokens: int | str) -> None:
        """Allow so many tokens in a day."""
        path = self.root / "orc.yaml"
        config: dict[str, Any] = yaml.safe_load(path.read_text())
        config["execution_limits"]["total"]["tokens"] = tokens
        path.write_text(dump(config))
        git(self.root, "commit", "--quiet", "-am", f"{tokens} tokens a day")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    place = tmp_path / "place"
    place.mkdir()
    root = make_house(tmp_path / "house", SLOTS, AUTHOR.replace("@", str(place)), REVIEWER)
    try:
        yield House(root, place)
    finally:
        (place / "all").touch()


def seen(holds: Callable[[], object], what: str, seconds: float = 300) -> None:
    wait_until(holds, seconds=seconds, what=what, every=0.25)


def test_what_is_promised_holds_with_sixty_four_agents_at_once(house: House) -> None:
    house.configure(BUDGET)
    names = [f"load-{number:03d}" for number in range(JOBS)]
    with EngineProcess(house.root) as engine:
        engine.wait_for_start()
        for name in names:
            drop(house.root, name)
        within_its_budget(house)
        house.configure("unlimited")
        fills_all_slots(house)
        keeps_one_more_for_a_person(house)
        fills_what_falls_free(house)
        (house.place / "all").touch()
        names += ["urgent-198", "urgent-199"]
        seen(lambda: not [job for job in house.open_jobs() if not job.is_held], "the end of all jobs", 1000)
    nothing_is_lost_or_done_twice(house, names)
    assert run(orc_argv("verify"), house.root, env=orc_environment())


def within_its_budget(house: House) -> None:
    """As many begin as the budget has room for, and it is passed by one run at most."""
    seen(lambda: sum(house.set_aside()) >= BUDGET, "the use of the whole budget")
    house.see_a_tick("budget")
    tokens = house.set_aside()
    assert sum(tokens) - max(tokens) < BUDGET <= sum(tokens)
    assert SLOTS // 3 < len(tokens) < SLOTS
    seen(lambda: len(house.at_work()) == len(tokens), "the agents")
    assert "tokens today" in run(orc_argv("status"), house.root, env=orc_environment())


def fills_all_slots(house: House) -> None:
    """With work that waits, all slots are at work at once, and no more."""
    seen(lambda: len(house.at_work()) >= SLOTS, "an agent in each slot")
    house.see_a_tick("slots")
    agents = house.at_work()
    assert len(agents) == len(house.running()) == SLOTS
    assert len({each.tree for each in agents}) == SLOTS
    for each in agents:
        os.kill(each.pid, 0)
    assert sum(job.state is State.READY and not job.is_held for job in house.open_jobs()) == JOBS - SLOTS


def keeps_one_more_for_a_person(house: House) -> None:
    """A person's P0 begins though all slots are taken; the next one waits for it."""
    drop(house.root, "urgent-198", JOB.format(name="urgent-198") + URGENT)
    seen(lambda: house.has_begun("urgent-198"), "the agent of the P0")
    assert len(house.at_work()) == SLOTS + 1
    drop(house.root, "urgent-199", JOB.format(name="urgent-199") + URGENT)
    seen(lambda: house.has_taken("urgent-199"), "taking in the second P0")
    house.see_a_tick("urgent")
    assert len(house.running()) == len(house.at_work()) == SLOTS + 1
    assert "urgent-199" not in house.running()


def fills_what_falls_free(house: House) -> None:
    """As soon as runs end others take their slots, the P0 first."""
    before = {each.run for each in house.told()}
    for each in house.at_work()[:LET_GO]:
        (house.place / each.run).touch()
    seen(lambda: house.has_begun("urgent-199"), "the second P0")
    seen(lambda: len(house.at_work()) >= SLOTS, "others in the slots that fell free")
    begun = [each.run for each in house.told() if each.what == "begin" and each.run not in before]
    assert LET_GO - 1 <= len(begun) <= LET_GO + 1


def nothing_is_lost_or_done_twice(house: House, names: list[str]) -> None:
    told, live, most = house.told(), 0, 0
    working: dict[str, str] = {}
    for each in told:
        live += 1 if each.what == "begin" else -1
        most = max(most, live)
        if each.what == "begin":
            assert each.tree not in working, f"{each.tree} had two runs at once"
            working[each.tree] = each.run
        else:
            assert working.pop(each.tree) == each.run
    assert (most, working) == (SLOTS + 1, {})
    assert set(Counter(each.run for each in told if each.what == "begin").values()) == {1}
    steps = git(house.root, "log", "orc/state", "--format=%s").splitlines()
    started = Counter(step.split()[1][:-9] for step in steps if step.startswith("start: "))
    assert started == dict.fromkeys(names, 1)
    with open_workspace(house.root) as ws:
        ids = [step.split()[1] for step in steps if step.startswith("done: ")]
        assert sorted(id_[:-9] for id_ in ids) == sorted(names)
        jobs = [find_job(ws, id_).job for id_ in ids]
    assert {job.state for job in jobs} == {State.DONE}
    assert {job.at.attempt for job in jobs} == {1}
    assert sum(job.at.used.runs for job in jobs) == 2 * len(names)
    for job in jobs:
        number = int(job.id[:-9].rpartition("-")[2])
        assert git(house.root, "show", f"main:out/{number}.py") == f"done = '{job.id}'"
