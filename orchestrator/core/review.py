"""Who may judge whose work, and what a judgement asks of the author."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.core.job import Fix, Independence, Worker
from orchestrator.core.model_names import is_same_model, maker_of
from orchestrator.core.review_record import ClaimResult
from orchestrator.core.rounds import key_of
from orchestrator.core.verdict import Judgement

STRONG, WEAK, NONE = "family", "model", ""


def independence_of(author: Worker, reviewer: Worker) -> str:
    """How far a reviewer is from an author: `family`, `model` (the same family, another model), or '' (too near).

    A family that is not declared may be any, so it equals every other. What the names of the models tell goes before
    the families that were declared: one model under two names is no second opinion, and models of one maker are one
    family.
    """
    if author.agent == reviewer.agent:
        return NONE
    models = [each.model.strip() for each in (author, reviewer)]
    are_known = all(models)
    if are_known and is_same_model(*models):
        return NONE
    families = {each.family.casefold().strip() for each in (author, reviewer)}
    makers = {maker_of(each) for each in models}
    if "" not in families and len(families) == 2 and (len(makers) == 2 or "" in makers):
        return STRONG
    return WEAK if are_known else NONE


def independence_of_all(authors: Iterable[Worker], reviewer: Worker) -> str:
    """How far a reviewer is from the nearest of all who had a hand in the work."""
    found = {independence_of(author, reviewer) for author in authors}
    return next((far for far in (NONE, WEAK, STRONG) if far in found), NONE)


def is_enough(found: str, wanted: Independence) -> bool:
    """Whether a reviewer of this independence may judge a job that asks for `wanted`."""
    if wanted is Independence.MODEL:
        return found in (STRONG, WEAK)
    return wanted is Independence.FAMILY and found == STRONG


def reviewing(agent: str) -> str:
    """Why a job stands where it stands while `agent` judges it; reviewers' loads are counted by it."""
    return f"{agent} reviews it"


def fixes_of(judgement: Judgement, *, source: str = "reviewer") -> tuple[Fix, ...]:
    """The numbered things the author must do: the blocking findings, else all findings, else the failed items.

    Claims that their sources contradict are always among them, the others that did not stand instead of findings.
    """
    blocking = [each for each in judgement.findings if each.severity == "blocking"]
    chosen = blocking or list(judgement.findings)
    fixes = [
        Fix("", each.problem, each.fix, each.file, each.line, source, check=each.check, earlier=each.earlier)
        for each in chosen
    ]
    if not chosen:
        failed = [item for item in judgement.items if not item.passed]
        fixes = [
            # The same question again is the same, whatever is said of it.
            Fix("", f"{item.id}: {item.evidence or 'not shown'}", source=source, key=key_of("", item.id))
            for item in failed
        ]
    for claim in judgement.claims:
        if claim.result is ClaimResult.CONTRADICTED:
            told = f"The source of the claim {claim.id} says otherwise: {claim.evidence}"
            fixes.append(Fix("", told, "Correct the claim and all that rests on it.", source=source))
        elif claim.result is ClaimResult.UNVERIFIABLE and not chosen:
            told = f"The claim {claim.id} could not be verified: {claim.evidence or 'not shown'}"
            fixes.append(Fix("", told, "Give a locator where it can be looked up.", source=source))
    return numbered(fixes)


def numbered(fixes: Iterable[Fix]) -> tuple[Fix, ...]:
    """The same fixes as F1, F2, …"""
    return tuple(replace(each, id=f"F{n}") for n, each in enumerate(fixes, 1))
