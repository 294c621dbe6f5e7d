"""What each decision on the ledger rests on, recomputed from the objects of the projects: diffs, merges, landings.

Read through a scratch repository that borrows a project's objects: no configuration, attribute or graft of the
project has a say, and nothing is written into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from orchestrator.adapters.audit_kinds import read_demands
from orchestrator.adapters.audit_rules import Finding, GoneError, Rule, Step, differ, lately_landing
from orchestrator.adapters.documents import read_kind_facts, read_previews
from orchestrator.adapters.gate_facts import look_for_tampering, read_contents, read_diff_facts
from orchestrator.adapters.git import ENGINE, Git
from orchestrator.adapters.git_objects import MergeResult, diff_stat, lay_over, merge_trees
from orchestrator.adapters.git_process import GitError
from orchestrator.adapters.git_refs import is_ancestor, merge_base, rev_parse, tree_of
from orchestrator.adapters.mirrors import guard_attributes, init_bare, object_format
from orchestrator.adapters.spelling import speller
from orchestrator.adapters.strict_yaml import replace_unsafe
from orchestrator.core import gate, kinds, tamper
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.codec import to_mapping
from orchestrator.core.criteria import Checks
from orchestrator.core.diffstat import DiffStat
from orchestrator.core.evidence import first_paths, list_paths
from orchestrator.core.evidence_record import ChangedPath, Claim, Evidence, Failure, Preview, Tampering
from orchestrator.core.gate import DiffFacts, judge_diff, protected_paths
from orchestrator.core.job import JobSpec
from orchestrator.core.kinds import KindFacts, judge_kind
from orchestrator.core.records import MergeRecord
from orchestrator.core.reproduction import laid_over
from orchestrator.core.rounds import is_about_words, is_all_disputed
from orchestrator.core.transitions import Event
from orchestrator.errors import OrcError

_REFLOG_LOOKED_AT = 200
_ON_DOCS = frozenset({"plan_only", "whitespace_only"})
"""Rules that depend on which paths are documents, which only newer evidence says."""


class Work:
    """The objects of one project. What was computed once is kept."""

    def __init__(self, name: str, project: Git, scratch: Git) -> None:
        self.name = name
        self._project, self._git = project, scratch
        self.tree = cache(lambda commit: tree_of(scratch, commit))
        self.parents = cache(lambda commit: tuple(scratch.text("rev-list", "--parents", "-n1", commit).split()[1:]))
        self.base = cache(lambda a, b: merge_base(scratch, a, b))
        self.stat = cache(lambda base, tip: diff_stat(scratch, base, tip))
        self.contents = lru_cache(2)(lambda base, tip: read_contents(scratch, self.stat(base, tip).changes))
        self._has = cache(lambda commit: rev_parse(scratch, f"{commit}^{{commit}}") == commit)

    def need(self, *commits: str) -> None:
        """Raise GoneError unless every one of these is a commit of the project."""
        for commit in commits:
            if not commit or not self._has(commit):
                raise GoneError(f"commit {commit or '(none)'} is not in project {self.name} any more")

    def merge(self, onto: str, approved: str) -> MergeResult | None:
        """The merge of two commits; None if they cannot be merged at all."""
        try:
            return merge_trees(self._git, onto, approved)
        except GitError:
            return None

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `old` is in the history of `new`."""
        return is_ancestor(self._git, old, new)

    def way(self, old: str, new: str) -> list[tuple[str, str, list[str]]]:
        """The first-parent commits of `new` that `old` has not: (commit, its author's address, its parents)."""
        shape = ("--first-parent", "--no-commit-header", "--format=%H %ae %P")
        rows = [line.split(" ") for line in self._git.text("rev-list", *shape, new, f"^{old}").splitlines()]
        return [(row[0], row[1], row[2:]) for row in rows]

    def facts(self, evidence: Evidence, base: str, *, report: str, previous: str) -> DiffFacts:
        """What the rules of the diff gate look at, from the merge base."""
        tip, keep, aside = evidence.tip, evidence.keep, evidence.aside
        changes, contents = self.stat(base, tip).changes, self.contents(base, tip)
        return read_diff_facts(
            self._git, base, tip, changes, contents, report=report, previous=previous, keep=keep, aside=aside
        )

    def tampering(self, base: str, tip: str, spec: JobSpec) -> tuple[Tampering, ...]:
        """What the tamper guard finds."""
        return look_for_tampering(self._git, base, self.stat(base, tip).changes, self.contents(base, tip), spec)

    def reproduction(self, base: str, tip: str) -> str:
        """The tree of the base with the tests of the change laid over it."""
        return lay_over(self._git, base, laid_over(self.stat(base, tip).changes))

    def kind_facts(self, base: str, tip: str, spec: JobSpec, checks: Checks, *, report: str) -> KindFacts:
        """What the rules of the job's kind look at."""
        return read_kind_facts(self._git, tip, self.stat(base, tip).changes, spec, checks, report=report)

    def previews(self, base: str, tip: str, spec: JobSpec, checks: Checks, *, report: str) -> tuple[list[str], int]:
        """What can be seen of the deliverables, and how many are left out."""
        changes = self.stat(base, tip).changes
        previews, more = read_previews(self._git, tip, changes, spec, checks.documents, report=report)
        return _plain(previews), more

    def check_landed(self, commit: str, target: str, when: int) -> Iterator[Finding]:
        """`commit` is on the branch `target`, or was. Raises GoneError if it was, or if that cannot be told."""
        tip = rev_parse(self._project, f"refs/heads/{target}^{{commit}}")
        if tip is None:
            raise GoneError(f"project {self.name} has no branch {target} any more")
        if self.is_ancestor(commit, tip):
            return
        entries = self._reflog(target)
        if any(value == commit for value, _ in entries) or any(
            self._has(value) and self.is_ancestor(commit, value) for value, _ in entries[:_REFLOG_LOOKED_AT]
        ):
            raise GoneError(f"{commit[:12]} was on {target}, which has been rewritten since")
        if not entries or entries[-1][1] > when or len(entries) > _REFLOG_LOOKED_AT:
            raise GoneError(f"{commit[:12]} is not on {target}; whether it was, no reflog tells any more")
        yield Rule.LANDING, f"says that {commit[:12]} is on {target}, but it is not and never was"

    def _reflog(self, branch: str) -> list[tuple[str, int]]:
        """Where a branch has been, newest first: (commit, seconds). Empty if git keeps no log of it."""
        shape = ("--date=unix", "--format=%H %gd")
        output = self._project.run("reflog", "show", *shape, f"refs/heads/{branch}", "--", ok=(0, 128))
        lines = output.out.decode("utf-8", "replace").splitlines() if output.code == 0 else []
        found = []
        for line in lines:
            value, _, place = line.partition(" ")
            seconds = place.rpartition("@{")[2].removesuffix("}")
            found.append((value, int(seconds) if seconds.isdigit() else 0))
        return found


