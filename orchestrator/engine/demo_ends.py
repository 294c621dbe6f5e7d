"""Whether the demo's ends were reached: read from the ledger and from git objects, never from what was printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import diff_stat, read_blob
from orchestrator.adapters.git_refs import is_ancestor, rev_parse
from orchestrator.adapters.ledger import REF
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.job import Job, State
from orchestrator.core.records import Card, CardKind, MergeRecord
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.engine.demo import Scene
from orchestrator.engine.history import read_history
from orchestrator.engine.story import records_of
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

MAIN = "refs/heads/main"
BLOB_BYTES = 100_000
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class EndSeen:
    """One end: whether it was reached, and by what one sees it, or why not."""

    key: str
    title: str
    reached: bool
    told: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt: what its agent said, what git shows, and what came of it."""

    job: str
    attempt: int
    said: str
    diff: str
    outcome: str


class _NotReached(Exception):
    """The end was not reached; the message says why."""


@dataclass(frozen=True, slots=True)
class _Story:
    """A job and all its records, each sort in order."""

    job: Job
    records: Mapping[str, Any]

    def all(self, kind: type[T]) -> list[T]:
        return [record for record in self.records.values() if isinstance(record, kind)]

    def attempt(self, number: int) -> Attempt:
        return next((a for a in self.all(Attempt) if a.number == number), None) or _fail(f"has no attempt {number}")

    def evidence(self, attempt: int) -> Evidence:
        found = [each for each in self.all(Evidence) if each.attempt == attempt]
        return found[-1] if found else _fail(f"has no evidence on attempt {attempt}")

    def reviews(self, attempt: int) -> list[ReviewRecord]:
        return [each for each in self.all(ReviewRecord) if each.attempt == attempt]

    def refusals(self, attempt: int) -> tuple[str, ...]:
        """The rules of the diff gate that refused an attempt."""
        return tuple(each.rule for each in self.evidence(attempt).failures)


