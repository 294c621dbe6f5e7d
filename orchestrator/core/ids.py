"""Names: job ids that people can read and that do not collide, run ids, card ids."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

ID_PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,52}[a-z0-9])?-[0-9a-f]{8}\Z")
_RUN_PATTERN = re.compile(
    r"(?P<job>[a-z0-9-]+)\.(?P<kind>attempt|review|checks|merge|routine)-(?P<number>[1-9][0-9]*)\Z"
)
_SLUG_LIMIT = 40


def slug(name: str) -> str:
    """`Fix Login!.yaml` without its ending → `fix-login`; `job` when nothing readable is left."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_LIMIT].strip("-") or "job"


def job_id(name: str, random_hex: str) -> str:
    """The id of a job dropped as `name`: its slug and eight random hex digits."""
    return f"{slug(name)}-{random_hex}"


def is_job_id(text: str) -> bool:
    """Whether `text` has the form of a job id."""
    return ID_PATTERN.match(text) is not None


def bucket(job: str) -> str:
    """The two hex digits under which a job lies in the ledger: of its random part, so that buckets fill evenly."""
    return job[-8:-6]


class RunKind(StrEnum):
    """What one execution is for."""

    ATTEMPT = "attempt"
    REVIEW = "review"
    CHECKS = "checks"
    MERGE = "merge"
    ROUTINE = "routine"


@dataclass(frozen=True, slots=True)
class RunId:
    """One execution of one job: `fix-login-7f3a09c2.attempt-1`."""

    job: str
    kind: RunKind
    number: int

    def __str__(self) -> str:
        return f"{self.job}.{self.kind}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> RunId | None:
        """The run that `text` names, or None."""
        found = _RUN_PATTERN.match(text)
        if found is None or not is_job_id(found["job"]):
            return None
        return cls(found["job"], RunKind(found["kind"]), int(found["number"]))


def card_id(job: str, number: int) -> str:
    """`fix-login-7f3a09c2.card-1`."""
    return f"{job}.card-{number}"
