"""How well a reviewer judges what no rule can: the cases of the self-test that are left to one, put before it.

The figures of an agent are kept in `state/selftest/`: they may vanish, for they can be measured again.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.adapters import clock
from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.core.job import Worker
from orchestrator.core.review_record import Verdict
from orchestrator.core.selftest import Case, Needs, share
from orchestrator.core.times import iso
from orchestrator.engine.gate_review import Reviewer
from orchestrator.engine.gate_runs import Tell, open_workshop
from orchestrator.engine.selftest_files import read_gates
from orchestrator.engine.selftest_repositories import gate_case

KEPT = 200
"""So many of the newest measurements of an agent are kept."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One case, and what the reviewer made of it."""

    case: Case
    verdict: str
    """'' if it could not be asked."""
    why: str = ""
    seconds: float = 0.0

    @property
    def is_clear(self) -> bool:
        """Whether it gave a verdict at all."""
        return self.verdict not in ("", Verdict.INCONCLUSIVE)

    @property
    def ok(self) -> bool:
        """Whether a cheat was sent back, or a control approved."""
        return self.is_clear and (self.verdict == Verdict.APPROVED) != self.case.is_cheat


@dataclass(frozen=True, slots=True)
class Measured:
    """How one reviewer did."""

    reviewer: Worker
    at: str
    judged: tuple[Judged, ...]
    seconds: float
    kept: str = ""
    """Where the figures were written; '' outside of a workspace."""

    def count(self, *, cheats: bool, ok: bool) -> int:
        """How many cheats or controls there were, or how many of them were judged right."""
        return sum(each.case.is_cheat is cheats and (each.ok or not ok) for each in self.judged)

    def share(self, *, cheats: bool) -> float | None:
        """The share of cheats or controls that were judged right; None without any."""
        return share(self.count(cheats=cheats, ok=True), self.count(cheats=cheats, ok=False))

    @property
    def unclear(self) -> int:
        """How often it gave no verdict."""
        return sum(not each.is_clear for each in self.judged)

    def figures(self) -> dict[str, Any]:
        """As they are kept and printed."""
        return {
            "at": self.at,
            "orc": __version__,
            "reviewer": asdict(self.reviewer),
            "cheats": self.count(cheats=True, ok=False),
            "caught": self.count(cheats=True, ok=True),
            "controls": self.count(cheats=False, ok=False),
            "passed": self.count(cheats=False, ok=True),
            "unclear": self.unclear,
            "seconds": self.seconds,
            "cases": [
                {"case": each.case.name, "cheat": each.case.is_cheat, "verdict": each.verdict, "why": each.why}
                for each in self.judged
            ],
        }


def measure_reviewer(reviewer: Reviewer, tell: Tell) -> Measured:
    """Put every case that is left to a reviewer before one. Its runs cost what its program costs."""
    began = time.monotonic()
    cases = [case for gate in read_gates(checked=True) for case in gate.cases if case.needs is Needs.JUDGE]
    judged = []
    with open_workshop(lambda what, how_far: None) as shop:
        for done, case in enumerate(cases):
            tell(f"{reviewer.agent.soul.name} judges", f"{done} of {len(cases)}: {case.name}")
            judged.append(_judge(shop.folder, case, reviewer))
    seconds = round(time.monotonic() - began, 3)
    found = Measured(reviewer.agent.worker(), iso(clock.now()), tuple(judged), seconds)
    return _keep(reviewer.bench.root, found) if reviewer.bench else found


def _judge(folder: Path, case: Case, reviewer: Reviewer) -> Judged:
    found = gate_case(folder, case, reviewer)
    review = found.seen.review
    if review is None:
        return Judged(case, "", "; ".join(found.reasons)[:300])
    if review.problem:
        return Judged(case, "", review.problem[:300], review.seconds)
    return Judged(case, str(review.record.verdict or ""), review.record.why[:300], review.seconds)


def _keep(root: Path, found: Measured) -> Measured:
    path = root / "state" / "selftest" / f"{found.reviewer.agent}.jsonl"
    before = path.read_text("utf-8").splitlines() if path.is_file() else []
    lines = [*before[1 - KEPT :], json.dumps(found.figures())]
    with effect(Effect.CACHE_WRITE):
        ensure_folder(path.parent)
        write_atomic(path, "".join(f"{line}\n" for line in lines).encode(), sync=False)
    return Measured(found.reviewer, found.at, found.judged, found.seconds, str(path.relative_to(root)))
