"""From round to round: whether what is asked for was asked for before, and whether the author disputes it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import replace

from orchestrator.core.attempt_record import DISPUTED, Answer
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Fix, Second, SecondWhy

DISPUTES = 2
"""Disputed so often, another reviewer is asked."""
SAME_AGAIN = 3
"""When the very same changes are asked for so often, a person is asked."""
REMEMBERED = 20
"""So many of the newest rounds are remembered."""
_WORD = re.compile(r"\w+")


def key_of(file: str, problem: str) -> str:
    """What a problem is about: the same whatever the order, the numbers and the punctuation of its words."""
    words = sorted({word for word in _WORD.findall(problem.casefold()) if not word.isdecimal()})
    return hashlib.sha256("\n".join((file, *words)).encode("utf-8", "replace")).hexdigest()[:12]


def carry_on(fixes: Iterable[Fix], before: Iterable[Fix], answers: Iterable[Answer], reviewer: str) -> tuple[Fix, ...]:
    """What `reviewer` asks for, each with what is known of it from the round before: who asked, and who disputed it.

    A fix is one of `before` if the reviewer says so, else if it is about the same.
    """
    known = list(before)
    said = {each.id: each for each in answers}
    found = []
    for fix in fixes:
        key = fix.key or key_of(fix.file, fix.problem)
        was = next((each for each in known if each.id == fix.earlier), None)
        was = was or next((each for each in known if each.key == key), None)
        if was is None:
            found.append(replace(fix, earlier="", key=key, by=(reviewer,)))
            continue
        answer = said.get(was.id)
        disputes = (*was.disputes, answer.reason) if answer is not None and answer.answer == DISPUTED else was.disputes
        by = tuple(dict.fromkeys((*was.by, reviewer)))
        found.append(replace(fix, earlier=was.id, key=was.key or key, by=by, disputes=disputes))
    return tuple(found)


def still_open(fixes: Iterable[Fix]) -> tuple[Fix, ...]:
    """What others than the engine asked for: it is to be done also where the engine refuses the work for a reason of
    its own."""
    return tuple(fix for fix in fixes if fix.source != "engine")


def is_about_words(before: Evidence, fixes: Iterable[Fix]) -> bool:
    """Whether work was sent back for what its report claimed alone: then it may come again as it is."""
    return {each.rule for each in before.failures} == {"phantom"} and not still_open(fixes)


def signature_of(fixes: Iterable[Fix]) -> str:
    """A digest of what is asked for in one round."""
    return hashlib.sha256("\n".join(sorted({fix.key for fix in fixes})).encode()).hexdigest()[:12]


def rounds_so_far(asked: tuple[str, ...], fixes: Iterable[Fix]) -> tuple[str, ...]:
    """What the rounds asked for, with one more."""
    return (*asked, signature_of(fixes))[-REMEMBERED:]


def is_same_again(asked: tuple[str, ...], fixes: Iterable[Fix]) -> bool:
    """Whether exactly this was asked for so often that one more attempt would come to the same."""
    return asked.count(signature_of(fixes)) + 1 >= SAME_AGAIN


def is_all_disputed(fixes: Iterable[Fix], answers: Iterable[Answer]) -> bool:
    """Whether the author disputes, with a reason, all that it was asked for: then it need not change anything."""
    asked = list(fixes)
    said = {each.id for each in answers if each.answer == DISPUTED and each.reason.strip()}
    # What a person asks for is not put before agents again, and what the engine asks for is a fact.
    return bool(asked) and all(fix.id in said and fix.source == "reviewer" for fix in asked)


def dispute_of(fixes: Iterable[Fix], answers: Iterable[Answer], review: int) -> Second | None:
    """What it asks for that the author disputes something once more; None if that is new, or nothing is disputed."""
    said = {each.id: each.reason for each in answers if each.answer == DISPUTED}
    over = [
        replace(fix, disputes=(*fix.disputes, said[fix.id]))
        for fix in fixes
        if fix.id in said and fix.by and len(fix.disputes) + 1 >= DISPUTES
    ]
    if not over:
        return None
    reviewers = tuple(dict.fromkeys(name for fix in over for name in fix.by))
    told = f"the author disputes again what {', '.join(reviewers)} asked for: {'; '.join(fix.problem for fix in over)}"
    return Second(SecondWhy.DISPUTE, review, reviewers, told[:400], sides=sides_of(over))


def disputed(second: Second | None) -> Second | None:
    """The dispute that another reviewer is asked about, also if one has approved the work for no good reason since."""
    return second if second is not None and second.sides else None


def same_dispute(fixes: Iterable[Fix], review: int) -> Second | None:
    """The dispute about what is asked for, if it is put before somebody once more: before no party to it."""
    if not (over := still_disputed(fixes)):
        return None
    parties = tuple(dict.fromkeys(name for fix in over for name in fix.by))
    told = f"a person has the work reviewed again, of which the author disputes what {', '.join(parties)} asked for"
    return Second(SecondWhy.DISPUTE, review, parties, told[:400], sides=sides_of(over))


def still_disputed(fixes: Iterable[Fix]) -> tuple[Fix, ...]:
    """Those that are asked for again although the author disputed them twice."""
    return tuple(fix for fix in fixes if len(fix.disputes) >= DISPUTES)


def sides_of(fixes: Iterable[Fix]) -> str:
    """What is asked for and what the author says, for a person to judge."""
    lines = []
    for fix in fixes:
        lines.append(fix.told + (f" Required: {fix.fix}" if fix.fix else ""))
        lines.append(f"  asked for by {', '.join(fix.by)}")
        lines += [f"  the author: {reason or 'disputes it without a reason'}" for reason in fix.disputes]
    return "\n".join(lines)[:3000]
