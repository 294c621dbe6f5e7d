"""Whether what is configured can be: ceilings under which no job comes through, and limits that nothing can reach."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from orchestrator.core.board import AgentView
from orchestrator.core.config import Config, Project
from orchestrator.core.job import MergePolicy

CHECKS_S = 6 * 3600
"""A run of a project's checks is ended after so many seconds, whatever each of them may take."""


@dataclass(frozen=True, slots=True)
class Impossible:
    """Something that is configured and cannot be. `is_fatal`: every job of the project stops at it."""

    what: str
    text: str
    hint: str
    is_fatal: bool = False


def find_impossible(
    config: Config, agents: Mapping[str, AgentView], *, checks_s: int = CHECKS_S
) -> tuple[Impossible, ...]:
    """What of a configuration cannot be. `checks_s`: the longest time of one run of a project's checks, in seconds."""
    found = [*_limits(config)]
    for project in config.projects.values():
        found += [*_starts(config, project), *_check_times(project, checks_s), *_workers(project, agents.values())]
    return tuple(found)


def _limits(config: Config) -> Iterator[Impossible]:
    limits, rounds = config.limits, config.review.rounds
    if rounds > limits.reviews:
        text = f"review.rounds: {rounds} is never reached, for limits.reviews: {limits.reviews} asks you before"
        yield Impossible("limits", text, "raise limits.reviews, or lower review.rounds")
    if limits.attempts > limits.starts:
        text = (
            f"limits.attempts: {limits.attempts} is never reached, for limits.starts: {limits.starts} asks you before"
        )
        yield Impossible("limits", text, "raise limits.starts, or lower limits.attempts")


def _starts(config: Config, project: Project) -> Iterator[Impossible]:
    """A run for the attempt, one for its checks, one for its review, and one for the checks of the merged tree."""
    checked = ["its checks"] if project.checks else []
    merged = ["the checks of the merged tree"] if project.checks and project.merge is not MergePolicy.BRANCH else []
    runs = ["the attempt", *checked, "its review", *merged]
    starts = config.limits.starts
    if starts < len(runs):
        text = f"limits.starts: {starts}, but a job needs {len(runs)} runs: {', '.join(runs)}. Each will ask you"
        yield Impossible(f"limits of {project.name}", text, f"set limits.starts to {len(runs)} or more", is_fatal=True)


def _check_times(project: Project, checks_s: int) -> Iterator[Impossible]:
    wanted = sum(check.timeout_s for check in project.checks)
    if wanted > checks_s:
        text = f"its checks may take {wanted} s by their `timeout_s`, but a run of them is ended after {checks_s} s"
        yield Impossible(f"checks of {project.name}", text, "lower their `timeout_s`")


def _workers(project: Project, agents: Iterable[AgentView]) -> Iterator[Impossible]:
    souls = [agent.soul for agent in agents]
    able = [soul for soul in souls if "work" in soul.roles and project.name in (soul.projects or (project.name,))]
    if souls and not able:
        text = "no agent in souls/ may work on it, so its jobs wait for ever"
        hint = "give one `roles: [work]`, and this project if it names any"
        yield Impossible(f"agents of {project.name}", text, hint, is_fatal=True)