class Projects:
    """The projects whose objects are at hand, each opened when it is first needed."""

    def __init__(self, git_dirs: Mapping[str, Path], scratch: Path) -> None:
        self._git_dirs, self._scratch = git_dirs, scratch
        self._known: dict[str, Work] = {}

    def open(self, name: str) -> Work:
        """A project's work. Raises GoneError if its repository is not at hand."""
        if name not in self._known:
            self._known[name] = self._open(name)
        return self._known[name]

    def _open(self, name: str) -> Work:
        path = self._git_dirs.get(name)
        if path is None or not (path / "objects").is_dir():
            raise GoneError(f"the repository of project {name} is not there")
        project = Git(path)
        try:
            scratch = init_bare(self._scratch / f"{len(self._known)}.git", object_format(project))
            guard_attributes(scratch)
            (scratch.git_dir / "objects" / "info").mkdir(parents=True, exist_ok=True)
            (scratch.git_dir / "objects" / "info" / "alternates").write_text(f"{path / 'objects'}\n")
        except OrcError as error:
            raise GoneError(f"the repository of project {name} cannot be read: {error.message}") from error
        return Work(name, project, scratch)


WorkRule = Callable[[Step, Work], Iterator[Finding]]


def prove_attempt(step: Step, work: Work) -> Iterator[Finding]:
    """The attempt's commit has the tree that the record says."""
    attempt = step.new.get(Attempt, step.was.attempt)
    if attempt is None or not attempt.tip:
        return
    work.need(attempt.tip)
    if attempt.tree:
        yield from differ(Rule.ATTEMPT, "the attempt's tree", attempt.tree, work.tree(attempt.tip))


