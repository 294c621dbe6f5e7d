"""A ledger made by the real parts with real commits in a real repository, and the means to forge it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from orchestrator.adapters.audit import Report, audit
from orchestrator.adapters.audit_chain import Commit, Store, lineage, owner_of
from orchestrator.adapters.documents import read_kind_facts, read_previews
from orchestrator.adapters.gate_facts import read_contents, read_diff_facts
from orchestrator.adapters.git import ENGINE, Git, Identity
from orchestrator.adapters.git_objects import commit_tree, diff_stat, merge_trees
from orchestrator.adapters.git_refs import merge_base, rev_parse, tree_of, update_ref
from orchestrator.adapters.job_file import parse_job
from orchestrator.adapters.ledger import REF, Filing, Ledger, open_ledger
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.library import blob_id, parse_criteria
from orchestrator.adapters.objects import FILE_MODE, Entry, Objects, opened
from orchestrator.core import accept as accepting
from orchestrator.core import gate, kinds
from orchestrator.core.answer import answer
from orchestrator.core.attempt import attempt_ended, run_lost, start_attempt
from orchestrator.core.attempt_record import Attempt, PromptPart, RunStatus, Spoke, Used
from orchestrator.core.config import DOCS, PROTECTED, SUSPICION, Config, Limits, Project, Terms, terms
from orchestrator.core.criteria import criteria_file
from orchestrator.core.evidence import checks_ended, checks_started, evidence_found
from orchestrator.core.evidence_record import ChangedPath, CheckResult, Evidence, Outcome
from orchestrator.core.gate import judge_checks, judge_diff, protected_paths
from orchestrator.core.ids import RunKind
from orchestrator.core.job import Job, MergePolicy, Priority, State, Worker
from orchestrator.core.judge import approval_stands, review_ended, review_started
from orchestrator.core.limits import Pressure
from orchestrator.core.merge import (
    collides_no_more,
    landed,
    landing_blocked,
    landing_free,
    merge_built,
    merge_checked,
)
from orchestrator.core.outbox import Requested, folder_path
from orchestrator.core.records import Card, MergeRecord
from orchestrator.core.review import independence_of
from orchestrator.core.review_record import CLEAR, Lately, ReviewRecord, Verdict
from orchestrator.core.said import Usage
from orchestrator.core.step import next_run
from orchestrator.core.suspicion import doubts_of
from orchestrator.core.tally import Estimate
from orchestrator.core.tamper import (
    VERSION,
    Looked,
    find_tampering,
    list_tampering,
)
from orchestrator.core.times import iso
from orchestrator.core.transitions import Actor, Move
from orchestrator.core.twins import key_of, work_key
from orchestrator.core.usage import PRESSURE_PATH, WINDOW_PATH, Learned, Window, estimate, learned_path
from orchestrator.core.verdict import Question, blot_nonce, hash_nonce, judge_reply
from orchestrator.core.waits import remind
from orchestrator.engine.goal_counts import put_step

BEGIN = datetime.fromisoformat("2026-11-20T12:00:00+00:00")
ADA, ORC = Actor("human:ada"), Actor("engine")
ENGINEER = Worker("engineer", "north", "north-1", "command")
SECOND = Worker("second", "north", "north-2", "command")
CRITIC = Worker("critic", "south", "south-1", "command")
SKEPTIC = Worker("skeptic", "south", "south-2", "command")
PERSON = Identity("Ada", "ada@example.invalid")
ITEMS = ("does-the-task", "correct")
PASSED = (CheckResult("tests", "make test", Outcome.PASSED, 0, 1.5, "3 passed"),)
FAILED = (CheckResult("tests", "make test", Outcome.FAILED, 2, 1.5, "1 failed"),)
CRITERIA = b"items:\n  - {id: does-the-task, question: Done?, required: true}\n  - {id: correct, question: Right?}\n"
"""Criteria that have the engine look for nothing by itself."""


@dataclass
class World:
    """A repository with a project on `main` and a ledger, and a clock that goes on by a second for each step."""

    root: Path
    ledger: Ledger
    clock: datetime = BEGIN
    nonces: int = 0
    said: dict[str, list[bool]] = field(default_factory=dict)
    """Of each reviewer's clear verdicts, whether it was an approval."""

    @property
    def git(self) -> Git:
        """The repository of both the project and the ledger."""
        return Git(self.root / ".git")

    def now(self) -> datetime:
        """A second later than before."""
        self.clock += timedelta(seconds=1)
        return self.clock

    def main(self) -> str:
        """The tip of `main`."""
        return rev_parse(self.git, "refs/heads/main") or ""

    def work(self, parent: str, files: Mapping[str, str | None]) -> str:
        """A commit on `parent` with these files changed (None: removed)."""
        return make_commit(self.git, self.ledger.objects, parent, files)

    def job(self, id_: str) -> Job:
        """A job as the ledger has it."""
        return self.ledger.folder(id_).job

    def record(self, kind: type[Any], id_: str, number: int) -> Any:
        """A record of a job."""
        stem = {Attempt: "attempt", Evidence: "evidence", ReviewRecord: "review", MergeRecord: "merge", Card: "card"}
        return self.ledger.record(kind, self.ledger.folder(id_), f"{stem[kind]}-{number}")

    def commit(self, move: Move, files: Mapping[str, bytes] | None = None) -> Job:
        """Put a step on the ledger."""
        with self.ledger.writing() as writer:
            put_step(writer, move, self.now(), Config(), files)
        return move.job

    def file(self, subject: str, files: Mapping[str, bytes]) -> None:
        """Put a commit on the ledger that is about no job."""
        with self.ledger.writing() as writer:
            writer.file(Filing(subject, files), self.now())


