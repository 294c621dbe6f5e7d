"""What may begin on which service now, and why not: the runs of a board held against what is known of the services."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.core.service import Capacity, Ended, Service, Use, after_run, after_run_elsewhere, use_of
from orchestrator.core.times import iso

if TYPE_CHECKING:
    from orchestrator.core.board import AgentView, Board
    from orchestrator.core.config import Config


class Services:
    """The services of a board, with the runs on them, counted up as more are decided.

    Where nothing is known of a service and nothing is configured for it, there is nothing to ask and nothing to count.
    """

    def __init__(self, board: Board, now: datetime | None) -> None:
        """Without a time nothing is asked of any service."""
        self._now = iso(now) if now is not None else ""
        self._capacities: dict[str, Capacity] = {}
        if now is None:
            return
        bounded = {name: each.at_once for name, each in board.config.backends.items() if each.at_once}
        names = [name for name, each in board.services.items() if each != Service(name, each.seq)]
        for name in {*bounded, *names}:
            known = board.services.get(name, Service(name))
            self._capacities[name] = Capacity(known, bounded.get(name, 0), self._now)
        if self._capacities:
            for use in filter(None, map(use_of, board.active)):
                self._add(use)

    def why_not(self, agent: AgentView) -> str:
        """Why nothing may begin on the service of an agent now, '' if something may."""
        capacity = self._capacities.get(agent.soul.backend)
        return (capacity.resting(agent.model) or capacity.full()) if capacity is not None else ""

    def resting(self, agent: AgentView) -> str:
        """The same, where it is for some time and not until a run has ended."""
        capacity = self._capacities.get(agent.soul.backend)
        return capacity.resting(agent.model) if capacity is not None else ""

    def note(self, agent: AgentView) -> None:
        """A run has been given to an agent."""
        self._add(Use(agent.soul.backend, agent.model, self._now))

    def _add(self, use: Use) -> None:
        if (capacity := self._capacities.get(use.backend)) is not None:
            capacity.uses.append(use)


@dataclass(frozen=True, slots=True)
class Follow:
    """What an ended run makes of the services that it says something of."""

    changed: dict[str, tuple[Service, Service]]
    """Those of which something else is known now, by backend: before, and now. The run's own stands first."""
    used: int
    """How many runs there were on its own when it ended."""
    most: int


def follow(run: Ended, uses: Iterable[Use], known: Callable[[str], Service], config: Config) -> Follow:
    """What follows from a run for its service, and for those with the same key. `known`: what is known of a backend."""
    backend = run.worker.backend
    used, most = sum(each.backend == backend and each.is_run for each in uses), config.at_once(backend)
    was = known(backend)
    found = {backend: (was, after_run(was, run, most=most, used=used))}
    for other in config.same_key(backend):
        if other != backend:
            was = known(other)
            found[other] = (was, after_run_elsewhere(was, run))
    return Follow({name: each for name, each in found.items() if each[0] != each[1]}, used, most)
