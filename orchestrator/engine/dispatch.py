"""Dispatch: choose what a run gets, commit that it starts, and see that it runs.

Every start is reserved in the ledger before anything is spawned; a spawn that did not happen is made up for later by
`ensure_runs`, from what the ledger holds.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import Backend, Capabilities, Order
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.files import safe_read
from orchestrator.adapters.git import rev_parse
from orchestrator.adapters.git_checkout import in_checkout
from orchestrator.adapters.git_objects import diff_text, read_patch
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.library import blob_id, read_criteria, read_rules, read_skills, read_souls
from orchestrator.adapters.run_values import CommandSpec, LaunchSpec, LimitsSpec, RunKind, RunSpec
from orchestrator.adapters.triggers import search_trigger
from orchestrator.core.agent import Soul
from orchestrator.core.attempt import not_started, start_attempt
from orchestrator.core.config import BackendConfig, Project
from orchestrator.core.criteria import Criteria, criteria_for
from orchestrator.core.evidence import checks_started
from orchestrator.core.globs import matches
from orchestrator.core.ids import RunId
from orchestrator.core.ids import RunKind as Kind
from orchestrator.core.job import Expects, Job, State
from orchestrator.core.judge import review_started
from orchestrator.core.prompt import Templates, attempt_prompt, review_prompt
from orchestrator.core.records import Attempt, BaseRecord, Evidence, PromptPart, ReviewRecord, Used
from orchestrator.core.rules import prompt_section
from orchestrator.core.said import NOTHING_USED, Usage
from orchestrator.core.schedule import AgentView, StartAttempt, StartReview
from orchestrator.core.sessions import Plan
from orchestrator.core.skills import Chosen, choose_skills
from orchestrator.core.step import next_run
from orchestrator.core.transitions import Move
from orchestrator.engine.agents import BUILT_IN, backend_of, backend_settings
from orchestrator.engine.bases import base_filing, base_record, check_key, find_start, mirror_with
from orchestrator.engine.launch import RunState, Start, folder_of, launch, state_of
from orchestrator.engine.sessions import new_session_id, plan_for, session_of
from orchestrator.engine.skills import find_pinned
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError, OrcError

PREVIOUS_DIFF_BYTES = 60_000
CHECKS_WALL_S = 6 * 3600


@dataclass(frozen=True, slots=True)
class Reserved:
    """A start that is to be committed: the step, and files that go into the job's folder with it."""

    move: Move
    files: Mapping[str, bytes]
    filings: tuple[Filing, ...] = ()


# --- attempts ---------------------------------------------------------------------------------------------------


def reserve_attempt(ws: Workspace, job: Job, action: StartAttempt, agent: AgentView) -> Reserved:
    """The step that starts an attempt, with the prompt exactly as the agent will get it."""
    now = ws.stamp()
    try:
        base = job.at.base or find_start(ws, job.at.project, ws.terms(job).target).commit
        prepared = prepare_attempt(ws, job, agent)
    except OrcError as error:
        return Reserved(not_started(job, error.message, ws.config.limits, now), {})
    run = next_run(job, Kind.ATTEMPT)
    plan, used = prepared.plan, prepared.used
    session = plan.resume or (new_session_id(str(run)) if prepared.can.names_session else "")
    attempt = Attempt(
        number=run.number,
        worker=agent.worker(),
        base=base,
        run=str(run),
        started=now,
        rule=action.rule,
        soul=Used(f"souls/{agent.soul.name}.md", agent.soul.blob),
        skills=used.skills,
        rules=used.rules.used,
        rule_ids=used.rules.ids,
        prompt=blob_id(prepared.message),
        system=blob_id(prepared.system) if prepared.system else "",
        identity="" if prepared.system else "degraded",
        parts=prepared.parts,
        session=session,
        resumed=bool(plan.resume),
        why_fresh=plan.why_fresh,
        fixes=job.at.fixes,
        # There is no sandbox yet: said on every run, so that nobody takes its record for more than it is.
        forgeable=True,
    )
    paths = [attempt.soul, *attempt.skills] if attempt.soul else [*attempt.skills]
    filing = _library_filing(ws, paths)
    texts = {f"attempt-{run.number}.prompt.md": prepared.message}
    if prepared.system:
        texts[f"attempt-{run.number}.system.md"] = prepared.system
    return Reserved(start_attempt(job, attempt, now), texts, (filing,) if filing else ())


