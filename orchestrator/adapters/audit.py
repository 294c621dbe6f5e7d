"""Proving the ledger: every decision on it is recomputed from the objects it cites. Changes nothing.

Shares no code with the engine that writes the ledger, only the rules that both must obey (the core) and the readers.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator.adapters.audit_chain import (
    BadObjectError,
    Commit,
    Records,
    Store,
    lineage,
    owner_of,
    pointer_path,
)
from orchestrator.adapters.audit_costs import is_of_costs, judge_costs
from orchestrator.adapters.audit_decisions import ALWAYS, DECISIONS
from orchestrator.adapters.audit_follow_ups import Owed, judge_owed, owed_by, proposing_run
from orchestrator.adapters.audit_goals import judge_goal, not_said, owed_after, projects_in
from orchestrator.adapters.audit_near import Nearness
from orchestrator.adapters.audit_reviews import NO_NONCE
from orchestrator.adapters.audit_routines import Advances
from orchestrator.adapters.audit_rules import (
    Finding,
    GoneError,
    Rule,
    Step,
    check_commit,
    check_filing,
    check_root,
    differ,
)
from orchestrator.adapters.audit_schedules import Slots
from orchestrator.adapters.audit_services import Spoken, judge_service, not_counted, services_in, spoken_by
from orchestrator.adapters.audit_steps import GENERAL
from orchestrator.adapters.audit_usage import PRESSURE, check_counted, is_usage, judge_pressure
from orchestrator.adapters.audit_work import PROOFS, Projects
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.ledger import FORMAT, REF
from orchestrator.adapters.ledger_paths import closed_path, open_path
from orchestrator.adapters.objects import EMPTY_TREE, TREE_MODE, Entry, opened
from orchestrator.adapters.strict_yaml import load_mapping
from orchestrator.core.goal import GoalMove
from orchestrator.core.job import Job
from orchestrator.core.review_record import CLEAR, Lately, ReviewRecord, Verdict
from orchestrator.core.suspicion import LATELY, LOOKED_BACK
from orchestrator.core.times import parse
from orchestrator.core.transitions import Event
from orchestrator.core.twins import Works, key_of, may_repeat
from orchestrator.errors import LedgerError, NotFoundError, OrcError

Progress = Callable[[int, int], None]
"""Told (commits done, commits in all) after each commit."""
_UNREADABLE = (OrcError, ValueError, KeyError, IndexError, TypeError, AttributeError)
"""What reading a forged file may raise."""


@dataclass(frozen=True, slots=True)
class Lie:
    """A commit of the ledger that says what its objects do not bear out. `text` goes on from "commit … "."""

    commit: str
    subject: str
    job: str
    rule: Rule
    text: str


@dataclass(frozen=True, slots=True)
class Doubt:
    """A commit of the ledger that can be neither proved nor disproved, and why."""

    commit: str
    subject: str
    job: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, oldest first."""

    commits: int
    jobs: int
    lies: tuple[Lie, ...] = ()
    unverifiable: tuple[Doubt, ...] = ()