def prove_evidence(step: Step, work: Work) -> Iterator[Finding]:
    """The diff is what the evidence says, and the gate says of it what the evidence says."""
    evidence = step.new.get(Evidence, step.at.evidence)
    if evidence is None:
        return
    work.need(evidence.base, evidence.tip)
    base = work.base(evidence.base, evidence.tip) or evidence.base
    stat = work.stat(base, evidence.tip)
    yield from differ(Rule.EVIDENCE, "the merge-base", evidence.merge_base, base)
    yield from differ(Rule.EVIDENCE, "the tree", evidence.tree, work.tree(evidence.tip))
    yield from differ(Rule.EVIDENCE, "the diff-stat", evidence.stat, stat.summary())
    yield from _prove_paths(evidence, stat)
    unproved: list[GoneError] = []
    for prove in (_prove_refusals, _prove_reproduction, _prove_kind, _prove_tampering):
        try:
            yield from prove(step, work, evidence, base)
        except GoneError as error:
            unproved.append(error)  # The others can still be proved.
    if unproved:
        raise unproved[0]


def _prove_paths(evidence: Evidence, stat: DiffStat) -> Iterator[Finding]:
    # What lists all of its paths is taken at its word, however many they are; what leaves some out is not.
    listed = list_paths(stat.changes) if evidence.more_paths else stat.changes
    said = {path.path: path for path in evidence.paths}
    found = {
        (name := replace_unsafe(change.path)): ChangedPath(name, change.status, change.added, change.deleted)
        for change in listed
    }
    for name in sorted(said.keys() | found.keys()):
        if said.get(name) != found.get(name):
            yield Rule.EVIDENCE, f"says of {name}: {_told(said.get(name))}, but it is: {_told(found.get(name))}"
    yield from differ(Rule.EVIDENCE, "the paths not listed", evidence.more_paths, stat.files - len(listed))
    if len(said) != len(evidence.paths):
        yield Rule.EVIDENCE, "names a path twice"


def _told(path: ChangedPath | None) -> str:
    return "not changed" if path is None else f"{path.status} +{path.added} -{path.deleted}"


def _prove_refusals(step: Step, work: Work, evidence: Evidence, base: str) -> Iterator[Finding]:
    attempt = step.new.get(Attempt, evidence.attempt)
    if attempt is None:
        return
    previous = _previous_tree(step, attempt, evidence)
    facts = work.facts(evidence, base, report=attempt.report, previous=previous)
    paths = protected_paths(facts.changes, evidence.guarded or ("**",))
    guarded = tuple(replace_unsafe(path) for path in paths)
    if evidence.guarded and evidence.protected != first_paths(guarded):
        yield from differ(Rule.EVIDENCE, "the protected paths", evidence.protected, guarded)
    for path in sorted(set(evidence.protected) - set(guarded)):
        yield Rule.EVIDENCE, f"says that the protected path {path} was changed, but it was not"
    spec, said = step.after.spec, {each.rule for each in evidence.failures} - set(kinds.RULES)
    surely, possibly = _refusals(spec, facts, evidence.docs)
    lies = [f"says nothing of {rule}, but the gate refuses it for that" for rule in sorted(surely - said)]
    lies += [f"says that the gate refuses it for {rule}, but it does not" for rule in sorted(said - possibly)]
    if lies and evidence.diff_rules != gate.VERSION:
        was, now = evidence.diff_rules, gate.VERSION
        raise GoneError(f"version {was} of the rules of the diff looked at it, and this is {now}: it {lies[0]}")
    yield from ((Rule.EVIDENCE, lie) for lie in lies)
    if evidence.aside:
        work.need(*evidence.aside)


def _prove_reproduction(step: Step, work: Work, evidence: Evidence, base: str) -> Iterator[Finding]:
    """The tree on which the new tests are to fail is the base with exactly these tests."""
    is_asked = step.after.spec.reproduces and not evidence.failures
    laid = work.reproduction(base, evidence.tip) if is_asked else ""
    if laid and evidence.reproduction_tree not in ("", laid) and evidence.diff_rules != gate.VERSION:
        told = f"version {evidence.diff_rules} of the rules of the diff said what tests are"
        raise GoneError(f"{told}, and this is {gate.VERSION}")
    yield from differ(Rule.EVIDENCE, "the base with the new tests", evidence.reproduction_tree, laid)


