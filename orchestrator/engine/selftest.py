"""Selftest: every gate is run on inputs that it must refuse and on inputs that it must let through.

The cases are files in `orchestrator/selftest/`. Nothing of a gate is written again here: a case is put through the same
functions that a job or `orc gate` goes through, in a throw-away repository.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from orchestrator.adapters.spelling import speller
from orchestrator.core.selftest import Case, Found, Gate, Result, Score, Through, score, share
from orchestrator.engine.gate_runs import Tell, open_workshop
from orchestrator.engine.selftest_files import read_gates
from orchestrator.engine.selftest_jobs import VerdictPlayer, play_choice, play_job, play_opinion
from orchestrator.engine.selftest_repositories import play_branch, play_landing
from orchestrator.engine.selftest_stage import Stage, open_stage
from orchestrator.errors import NotFoundError, OrcError

Player = Callable[[Case], Found]


@dataclass(frozen=True, slots=True)
class Report:
    """How all gates did."""

    scores: tuple[Score, ...]
    results: tuple[Result, ...]
    unguarded: tuple[tuple[str, Case], ...]
    """Cases that the rules of the gates do not answer for, with the gate that they would belong to."""
    seconds: float

    @property
    def failures(self) -> tuple[Result, ...]:
        """What slipped through, and what was stopped though it is clean."""
        return tuple(each for each in self.results if not each.ok)

    @property
    def recall(self) -> float | None:
        """The share of cheats that were stopped."""
        return share(sum(each.caught for each in self.scores), sum(each.cheats for each in self.scores))

    @property
    def specificity(self) -> float | None:
        """The share of controls that got through."""
        return share(sum(each.passed for each in self.scores), sum(each.controls for each in self.scores))

    @property
    def is_perfect(self) -> bool:
        """Whether there was something to try and nothing went wrong."""
        return bool(self.results) and all(each.is_perfect for each in self.scores)


def run_selftest(tell: Tell, *, only: tuple[str, ...] = ()) -> Report:
    """Put every case through its gate; `only` names gates. Raises OrcError if it cannot be begun."""
    began = time.monotonic()
    gates = choose_gates(only)
    results = tuple(_play_all(gates, tell))
    unguarded = tuple((gate.name, case) for gate in gates for case in gate.cases if case not in counted(gate))
    scores = tuple(score(gate, results) for gate in gates if counted(gate))
    return Report(scores, results, unguarded, round(time.monotonic() - began, 3))


def counted(gate: Gate) -> tuple[Case, ...]:
    """The cases that the rules of a gate answer for, on this machine."""
    return gate.counted(spelling=bool(speller()))


def choose_gates(only: tuple[str, ...]) -> tuple[Gate, ...]:
    """The gates of these names, or all. Raises NotFoundError for a name that is none."""
    gates = read_gates(checked=True)
    unknown = sorted(set(only) - {gate.name for gate in gates})
    if unknown:
        raise NotFoundError(f"there is no gate {unknown[0]!r}", hint=", ".join(gate.name for gate in gates))
    return tuple(gate for gate in gates if not only or gate.name in only)


def _play_all(gates: tuple[Gate, ...], tell: Tell) -> Iterator[Result]:
    total, done = sum(len(counted(gate)) for gate in gates), 0
    with open_workshop(lambda what, how_far: None) as shop, open_stage(shop.folder) as stage:
        players = _players(stage)
        for gate in gates:
            for case in counted(gate):
                tell("the gates are tried", f"{done} of {total}, {gate.name}: {case.name}")
                yield play(gate, case, players[gate.through])
                done += 1


def _players(stage: Stage) -> Mapping[Through, Player]:
    return {
        Through.JOB: partial(play_job, stage),
        Through.VERDICT: VerdictPlayer(stage).play,
        Through.OPINION: partial(play_opinion, stage),
        Through.REVIEWER: play_choice,
        Through.LANDING: partial(play_landing, stage.folder),
        Through.BRANCH: partial(play_branch, stage.folder),
    }


def play(gate: Gate, case: Case, player: Player) -> Result:
    """One case through the real program. An expected error of orc is how the case ended."""
    began = time.monotonic()
    try:
        found = player(case)
    except OrcError as error:
        found = Found(False, "error", (error.message, error.cause))
    return Result(gate.name, case, found, gate.guards_that_spoke(found.texts), time.monotonic() - began)