@dataclass(frozen=True, slots=True)
class _UsedTexts:
    skills: tuple[Used, ...]
    rules: _Rules


@dataclass(frozen=True, slots=True)
class _Rules:
    """The rules as they go into a prompt: their text, the blob id of it, the numbers of the incidents."""

    text: str
    used: Used | None
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PreparedAttempt:
    """What an attempt begins with. `system` is empty where the agent's program has no system prompt."""

    system: bytes
    message: bytes
    parts: tuple[PromptPart, ...]
    used: _UsedTexts
    plan: Plan
    can: Capabilities


def prepare_attempt(ws: Workspace, job: Job, agent: AgentView) -> PreparedAttempt:
    """The prompt and the session of an attempt as they would be now. Raises OrcError; changes nothing."""
    soul, rules = agent.soul, _rules(ws)
    can = _backend(ws, soul)[1].capabilities
    plan = plan_for(ws, job, agent, can)
    skills = _choose_skills(ws, job, soul)
    assembled = attempt_prompt(
        _templates("attempt"),
        job,
        soul=soul,
        rules=rules.text,
        skills=skills,
        target=ws.terms(job).target,
        previous_diff=_previous_diff(ws, job),
        handoff=plan.handoff,
    )
    has_system = can.system_prompt != "none"
    used = _UsedTexts(
        tuple(Used(f"skills/{each.skill.name}/SKILL.md", each.skill.blob) for each in skills),
        rules,
    )
    return PreparedAttempt(
        system=assembled.system.encode("utf-8", "replace") if has_system else b"",
        message=(assembled.message if has_system else assembled.in_one()).encode("utf-8", "replace"),
        parts=assembled.parts,
        used=used,
        plan=plan,
        can=can,
    )


def _rules(ws: Workspace) -> _Rules:
    found = read_rules(ws.paths.root)
    text = prompt_section(found)
    used = Used("rules", blob_id(text.encode())) if found else None
    return _Rules(text, used, tuple(f"{rule.number:04d}" for rule in found))


def _choose_skills(ws: Workspace, job: Job, soul: Soul) -> tuple[Chosen, ...]:
    """The skills that go into the prompt, in the versions that were asked for. Raises NotFoundError."""
    known = read_skills(ws.paths.root)
    for name in (*job.spec.skills, *soul.skills):
        plain, _, blob = name.partition("@")
        if blob:
            known = {**known, name: find_pinned(ws, plain, blob)}
        elif plain not in known:
            raise NotFoundError(f"skill {plain!r} has no folder in skills/")
    text = f"{job.spec.heading}\n{job.spec.prompt}"
    return choose_skills(known, wanted=job.spec.skills, brought=soul.skills, text=text, search=search_trigger)


def _previous_diff(ws: Workspace, job: Job) -> str:
    """What the newest attempt changed, for an author who has to go on from it or do it again on a new base."""
    number = job.at.attempt
    if not number or not job.at.fixes:
        return ""
    git = ws.git(job.at.project)
    tip = rev_parse(git, attempt_ref(job.id, number))
    attempt = ws.ledger.record(Attempt, ws.ledger.folder(job.id), f"attempt-{number}")
    if tip is None or tip == attempt.base:
        return ""
    return diff_text(git, attempt.base, tip, max_bytes=PREVIOUS_DIFF_BYTES)[0]


