"""Where new work starts on each project, and what the checks say about that commit."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from datetime import timedelta

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import ENGINE, Git
from orchestrator.adapters.git_refs import is_ancestor, parents_of, rev_parse
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.ledger_text import format_record, parse_record
from orchestrator.adapters.mirrors import open_mirror, refresh_mirror
from orchestrator.adapters.strict_yaml import load_mapping
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.config import Project
from orchestrator.core.evidence_record import CheckResult
from orchestrator.core.gate import judge_checks
from orchestrator.core.job import Check, MergePolicy
from orchestrator.core.merge import awaits_landing
from orchestrator.core.records import BaseRecord
from orchestrator.core.schedule import BaseState, ProjectView
from orchestrator.core.times import parse
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, OrcError, UnavailableError

TRY_AGAIN, MOST_DOUBLED = timedelta(seconds=60), 6
"""The pause before checks that could not be run are tried once more; it doubles each time, so often at most."""


@dataclass(frozen=True, slots=True)
class Start:
    """The commit from which new work on a branch starts: the newest of the target and what waits to land on it."""

    commit: str
    tree: str
    target_tip: str


def next_ref(project: str, target: str) -> str:
    """Where approved work lies that is on its way to the target. It counts only while `find_stray` finds nothing."""
    return f"refs/orc/next/{project}/{target}"


def landings(ws: Workspace, project: str, target: str) -> frozenset[str]:
    """The merged commits that wait to be put on `target`, as the ledger has it now."""
    jobs = [folder.job for folder in ws.ledger.snapshot().active if folder.job.at.project == project]
    waiting = [(job, ws.terms(job)) for job in jobs if awaits_landing(job)]
    return frozenset(
        job.at.merged for job, agreed in waiting if agreed.target == target and agreed.merge is not MergePolicy.BRANCH
    )


def find_stray(git: Git, tip: str, commit: str, waiting: frozenset[str]) -> str:
    """What would come to the target with `commit` though it does not wait to land; "" if there is nothing."""
    is_next = parents_of(git, commit)[:1] == [tip]
    chain = [commit] if is_next else git.text("rev-list", "--first-parent", commit, f"^{tip}").split()
    return next((each for each in chain if each not in waiting), "")


def find_lost_ground(git: Git, base: str, onto: str, waiting: frozenset[str]) -> str:
    """A merge of orc below `base` that was taken back: it neither waits to land, nor is its work in `onto`; or ""."""
    if not base or base == onto or base in parents_of(git, onto) or not _has(git, base):
        return ""
    shape = ("--first-parent", "--no-commit-header", "--format=%H %ae %P")
    for line in git.text("rev-list", *shape, base, f"^{onto}").splitlines():
        commit, email, *parents = line.split(" ")
        is_landing = email == ENGINE.email and len(parents) == 2
        if is_landing and commit not in waiting and not is_ancestor(git, parents[1], onto):
            return commit
    return ""


def find_start(ws: Workspace, project: str, target: str) -> Start:
    """Where new work on `target` starts now. Raises UnavailableError if the branch does not exist."""
    git = ws.git(project)
    tip = rev_parse(git, f"refs/heads/{target}^{{commit}}")
    if tip is None:
        raise UnavailableError(
            f"project {project}: there is no branch {target!r} to work on",
            cause="The repository has no commit yet, or the branch was renamed.",
            hint="commit something, or set `target:` in orc.yaml",
        )
    ahead = rev_parse(git, f"{next_ref(project, target)}^{{commit}}")
    commit = tip
    if ahead and ahead != tip and is_ancestor(git, tip, ahead):
        # The ref only grows: whoever waited there may have been cancelled since, and must not come along.
        commit = tip if find_stray(git, tip, ahead, landings(ws, project, target)) else ahead
    tree = rev_parse(git, f"{commit}^{{tree}}") or ""
    return Start(commit, tree, tip)


def mirror_with(ws: Workspace, project: str, target: str, *commits: str, job: str = "") -> Git:
    """The project's private mirror, holding at least these commits. Raises UnavailableError if they cannot be had."""
    source = ws.project_git_dir(project)
    mirror = ws.asking(open_mirror(ws.paths.mirror(project), source))
    if all(_has(mirror, commit) for commit in commits):
        return mirror
    wanted = [f"refs/heads/{target}", next_ref(project, target), *([f"refs/orc/attempts/{job}"] if job else [])]
    listed = Git(source).text("for-each-ref", "--format=%(refname)", *wanted).split()
    with effect(Effect.MIRROR_REFRESH):
        refresh_mirror(mirror, source, listed)
    missing = [commit for commit in commits if not _has(mirror, commit)]
    if missing:
        raise UnavailableError(
            f"project {project}: commit {missing[0]} is on none of {', '.join(wanted)} any more",
            cause="The branch was rewritten or the attempt's ref was deleted.",
        )
    return mirror