def audit(
    ledger_git_dir: Path,
    project_git_dirs: Mapping[str, Path],
    *,
    since: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Recompute every decision on the ledger, or those after the commit `since`, which is then believed.

    A nonce that was used before `since` is not noticed. Raises LedgerError if there is no ledger or if it is of a newer
    format, NotFoundError if `since` is not a commit of it.
    """
    git = Git(ledger_git_dir)
    tip = rev_parse(git, f"{REF}^{{commit}}")
    if tip is None:
        raise LedgerError(f"there is no branch {REF.removeprefix('refs/heads/')}", hint="orc init")
    start = rev_parse(git, f"{since}^{{commit}}") if since else None
    if since and start is None:
        raise NotFoundError(f"there is no commit {since!r}", hint="git log orc/state")
    with opened(ledger_git_dir) as objects, TemporaryDirectory(prefix="orc-verify-") as tmp:
        audited = _Audit(Store(objects), Projects(project_git_dirs, Path(tmp)))
        chain = list(lineage(audited.store, tip, start))[::-1]
        _check_format(audited.store, audited.store.commit(tip))
        audited.begin(start)
        for number, oid in enumerate(chain, 1):
            audited.look_at(oid)
            if progress is not None:
                progress(number, len(chain))
        audited.end()
        return Report(len(chain), len(audited.jobs), tuple(audited.lies), tuple(audited.doubts))


@dataclass(slots=True)
class _Audit:
    """The walk along the ledger: what was seen so far."""

    store: Store
    projects: Projects
    parent: Commit | None = None
    jobs: set[str] = field(default_factory=set)
    nonces: dict[str, str] = field(default_factory=dict)
    proposed: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The jobs that were made of what reviews proposed, by run, title and prompt."""
    walked: int = 0
    whole: bool = True
    """Whether nothing is believed, so that all that came before a commit was seen."""
    verdicts: dict[str, deque[tuple[int, bool]]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=LATELY))
    )
    """Of each reviewer's newest clear verdicts: the number of the commit, and whether it was an approval."""
    lies: list[Lie] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    proposals: dict[str, Owed] = field(default_factory=dict)
    """What jobs have to be made of before their next steps, or refused."""
    works: Works = field(default_factory=Works)
    """The open jobs by what they ask for."""
    near: Nearness = field(default_factory=Nearness)
    keyed: bool = False
    """Whether a job has said by what its work is known: from then on each one does."""
    spoken: Spoken | None = None
    """What the step before says of a service."""
    heard: bool = True
    """Whether it is known what that step says: not of one that is believed."""
    owed: GoalMove | None = None
    """What the next commit must say of the goal of a project, after the step of a job."""
    slots: Slots = field(default_factory=Slots)
    advances: Advances = field(default_factory=Advances)

    def begin(self, start: str | None) -> None:
        """Believe the commit `start`; None to believe nothing."""
        self.parent, self.whole = (self.store.commit(start), False) if start else (None, True)
        self.slots.sure = self.heard = self.advances.sure = self.whole
        place = self.store.find(self.parent.tree, "open") if self.parent is not None else None
        buckets = self.store.tree(place.oid).values() if place is not None else ()
        open_jobs: dict[str, Job] = {}
        for name, entry in ((n, e) for each in buckets for n, e in self.store.tree(each.oid).items()):
            if (job := Records(self.store, entries=self.store.tree(entry.oid)).job()) is not None:
                open_jobs[name] = job
        self.works.begin(open_jobs)
        self.near.begin(open_jobs)

    def look_at(self, oid: str) -> None:
        """Check one commit against the one before it."""
        self.walked += 1
        try:
            commit = self.store.commit(oid)
        except LedgerError as error:
            self.lies.append(Lie(oid, "", "", Rule.OBJECT, f"cannot be read: {error.message}"))
            return
        self._note(commit, "", check_commit(commit, self.parent))
        try:
            self._compare(commit)
        except _UNREADABLE as error:
            self._note(commit, "", [(Rule.OBJECT, f"holds something that cannot be read: {error}")])
        self.parent = commit

    def _note(self, commit: Commit, job: str, findings: Iterable[Finding]) -> None:
        for rule, text in findings:
            self.lies.append(Lie(commit.oid, commit.subject, job, rule, text))

    def _compare(self, commit: Commit) -> None:
        root = self.parent.tree if self.parent else EMPTY_TREE
        if self.parent is None:
            names = set(self.store.tree(commit.tree))
            self._note(commit, "", check_root(commit, names))
            return
        changes = {path: (before, after) for path, before, after in self.store.changes(root, commit.tree)}
        owners = {path: owner_of(path) for path in changes}
        self._settle(commit, changes)
        self._note(commit, "", _guarded(self.slots.judge(self.store, commit, changes)))
        self._note(commit, "", _guarded(self.advances.judge(self.store, commit, changes)))
        self._settle_service(commit, changes)
        ids = sorted({id_ for id_, _, _ in owners.values() if id_})
        if not ids and commit.word == PRESSURE:
            self._note(commit, "", _guarded(judge_pressure(self.store, commit, self.parent, set(changes))))
            return
        if not ids:
            self._note(commit, "", check_filing(commit, changes))
            return
        usage = {path for path in changes if is_usage(path)}
        costs = [path for path in changes if is_of_costs(path)]
        known = usage.union(costs)
        strangers = [path for path, (id_, _, _) in owners.items() if id_ != ids[0] and path not in known]
        for path in strangers[:5]:
            self._note(commit, ids[0], [(Rule.SCOPE, f"changes {path} beside the folder of {ids[0]}")])
        folders = {folder for id_, folder, _ in owners.values() if id_ == ids[0] and folder}
        self._judge(commit, ids[0], root, folders, usage, costs)

    def _settle(self, commit: Commit, paths: Iterable[str]) -> None:
        """What the step before leads to for the goal of a project is said by the next commit, and by no other."""
        assert self.parent is not None
        owed, self.owed = self.owed, None
        if projects_in(paths):
            sure = self.whole or self.walked > 1
            self._note(commit, "", _guarded(judge_goal(self.store, commit, self.parent, paths, owed, sure=sure)))
        elif owed is not None:
            self._note(commit, "", [not_said(owed)])

    def _settle_service(self, commit: Commit, paths: Iterable[str]) -> None:
        """What the step before says of a service is counted by the next commit that is not about a project's goal."""
        assert self.parent is not None
        if projects_in(paths):
            return
        spoken, sure, self.spoken, self.heard = self.spoken, self.heard, None, True
        if services_in(paths):
            self._note(commit, "", _guarded(judge_service(self.store, commit, self.parent, paths, spoken, sure=sure)))
        elif spoken is not None and spoken.must:
            self._note(commit, "", [not_counted(spoken)])

    def _note_spoken(self, step: Step) -> Iterator[Finding]:
        """What the next commit is to count; it is no finding yet."""
        self.spoken = spoken_by(step)
        yield from ()

    def end(self) -> None:
        """After the newest commit nothing may be owed: both are written at once."""
        if self.spoken is not None and self.spoken.must and self.parent is not None:
            self._note(self.parent, "", [not_counted(self.spoken)])
        if self.owed is not None and self.parent is not None:
            self._note(self.parent, "", [not_said(self.owed)])
        if self.parent is not None:
            self._note(self.parent, "", self.slots.end())
            self._note(self.parent, "", self.advances.end())
        for job, owed in self.proposals.items():
            assert self.parent is not None
            self._note(self.parent, job, _guarded(judge_owed(self.store, self.parent.tree, owed)))

    def _note_owed(self, step: Step) -> Iterator[Finding]:
        """What is to be said after a step; of what was owed before it whether it was."""
        self.owed = owed_after(step)
        # All that follows from a verdict came with it, in one update: it is there before the job's next step.
        assert self.parent is not None
        if (before := self.proposals.pop(step.id, None)) is not None:
            yield from judge_owed(self.store, self.parent.tree, before)
        if (owed := owed_by(step)) is not None:
            self.proposals[step.id] = owed

    def _judge(self, commit: Commit, id_: str, root: str, folders: set[str], usage: set[str], costs: list[str]) -> None:
        self.jobs.add(id_)
        if commit.word not in {event.value for event in Event}:
            self._note(commit, id_, [(Rule.STEP, f"says {commit.word!r}, which is no step of a job")])
            return
        old, new = (self._folder(tree, folders) for tree in (root, commit.tree))
        after = new.job()
        if after is None:
            self._note(commit, id_, [(Rule.SCOPE, f"removes {id_}")])
            return
        step = Step(commit, Event(commit.word), id_, old.job(), after, old, new)
        self._note(commit, id_, self._check_place(step, root, folders))
        for rule in (*GENERAL, *ALWAYS, DECISIONS.get(step.event)):
            if rule is not None:
                self._note(commit, id_, _guarded(rule(step)))
        self._note(commit, id_, _guarded(check_counted(step, usage)))
        self._note(commit, id_, _guarded(self._check_nonce(step)))
        self._note(commit, id_, _guarded(self._check_lately(step)))
        self._note(commit, id_, _guarded(self._note_owed(step)))
        self._note(commit, id_, _guarded(self._note_spoken(step)))
        self._note(commit, id_, _guarded(self._check_proposed(step)))
        self._note(commit, id_, _guarded(self.slots.accepted(step)))
        self._note(commit, id_, _guarded(self.advances.accepted(step, root)))
        self._note(commit, id_, _guarded(self._check_twin(step)))
        self._note(commit, id_, _guarded(self.near.judge(step)))
        self._note(commit, id_, _guarded(judge_costs(step, old_root=root, paths=costs)))
        self._prove(step)

    def _folder(self, root: str, folders: set[str]) -> Records:
        for path in sorted(folders):
            entry = self.store.find(root, path)
            if entry is not None and entry.mode == TREE_MODE:
                return Records(self.store, path, self.store.tree(entry.oid))
        return Records(self.store)

    def _check_place(self, step: Step, old_root: str, folders: set[str]) -> Iterator[Finding]:
        """A job lies in one place: where its state says."""
        root, state = step.commit.tree, step.after.state
        place = closed_path(step.id, parse(step.at.since).astimezone(UTC)) if state.ended else open_path(step.id)
        if step.new.path != place or sum(self.store.find(root, path) is not None for path in folders) != 1:
            yield Rule.SCOPE, f"files {step.id} under {step.new.path}, but it is {state} and belongs under {place}"
        pointer = self.store.find(root, pointer_path(step.id))
        found = self.store.read("blob", pointer.oid).decode("utf-8", "replace").strip() if pointer else ""
        if found != (place if state.ended else ""):
            yield Rule.SCOPE, f"says that {step.id} lies under {found or 'open/'}, but it lies under {place}"
        if step.before is None and self.store.find(old_root, pointer_path(step.id)) is not None:
            yield Rule.SCOPE, f"accepts {step.id}, which has ended already"
        for name, entry in step.new.entries.items():
            if entry.mode == TREE_MODE:
                yield Rule.SCOPE, f"has a folder {name} in that of {step.id}"

    def _check_nonce(self, step: Step) -> Iterator[Finding]:
        review = step.new.get(ReviewRecord, step.was.review) if step.event is Event.VERDICT else None
        if review is None or review.nonce_sha256 in NO_NONCE:
            return
        used = self.nonces.setdefault(review.nonce_sha256, step.commit.oid)
        if used != step.commit.oid:
            yield Rule.NONCE, f"has a verdict that carries the nonce of another one ({used[:12]})"

    def _check_proposed(self, step: Step) -> Iterator[Finding]:
        """Of each follow-up that a reviewer proposes there is one job."""
        run = proposing_run(step) if step.event is Event.ACCEPT else None
        if run is not None:
            spec = step.after.spec
            first = self.proposed.setdefault((str(run), spec.title, spec.prompt), step.id)
            if first != step.id:
                yield Rule.REVIEW, f"makes a second job of what {run} proposed once, after {first}"

    def _check_twin(self, step: Step) -> Iterator[Finding]:
        """A new job says by what its work is known, and while a job with that key is open, there is no second."""
        said = step.commit.trailer("Work") if step.event is Event.ACCEPT else None
        if step.event is Event.ACCEPT and (said is not None or self.keyed):
            self.keyed, key = True, key_of(step.after)
            yield from differ(Rule.MESSAGE, "the trailer Work", said or "", key)
            if (twins := self.works.named(key)) and not may_repeat(step.after):
                yield Rule.TWIN, f"accepts {step.id}, though {twins[0]} asks for the same work and is open"
        self.works.follow(step.id, None if step.after.state.ended else step.after)

    def _check_lately(self, step: Step) -> Iterator[Finding]:
        """What a reviewer is said to have judged lately is what the ledger has of it."""
        if step.event is Event.VERDICT and (verdict := step.commit.trailer("Verdict") or "") in CLEAR:
            self.verdicts[step.commit.trailer("Reviewer") or ""].append((self.walked, verdict == Verdict.APPROVED))
        review = step.new.get(ReviewRecord, step.at.review) if step.event is Event.REVIEW else None
        if review is None or review.suspicion is None:
            return
        said, who = review.lately or Lately(0, 0), review.reviewer.agent
        known = [approved for _, approved in self.verdicts[who]]
        least = sum(at >= self.walked - LOOKED_BACK for at, _ in self.verdicts[who])
        if said.judged > len(known) and not self.whole:
            return  # They are older than what is looked at.
        if not least <= said.judged <= len(known):
            yield Rule.REVIEW, f"says that {who} judged {said.judged} works lately, but it is {len(known)}"
        elif said.approved != sum(known[len(known) - said.judged :]):
            yield Rule.REVIEW, f"says that {who} approved {said.approved} of the last {said.judged}, which is not so"

    def _prove(self, step: Step) -> None:
        """Recompute what the step cites from the project; what is gone is a doubt."""
        rule = PROOFS.get(step.event)
        if rule is None:
            return
        try:
            work = self.projects.open(step.at.project)
            self._note(step.commit, step.id, _guarded(rule(step, work)))
        except GoneError as gone:
            self.doubts.append(Doubt(step.commit.oid, step.commit.subject, step.id, str(gone)))


def _guarded(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings of a rule; a record that it cannot read is one more."""
    try:
        yield from findings
    except BadObjectError as error:
        yield Rule.OBJECT, f"holds something that is not what it says: {error.message}"
    except _UNREADABLE as error:
        yield Rule.RECORD, f"holds something that cannot be read: {error}"


def _check_format(store: Store, commit: Commit) -> None:
    entry: Entry | None = store.find(commit.tree, "ledger.yaml")
    if entry is None:
        return
    found = load_mapping(store.read("blob", entry.oid), file="ledger.yaml").value.get("format")
    if isinstance(found, int) and found > FORMAT:
        raise LedgerError(
            f"the ledger has the format {found}; this orc knows {FORMAT}",
            cause="A newer orc made it.",
            hint="install a newer orc",
        )