def _library_filing(ws: Workspace, used: list[Used]) -> Filing | None:
    """A commit that keeps the versions of souls and skills that were used, unless the ledger has them already."""
    changed: dict[str, bytes] = {}
    for each in used:
        kept = ws.ledger.read_file(f"library/{each.name}")
        if kept is None or blob_id(kept) != each.blob:
            data = _bytes_of(ws, each)
            if data is not None:
                changed[f"library/{each.name}"] = data
    if not changed:
        return None
    return Filing(f"library: {', '.join(path.removeprefix('library/') for path in changed)}"[:200], changed)


def _bytes_of(ws: Workspace, used: Used) -> bytes | None:
    """The file as it was used; an earlier version of it is asked of the repository. None if it is nowhere any more."""
    try:
        data = (ws.paths.root / used.name).read_bytes()
        if blob_id(data) == used.blob:
            return data
    except OSError:
        pass  # A skill may be removed and an earlier version of it still be asked for.
    try:
        return ws.ledger.objects.read(used.blob)
    except OrcError:
        return None


def attempt_ref(job: str, number: int) -> str:
    """The ref under which an attempt's work is kept."""
    return f"refs/orc/attempts/{job}/{number}"


def _attempt_start(ws: Workspace, job: Job, run: RunId) -> Start:
    folder = ws.open_job(job.id)
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{run.number}")
    soul = _soul(ws, attempt.worker.agent)
    project, target = ws.project(job.at.project), ws.terms(job).target
    tree = attempt_tree(ws, job, attempt)
    mirror_with(ws, project.name, target, attempt.base, tree["reuse"] or "", job=job.id)
    prompt = ws.ledger.objects.read(folder.records[f"attempt-{run.number}.prompt"])
    facts = {
        "job": job.id,
        "title": job.spec.heading,
        "kind": job.spec.kind,
        "task": job.spec.prompt,
        "base": attempt.base,
        "project": project.name,
        "attempt": run.number,
        "fixes": [{k: v for k, v in asdict(fix).items() if k != "source"} for fix in attempt.fixes],
    }
    spec = _spec(ws, run, RunKind.ATTEMPT, job, tree, attempt.worker.agent, project, ws.terms(job).minutes)
    given = folder.records.get(f"attempt-{run.number}.system")
    system = ws.ledger.objects.read(given).decode("utf-8", "replace") if given else ""
    launched = _launch_attempt(ws, job, attempt, soul, folder_of(ws, str(run)).path, Path(tree["path"]), system)
    setup = project.setup
    return Start(
        replace(spec, launch=launched, setup=CommandSpec(setup.run, setup.timeout_s) if setup else None),
        prompt.decode("utf-8", "replace"),
        facts,
        system=system,
    )


def _launch_attempt(
    ws: Workspace, job: Job, attempt: Attempt, soul: Soul, run_folder: Path, tree: Path, system: str
) -> LaunchSpec:
    order = Order(
        run_folder=run_folder,
        tree=tree,
        state=ws.paths.orcdir / "agents" / soul.name / soul.backend,
        model=attempt.worker.model,
        system=run_folder / "system.md" if system else None,
        system_text=system,
    )
    fresh = replace(order, session=new_session_id(attempt.run))
    if not attempt.resumed:
        return _launch_spec(ws, soul, fresh)
    session = session_of(ws, soul.name, job.at.project)
    before = session.so_far if session and session.id == attempt.session else NOTHING_USED
    # What was begun for this run and got lost must not be taken for the session that is begun instead.
    again = _launch_spec(ws, soul, replace(order, session=new_session_id(f"{attempt.run} again")))
    return replace(_launch_spec(ws, soul, replace(order, resume=attempt.session), before), fresh=again)


