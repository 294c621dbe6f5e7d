"""Reading a reviewer's answer. Exactly one JSON object, bound to this review; anything else is inconclusive.

There is no search for words: "not APPROVED" contains APPROVED. Nothing here raises, whatever the reply holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.records import ClaimResult, Finding, Item, Recheck, Verdict

KEYS = frozenset({"nonce", "job", "commit", "verdict", "files", "items", "claims", "findings", "summary"})
_OPTIONAL = frozenset({"summary", "claims"})
_FINDING_KEYS = {"severity": str, "problem": str, "file": str, "line": int, "fix": str, "check": str, "earlier": str}
MAX_REPLY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Question:
    """What the reviewer was asked, and what its answer must therefore be bound to."""

    job: str
    commit: str
    nonce_sha256: str
    files: frozenset[str]
    """Every changed path: each must stand in the answer's receipt."""
    items: tuple[str, ...]
    required: frozenset[str]
    threshold: float
    claims: tuple[str, ...] = ()
    """Ids of the claims that were to be looked up again."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the answer comes to. `why` says, for an inconclusive one, what was wrong."""

    verdict: Verdict
    why: str = ""
    score: float | None = None
    items: tuple[Item, ...] = ()
    findings: tuple[Finding, ...] = ()
    summary: str = ""
    claims: tuple[Recheck, ...] = ()


class _Unclear(Exception):
    """The answer is not a verdict; the message says why."""


def hash_nonce(nonce: str) -> str:
    """What the ledger keeps of a nonce."""
    return hashlib.sha256(nonce.encode("utf-8", "surrogatepass")).hexdigest()


def says_something(evidence: str) -> bool:
    """Whether there is a word in it: a dot is no evidence of having looked."""
    return sum(char.isalnum() for char in evidence) > 1


def blot_nonce(reply: str, nonce: str) -> str:
    """The reply as the ledger keeps it: the nonce replaced by its hash."""
    return reply.replace(nonce, hash_nonce(nonce)) if nonce else reply


def judge_reply(reply: str, question: Question, *, blotted: bool = False) -> Judgement:
    """What `reply` comes to. `blotted`: it is from the ledger, with the hash in place of the nonce."""
    try:
        return _judge(_parse(reply), question, blotted=blotted)
    except _Unclear as unclear:
        return Judgement(Verdict.INCONCLUSIVE, why=str(unclear))
    except RecursionError:
        return Judgement(Verdict.INCONCLUSIVE, why="is nested too deeply")


def _judge(value: Mapping[str, Any], question: Question, *, blotted: bool) -> Judgement:
    _check_binding(value, question, blotted=blotted)
    verdict = _verdict(value["verdict"])
    unseen = question.files - frozenset(_strings(value["files"], "files"))
    items = _items(value["items"], question)
    findings = tuple(_finding(each) for each in _list(value["findings"], "findings"))
    summary = value.get("summary", "")
    if not isinstance(summary, str):
        raise _Unclear("`summary` is not a text")
    claims = _claims(value.get("claims", []), question)
    # A claim that nobody could look up is one that does not stand yet.
    passed = [*(item.passed for item in items), *(each.result is ClaimResult.SUPPORTED for each in claims)]
    score = sum(passed) / len(passed) if passed else 1.0
    found = Judgement(verdict, "", round(score, 4), items, findings, summary, claims)
    if verdict is not Verdict.APPROVED:
        if verdict is Verdict.REVISE and not findings and all(passed):
            raise _Unclear("asks for changes but names none")
        return found
    if unseen:
        raise _Unclear(f"approves without having seen {', '.join(sorted(unseen)[:5])}")
    _check_approval(found, question)
    return found


def _check_approval(found: Judgement, question: Question) -> None:
    """An approval that its own numbers contradict is no approval."""
    if any(each.severity == "blocking" for each in found.findings):
        raise _Unclear("approves with a blocking finding")
    failed = [item.id for item in found.items if not item.passed and item.id in question.required]
    if failed:
        raise _Unclear(f"approves although {', '.join(failed)} failed")
    wrong = [each.id for each in found.claims if each.result is ClaimResult.CONTRADICTED]
    if wrong:
        raise _Unclear(f"approves although the source contradicts {', '.join(wrong)}")
    if found.score is not None and found.score < question.threshold:
        raise _Unclear(f"approves with a score of {found.score:.2f}, below {question.threshold:.2f}")


