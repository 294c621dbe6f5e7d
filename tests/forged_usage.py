"""Ways to forge what was set aside, used and counted."""

from __future__ import annotations

from collections.abc import Callable

import audit_world as w
from forging import Forgery, at, rewritten

from orchestrator.adapters.audit_rules import Rule
from orchestrator.adapters.objects import FILE_MODE, Entry
from orchestrator.core.usage import learned_path


def beside(path: str, old: str, new: str) -> Callable[[w.Draft], None]:
    """A file of the ledger that is no job's says something else."""

    def change(draft: w.Draft) -> None:
        entry = draft.changes[path]
        assert entry is not None
        text = draft.objects.read(entry.oid)
        assert old.encode() in text, text
        draft.changes[path] = Entry(FILE_MODE, draft.objects.write("blob", text.replace(old.encode(), new.encode())))

    return change


def nothing_expected(draft: w.Draft) -> None:
    """A run is begun as by an orc that counted nothing."""
    rewritten("job.yaml", r"  reserved:\n(    .*\n)+", "")(draft)
    names = (path.rpartition("/")[2] for path, entry in draft.changes.items() if entry is not None)
    record = next(name for name in names if name.startswith("attempt-") and name.endswith(".yaml"))
    rewritten(record, r"estimate:\n(  .*\n)+", "")(draft)


def moved(path: str, to: str) -> Callable[[w.Draft], None]:
    """A file of the ledger lies elsewhere, or nowhere."""

    def change(draft: w.Draft) -> None:
        entry = draft.changes.pop(path)
        if to:
            draft.changes[to] = entry

    return change


DAY = "usage/2026/11/21.yaml"


LEARNED = learned_path("code", "north-1")


USAGE: dict[str, Forgery] = {
    "less is set aside": Forgery(
        at(w.METERED, "start", rewritten("job.yaml", "tokens: 4010", "tokens: 1")),
        Rule.USAGE,
        "what is set aside",
    ),
    "less is expected": Forgery(
        at(w.METERED, "start", lambda draft: draft.swap_all("tokens: 1041", "tokens: 1")),
        Rule.USAGE,
        "expected to use",
    ),
    "a run that no limit sees": Forgery(
        at(w.METERED, "start", nothing_expected),
        Rule.USAGE,
        "without a word of what it is expected to use",
    ),
    "a run that a job has not used": Forgery(
        at(w.METERED, "collect", rewritten("job.yaml", r"  used:\n(    .*\n)+", "")), Rule.USAGE, "the job has used"
    ),
    "a run that is set aside for ever": Forgery(
        at(
            w.METERED,
            "lost",
            rewritten("job.yaml", r"\n  used:", "\n  reserved:\n    agent: engineer\n    tokens: 4010\n  used:"),
        ),
        Rule.USAGE,
        "what is set aside",
    ),
    "a run that no day has": Forgery(at(w.METERED, "collect", moved(DAY, "")), Rule.USAGE, "in 0 days"),
    "a run of another day": Forgery(
        at(w.METERED, "collect", moved(DAY, "usage/2026/11/24.yaml")), Rule.USAGE, "ended on 2026-11-21"
    ),
    "a day with less": Forgery(
        at(w.METERED, "collect", beside(DAY, "tokens: 5210", "tokens: 5000")), Rule.USAGE, "counted in usage/2026"
    ),
    "minutes with less": Forgery(
        at(w.METERED, "collect", beside("usage/window.yaml", "tokens: ", "tokens: 1")), Rule.USAGE, "usage/window"
    ),
    "something else is learned": Forgery(
        at(w.METERED, "collect", beside(LEARNED, "runs: 1", "runs: 9")), Rule.USAGE, "usage/learned"
    ),
    "something is counted where nothing ends": Forgery(
        at(w.METERED, "evidence", lambda draft: draft.changes.update({DAY: draft.changes[draft.path("job.yaml")]})),
        Rule.USAGE,
        "counts nothing",
    ),
    "pressure of more than was used": Forgery(
        lambda draft: beside("usage/pressure.yaml", "used: ", "used: 1")(draft) if draft.event == "pressure" else None,
        Rule.USAGE,
        "tokens in five minutes",
    ),
    "pressure that was there before": Forgery(
        lambda draft: (
            beside("usage/pressure.yaml", "engaged: true", "engaged: false")(draft)
            if draft.event == "pressure"
            else None
        ),
        Rule.USAGE,
        "which is not so",
    ),
}
