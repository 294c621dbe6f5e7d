"""What an author's final report says to the fixes it was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from orchestrator.core.attempt_record import DISPUTED, FIXED, Answer
from orchestrator.core.job import Fix

_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n```", re.S)
_KINDS = (FIXED, DISPUTED)


def last_words(report: str) -> str:
    """The last line that an author wrote in words: a block of answers, which ends many reports, is for the engine.

    Of a report without words it is the last line, of an empty one ''.
    """
    in_words = [line for line in _FENCED.sub("", report).splitlines() if not line.lstrip().startswith(("{", "```"))]
    return next((line for line in reversed((*report.splitlines(), "", *in_words)) if line.strip()), "")


def parse_answers(report: str, fixes: Iterable[Fix]) -> tuple[Answer, ...]:
    """The answers to the fixes that were asked for; the last block that holds any counts. Never raises."""
    known = {fix.id for fix in fixes}
    for text in (*reversed(_FENCED.findall(report)), report, report[report.find("{") : report.rfind("}") + 1]):
        found = _answers(text, known)
        if found:
            return found
    return ()


def _answers(text: str, known: set[str]) -> tuple[Answer, ...]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    listed = value.get("answers") if isinstance(value, dict) else None
    if not isinstance(listed, list):
        return ()
    found: dict[str, Answer] = {}
    for each in listed:
        if not isinstance(each, dict):
            continue
        id_, answer, reason = each.get("id"), each.get("answer"), each.get("reason", "")
        if isinstance(id_, str) and id_ in known and answer in _KINDS:
            told = reason[:1000] if isinstance(reason, str) else ""
            # Half a character, written as an escape, could not be put into a file.
            found[id_] = Answer(id_, answer, told.encode("utf-8", "replace").decode())
    return tuple(found.values())
