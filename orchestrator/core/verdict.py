"""Reading a reviewer's answer. Exactly one JSON object, bound to this review; anything else is inconclusive.

No search for words makes an answer a yes: "not APPROVED" contains APPROVED. One makes a yes unclear: for a summary that
says no. Nothing here raises, whatever the reply holds.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.core.review_record import ClaimResult, Finding, FollowUp, Item, Recheck, Verdict

KEYS = frozenset({"nonce", "job", "commit", "verdict", "files", "items", "claims", "findings", "follow_ups", "summary"})
_OPTIONAL = frozenset({"summary", "claims", "follow_ups"})
_FINDING_KEYS = {"severity": str, "problem": str, "file": str, "line": int, "fix": str, "check": str, "earlier": str}
MAX_REPLY = 256 * 1024
MOST_LINES = 10**9
"""No file has more; and no file of the ledger can hold whatever number a reviewer may write."""
_WORK = r"(?:this|it|the (?:change|work|commit|patch|branch))"
_END = r"[ \t*_\"')]{0,5}(?:[.!?:;,\n]|\Z)"
# From the beginning of a sentence on: within one it may be what the change is about.
_SAYS_NO = re.compile(
    r"(?:\A|[.!?:;\n])[\s\"'*_-]{0,5}(?:but |however,? |please ){0,2}(?:"
    rf"(?:do not|don't|never) (?:merge|approve)(?: (?:{_WORK}|yet)\b|{_END})"
    rf"|{_WORK} (?:must|should|can|may) ?not (?:yet )?be (?:merged|approved)\b"
    rf"|{_WORK} (?:is|was) not (?:yet )?approved\b"
    rf"|(?:not approved|rejected){_END}"
    r"|(?:i|we) (?:do not|don't|can ?not|can't|will not|would not) (?:approve|merge)\b)",
    re.I,
)
MOST_FOLLOW_UPS = 3
"""So many jobs one verdict may propose."""
TITLE_CHARS, PROMPT_CHARS = 100, 4000
"""The longest title and prompt of one."""


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
    follow_ups: tuple[FollowUp, ...] = ()
    malformed: bool = False
    """What is wrong is the form alone: it says nothing of the work, and nothing against itself."""


class _Unclear(Exception):
    """The answer is not a verdict; the message says why."""


class _Misformed(_Unclear):
    """It has not the form that was asked for."""


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
        return Judgement(Verdict.INCONCLUSIVE, why=str(unclear), malformed=isinstance(unclear, _Misformed))
    except RecursionError:
        return Judgement(Verdict.INCONCLUSIVE, why="is nested too deeply", malformed=True)


def _judge(value: Mapping[str, Any], question: Question, *, blotted: bool) -> Judgement:
    _check_binding(value, question, blotted=blotted)
    verdict = _verdict(value["verdict"])
    unseen = question.files - frozenset(_strings(value["files"], "files"))
    items = _items(value["items"], question)
    findings = tuple(_finding(each) for each in _list(value["findings"], "findings"))
    summary = value.get("summary", "")
    if not isinstance(summary, str):
        raise _Misformed("`summary` is not a text")
    claims = _claims(value.get("claims", []), question)
    # A claim that nobody could look up is one that does not stand yet.
    passed = [*(item.passed for item in items), *(each.result is ClaimResult.SUPPORTED for each in claims)]
    score = sum(passed) / len(passed) if passed else 1.0
    follow_ups = _follow_ups(value.get("follow_ups", []))
    found = Judgement(verdict, "", round(score, 4), items, findings, summary, claims, follow_ups)
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
    if no := _SAYS_NO.search(found.summary.replace("\u2019", "'")):
        told = " ".join(no[0].strip(".!?:;").split())
        raise _Unclear(f"approves although its summary says {told!r}")
    wrong = [each.id for each in found.claims if each.result is ClaimResult.CONTRADICTED]
    if wrong:
        raise _Unclear(f"approves although the source contradicts {', '.join(wrong)}")
    if found.score is not None and found.score < question.threshold:
        raise _Unclear(f"approves with a score of {found.score:.2f}, below {question.threshold:.2f}")


def _check_binding(value: Mapping[str, Any], question: Question, *, blotted: bool) -> None:
    extra, missing = set(value) - KEYS, KEYS - _OPTIONAL - set(value)
    if extra:
        raise _Misformed(f"has a key that was not asked for: {sorted(extra)[0][:40]!r}")
    if missing:
        raise _Misformed(f"lacks {sorted(missing)[0]!r}")
    nonce = value["nonce"]
    if not isinstance(nonce, str) or (nonce if blotted else hash_nonce(nonce)) != question.nonce_sha256:
        raise _Misformed("does not carry this review's nonce")
    if value["job"] != question.job:
        raise _Misformed("is about another job")
    if value["commit"] != question.commit:
        raise _Misformed("is about another commit")


def _parse(reply: str) -> Mapping[str, Any]:
    if len(reply) > MAX_REPLY:
        raise _Misformed(f"is longer than {MAX_REPLY} characters")
    if not reply.strip():
        raise _Misformed("is empty")
    try:
        value = json.loads(reply, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
        # Half a character, written as an escape, could never be stored again.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise _Misformed(f"is not exactly one JSON object ({str(error)[:80]})") from None
    if not isinstance(value, dict):
        raise _Misformed("is not exactly one JSON object")
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
    raise _Misformed(f"has the verdict {shown}, which is not APPROVED, REVISE or REJECT")


def _items(value: object, question: Question) -> tuple[Item, ...]:
    items = []
    for each in _list(value, "items"):
        if not isinstance(each, dict) or not set(each) <= {"id", "pass", "evidence"}:
            raise _Misformed("has an item of the wrong form")
        name, passed, evidence = each.get("id"), each.get("pass"), each.get("evidence", "")
        if not isinstance(name, str) or not isinstance(passed, bool) or not isinstance(evidence, str):
            raise _Misformed("has an item of the wrong form")
        # An answer without a reason is not evidence of having looked.
        items.append(Item(name, passed and says_something(evidence), evidence))
    names = [item.id for item in items]
    if sorted(names) != sorted(question.items):
        raise _Misformed("does not answer each question exactly once")
    return tuple(items)


def _claims(value: object, question: Question) -> tuple[Recheck, ...]:
    claims = []
    for each in _list(value, "claims"):
        if not isinstance(each, dict) or not set(each) <= {"id", "result", "evidence"}:
            raise _Misformed("has a claim of the wrong form")
        name, result, evidence = each.get("id"), each.get("result"), each.get("evidence", "")
        if not isinstance(name, str) or not isinstance(evidence, str) or result not in list(ClaimResult):
            raise _Misformed("has a claim of the wrong form (supported, contradicted or unverifiable)")
        # Who does not say what stands at the place has not been there.
        found = ClaimResult(str(result))
        if found is ClaimResult.SUPPORTED and not says_something(evidence):
            found = ClaimResult.UNVERIFIABLE
        claims.append(Recheck(name, found, evidence))
    if sorted(each.id for each in claims) != sorted(question.claims):
        raise _Misformed("does not look up each claim that was named exactly once")
    return tuple(claims)


def _finding(value: object) -> Finding:
    if not isinstance(value, dict) or not set(value) <= set(_FINDING_KEYS):
        raise _Misformed("has a finding of the wrong form")
    for key, kind in _FINDING_KEYS.items():
        given = value.get(key, kind())
        if not isinstance(given, kind) or isinstance(given, bool):
            raise _Misformed(f"has a finding whose `{key}` is not a {kind.__name__}")
    if abs(value.get("line", 0)) > MOST_LINES:
        raise _Misformed("has a finding whose `line` is that of no file")
    if value.get("severity") not in ("blocking", "remark") or not str(value.get("problem", "")).strip():
        raise _Misformed("has a finding without a severity (blocking, remark) or a problem")
    return Finding(**value)


def _follow_ups(value: object) -> tuple[FollowUp, ...]:
    """What is proposed besides. Nothing that is wrong with it says anything of the verdict."""
    if value is None:
        return ()
    if not isinstance(value, list):
        return (FollowUp("", problem="`follow_ups` is not a list"),)
    found = [_follow_up(each) for each in value[:MOST_FOLLOW_UPS]]
    if len(value) > MOST_FOLLOW_UPS:
        left_out = f"{len(value) - MOST_FOLLOW_UPS} more of them, beyond {MOST_FOLLOW_UPS}, are not looked at"
        found.append(FollowUp("", problem=left_out))
    return tuple(found)


def _follow_up(value: object) -> FollowUp:
    given = value if isinstance(value, dict) else {}
    title, prompt = given.get("title"), given.get("prompt")
    if set(given) != {"title", "prompt"} or not isinstance(title, str) or not isinstance(prompt, str):
        named = title[:TITLE_CHARS] if isinstance(title, str) else ""
        return FollowUp(named, problem="has not a title and a prompt alone")
    title, prompt = " ".join(title.split()), prompt.strip()
    for name, text, most in (("title", title, TITLE_CHARS), ("prompt", prompt, PROMPT_CHARS)):
        if not text or len(text) > most:
            why = f"its {name} is longer than {most} characters" if text else f"its {name} is empty"
            return FollowUp(title[:TITLE_CHARS], problem=why)
    return FollowUp(title, prompt)


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Misformed(f"`{name}` is not a list")
    return value


def _strings(value: object, name: str) -> list[str]:
    if not all(isinstance(each, str) for each in _list(value, name)):
        raise _Misformed(f"`{name}` holds something that is not a text")
    return list(value)  # type: ignore[call-overload, no-any-return]