def _prove_tampering(step: Step, work: Work, evidence: Evidence, base: str) -> Iterator[Finding]:
    """The tamper guard finds what the evidence says, if it is the same that looked then."""
    found = work.tampering(base, evidence.tip, step.after.spec)
    if evidence.tamper_rules == 0 and not evidence.tampering:
        # From a time when nobody looked: that is nothing to tell of if there was nothing to see.
        for each in found:
            raise GoneError(f"nobody looked for {each.rule} then, which there is: {each.told}")
        return
    if evidence.tamper_rules != tamper.VERSION:
        raise GoneError(
            f"version {evidence.tamper_rules} of the tamper guard looked at it, and this is {tamper.VERSION}"
        )
    listed = tamper.list_tampering(found)
    said, is_so = ({_tamper_key(each) for each in those} for those in (evidence.tampering, listed))
    if said != is_so and any(rule == "tests_unread" and "as Python" in text for rule, _, text, *_ in said | is_so):
        raise GoneError("this Python does not read the test files of the change as the one did that looked")
    for rule, path, text, _, declared in sorted(is_so - said):
        yield Rule.EVIDENCE, f"says nothing of {rule} in {path}{' (allowed)' if declared else ''}: {text}"
    for rule, path, text, _, declared in sorted(said - is_so):
        yield Rule.EVIDENCE, f"says {rule} of {path}{' (allowed)' if declared else ''}: {text}; but it is not so"
    yield from differ(Rule.EVIDENCE, "the findings not listed", evidence.more_tampering, len(found) - len(listed))


def _tamper_key(found: Tampering) -> tuple[str, str, str, int, bool]:
    return found.rule, replace_unsafe(found.path), replace_unsafe(found.text), found.line, found.declared


def _prove_kind(step: Step, work: Work, evidence: Evidence, base: str) -> Iterator[Finding]:
    """What the criteria that the evidence names had the engine check, checked again."""
    attempt, checks, spec = step.new.get(Attempt, evidence.attempt), evidence.kind_checks, step.after.spec
    said = [each for each in evidence.failures if each.rule in kinds.RULES]
    if attempt is None or checks is None:
        if said:
            yield Rule.EVIDENCE, f"says that the gate refuses it for {said[0].rule}, but names no criteria"
        if evidence.claims or evidence.previews:
            yield Rule.EVIDENCE, "lists claims or previews, but names no criteria"
        if attempt is not None and not evidence.diff_rules:  # Since these are counted, criteria are named.
            raise GoneError("nobody wrote down what the criteria of its kind demanded then")
        return
    if evidence.kind_rules != kinds.VERSION:
        told = f"version {evidence.kind_rules} of the rules for its kind looked at it"
        raise GoneError(f"{told}, and this is {kinds.VERSION}")
    seen = work.kind_facts(base, evidence.tip, spec, checks, report=attempt.report)
    is_other = bool(evidence.speller) and evidence.speller != speller()
    if is_other:
        said = [each for each in said if each.rule != "misspelling"]
    found = judge_kind(spec, checks, seen if evidence.speller and not is_other else replace(seen, known=None))
    yield from differ(Rule.EVIDENCE, "what its criteria refuse it for", _told_of(said), _told_of(found))
    yield from differ(Rule.EVIDENCE, "the claims that it lists", _plain(evidence.claims), _plain(seen.claims))
    shown = work.previews(base, evidence.tip, spec, checks, report=attempt.report)
    yield from differ(Rule.EVIDENCE, "the previews", (_plain(evidence.previews), evidence.more_deliverables), shown)
    if is_other:
        raise GoneError(f"the spelling was checked with {evidence.speller}, which is not installed")
    if evidence.criteria is not None:
        read_demands(step, evidence, evidence.criteria)  # Where nobody has them any more, that is a doubt.


def _told_of(failures: Iterable[Failure]) -> list[str]:
    return [replace_unsafe(f"{each.rule} {each.told}") for each in failures]