def _has(mirror: Git, commit: str) -> bool:
    return not commit or rev_parse(mirror, f"{commit}^{{commit}}") is not None


def check_key(tree: str, checks: tuple[Check, ...], project: Project) -> str:
    """Names (tree, commands, environment): the same key means the same result may be used again."""
    environment = [project.setup.run if project.setup else "", os.environ.get("PATH", ""), os.uname().sysname]
    facts = [tree, [(check.run, check.timeout_s) for check in checks], environment]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:40]


def known_checks(ws: Workspace, key: str) -> tuple[CheckResult, ...] | None:
    """The results of an earlier run of the same checks on the same tree, or None."""
    path = ws.paths.orcdir / "checks" / f"{key}.json"
    try:
        listed = load_mapping(path.read_bytes(), max_bytes=4_000_000).value["checks"]
        return tuple(from_mapping(CheckResult, each) for each in listed)
    except (OSError, InvalidFileError, ValueError, KeyError):
        return None


def remember_checks(ws: Workspace, key: str, results: tuple[CheckResult, ...]) -> None:
    """Keep the results for the same tree. Failures are kept too: the tree does not change, so neither would they."""
    folder = ws.paths.orcdir / "checks"
    with effect(Effect.CACHE_WRITE):
        ensure_folder(folder)
        data = json.dumps({"checks": [to_mapping(each) for each in results]}).encode()
        write_atomic(folder / f"{key}.json", data, sync=False)


def base_path(project: str) -> str:
    """Where the ledger keeps what is known about a project's base."""
    return f"projects/{project}/base.yaml"


def base_record(ws: Workspace, project: str) -> BaseRecord | None:
    """What the ledger says about a project's base."""
    data = ws.ledger.read_file(base_path(project))
    return None if data is None else parse_record(BaseRecord, data, base_path(project))


def base_filing(project: str, record: BaseRecord, told: str) -> Filing:
    """The commit that says what is known about a project's base."""
    trailers = [("Project", project), ("Base", record.commit), ("Tree", record.tree), ("Tests", record.tests or "-")]
    return Filing(f"base: {project} {told}"[:200], {base_path(project): format_record(record)}, tuple(trailers))


def not_checked(record: BaseRecord, why: str, at: str, *, is_sure: bool = False) -> BaseRecord:
    """The record of a base whose checks could not be run. `is_sure`: it would be no different at once.

    Otherwise they run again the first time, for the record has no key then.
    """
    tries = max(record.tries + 1, 2 if is_sure else 1)
    return replace(record, run="", key=record.key if tries > 1 else "", problem=why[:500], at=at, tries=tries)


def view_project(ws: Workspace, project: Project, *, recheck: str = "") -> ProjectView:
    """A project as it is now. `recheck`: when a person last asked for the checks to be run on its base again."""
    try:
        start = find_start(ws, project.name, project.target)
    except OrcError as error:
        return ProjectView(project, problem=error.message)
    if not project.checks:
        return ProjectView(project, BaseState.NO_CHECKS)
    key = check_key(start.tree, project.checks, project)
    record = base_record(ws, project.name)
    if record is not None and record.key == key:
        state = _known_base(ws, record, recheck)
        is_red = record.tests == "failed" or record.tries > 1
        asked = state is BaseState.UNKNOWN and recheck >= record.at
        why = _why_red(record) if is_red and not asked else ""
        return ProjectView(project, state, commit=start.commit, why_red=why, could_not_run=bool(record.problem))
    known = known_checks(ws, key)
    if known is not None and judge_checks(known) != "failed":
        return ProjectView(project, BaseState.GREEN, commit=start.commit)
    return ProjectView(project, BaseState.UNKNOWN, commit=start.commit)


def _known_base(ws: Workspace, record: BaseRecord, recheck: str) -> BaseState:
    if record.run:
        return BaseState.RUNNING
    if record.tests in ("passed", "flaky", "none"):
        return BaseState.GREEN
    if recheck >= record.at:
        return BaseState.UNKNOWN
    # What kept the checks from running may have been put right: try again after a while.
    pause = TRY_AGAIN * 2 ** min(max(0, record.tries - 2), MOST_DOUBLED)
    again = record.problem and ws.now() - parse(record.at) > pause
    return BaseState.UNKNOWN if again else BaseState.RED


def _why_red(record: BaseRecord) -> str:
    if record.problem:
        return f"The checks could not be run: {record.problem}"
    failed = [
        f"`{check.run}` {check.outcome} (exit {check.exit}):\n{check.tail}"
        for check in record.checks
        if not check.passed
    ]
    return "\n".join(failed)
