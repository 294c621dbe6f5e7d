"""What may begin on which service now, and why not: the runs of a board held against what is known of the services."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.core.service import Capacity, Service, Use, use_of
from orchestrator.core.times import iso

if TYPE_CHECKING:
    from orchestrator.core.board import AgentView, Board


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