def _plain(records: Iterable[Claim] | Iterable[Preview]) -> list[str]:
    return [replace_unsafe(str(to_mapping(each))) for each in records]


def _refusals(spec: JobSpec, facts: DiffFacts, docs: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """The rules that refuse this work whatever the documents are, and those that may."""
    if docs:
        exactly = {each.rule for each in judge_diff(spec, facts, docs)}
        return exactly, exactly
    without = {each.rule for each in judge_diff(spec, facts, ())}
    all_docs = {each.rule for each in judge_diff(spec, facts, ("**",))}
    possibly = without | all_docs | ({"whitespace_only"} if facts.whitespace_only else set())
    return (without & all_docs) - _ON_DOCS, possibly


def _previous_tree(step: Step, attempt: Attempt, evidence: Evidence) -> str:
    """The tree that fixes were asked for, if this attempt started from it."""
    if is_all_disputed(attempt.fixes, attempt.answers) and all(each.rule != "unchanged" for each in evidence.failures):
        return ""  # Older versions refused that as well.
    before = step.old.get(Evidence, evidence.number - 1) if attempt.fixes else None
    if before is None or is_about_words(before, attempt.fixes):
        return ""
    return before.tree if before.base == attempt.base and before.paths else ""


def prove_merge(step: Step, work: Work) -> Iterator[Finding]:
    """The merged commit joins exactly the two that the record names, and its tree is their merge."""
    merge = step.new.get(MergeRecord, step.at.merge)
    if merge is None:
        return
    work.need(merge.onto, merge.approved, *([merge.merged] if merge.merged else []))
    found = work.merge(merge.onto, merge.approved)
    if found is None:
        yield Rule.MERGE, f"merges {merge.approved[:12]} onto {merge.onto[:12]}, which share no history"
        return
    conflicts = tuple(sorted(replace_unsafe(path) for path in found.conflicts))
    if not merge.problem:
        yield from differ(Rule.MERGE, "the conflicts", tuple(sorted(merge.conflicts)), conflicts)
    if merge.merged:
        yield from differ(Rule.MERGE, "the merged tree", merge.tree, found.tree)
        yield from differ(Rule.MERGE, "the merged commit's tree", work.tree(merge.merged), found.tree)
        parents = work.parents(merge.merged)
        yield from differ(Rule.MERGE, "what was merged", (merge.onto, merge.approved), parents)
    if merge.target_was:
        work.need(merge.target_was)
        if not work.is_ancestor(merge.target_was, merge.onto):
            yield Rule.MERGE, f"builds on {merge.onto[:12]}, which does not hold the target ({merge.target_was[:12]})"
        yield from _prove_ground(step, work, merge)


def _prove_ground(step: Step, work: Work, merge: MergeRecord) -> Iterator[Finding]:
    """All that a merge would bring to the target beside its own work waited to land there itself."""
    below = [commit for commit, _, _ in work.way(merge.target_was, merge.onto)]
    lost = []
    if step.was.base:
        work.need(step.was.base)
        lost = [
            commit
            for commit, email, parents in work.way(merge.onto, step.was.base)
            if email == ENGINE.email and len(parents) == 2 and not work.is_ancestor(parents[1], merge.onto)
        ]
    waiting = lately_landing(step, [*below, *lost])
    stray = [commit for commit in (*below, *(lost if merge.merged else ())) if commit not in waiting]
    for commit in stray:
        yield Rule.MERGE, f"brings {commit[:12]} along, which is not on {merge.target} and does not wait to land there"
    if merge.problem and not lost:
        yield Rule.MERGE, "says that what the work stands on was taken back, but it was not"


def prove_landing(step: Step, work: Work) -> Iterator[Finding]:
    """What is done is on the branch that it says."""
    commit, target = step.commit.trailer("Merged") or "", step.commit.trailer("Target") or ""
    work.need(commit)
    yield from work.check_landed(commit, target, step.commit.committer.seconds)


PROOFS: Mapping[Event, WorkRule] = {
    Event.COLLECT: prove_attempt,
    Event.LOST: prove_attempt,
    Event.EVIDENCE: prove_evidence,
    Event.MERGE: prove_merge,
    Event.DONE: prove_landing,
}