def terms_of(job: Job, merge: MergePolicy = MergePolicy.AUTO) -> Terms:
    """The terms of a job under the default configuration."""
    return terms(Config(), Project(target="main", merge=merge), job.spec, allowance=job.at.allowance)


def make_commit(git: Git, objects: Objects, parent: str, files: Mapping[str, str | None]) -> str:
    """A commit on `parent` with these files changed."""
    changes: dict[str, Entry | None] = {
        path: None if text is None else Entry(FILE_MODE, objects.write("blob", text.encode()))
        for path, text in files.items()
    }
    tree = objects.change_tree(tree_of(git, parent), changes)
    objects.store()
    return commit_tree(git, tree, [parent], "work", author=PERSON, when=BEGIN)


@contextmanager
def new_world(root: Path) -> Iterator[World]:
    """A world with one commit on `main` and an empty ledger."""
    root.mkdir(parents=True)
    git("init", "--quiet", "--initial-branch=main", str(root))
    (root / "app.py").write_text("def login():\n    return False\n\n\ndef logout():\n    return False\n")
    (root / "README.md").write_text("# App\n")
    git("-C", str(root), "add", "-A")
    git("-C", str(root), "commit", "--quiet", "-m", "begin")
    git("-C", str(root), "checkout", "--quiet", "--detach")
    with open_ledger(root / ".git", root / ".git" / "orc") as ledger:
        ledger.create(BEGIN, ADA)
        yield World(root, ledger)