def attempt_tree(ws: Workspace, job: Job, attempt: Attempt) -> dict[str, Any]:
    """The tree of an attempt as its run is told of it, from the ledger alone: what an agent can write is not asked."""
    project, agent = ws.project(job.at.project), attempt.worker.agent
    return {
        "mode": "work",
        "path": str(ws.paths.state / "trees" / agent / project.name),
        "mirror": str(ws.paths.mirror(project.name)),
        "commit": attempt.base,
        "reuse": job.at.tip if job.at.tip and job.at.tip != attempt.base else None,
        "branch": f"orc/{job.id}",
        "keep": list(project.keep),
        "include": _included(ws, project),
        "record": str(ws.paths.orcdir / "trees" / f"{agent}.{project.name}.json"),
        "seal_ref": attempt_ref(job.id, attempt.number),
        "author": {"name": agent, "email": f"{agent}@agents.orc.invalid"},
    }


def _included(ws: Workspace, project: Project) -> list[dict[str, str]]:
    """Ignored files of the person's checkout that `.worktreeinclude` names: copied into an agent's tree.

    Tracked files are never among them (the agent has them anyway, and its change would be lost), nor is anything that
    lies outside of the checkout or in orc's own folders.
    """
    checkout = (ws.paths.root / project.path).resolve()
    try:
        text = safe_read(checkout / ".worktreeinclude").data.decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    patterns = tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))
    git = in_checkout(ws.git(project.name), checkout)
    listed = git.run("ls-files", "-z", "--others", "--ignored", "--exclude-standard").out.split(b"\0")
    names = [os.fsdecode(name) for name in listed if name]
    found = [name for name in names if matches(name, patterns) and not name.startswith(("state/", "queue/"))]
    return [
        {"from": str(checkout / name), "to": name}
        for name in found
        if (checkout / name).is_file() and (checkout / name).resolve() == checkout / name
    ]


# --- checks -----------------------------------------------------------------------------------------------------


def reserve_checks(ws: Workspace, job: Job) -> Move:
    """The step that starts a run of the checks."""
    kind = Kind.MERGE if job.state is State.MERGING else Kind.CHECKS
    return checks_started(job, str(next_run(job, kind)), ws.stamp())