class Audience:
    """What the demo's workspace holds when all is over."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.git = Git(ws.project_git_dir("main"))
        self.stories: dict[str, _Story] = {}
        for id_ in _job_ids(ws):
            folder = ws.ledger.folder(id_)
            self.stories[id_[:-9]] = _Story(folder.job, records_of(ws, folder))

    def story(self, name: str) -> _Story:
        """The job that was made of the file of this name."""
        return self.stories.get(name) or _fail(f"{name} was never accepted")

    def merged(self, name: str) -> tuple[_Story, MergeRecord]:
        """A job that is done: judged by another family on the very commit that main holds now, with checks passed."""
        story = self.story(name)
        job = story.job
        _need(job.state is State.DONE, f"{job.id} is {job.state}: {job.at.reason}")
        merge = story.all(MergeRecord)[-1]
        _need(merge.approved == job.at.approved, f"{job.id}: another commit was merged than was approved")
        for commit in (merge.merged, merge.approved):
            _need(is_ancestor(self.git, commit, MAIN), f"{job.id}: {commit[:12]} is not on main")
        _need(merge.tests == "passed", f"{job.id}: the merged tree's tests {merge.tests}")
        evidence = story.evidence(job.at.attempt)
        stat = diff_stat(self.git, evidence.merge_base, job.at.approved)
        _need(bool(stat.changes), f"{job.id} was merged with an empty diff")
        _need(stat.summary() == evidence.stat, f"{job.id}: the ledger says {evidence.stat}, git {stat.summary()}")
        review = story.all(ReviewRecord)[-1]
        bound = review.verdict is Verdict.APPROVED and review.commit == job.at.approved
        _need(bound and review.reviewer.family != review.author.family, f"{job.id} was merged without a fit approval")
        return story, merge

    def on_main(self, path: str) -> str:
        """A file of main; '' if there is none."""
        return (read_blob(self.git, MAIN, path, BLOB_BYTES) or b"").decode()

    def diff(self, attempt: Attempt) -> str:
        """What `git diff --stat` says of an attempt."""
        return diff_stat(self.git, attempt.base, attempt.tip).summary() if attempt.tip else "no work was left"


def see_end(audience: Audience, scene: Scene) -> EndSeen:
    """Whether one end was reached."""
    try:
        return EndSeen(scene.key, scene.title, True, _CHECKS[scene.key](audience))
    except (_NotReached, OrcError) as why:
        return EndSeen(scene.key, scene.title, False, str(why))


def _plain(seen: Audience) -> str:
    story, merge = seen.merged("add-average")
    _need(story.job.at.attempt == 1 and story.job.at.review == 1, "it took more than one attempt and one review")
    _need("def average" in seen.on_main("till/stats.py"), "main has no average()")
    return f"{story.job.id} approved by {_reviewer(story)}, {merge.merged[:10]} on main"


def _empty_diff(seen: Audience) -> str:
    story, merge = seen.merged("add-median")
    first = story.attempt(1)
    _need("Done!" in first.report and not diff_stat(seen.git, first.base, first.tip).changes, "attempt 1 was not empty")
    _need(story.refusals(1) == ("empty_diff",), "the diff gate let an empty diff through")
    _need(not story.reviews(1), "an empty diff was shown to a reviewer")
    _need(story.job.at.attempt == 2 and "def median" in seen.on_main("till/median.py"), "main has no median()")
    return f"attempt 1 claimed to be done with an empty diff; attempt 2 is {merge.merged[:10]} on main"


def _unclear(seen: Audience) -> str:
    story, merge = seen.merged("explain-the-cents")
    reviews = story.all(ReviewRecord)
    _need(reviews[0].verdict is Verdict.INCONCLUSIVE, f"prose was taken for the verdict {reviews[0].verdict}")
    families = {reviews[0].author.family, *(each.reviewer.family for each in reviews)}
    _need(len(reviews) == 2 and len(families) == 3, "no reviewer of a third family was asked")
    _need("whole cents" in seen.on_main("README.md"), "main has no explanation")
    names = [each.reviewer.agent for each in reviews]
    return f"{names[0]}'s praise was inconclusive, {names[1]} approved; {merge.merged[:10]} on main"


def _fixes(seen: Audience) -> str:
    story, merge = seen.merged("split-the-bill")
    first, second = story.all(ReviewRecord)[0], story.attempt(2)
    _need(first.verdict is Verdict.REVISE, f"the first verdict was {first.verdict}")
    asked = [fix.id for fix in second.fixes]
    _need(asked == ["F1"] and second.fixes[0].problem == first.findings[0].problem, "the author was not told of F1")
    _need([(a.id, a.answer) for a in second.answers] == [("F1", "fixed")], "F1 was not answered")
    _need(second.worker == story.attempt(1).worker, "the fixes went to another agent")
    _need("raise ValueError" in seen.on_main("till/split.py"), "the fix is not on main")
    return f"{first.reviewer.agent} asked for F1, {second.worker.agent} fixed it; {merge.merged[:10]} on main"


def _merged_tree(seen: Audience) -> str:
    renamed = seen.merged("rename-total")[1]
    first = seen.story("add-discount").all(MergeRecord)
    _need(bool(first), "the discount was never merged")
    _need(first[0].tests == "failed" and not first[0].landed, "the broken merged tree was let through")
    story, merge = seen.merged("add-discount")
    before, after = story.attempt(1), story.attempt(2)
    _need(before.base == seen.story("rename-total").attempt(1).base, "the two did not start from the same base")
    _need(story.evidence(1).tests == "passed", "the discount did not pass alone")
    _need(is_ancestor(seen.git, renamed.merged, after.base), "attempt 2 did not start from the new base")
    _need("net_total" in seen.on_main("till/discount.py"), "main has the old name")
    return f"sent back from {before.base[:10]} to {after.base[:10]}, mended; {merge.merged[:10]} on main"


def _ask(seen: Audience) -> str:
    story, merge = seen.merged("raise-the-tax")
    cards = [card for card in story.all(Card) if card.kind is CardKind.MERGE]
    _need(len(cards) == 1, "nobody was asked")
    card = cards[0]
    _need(card.answer == "approve" and card.by.startswith("human:"), f"the card was answered: {card.answer or 'no'}")
    _need(card.facts.get("commit") == merge.approved, "another commit was approved than was merged")
    _need("PERCENT = 20" in seen.on_main("till/tax.py"), "the tax on main is the old one")
    return f"{card.id} approved by {card.by.removeprefix('human:')}; {merge.merged[:10]} on main"


def _paths(seen: Audience) -> str:
    story, merge = seen.merged("add-coupon")
    _need("out_of_scope" in story.refusals(1), "work outside the allowed paths was let through")
    _need(not story.reviews(1), "work outside the allowed paths was shown to a reviewer")
    _need("def redeem" in seen.on_main("till/coupon.py"), "main has no redeem()")
    _need(rev_parse(seen.git, f"{MAIN}:deploy.sh") is None, "deploy.sh is on main")
    return f"attempt 1 left deploy.sh and was sent back; {merge.merged[:10]} on main"


def _malformed(seen: Audience) -> str:
    for name, words in (("misspelt", ("line 3", "`priorty`")), ("unfinished", ("line 1",))):
        told = [step.facts for step in read_history(seen.ws, None, 1000) if step.subject.startswith("reject: ")]
        reason = next((each["Reason"] for each in told if each["File"] == f"queue/inbox/{name}.yaml"), "")
        _need(bool(reason) and name not in seen.stories, f"{name}.yaml was not rejected")
        _need(all(word in reason for word in words), f"the reason does not say where: {reason}")
        kept = [path.name for path in sorted((seen.ws.paths.queue / "rejected").glob(f"{name}*"))]
        _need(len(kept) == 2, f"{name}.yaml is not kept beside its reason: {kept}")
    return "misspelt.yaml and unfinished.yaml are in queue/rejected/, each with its reason"


_CHECKS: Mapping[str, Callable[[Audience], str]] = {
    "merged": _plain,
    "empty-diff": _empty_diff,
    "unclear": _unclear,
    "fixes": _fixes,
    "merged-tree": _merged_tree,
    "ask": _ask,
    "paths": _paths,
    "malformed": _malformed,
}


def claims_of(audience: Audience) -> list[Claim]:
    """What each attempt's agent said, next to what git shows."""
    found = []
    for name, story in sorted(audience.stories.items()):
        for attempt in story.all(Attempt):
            said = (attempt.report.strip() or "(nothing)").splitlines()[0]
            found.append(Claim(name, attempt.number, said, audience.diff(attempt), _outcome(story, attempt)))
    return found


def _outcome(story: _Story, attempt: Attempt) -> str:
    evidence = next((each for each in story.all(Evidence) if each.attempt == attempt.number), None)
    if evidence is None:
        return "not looked at"
    if evidence.failures:
        return f"refused: {evidence.failures[0].rule}"
    if evidence.tests == "failed":
        return "its tests fail"
    merges = [each for each in story.all(MergeRecord) if each.approved == attempt.tip]
    if merges:
        return "merged" if merges[-1].landed else f"merged tree: tests {merges[-1].tests or 'not run'}"
    verdicts = [str(each.verdict) for each in story.reviews(attempt.number)]
    return verdicts[-1] if verdicts else "not judged"


def _job_ids(ws: Workspace) -> list[str]:
    ended = ws.ledger.git.text("ls-tree", "-r", "--name-only", REF, "closed/ids/").splitlines()
    return [*ws.ledger.snapshot().folders, *(path.rpartition("/")[2] for path in ended)]


def _reviewer(story: _Story) -> str:
    return story.all(ReviewRecord)[-1].reviewer.agent


def _need(reached: bool, why: str) -> None:
    if not reached:
        raise _NotReached(why)


def _fail(why: str) -> NoReturn:
    raise _NotReached(why)
