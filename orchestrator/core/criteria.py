"""What is asked of one kind of work: what the engine checks by itself, and yes/no items for a reviewer. Values only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from orchestrator.core.job import Kind
from orchestrator.core.nearest import guess

DOCUMENTS = ("*.md", "*.markdown", "*.rst", "*.adoc", "*.txt", "*.html", "*.htm")
"""What is read as prose unless the criteria say otherwise."""


@dataclass(frozen=True, slots=True)
class Item:
    """One positively phrased yes/no question. A required item that fails decides alone."""

    id: str
    question: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Duplicates:
    """No passage of this many words stands twice in the changed documents."""

    words: int = 25


@dataclass(frozen=True, slots=True)
class Spelling:
    """No known misspelling is added; `words` are right here, whatever the list says."""

    language: str = "en"
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Length:
    """How many words of prose a document may have; 0 is no limit."""

    min_words: int = 0
    max_words: int = 0


@dataclass(frozen=True, slots=True)
class Links:
    """Links that lead to files of the same tree. Nothing is asked of the network."""

    relative: bool = True


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """The key claims are listed with their sources; the reviewer looks so many of them up again."""

    least: int = 3
    share: float = 0.3


@dataclass(frozen=True, slots=True)
class Checks:
    """What the engine checks of one kind of work before anybody is asked. None: not asked for."""

    documents: tuple[str, ...] = DOCUMENTS
    """Globs of the changed files that are read as prose."""
    viewable: bool = False
    """A deliverable that is no text comes with a preview."""
    command: bool = False
    """There is a check command, of the job or of its project."""
    duplicates: Duplicates | None = None
    placeholders: bool = False
    """No text is left that stands where another is to come."""
    spelling: Spelling | None = None
    length: Length | None = None
    links: Links | None = None
    claims: ClaimRules | None = None

    @property
    def reads_documents(self) -> bool:
        """Whether the text of changed documents is looked at."""
        return any((self.duplicates, self.placeholders, self.spelling, self.length, self.links, self.claims))


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """What is asked of one kind of work. `threshold` is the share of items that must pass; None: as `orc.yaml` says."""

    kind: str
    items: tuple[Item, ...]
    threshold: float | None = None
    checks: Checks = field(default_factory=Checks)
    blob: str = ""
    source: bytes = field(default=b"", compare=False, repr=False)
    """The file, byte for byte, whose blob id that is."""


def criteria_for(kind: str, known: Mapping[str, Criteria]) -> Criteria:
    """The criteria of `kind`; for a kind that nobody wrote criteria for those of `other`, which `known` always has."""
    return known.get(kind) or known[Kind.OTHER]


def slip_of_kind(kind: str, known: Collection[str]) -> str:
    """What is wrong with a kind that looks like a slip of the pen, '' if it has criteria or is like none that has.

    A new word is a kind of the person's own; one that is nearly a known word would be judged by what nobody meant.
    """
    if kind in known or not (near := guess(kind, known)):
        return ""
    return f"there are no criteria for the kind {kind!r}{near} A kind of that name needs criteria/{kind}.yaml"


def unknown_kind(kind: str, used: str) -> str:
    """What to say of work that is judged by the criteria of another kind, `used`; '' where it is by its own."""
    if used == kind:
        return ""
    return f"there is no criteria/{kind}.yaml, so the work is judged by the strictest, criteria/{used}.yaml"


def criteria_file(number: int, record: str = "evidence") -> str:
    """Under which name a job's folder on the ledger keeps the criteria that `evidence-NUMBER` was gathered by.

    `record`: `review` for those whose questions `review-NUMBER` asks. They may be newer.
    """
    return f"{record}-{number}.criteria.yaml"
