"""Who does what: the agent for an attempt, the reviewer for a review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from datetime import datetime

from orchestrator.core.actions import Ask, Stand, StartReview
from orchestrator.core.board import AgentView, Board, run_kind, terms_of
from orchestrator.core.config import Route, Terms
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Independence, Job, Second, SecondWhy, Worker
from orchestrator.core.nearest import guess
from orchestrator.core.records import CardKind
from orchestrator.core.review import STRONG, independence_of_all, is_enough, reviewing
from orchestrator.core.service_load import Services
from orchestrator.core.suspicion import is_extra

STANDS_IN = "fallback for"
"""How the rule begins by which an agent was chosen because the service of another took nothing."""
_Wishes = tuple[str, str, str, str, str, str]
_RULE_WORDS = {
    "given": "a person gave the job to it",
    "same author": "it made what is to be put right",
    "asked for": "the job asks for it",
    "routed": "`routing:` names it",
    "project": "it is an agent of the project",
    "idle": "free, and nobody goes before it",
    STANDS_IN: "it stands in for another, whose service took nothing",
}
"""In the order of matching."""


_GIVEN_CONFLICT = "given the conflict"
_RULE_NUMBERS = {rule: number for number, rule in enumerate(_RULE_WORDS, 1)}
"""The order of matching: the first of these that names an agent chooses it."""


def rule_number(rule: str) -> int:
    """Which rule of the order of matching that is, 1 for the first; 0 for one that is not in it."""
    kind = "routed" if rule.startswith("tier ") else "given" if rule == _GIVEN_CONFLICT else rule
    return _RULE_NUMBERS.get(STANDS_IN if _stands_in_for(rule) else kind, 0)


def tell_rule(rule: str) -> str:
    """The rule that chose an agent, with its number: `rule 3, the job asks for it`."""
    number = rule_number(rule)
    return f"rule {number}, {rule_words(rule)}" if number else rule_words(rule)


def rule_words(rule: str) -> str:
    """Why an agent was chosen, as people read it; the rule itself if these words are not known."""
    if name := _stands_in_for(rule):
        return f"it stands in for {name}, whose service took nothing"
    told, _, tier = rule.partition(" ")
    return f"`routing:` asks for the tier {tier}" if told == "tier" and tier else _RULE_WORDS.get(rule, rule)


def _stands_in_for(rule: str) -> str:
    return rule.removeprefix(STANDS_IN).strip() if rule.startswith(f"{STANDS_IN} ") else ""


class Matching:
    """The agents of one board; jobs with the same wishes share one search."""

    def __init__(self, board: Board, now: datetime | None = None) -> None:
        """`now`: it is asked who begins at this time; None: who could at any."""
        self._board = board
        self._services = Services(board, now)
        self._able: dict[_Wishes, Mapping[str, AgentView]] = {}
        self._reviews = Counter(job.at.reason for job in board.active if run_kind(job) is RunKind.REVIEW)

    def worker(self, job: Job, busy: Set[str]) -> tuple[str, str] | None:
        """The agent for an attempt and the rule that chose it; None if those that could are busy, or their services
        take nothing now and nobody may stand in.

        Order (`rule_number`): who was given the work; the author of what is being fixed; whom the job asks for; those
        that `routing:` names for its kind, or that have a model of the tier it names; one of the project; any idle
        one; whoever may stand in for those. Ties: most jobs in this project, then the name.
        """
        able = self._able_for(job)
        busy = busy | {name for name, agent in able.items() if self._services.why_not(agent)}
        if job.at.given:
            return None if job.at.given in busy or job.at.given not in able else (job.at.given, _given(job))
        if job.at.fixes and job.at.agent in able:
            chosen = None if job.at.agent in busy else (job.at.agent, "same author")
        elif job.spec.agent:
            is_free = job.spec.agent not in busy and job.spec.agent in able
            chosen = (job.spec.agent, "asked for") if is_free else None
        else:
            chosen = self._best(job, {name: agent for name, agent in able.items() if name not in busy})
        return chosen or self._stand_in(job, able, busy)

    def _able_for(self, job: Job) -> Mapping[str, AgentView]:
        return {name: agent for name, agent in self._fitting(job).items() if not agent.unavailable_for(job)}

    def _stand_in(self, job: Job, able: Mapping[str, AgentView], busy: Set[str]) -> tuple[str, str] | None:
        wanted = _wanted(job, able)
        for name in self._standing_in(job, wanted):
            if name not in busy and not self._services.why_not(self._board.agents[name]):
                return name, f"{STANDS_IN} {', '.join(wanted)}"
        return None

    def stand_ins(self, job: Job) -> list[str]:
        """Who takes a job that is ready while the services of all that are to do it rest, be they free or not."""
        return [] if job.at.given else list(self._standing_in(job, _wanted(job, self._able_for(job))))

    def _standing_in(self, job: Job, wanted: tuple[str, ...]) -> Iterator[str]:
        """Nobody while a service of those that are wanted takes something. Whom the job names goes before those that
        `fallback:` of orc.yaml names for the one that is to do it."""
        agents = self._board.agents
        if not wanted or not all(name in agents and self._services.resting(agents[name]) for name in wanted):
            return
        usual = [each for name in wanted for each in self._board.config.fallback.get(name, ())]
        for name in job.spec.fallback or dict.fromkeys(usual):
            agent = agents.get(name)
            if agent is not None and name not in wanted and not agent.unavailable_for(job) and _may_work(agent, job):
                yield name

    def note_attempt(self, agent: str) -> None:
        """An attempt has been given to an agent: its service has one more run."""
        self._services.note(self._board.agents[agent])

    def why_resting(self, job: Job) -> str:
        """Why no service of those that could take a job does for some time; '' if one does, or could when free."""
        able = self._able_for(job)
        if job.at.fixes and job.at.agent in able:
            able = {job.at.agent: able[job.at.agent]}
        told = [self._services.resting(agent) for agent in able.values()]
        return "; ".join(dict.fromkeys(told)) if told and all(told) else ""

    def why_unjudged(self, job: Job) -> str:
        """The same for those that could judge it."""
        could = (agent for agent in self._board.agents.values() if "review" in agent.soul.roles)
        told = dict.fromkeys(self._services.resting(agent) for agent in could)
        return "; ".join(filter(None, told)) if self.reviewer(job) is None else ""

    def heir(self, job: Job) -> str:
        """Who would take over work that has collided: not its author, nobody that drains; '' if there is none."""
        others = {name: agent for name, agent in self._fitting(job).items() if name != job.at.agent}
        best = self._best(job, {name: agent for name, agent in others.items() if not agent.unavailable})
        return best[0] if best is not None else ""

    def _best(self, job: Job, able: Mapping[str, AgentView]) -> tuple[str, str] | None:
        """The first of these agents in the order of matching, and the rule that it is first by."""
        config = self._board.config
        route = config.routing.get(job.spec.kind, Route())
        places = {name: route.place(name, config.tier_of(able[name].model)) for name in able}

        def order(name: str) -> tuple[bool, int, bool, int, str]:
            done = self._board.history.get(name, {}).get(job.at.project, 0)
            place = places[name]
            return (place is None, place or 0, job.at.project not in able[name].soul.projects, -done, name)

        if not able:
            return None
        chosen = min(able, key=order)
        if places[chosen] is not None:
            return chosen, route.rule
        return chosen, "project" if job.at.project in able[chosen].soul.projects else "idle"

    def problem(self, job: Job) -> str:
        """Why no agent could take this job as things are; '' if one could, now or when it is free."""
        wanted = job.at.given or job.spec.agent
        if wanted and wanted not in self._board.agents:
            what = "its conflict" if job.at.conflicts else "the job"
            taken_back = f"; {what} was given to it: orc retry {job.id} takes that back"
            way_out = taken_back if job.at.given else guess(wanted, self._board.agents)
            return f"agent {wanted!r} has no file in souls/{way_out}"
        able = self._fitting(job)
        if not able:
            return f"no agent in souls/ fits: {_in_words(job)}{self._nearest(job)}"
        told = {name: agent.unavailable_for(job) for name, agent in able.items()}
        if all(told.values()):
            return "; ".join(f"{name}: {why}" for name, why in told.items())
        return ""

    def _nearest(self, job: Job) -> str:
        """The name that a backend or model nobody has is nearest to, as `guess` tells it."""
        agents = self._board.agents.values()
        backends, models = {each.soul.backend for each in agents}, {each.model for each in agents}
        asked = ((job.spec.backend, backends), (job.spec.model, models))
        return "".join(guess(name, sorted(known)) for name, known in asked if name and name not in known)

    def reviewer(self, job: Job, capped: Set[str] = frozenset()) -> StartReview | Ask | Stand | None:
        """The reviewer farthest from the author that may judge; a card if there is none, or without one that was drawn
        to judge it twice the approval that is there already. None where one only has to be waited for: of those that
        are `capped`, for they have reached a limit, or whose service has no room, others would be less far from the
        author; or the services of all that may judge it rest.

        Ties: the order in which the job names them, the fewest reviews at once, the name.
        """
        agreed = terms_of(self._board, job)
        if agreed.independence is Independence.HUMAN:
            return Ask(job.id, CardKind.HUMAN_REVIEW, f"{job.id} is to be reviewed by a person. Take it?")
        authors, second = (job.at.author or Worker(""), *job.at.former), job.at.second
        spent = {*job.at.excluded, *(second.reviewers if second else ())}
        candidates: list[tuple[bool, int, int, str]] = []
        unusable: list[str] = []
        rests = False
        for name, agent in sorted(self._board.agents.items()):
            if "review" not in agent.soul.roles or name in spent or (agreed.by and name not in agreed.by):
                continue
            far = independence_of_all(authors, agent.worker())
            if not is_enough(far, agreed.independence):
                continue
            if agent.unavailable:
                unusable.append(f"{name}: {agent.unavailable}")
                continue
            if why := self._services.resting(agent):
                unusable.append(f"{name}: {why}")
                rests = True
                continue
            order = agreed.by.index(name) if agreed.by else 0
            candidates.append((far != STRONG, order, self._reviews[reviewing(name)], name))
        if not candidates and rests and not is_extra(job):
            return None  # What was drawn keeps no work waiting.
        if not candidates:
            context = "; ".join(unusable) or _why_no_reviewer(job, agreed)
            if second is not None:
                return _without_another(job, second, context)
            return Ask(job.id, CardKind.NO_REVIEWER, f"No reviewer can judge {job.id}. Look at it yourself?", context)
        free = [each for each in candidates if each[-1] not in capped and self.has_room(each[-1])]
        if not free or min(free)[0] > min(candidates)[0]:
            return None
        name = min(free)[-1]
        return StartReview(job.id, name, independence_of_all(authors, self._board.agents[name].worker()))

    def has_room(self, agent: str) -> bool:
        """Whether something may begin on the service of an agent now."""
        return not self._services.why_not(self._board.agents[agent])

    def note_review(self, reviewer: str) -> None:
        """A review has been given to `reviewer`: the next one goes to somebody with fewer."""
        self._reviews[reviewing(reviewer)] += 1
        self._services.note(self._board.agents[reviewer])

    def _fitting(self, job: Job) -> Mapping[str, AgentView]:
        spec = job.spec
        wishes = (job.at.given, spec.agent, spec.backend, spec.model, spec.kind, job.at.project)
        if wishes not in self._able:
            agents = self._board.agents.items()
            self._able[wishes] = {name: agent for name, agent in agents if fits(agent, job)}
        return self._able[wishes]


def _wanted(job: Job, able: Mapping[str, AgentView]) -> tuple[str, ...]:
    """Whom a job is to go to, of those that are able: its author, if there is something to put right; whom it names."""
    if job.at.fixes and job.at.agent in able:
        return (job.at.agent,)
    return (job.spec.agent,) if job.spec.agent else tuple(able)


def _given(job: Job) -> str:
    return _GIVEN_CONFLICT if job.at.conflicts else "given"


def fits(agent: AgentView, job: Job) -> bool:
    """Whether an agent is one for a job, by what both say; it may be busy, or unable to start."""
    spec, soul = job.spec, agent.soul
    if job.at.given:  # Whoever gave it to an agent of another sort meant just that.
        return soul.name == job.at.given and "work" in soul.roles
    return (
        _may_work(agent, job)
        and (not spec.agent or spec.agent == soul.name)
        and (not spec.backend or spec.backend == soul.backend)
        and (not spec.model or spec.model == agent.model)
    )


def _may_work(agent: AgentView, job: Job) -> bool:
    """Whether a job is one for this agent, whomever or whatever it asks for."""
    soul = agent.soul
    return (
        "work" in soul.roles
        and (not soul.kinds or job.spec.kind in soul.kinds)
        and (not soul.projects or job.at.project in soul.projects)
    )


def _in_words(job: Job) -> str:
    spec = job.spec
    if job.at.given:
        return f"{job.at.given}, to whom {'its conflict' if job.at.conflicts else 'it'} was given, role work"
    wishes = [f"agent {spec.agent}" if spec.agent else "", f"backend {spec.backend}" if spec.backend else ""]
    wishes += [f"model {spec.model}" if spec.model else "", f"kind {spec.kind}", f"project {job.at.project}"]
    return ", ".join(each for each in wishes if each) + ", role work"


def _without_another(job: Job, second: Second, why: str) -> Ask | Stand:
    """What follows where nobody is left to be asked."""
    if second.why is SecondWhy.DRAW:
        return Stand(job.id, f"nobody else can judge it. {why}")
    if second.why is SecondWhy.DISPUTE:
        question = f"The author of {job.id} disputes what is asked for, and nobody else can judge it. Who is right?"
        return Ask(job.id, CardKind.DISPUTED, question, f"{second.sides}\n{why}")
    question = f"One suspicious approval of {job.id}, and nobody else to ask. Take it?"
    return Ask(job.id, CardKind.SUSPICIOUS, question, "\n".join(filter(None, (f"{second.told}.", second.sides, why))))


def _why_no_reviewer(job: Job, agreed: Terms) -> str:
    author = job.at.author or Worker("")
    told = f"The author {author.agent} is of the family {author.family or '(not declared)'}."
    for each in job.at.former:
        told += f" {each.agent}, whose work it goes on with, is of the family {each.family or '(not declared)'}."
    if job.at.excluded:
        told += f" {', '.join(job.at.excluded)} gave no clear verdict."
    if job.at.second is not None:
        told += f" {', '.join(job.at.second.reviewers)} was asked already."
    wanted = "of another family" if agreed.independence is Independence.FAMILY else "of another model"
    among = f" among {', '.join(agreed.by)}" if agreed.by else ""
    return f"{told} No other agent with the role `review` {wanted} is declared in souls/{among}."