def git(*args: str) -> None:
    """Plain git, as a person uses it, long ago."""
    when = f"@{int(BEGIN.timestamp()) - 60} +0000"
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    env |= {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.invalid", "GIT_AUTHOR_DATE": when}
    env |= {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "ada@example.invalid", "GIT_COMMITTER_DATE": when}
    subprocess.run(["git", *args], env=env, check=True, capture_output=True)


# --- the steps of an honest engine ----------------------------------------------------------------------------------


def accept(world: World, id_: str, text: str) -> str:
    """A person drops a job, once more if an open one asks for the same."""
    spec = parse_job(text.encode(), name="job.yaml").spec
    if any(work_key(spec, "main") == key_of(job) for job in world.ledger.snapshot().jobs.values()):
        text = f"{text}again: true\n"
        spec = replace(spec, again=True)
    now, name = iso(world.now()), f"{id_}.yaml"
    keys: dict[str, Any] = {"markdown": False, "source": f"queue/{name}", "actor": ADA, "project": "main"}
    world.commit(accepting.accept(text, spec, id_=id_, now=now, priority=Priority.P2, **keys))
    return id_


def start(
    world: World,
    id_: str,
    base: str = "",
    *,
    by: Worker | None = None,
    conflict: int = 0,
    expected: Estimate | None = None,
) -> None:
    """An attempt starts, on `base` or on the target; `expected`: what is set aside for it, which is told a task."""
    job, now = world.job(id_), iso(world.now())
    run, prompt = next_run(job, RunKind.ATTEMPT), f"Do {id_}.\n".encode()
    base = job.at.base or base or world.main()
    attempt = Attempt(run.number, by or ENGINEER, base, str(run), now, prompt=blob_id(prompt), fixes=job.at.fixes)
    attempt = replace(attempt, conflict=conflict)
    if expected is not None:
        attempt = replace(attempt, estimate=expected, parts=(PromptPart("task", expected.prompt),))
    world.commit(start_attempt(job, attempt, now), {f"attempt-{run.number}.prompt.md": prompt})


def collect(
    world: World,
    id_: str,
    files: Mapping[str, str | None],
    report: str = "It is done as asked.",
    spoke: Spoke | None = None,
) -> str:
    """The attempt ends with these changes."""
    job, now = world.job(id_), iso(world.now())
    attempt = world.record(Attempt, id_, job.at.attempt)
    tip = world.work(attempt.base, files)
    update_ref(world.git, f"refs/orc/attempts/{id_}/{attempt.number}", tip, "")
    ended = replace(attempt, ended=now, status=RunStatus.ENDED, exit=0, tip=tip, tree=tree_of(world.git, tip))
    world.commit(attempt_ended(job, replace(ended, report=report, spoke=spoke), terms_of(job), now))
    return tip


def lose(world: World, id_: str) -> None:
    """The attempt's run dies."""
    job, now = world.job(id_), iso(world.now())
    attempt = world.record(Attempt, id_, job.at.attempt)
    lost = replace(attempt, ended=now, status=RunStatus.LOST)
    world.commit(run_lost(job, Limits(), now, records={f"attempt-{attempt.number}": lost}))


def look(world: World, id_: str, criteria: bytes = CRITERIA) -> None:
    """The engine gathers the evidence; `criteria`: the file for the job's kind."""
    job, now = world.job(id_), iso(world.now())
    attempt = world.record(Attempt, id_, job.at.attempt)
    base = merge_base(world.git, attempt.base, attempt.tip) or attempt.base
    stat = diff_stat(world.git, base, attempt.tip)
    contents = read_contents(world.git, stat.changes)
    facts = read_diff_facts(world.git, base, attempt.tip, stat.changes, contents, report=attempt.report, previous="")
    found = find_tampering(
        Looked(stat.changes, contents, is_home=False, deliverables=job.spec.deliverables), job.spec.allows
    )
    named = Used(f"criteria/{job.spec.kind}.yaml", blob_id(criteria))
    asked = parse_criteria(str(job.spec.kind), criteria, named.name).checks
    of_kind = read_kind_facts(world.git, attempt.tip, stat.changes, job.spec, asked, report=attempt.report)
    seen = read_previews(world.git, attempt.tip, stat.changes, job.spec, asked.documents, report=attempt.report)
    evidence = Evidence(
        number=job.at.evidence + 1,
        attempt=attempt.number,
        base=attempt.base,
        tip=attempt.tip,
        merge_base=base,
        tree=facts.tree,
        stat=stat.summary(),
        paths=tuple(ChangedPath(each.path, each.status, each.added, each.deleted) for each in stat.changes),
        diff_rules=gate.VERSION,
        failures=(*judge_diff(job.spec, facts, DOCS), *kinds.judge_kind(job.spec, asked, of_kind)),
        docs=DOCS,
        protected=protected_paths(stat.changes, PROTECTED),
        guarded=PROTECTED,
        tampering=list_tampering(found),
        more_tampering=len(found) - len(list_tampering(found)),
        tamper_rules=VERSION,
        criteria=named,
        kind_checks=asked,
        kind_rules=kinds.VERSION,
        claims=of_kind.claims,
        previews=seen[0],
        more_deliverables=seen[1],
    )
    world.commit(evidence_found(job, evidence, terms_of(job), now), {criteria_file(evidence.number): criteria})


def check(world: World, id_: str, results: tuple[CheckResult, ...] = PASSED, *, too_large: str = "") -> None:
    """The checks run, on the attempt's tree or on the merged one."""
    job, now = world.job(id_), iso(world.now())
    kind = RunKind.MERGE if job.state is State.MERGING else RunKind.CHECKS
    job = world.commit(checks_started(job, str(next_run(job, kind)), now))
    now, tests = iso(world.now()), judge_checks(results)
    if job.state is State.MERGING:
        merge = world.record(MergeRecord, id_, job.at.merge)
        world.commit(merge_checked(job, replace(merge, tests=tests, checks=results), terms_of(job), now))
        return
    evidence = world.record(Evidence, id_, job.at.evidence)
    done = replace(evidence, tests=tests, checks=results, checked_tree=evidence.tree)
    world.commit(checks_ended(job, done, terms_of(job), now, too_large=too_large))


def a_reply(job: str, commit: str, nonce: str, files: list[str], verdict: str = "APPROVED", **keys: Any) -> str:
    """A reviewer's answer."""
    items = [{"id": id_, "pass": True, "evidence": "app.py:2 shows it"} for id_ in ITEMS]
    known = {"nonce": nonce, "job": job, "commit": commit, "verdict": verdict, "files": files, "items": items}
    return json.dumps({**known, "findings": [], "summary": "Looked at all of it.", **keys})


def review(
    world: World,
    id_: str,
    verdict: str = "APPROVED",
    *,
    by: Worker = CRITIC,
    merge: MergePolicy = MergePolicy.AUTO,
    garble: bool = False,
    seconds: float | None = None,
    share: int = 0,
    first: str = "",
    **keys: Any,
) -> None:
    """A review starts and ends with this answer.

    `seconds`: how long it takes, where that is looked at. `first`: what it answered before it was asked once more.
    """
    job, now = world.job(id_), iso(world.now())
    evidence = world.record(Evidence, id_, job.at.evidence)
    run = next_run(job, RunKind.REVIEW)
    record = ReviewRecord(
        number=run.number,
        attempt=evidence.attempt,
        evidence=evidence.number,
        commit=evidence.tip,
        base=evidence.merge_base,
        reviewer=by,
        author=ENGINEER,
        run=str(run),
        started=now,
        independence=independence_of(ENGINEER, by),
        threshold=0.8,
        required=ITEMS[:1],
        items_asked=ITEMS,
        criteria=Used(f"criteria/{job.spec.kind}.yaml", blob_id(CRITERIA)),
        share=share,
        again=bool(first),
    )
    said = world.said.setdefault(by.agent, [])
    if seconds is not None:
        record = replace(record, suspicion=SUSPICION, lately=Lately(sum(said), len(said)))
    job = world.commit(review_started(job, record, now), {criteria_file(run.number, "review"): CRITERIA})
    world.nonces += 1
    nonce, now = f"nonce-{world.nonces:04d}-of-the-world", iso(world.now())
    paths = [path.path for path in evidence.paths]
    reply = "I think it is fine." if garble else a_reply(id_, evidence.tip, nonce, paths, verdict, **keys)
    about = (record.commit, hash_nonce(nonce), frozenset(paths), ITEMS, frozenset(record.required), 0.8)
    question = Question(id_, *about)
    judgement = judge_reply(reply, question)
    ended = replace(
        record,
        ended=now,
        status=RunStatus.ENDED,
        exit=0,
        verdict=judgement.verdict,
        score=judgement.score,
        why=judgement.why,
        nonce_sha256=hash_nonce(nonce),
        reply=blot_nonce(reply, nonce),
        items=judgement.items,
        findings=judgement.findings,
        summary=judgement.summary,
        follow_ups=judgement.follow_ups,
        seconds=seconds or 0.0,
        first_reply=first,
        asked_again=judge_reply(first, question).why if first else "",
    )
    ended = replace(ended, doubts=doubts_of(ended, evidence))
    said += [judgement.verdict is Verdict.APPROVED] if judgement.verdict in CLEAR else []
    world.commit(review_ended(job, ended, judgement, terms_of(job, merge), now, stat=evidence.stat))


def decide(world: World, id_: str, key: str, message: str = "") -> None:
    """A person answers the job's card."""
    job = world.job(id_)
    card = world.record(Card, id_, job.at.card)
    world.commit(answer(job, card, key, message, terms_of(job), iso(world.now()), actor=ADA))


def build(world: World, id_: str, onto: str = "", *, heir: str = "") -> None:
    """The merged tree is built, or conflicts. `onto`: what waits to land, if not on the target itself."""
    job, tip = world.job(id_), world.main()
    onto = onto or tip
    found = merge_trees(world.git, onto, job.at.approved)
    record = MergeRecord(job.at.merge + 1, job.at.approved, onto, "main", tip, conflicts=found.conflicts)
    if found.tree is not None:
        commit = commit_tree(world.git, found.tree, [onto, job.at.approved], "merge", author=ENGINE, when=BEGIN)
        update_ref(world.git, f"refs/orc/merges/{id_}", commit, rev_parse(world.git, f"refs/orc/merges/{id_}") or "")
        record = replace(record, merged=commit, tree=found.tree)
    world.commit(merge_built(job, record, terms_of(job), iso(world.now()), heir=heir))


def land(world: World, id_: str, *, really: bool = True) -> None:
    """The merged commit lands on `main`, or is only said to."""
    job = world.job(id_)
    merge = world.record(MergeRecord, id_, job.at.merge)
    if really:
        update_ref(world.git, "refs/heads/main", merge.merged, world.main())
    done = replace(merge, landed="main")
    world.commit(landed(job, done, iso(world.now()), target="main", commit=merge.merged, stat="1 file changed"))


def leave_branch(world: World, id_: str) -> None:
    """The approved commit is left on a branch."""
    job = world.job(id_)
    update_ref(world.git, f"refs/heads/orc/{id_}", job.at.approved, "")
    now = iso(world.now())
    world.commit(landed(job, None, now, target=f"orc/{id_}", commit=job.at.approved, stat="1 file changed"))


# --- the jobs of an honest ledger -----------------------------------------------------------------------------------

LOGIN, ROUNDS, UNCLEAR, GIVEN_UP = "login-0a000001", "rounds-0b000002", "unclear-0c000003", "given-up-0d000004"
REPORT, COLLIDES, BRANCH, BLOCKED = "report-0e000005", "collides-0f000006", "branch-1a000007", "blocked-1b000008"
TWICE, DRAWN, PROPOSED = "twice-1c000009", "drawn-1d00000a", "proposed-1e00000b"
METERED, PRESSED = "metered-1f00000c", "pressed-2000000d"
TEXT = "# what I want\nprompt: Put it right.\nmerge: {merge}\nchecks: [make test]\n"
APP = "def login():\n    return {login}\n\n\ndef logout():\n    return {logout}\n"


def to_review(world: World, id_: str, files: Mapping[str, str | None], *, merge: str, base: str = "") -> None:
    """Made, looked at and checked."""
    accept(world, id_, TEXT.format(merge=merge))
    start(world, id_, base)
    collect(world, id_, files)
    look(world, id_)
    check(world, id_)


def auto_merged(world: World, *, really: bool = True) -> None:
    """Straight through: made, looked at, checked, approved, merged by itself."""
    to_review(world, LOGIN, {"app.py": APP.format(login="True", logout="False")}, merge="auto")
    review(world, LOGIN)
    build(world, LOGIN)
    check(world, LOGIN)
    land(world, LOGIN, really=really)


def sent_back(world: World) -> None:
    """Refused by the gate, failed by the checks, sent back by a reviewer, then approved by one and by a person."""
    text = TEXT.format(merge="ask") + "limits: {attempts: 6}\n"
    accept(world, ROUNDS, text)
    world.commit(accepting.hold(world.job(ROUNDS), "needs a free agent", iso(world.now()), needs={}))
    world.commit(accepting.release(world.job(ROUNDS), iso(world.now()), needs={}))
    start(world, ROUNDS)
    lose(world, ROUNDS)
    start(world, ROUNDS)
    collect(world, ROUNDS, {})
    look(world, ROUNDS)
    start(world, ROUNDS)
    collect(world, ROUNDS, {"a.py": "a = \n"})
    look(world, ROUNDS)
    check(world, ROUNDS, FAILED)
    start(world, ROUNDS)
    collect(world, ROUNDS, {"a.py": "a = 1\n"})
    look(world, ROUNDS)
    check(world, ROUNDS)
    finding = {"severity": "blocking", "problem": "a is too small", "file": "a.py", "line": 1, "fix": "make it 2"}
    review(world, ROUNDS, "REVISE", findings=[finding])
    job = world.job(ROUNDS)
    changed = job.text.replace("what I want", "what I want now") + "title: A is two\n"
    spec = parse_job(changed.encode(), name="job.yaml").spec
    keys: dict[str, Any] = {"actor": ADA, "keys": ["title"], "priority": Priority.P1}
    world.commit(accepting.edit(job, changed, spec, iso(world.now()), **keys))
    start(world, ROUNDS)
    collect(world, ROUNDS, {"a.py": "a = 2\n"})
    look(world, ROUNDS)
    check(world, ROUNDS)
    review(world, ROUNDS, merge=MergePolicy.ASK)
    decide(world, ROUNDS, "approve")
    build(world, ROUNDS)
    check(world, ROUNDS)
    land(world, ROUNDS)


def unclear(world: World) -> None:
    """An answer that is no verdict, then a reviewer who rejects, then a person who drops it and tries it again."""
    to_review(world, UNCLEAR, {"b.py": "b = 1\n", "CLAUDE.md": "do as I say\n"}, merge="auto")
    review(world, UNCLEAR, garble=True)
    review(world, UNCLEAR, "REJECT", by=SKEPTIC)
    decide(world, UNCLEAR, "drop")
    world.commit(accepting.retry(world.ledger.folder(UNCLEAR).job, iso(world.now()), actor=ADA))


def reported(world: World) -> None:
    """An investigation that changes nothing."""
    accept(world, REPORT, "prompt: Find out why.\nkind: research\nexpects: no_change\n")
    start(world, REPORT)
    collect(world, REPORT, {}, "It fails because the cache is never emptied.")
    look(world, REPORT)
    check(world, REPORT, ())
    review(world, REPORT)


def collided(world: World) -> None:
    """Approved by a person although it was too large, but the target has moved under it."""
    accept(world, COLLIDES, TEXT.format(merge="auto"))
    start(world, COLLIDES)
    world_moves = world.work(world.main(), {"c.py": "c = 0\n"})
    collect(world, COLLIDES, {"c.py": "c = 1\n"})
    update_ref(world.git, "refs/heads/main", world_moves, world.main())
    look(world, COLLIDES)
    check(world, COLLIDES, too_large="more than 9 bytes")
    decide(world, COLLIDES, "approve")
    build(world, COLLIDES)
    # What came in goes away again, and the approval holds; then something comes in twice more, and another takes over.
    update_ref(world.git, "refs/heads/main", world.work(world.main(), {"c.py": None}), world.main())
    evidence = world.record(Evidence, COLLIDES, 1)
    world.commit(collides_no_more(world.job(COLLIDES), evidence, iso(world.now()), target="main"))
    update_ref(world.git, "refs/heads/main", world.work(world.main(), {"c.py": "c = 2\n"}), world.main())
    build(world, COLLIDES)
    start(world, COLLIDES, conflict=2)
    collect(world, COLLIDES, {"c.py": "c = 3\n"})
    look(world, COLLIDES)
    check(world, COLLIDES)
    review(world, COLLIDES)
    update_ref(world.git, "refs/heads/main", world.work(world.main(), {"c.py": "c = 4\n"}), world.main())
    build(world, COLLIDES, heir=SECOND.agent)
    start(world, COLLIDES, by=SECOND, conflict=3)


def left_branch(world: World) -> None:
    """Left on a branch for a pull request."""
    to_review(world, BRANCH, {"d.py": "d = 1\n"}, merge="branch")
    review(world, BRANCH)
    leave_branch(world, BRANCH)


def blocked(world: World) -> None:
    """Waits to land, and lands when the way is free."""
    to_review(world, BLOCKED, {"e.py": "e = 1\n"}, merge="auto")
    review(world, BLOCKED)
    build(world, BLOCKED)
    check(world, BLOCKED)
    job = world.job(BLOCKED)
    job = world.commit(landing_blocked(job, "app.py is not committed", "stash it", iso(world.now()), target="main"))
    card = world.record(Card, BLOCKED, job.at.card)
    world.clock += timedelta(hours=25)
    job = world.commit(remind(job, iso(world.now())))
    world.commit(landing_free(job, card, iso(world.now())))
    land(world, BLOCKED)


def reviewed_twice(world: World) -> None:
    """Approved too quickly, so that another reviewer is asked, who approves it as well."""
    to_review(world, TWICE, {"g.py": "g = 1\n"}, merge="branch")
    review(world, TWICE, seconds=3.0)
    review(world, TWICE, by=SKEPTIC, seconds=50.0)
    leave_branch(world, TWICE)


def drawn_by_lot(world: World) -> None:
    """Approved in a second answer, and drawn to be judged twice, but there is nobody else."""
    to_review(world, DRAWN, {"h.py": "h = 1\n"}, merge="branch")
    more = {"title": "Test h", "prompt": "Test it."}
    review(world, DRAWN, share=100, first="I like it.", follow_ups=[more])
    job, evidence = world.job(DRAWN), world.record(Evidence, DRAWN, 1)
    world.commit(approval_stands(job, "nobody is there", terms_of(job), iso(world.now()), stat=evidence.stat))
    text = "title: Test h\nprompt: Test it.\n"
    keys: dict[str, Any] = {"markdown": False, "source": f"run {DRAWN}.review-1", "actor": ORC, "project": "main"}
    spec, now = parse_job(text.encode(), name="job.yaml").spec, iso(world.now())
    world.commit(accepting.accept(text, spec, id_=PROPOSED, now=now, priority=Priority.P2, **keys))
    asked = Requested(f"{DRAWN}.review-1", "verdict", now, "submit", "Test h", "Test it.", job=PROPOSED)
    world.file("request: Test h", {f"{folder_path(DRAWN)}/review-1.submit.0a0b0c0d.yaml": format_record(asked)})
    leave_branch(world, DRAWN)


def await_landing(world: World, id_: str, path: str, *, base: str = "", onto: str = "") -> str:
    """Approved and checked; the commit that waits to land."""
    to_review(world, id_, {path: "x = 1\n"}, merge="auto", base=base)
    review(world, id_)
    build(world, id_, onto)
    check(world, id_)
    return world.job(id_).at.merged


def take_back(world: World, id_: str) -> None:
    """A person gives up a job that waits to land, and much time goes by."""
    world.commit(accepting.cancel(world.job(id_), iso(world.now()), actor=ADA, why="no"))
    world.clock += timedelta(minutes=10)


def send_back(world: World, id_: str, problem: str) -> None:
    """The merge is not even tried, because of what the work stands on."""
    job, tip = world.job(id_), world.main()
    record = MergeRecord(job.at.merge + 1, job.at.approved, tip, "main", tip, problem=problem)
    world.commit(merge_built(job, record, terms_of(job), iso(world.now())))


def hold(world: World, id_: str, line: str) -> None:
    """A person writes a `hold:` into the job's file, or takes it away."""
    job = world.job(id_)
    text = "".join(each for each in job.text.splitlines(keepends=True) if not each.startswith("hold:")) + line
    spec = parse_job(text.encode(), name="job.yaml").spec
    keys: dict[str, Any] = {"actor": ADA, "keys": ["hold"], "priority": job.priority}
    world.commit(accepting.edit(job, text, spec, iso(world.now()), **keys))


def metered(world: World) -> None:
    """What runs use is counted: of one that dies, of one that tells it, and of one of a job that is given up."""
    accept(world, METERED, TEXT.format(merge="branch"))
    start(world, METERED, expected=estimate(None, 10))
    lose(world, METERED)
    start(world, METERED, expected=estimate(None, 10))
    collect(
        world,
        METERED,
        {"m.py": "m = 1\n"},
        spoke=Spoke(Usage(1000, 200, cost_microusd=77), cost_microusd=77, priced="reported"),
    )
    look(world, METERED)
    check(world, METERED, FAILED)
    learned = parse_record(Learned, world.ledger.read_file(learned_path("code", "north-1")) or b"", "learned")
    start(world, METERED, expected=estimate(learned, 20))
    press(world)
    world.commit(accepting.cancel(world.job(METERED), iso(world.now()), actor=ADA, why="too dear"))


def press(world: World) -> None:
    """Much was used in the last minutes, and a job waits."""
    accept(world, PRESSED, TEXT.format(merge="branch"))
    at, reserved = world.clock + timedelta(seconds=1), world.job(METERED).at.reserved
    assert reserved is not None
    window = parse_record(Window, world.ledger.read_file(WINDOW_PATH) or b"", WINDOW_PATH)
    used = window.used(int(at.timestamp())) + reserved.tokens
    pressure = Pressure(True, iso(at), used, used, 1, 0)
    world.file("pressure: only a P0 begins", {PRESSURE_PATH: format_record(pressure)})


def honest(world: World) -> None:
    """Every kind of way that a job can take."""
    world.file("library: souls/engineer.md", {"library/souls/engineer.md": b"an engineer\n"})
    auto_merged(world)
    sent_back(world)
    unclear(world)
    world.file("reject: broken.yaml", {"rejected/broken.yaml": b"{\n", "rejected/broken.yaml.reason": b"not YAML\n"})
    accept(world, GIVEN_UP, TEXT.format(merge="ask") + "hold: from the first\n")
    hold(world, GIVEN_UP, "")
    hold(world, GIVEN_UP, "hold: true\n")
    hold(world, GIVEN_UP, "hold: for another reason\n")
    world.commit(accepting.cancel(world.job(GIVEN_UP), iso(world.now()), actor=ADA, why="no longer needed"))
    reported(world)
    collided(world)
    left_branch(world)
    blocked(world)
    reviewed_twice(world)
    drawn_by_lot(world)
    metered(world)
    world.file("revert: login on main", {f"reverts/2026/11/{LOGIN}-0a0b0c0d.yaml": b"job: login\n"})


# --- forging --------------------------------------------------------------------------------------------------------


@dataclass
class Draft:
    """A commit of the ledger that is being written anew. Change what is to be a lie."""

    git: Git
    old: Commit
    objects: Objects
    changes: dict[str, Entry | None]
    subject: str
    trailers: list[tuple[str, str]]
    author: str
    committer: str = "orc <engine@orc.invalid>"
    parents: list[str] = field(default_factory=list)
    seconds: int = 0
    dropped: bool = False

    @property
    def event(self) -> str:
        """What the commit says has happened."""
        return self.old.word

    @property
    def job(self) -> str:
        """Which job it is about."""
        return self.old.trailer("Job") or ""

    def is_(self, job: str, event: str, to: str = "") -> bool:
        """Whether it is this step."""
        return (self.job, self.event) == (job, event) and to in ("", self.old.trailer("To"))

    def path(self, name: str) -> str:
        """Where a file of the job lies after this commit."""
        return next(path for path, entry in self.changes.items() if entry and owner_of(path)[2] == name)

    def read(self, name: str) -> str:
        """A file of the job that this commit writes."""
        entry = self.changes[self.path(name)]
        assert entry is not None
        return self.objects.read(entry.oid).decode()

    def write(self, name: str, text: str) -> None:
        """Write a file of the job."""
        folder = self.path("job.yaml").removesuffix("job.yaml")
        self.changes[folder + name] = Entry(FILE_MODE, self.objects.write("blob", text.encode()))

    def swap(self, name: str, old: str, new: str) -> None:
        """Replace text in a file of the job; it has to be there."""
        text = self.read(name)
        assert old in text, f"{old!r} is not in {name}:\n{text}"
        self.write(name, text.replace(old, new))

    def swap_all(self, old: str, new: str) -> None:
        """Replace text in everything that the commit writes about a job, wherever it is."""
        for path, entry in self.changes.items():
            if entry is not None and owner_of(path)[2]:
                text = self.objects.read(entry.oid).replace(old.encode(), new.encode())
                self.changes[path] = Entry(FILE_MODE, self.objects.write("blob", text))
        self.subject = self.subject.replace(old, new)
        self.trailers = [(key, value.replace(old, new)) for key, value in self.trailers]

    def trail(self, key: str, value: str) -> None:
        """Let a trailer say something else."""
        assert key in dict(self.trailers)
        self.trailers = [(each, value if each == key else was) for each, was in self.trailers]


Forger = Callable[[Draft], None]


def forge(root: Path, forger: Forger) -> Git:
    """Write the whole ledger anew, each commit through `forger`, and move its ref there."""
    door = Git(root / ".git")
    with opened(door.git_dir) as objects:
        store = Store(objects)
        tip = rev_parse(door, REF) or ""
        chain = [store.commit(oid) for oid in list(lineage(store, tip, None))[::-1]]
        at = chain[0].oid
        carried: Carried = {}
        for before, commit in pairwise(chain):
            at = _rewritten(door, store, before, commit, at, forger, carried)
        objects.store()
        update_ref(door, REF, at, tip)
    return door


Carried = dict[tuple[str, str, str], Entry]
"""What a file of a job with a certain content was forged into: (job, name, blob) → entry."""


def _rewritten(
    door: Git, store: Store, before: Commit, commit: Commit, parent: str, forger: Forger, carried: Carried
) -> str:
    honest = {path: after for path, _, after in store.changes(before.tree, commit.tree)}
    changes = {path: carried.get(_key(path, entry), entry) if entry else None for path, entry in honest.items()}
    author = f"{commit.author.name} <{commit.author.email}>"
    draft = Draft(door, commit, store.objects, changes, commit.subject, list(commit.trailers), author)
    draft.parents, draft.seconds = [parent], commit.committer.seconds
    forger(draft)
    if draft.dropped:
        return parent
    for path, entry in honest.items():
        forged = draft.changes.get(path)
        if entry and forged and entry != forged:
            carried[_key(path, entry)] = forged
    tree = store.objects.change_tree(store.commit(parent).tree, draft.changes)
    lines = [f"tree {tree}", *(f"parent {each}" for each in draft.parents)]
    lines += [f"author {draft.author} {draft.seconds} +0000", f"committer {draft.committer} {draft.seconds} +0000"]
    body = "\n".join(f"{key}: {value}" for key, value in draft.trailers)
    text = "\n".join(lines) + f"\n\n{draft.subject}\n" + (f"\n{body}\n" if body else "")
    return store.objects.write("commit", text.encode())


def _key(path: str, entry: Entry) -> tuple[str, str, str]:
    job, _, name = owner_of(path)
    return job, name or path, entry.oid


def verify(root: Path, **keys: Any) -> Report:
    """Audit the world at `root`."""
    door = root / ".git"
    return audit(door, {"main": door}, **keys)
