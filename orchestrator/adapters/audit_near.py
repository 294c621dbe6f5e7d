"""Whether each new job that is like an open one was passed, asked about or refused as its likeness has it.

The likeness is worked out again from the jobs that were open at that step, and held against the bounds that the step
names: those of the configuration are not in the ledger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from orchestrator.adapters.audit_rules import Finding, Rule, Step, check_trailers, differ
from orchestrator.core.card import MOST_QUESTION, shorten
from orchestrator.core.job import Job
from orchestrator.core.likes import LIMITS, MOST_HOURS, NEAR, like_question, parse_bounds
from orchestrator.core.records import CardKind
from orchestrator.core.similar import Likeness, Likes, Means, in_words
from orchestrator.core.times import parse
from orchestrator.core.transitions import Event
from orchestrator.core.twins import may_repeat


@dataclass(slots=True)
class Nearness:
    """The open jobs by what they say, as of the last step that was looked at."""

    likes: Likes = field(default_factory=Likes)
    is_told: bool = False
    """Whether a job has said what likeness it was held against: from then on each one does."""

    def begin(self, jobs: Mapping[str, Job]) -> None:
        """Believe that these are open."""
        self.likes.begin(jobs)

    def judge(self, step: Step) -> Iterator[Finding]:
        """Judge the step, then follow it."""
        try:
            if step.event is Event.ACCEPT:
                yield from self._judge_new(step)
        finally:
            self.likes.follow(step.id, None if step.after.state.ended else step.after)

    def _judge_new(self, step: Step) -> Iterator[Finding]:
        text = step.commit.trailer(LIMITS)
        if may_repeat(step.after) or step.after.spec.dedup_key:
            if text is not None or step.asks:
                yield Rule.TWIN, f"holds {step.id} against other jobs, though it may repeat what is open"
            return
        is_alone = not self.likes.has_any(step.at.project)
        if text is None and (is_alone or not self.is_told) and not step.asks:
            return  # There is nothing to be like, or an older version did not look.
        self.is_told = True
        try:
            bounds = parse_bounds(text or "")
        except ValueError:
            yield Rule.MESSAGE, f"says that the bounds of likeness are {text or 'nothing'}, which they cannot be"
            return
        near = self.likes.judge(step.after, bounds)
        yield from check_trailers(step, {NEAR: near.told if near is not None else ""})
        if near is not None and near.means is Means.REFUSED:
            yield Rule.TWIN, f"accepts {step.id}, though {near.twin} is open and as like it as {in_words(near.score)}"
        is_due = near is not None and near.means is Means.ASKED
        if step.asks is not is_due:
            done = "asks" if step.asks else "does not ask"
            yield Rule.TWIN, f"{done} whether {step.id} is to be done, which does not follow from what it is like"
        elif near is not None and is_due:
            yield from _judge_card(step, near)


def _judge_card(step: Step, near: Likeness) -> Iterator[Finding]:
    card = step.card()
    if card is None or card.kind is not CardKind.LIKE:
        yield Rule.CARD, "begins with another question than whether two like jobs are both to be done"
        return
    yield from differ(Rule.CARD, "the question", card.question, shorten(like_question(near), MOST_QUESTION))
    facts = {"twin": near.twin, "likeness": in_words(near.score)}
    yield from differ(Rule.CARD, "what the card is about", card.facts, facts)
    yield from differ(Rule.CARD, "what the job waits for", step.at.reason, card.question)
    hours = (parse(card.expires) - parse(card.asked)).total_seconds() / 3600 if card.expires else 0.0
    if card.default != ("keep" if card.expires else "") or not 0 <= hours <= MOST_HOURS:
        yield Rule.CARD, f"has the default {card.default or 'nothing'!r} after {hours:g} hours, which is none of orc's"