def _check_binding(value: Mapping[str, Any], question: Question, *, blotted: bool) -> None:
    extra, missing = set(value) - KEYS, KEYS - _OPTIONAL - set(value)
    if extra:
        raise _Unclear(f"has a key that was not asked for: {sorted(extra)[0]!r}")
    if missing:
        raise _Unclear(f"lacks {sorted(missing)[0]!r}")
    nonce = value["nonce"]
    if not isinstance(nonce, str) or (nonce if blotted else hash_nonce(nonce)) != question.nonce_sha256:
        raise _Unclear("does not carry this review's nonce")
    if value["job"] != question.job:
        raise _Unclear("is about another job")
    if value["commit"] != question.commit:
        raise _Unclear("is about another commit")


def _parse(reply: str) -> Mapping[str, Any]:
    if len(reply) > MAX_REPLY:
        raise _Unclear(f"is longer than {MAX_REPLY} characters")
    if not reply.strip():
        raise _Unclear("is empty")
    try:
        value = json.loads(reply, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        # Half a character, written as an escape, could never be stored again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise _Unclear(f"is not exactly one JSON object ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise _Unclear("is not exactly one JSON object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _verdict(value: object) -> Verdict:
    if value in ("APPROVED", "REVISE", "REJECT"):
        return Verdict(str(value))
    shown = repr(value[:40]) if isinstance(value, str) else f"of type {type(value).__name__}"
    raise _Unclear(f"has the verdict {shown}, which is not APPROVED, REVISE or REJECT")


def _items(value: object, question: Question) -> tuple[Item, ...]:
    items = []
    for each in _list(value, "items"):
        if not isinstance(each, dict) or not set(each) <= {"id", "pass", "evidence"}:
            raise _Unclear("has an item of the wrong form")
        name, passed, evidence = each.get("id"), each.get("pass"), each.get("evidence", "")
        if not isinstance(name, str) or not isinstance(passed, bool) or not isinstance(evidence, str):
            raise _Unclear("has an item of the wrong form")
        # An answer without a reason is not evidence of having looked.
        items.append(Item(name, passed and says_something(evidence), evidence))
    names = [item.id for item in items]
    if sorted(names) != sorted(question.items):
        raise _Unclear("does not answer each question exactly once")
    return tuple(items)


def _claims(value: object, question: Question) -> tuple[Recheck, ...]:
    claims = []
    for each in _list(value, "claims"):
        if not isinstance(each, dict) or not set(each) <= {"id", "result", "evidence"}:
            raise _Unclear("has a claim of the wrong form")
        name, result, evidence = each.get("id"), each.get("result"), each.get("evidence", "")
        if not isinstance(name, str) or not isinstance(evidence, str) or result not in list(ClaimResult):
            raise _Unclear("has a claim of the wrong form (supported, contradicted or unverifiable)")
        # Who does not say what stands at the place has not been there.
        found = ClaimResult(str(result))
        if found is ClaimResult.SUPPORTED and not says_something(evidence):
            found = ClaimResult.UNVERIFIABLE
        claims.append(Recheck(name, found, evidence))
    if sorted(each.id for each in claims) != sorted(question.claims):
        raise _Unclear("does not look up each claim that was named exactly once")
    return tuple(claims)


def _finding(value: object) -> Finding:
    if not isinstance(value, dict) or not set(value) <= set(_FINDING_KEYS):
        raise _Unclear("has a finding of the wrong form")
    for key, kind in _FINDING_KEYS.items():
        given = value.get(key, kind())
        if not isinstance(given, kind) or isinstance(given, bool):
            raise _Unclear(f"has a finding whose `{key}` is not a {kind.__name__}")
    if value.get("severity") not in ("blocking", "remark") or not str(value.get("problem", "")).strip():
        raise _Unclear("has a finding without a severity (blocking, remark) or a problem")
    return Finding(**value)


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Unclear(f"`{name}` is not a list")
    return value


def _strings(value: object, name: str) -> list[str]:
    if not all(isinstance(each, str) for each in _list(value, name)):
        raise _Unclear(f"`{name}` holds something that is not a text")
    return list(value)  # type: ignore[call-overload, no-any-return]