def _checks_start(ws: Workspace, job: Job, run: RunId) -> Start:
    project, agreed = ws.project(job.at.project), ws.terms(job)
    commit = job.at.merged if run.kind is Kind.MERGE else job.at.tip
    mirror_with(ws, project.name, agreed.target, commit, job=job.id)
    tree = _export(ws, project, commit)
    spec = _spec(ws, run, RunKind.CHECKS, job, tree, None, project, CHECKS_WALL_S // 60)
    commands = tuple(CommandSpec(check.run, check.timeout_s, check.label) for check in agreed.checks)
    setup = project.setup
    return Start(replace(spec, commands=commands, setup=CommandSpec(setup.run, setup.timeout_s) if setup else None))


def _export(ws: Workspace, project: Project, commit: str, *, read_only: bool = False) -> dict[str, Any]:
    """A checkout of one commit, in one of the project's folders for it that no other run uses."""
    kind = ".reviews" if read_only else ".checks"
    return {
        "mode": "export",
        "path": str(ws.paths.state / "trees" / kind / project.name),
        "pool": True,
        "mirror": str(ws.paths.mirror(project.name)),
        "commit": commit,
        "reuse": None,
        "branch": "",
        "keep": [],
        "include": [],
        "record": None,
        "seal_ref": None,
        "author": {"name": "orc", "email": "engine@orc.invalid"},
        "read_only": read_only,
    }


def base_run(project: str, tree: str) -> str:
    """The id of the run of the checks on a project's base."""
    return f"base.{project}.{tree[:12]}"


def reserve_base(ws: Workspace, name: str) -> Filing:
    """The commit that says that the base of a project is being checked."""
    project = ws.project(name)
    start = find_start(ws, name, project.target)
    key = check_key(start.tree, project.checks, project)
    before = base_record(ws, name)
    problem = before.problem if before is not None and before.commit == start.commit else ""
    run = base_run(name, start.tree)
    record = BaseRecord(start.commit, start.tree, key, run=run, at=ws.stamp(), problem=problem)
    return base_filing(name, record, f"is checked at {start.commit[:12]}")


def base_start(ws: Workspace, name: str, record: BaseRecord) -> Start:
    """The run of the checks on a project's base."""
    project = ws.project(name)
    mirror_with(ws, name, project.target, record.commit)
    tree = _export(ws, project, record.commit)
    spec = RunSpec(
        run=record.run,
        kind=RunKind.CHECKS,
        job="",
        number=1,
        orcdir=ws.paths.orcdir,
        agent=None,
        project=name,
        tree=tree,
        limits=LimitsSpec(wall_s=CHECKS_WALL_S, silent_s=0),
        setup=CommandSpec(project.setup.run, project.setup.timeout_s) if project.setup else None,
        commands=tuple(CommandSpec(check.run, check.timeout_s, check.label) for check in project.checks),
    )
    return Start(spec)


# --- reviews ----------------------------------------------------------------------------------------------------


def reserve_review(ws: Workspace, job: Job, action: StartReview, agent: AgentView) -> Move:
    """The step that starts a review."""
    run, criteria, rules = next_run(job, Kind.REVIEW), _criteria(ws, job), _rules(ws)
    folder = ws.open_job(job.id)
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{job.at.evidence}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{evidence.attempt}")
    now = ws.stamp()
    review = ReviewRecord(
        number=run.number,
        attempt=evidence.attempt,
        evidence=evidence.number,
        commit=evidence.tip,
        base=evidence.merge_base,
        reviewer=agent.worker(),
        author=attempt.worker,
        run=str(run),
        started=now,
        independence=action.independence,
        threshold=ws.terms(job).threshold,
        required=tuple(item.id for item in criteria.items if item.required),
        items_asked=tuple(item.id for item in criteria.items),
        soul=Used(f"souls/{agent.soul.name}.md", agent.soul.blob),
        rules=rules.used,
        rule_ids=rules.ids,
        identity="degraded" if _backend(ws, agent.soul)[1].capabilities.system_prompt == "none" else "",
    )
    return review_started(job, review, now)


def _criteria(ws: Workspace, job: Job) -> Criteria:
    return criteria_for(job.spec.kind, read_criteria(ws.paths.root))


def _review_start(ws: Workspace, job: Job, run: RunId) -> Start:
    folder = ws.open_job(job.id)
    review = ws.ledger.record(ReviewRecord, folder, f"review-{run.number}")
    evidence = ws.ledger.record(Evidence, folder, f"evidence-{review.evidence}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{review.attempt}")
    project, agreed = ws.project(job.at.project), ws.terms(job)
    mirror = mirror_with(ws, project.name, agreed.target, review.commit, job=job.id)
    patch, cut = read_patch(mirror, evidence.merge_base, evidence.tip, max_bytes=ws.config.review.max_diff_bytes)
    if cut:
        raise OrcError("the diff is too large to be reviewed whole")
    asked = [item for item in _criteria(ws, job).items if item.id in review.items_asked]
    nonce = secrets.token_hex(16)
    report = attempt.report if job.spec.expects is Expects.NO_CHANGE else ""
    soul = _soul(ws, review.reviewer.agent)
    assembled = review_prompt(
        _templates("review"),
        job,
        soul=soul,
        evidence=evidence,
        items=asked,
        nonce=nonce,
        diff=patch.decode("utf-8", "replace"),
        report=report,
        rules=_rules(ws).text,
        previous=(attempt.fixes, attempt.answers),
    )
    facts = {
        "job": job.id,
        "title": job.spec.heading,
        "kind": job.spec.kind,
        "task": job.spec.prompt,
        "commit": evidence.tip,
        "base": evidence.merge_base,
        "nonce": nonce,
        "files": [path.path for path in evidence.paths],
        "items": [asdict(item) for item in asked],
        "evidence": {"stat": evidence.stat, "tests": evidence.tests},
        "report": report,
        "previous": [{"id": fix.id, "problem": fix.problem} for fix in attempt.fixes],
    }
    run_folder = folder_of(ws, str(run)).path
    tree = _export(ws, project, evidence.tip, read_only=True)
    spec = _spec(ws, run, RunKind.REVIEW, job, tree, review.reviewer.agent, project, ws.config.limits.review_minutes)
    has_system = not review.identity
    order = Order(
        run_folder=run_folder,
        tree=Path(tree["path"]),
        # Of this run alone, and removed with it: each review is a session of its own.
        state=run_folder / "home" / ".orc-agent",
        model=review.reviewer.model,
        system=run_folder / "system.md" if has_system else None,
        system_text=assembled.system if has_system else "",
        session=new_session_id(str(run)),
        read_only=True,
    )
    prompt = assembled.message if has_system else assembled.in_one()
    return Start(
        replace(spec, launch=_launch_spec(ws, soul, order)),
        prompt,
        facts,
        patch or b" ",
        system=assembled.system if has_system else "",
    )


# --- seeing that they run ---------------------------------------------------------------------------------------


def ensure_run(ws: Workspace, job: Job) -> Move | None:
    """See that the run which the ledger names is there. Returns a step if it cannot be started."""
    run = RunId.parse(job.at.run)
    if run is None or state_of(folder_of(ws, job.at.run)) is not RunState.MISSING:
        return None
    starts = {Kind.ATTEMPT: _attempt_start, Kind.REVIEW: _review_start}
    try:
        launch(ws, starts.get(run.kind, _checks_start)(ws, job, run))
    except OrcError as error:
        return not_started(job, error.message, ws.config.limits, ws.stamp())
    return None


def _spec(
    ws: Workspace,
    run: RunId,
    kind: RunKind,
    job: Job,
    tree: dict[str, Any],
    agent: str | None,
    project: Project,
    minutes: int,
) -> RunSpec:
    limits = ws.config.limits
    return RunSpec(
        run=str(run),
        kind=kind,
        job=job.id,
        number=run.number,
        orcdir=ws.paths.orcdir,
        agent=agent,
        project=project.name,
        tree=tree,
        limits=LimitsSpec(
            wall_s=minutes * 60,
            output_bytes=limits.output_mb * 1024 * 1024,
            silent_s=limits.silent_minutes * 60 if agent else 0,
        ),
    )


def _launch_spec(ws: Workspace, soul: Soul, order: Order, before: Usage = NOTHING_USED) -> LaunchSpec:
    settings, backend = _backend(ws, soul)
    if settings.login and (home := os.environ.get("HOME")):
        order = replace(order, person_home=Path(home))
    launch = backend.launch(backend_settings(settings, ws.paths.root), order)
    can = backend.capabilities
    session = order.resume or (order.session if can.names_session else "")
    keeps_form = settings.type in BUILT_IN
    return launch.to_spec(
        backend=settings.type if keeps_form else "", session=session, before=before, state=str(order.state)
    )


def _backend(ws: Workspace, soul: Soul) -> tuple[BackendConfig, Backend]:
    settings = backend_of(ws.config, soul.backend)
    if settings is None:
        raise NotFoundError(f"backend {soul.backend!r} is not in orc.yaml")
    return settings, find_backend(settings.type)


def _soul(ws: Workspace, name: str) -> Soul:
    souls, _ = read_souls(ws.paths.root)
    if name not in souls:
        raise NotFoundError(f"agent {name!r} has no usable file in souls/")
    return souls[name]


@cache
def _templates(name: str) -> Templates:
    folder = files("orchestrator").joinpath("prompts")
    system, message = (folder.joinpath(f"{name}{part}.md").read_text(encoding="utf-8") for part in (".system", ""))
    return Templates(system, message)
