"""Attempts: what an agent gets when it begins to work on a job, committed before anything is started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import Capabilities, Order
from orchestrator.adapters.git_checkout import in_checkout
from orchestrator.adapters.git_objects import diff_text
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.ledger import Filing
from orchestrator.adapters.library import blob_id, prompt_templates, scan_skills
from orchestrator.adapters.reading import safe_read
from orchestrator.adapters.run_values import CommandSpec, LaunchSpec, RunKind
from orchestrator.adapters.triggers import search_trigger
from orchestrator.core.agent import Soul
from orchestrator.core.attempt import not_started, start_attempt
from orchestrator.core.attempt_record import Attempt, PromptPart, Used
from orchestrator.core.config import Project
from orchestrator.core.globs import matches
from orchestrator.core.ids import RunId
from orchestrator.core.ids import RunKind as Kind
from orchestrator.core.job import Job
from orchestrator.core.kinds import told_to_author
from orchestrator.core.matching import rule_number
from orchestrator.core.prompt import attempt_prompt
from orchestrator.core.said import NOTHING_USED
from orchestrator.core.schedule import AgentView, StartAttempt
from orchestrator.core.sessions import Plan
from orchestrator.core.skills import Chosen, choose_skills
from orchestrator.core.step import next_run
from orchestrator.core.transitions import Move
from orchestrator.core.usage import what_of
from orchestrator.engine.agents import backend_for, launch_spec, soul_of
from orchestrator.engine.bases import find_start, mirror_with
from orchestrator.engine.conflicts import collision_for, conflict_files, merge_again
from orchestrator.engine.criteria import criteria_of
from orchestrator.engine.hot import hot_files
from orchestrator.engine.launch import Start, folder_of, spec_for
from orchestrator.engine.needed import needed_by
from orchestrator.engine.rules import PromptRules, rules_for_prompt
from orchestrator.engine.sessions import new_session_id, plan_for, session_of, tree_folder
from orchestrator.engine.skill_files import FOLDER as SKILLS
from orchestrator.engine.skill_files import files_of, skills_folder, used_skill, with_files
from orchestrator.engine.skills import find_skill
from orchestrator.engine.usage import expect
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import OrcError

PREVIOUS_DIFF_BYTES = 60_000
FIX_FACTS = ("id", "problem", "fix", "file", "line", "check", "earlier")
"""What an author's program is told of a fix: not who asks for it."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """A step that is to be committed, with files that go into the job's folder and what else is filed along with it."""

    move: Move
    files: Mapping[str, bytes] = field(default_factory=dict)
    filings: tuple[Filing, ...] = ()


def reserve_attempt(ws: Workspace, job: Job, action: StartAttempt, agent: AgentView) -> Reserved:
    """The step that starts an attempt, with the prompt exactly as the agent will get it."""
    now = ws.stamp()
    try:
        if again := merge_again(ws, job):
            return Reserved(again)
        base = start_of(ws, job)
        prepared = prepare_attempt(ws, job, agent, base)
    except OrcError as error:
        return Reserved(not_started(job, error.message, ws.config.limits, now))
    run = next_run(job, Kind.ATTEMPT)
    plan, used = prepared.plan, prepared.used
    going_on = session_of(ws, agent.soul.name, job.at.project) if plan.resume else None
    session = plan.resume or (new_session_id(str(run)) if prepared.can.names_session else "")
    attempt = Attempt(
        number=run.number,
        worker=agent.worker(),
        base=base,
        run=str(run),
        started=now,
        rule=action.rule,
        rule_number=rule_number(action.rule),
        soul=Used(f"souls/{agent.soul.name}.md", agent.soul.blob),
        skills=used.skills,
        files=used.files,
        rules=used.rules.used,
        rule_ids=used.rules.ids,
        prompt=blob_id(prepared.message),
        system=blob_id(prepared.system) if prepared.system else "",
        identity="" if prepared.system else "degraded",
        parts=prepared.parts,
        estimate=expect(ws, what_of(job), agent.model, prepared.parts, going_on),
        session=session,
        resumed=bool(plan.resume),
        why_fresh=plan.why_fresh,
        fixes=job.at.fixes,
        conflict=prepared.conflict,
        # There is no sandbox yet: said on every run, so that nobody takes its record for more than it is.
        forgeable=True,
    )
    filing = library_filing(ws, [Used(f"souls/{agent.soul.name}.md", agent.soul.blob), *used.skills, *used.files])
    texts = {f"attempt-{run.number}.prompt.md": prepared.message}
    if prepared.system:
        texts[f"attempt-{run.number}.system.md"] = prepared.system
    return Reserved(start_attempt(job, attempt, now), texts, (filing,) if filing else ())


def start_of(ws: Workspace, job: Job) -> str:
    """The commit from which a job's next attempt starts. Raises OrcError."""
    return job.at.base or find_start(ws, job.at.project, ws.terms(job).target).commit


@dataclass(frozen=True, slots=True)
class _UsedTexts:
    skills: tuple[Used, ...]
    files: tuple[Used, ...]
    rules: PromptRules


@dataclass(frozen=True, slots=True)
class PreparedAttempt:
    """What an attempt begins with. `system` is empty where the agent's program has no system prompt."""

    system: bytes
    message: bytes
    parts: tuple[PromptPart, ...]
    used: _UsedTexts
    plan: Plan
    can: Capabilities
    conflict: int
    """As in `Attempt`."""


def prepare_attempt(ws: Workspace, job: Job, agent: AgentView, base: str) -> PreparedAttempt:
    """The prompt and the session of an attempt from `base` as they would be now. Raises OrcError."""
    soul, rules = agent.soul, rules_for_prompt(ws.paths.root)
    can = backend_for(ws, soul)[1].capabilities
    skills, files = with_files(ws, _choose_skills(ws, job, soul))
    collision = collision_for(ws, job, base)
    is_new = collision is None or collision.attempt != job.at.attempt
    assemble = partial(
        attempt_prompt,
        prompt_templates("attempt"),
        job,
        soul=soul,
        rules=rules.text,
        skills=skills,
        skills_folder=skills_folder(ws, next_run(job, Kind.ATTEMPT)),
        target=ws.terms(job).target,
        asked=told_to_author(job.spec, criteria_of(ws, job).checks),
        note=can.note,
        # The work that collided is shown with the conflict.
        previous_diff=_previous_diff(ws, job) if is_new else "",
        collision=collision,
        hot=hot_files(ws, job.at.project),
        needed=needed_by(ws, job),
    )
    assembled = assemble()
    has_system = can.system_prompt != "none"
    system = assembled.system.encode("utf-8", "replace") if has_system else b""
    plan = plan_for(ws, job, agent, can, system=blob_id(system) if system else "")
    if plan.handoff:
        assembled = assemble(handoff=plan.handoff)
    used = _UsedTexts(tuple(used_skill(each) for each in skills), files, rules)
    return PreparedAttempt(
        system=system,
        message=(assembled.message if has_system else assembled.in_one()).encode("utf-8", "replace"),
        parts=assembled.parts,
        used=used,
        plan=plan,
        can=can,
        conflict=collision.merge if collision is not None else 0,
    )


def _choose_skills(ws: Workspace, job: Job, soul: Soul) -> tuple[Chosen, ...]:
    """The skills that go into the prompt, in the versions that were asked for.

    Raises NotFoundError or InvalidFileError for one that is asked for; a broken one that nobody asks for is left out.
    """
    known = dict(scan_skills(ws.paths.root).good)
    for name in (*job.spec.skills, *soul.skills):
        if name not in known:
            known[name] = find_skill(ws, name)
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


def library_filing(ws: Workspace, used: list[Used]) -> Filing | None:
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


def attempt_start(ws: Workspace, job: Job, run: RunId) -> Start:
    """The run of an attempt, from what the ledger holds of it."""
    folder = ws.open_job(job.id)
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{run.number}")
    # Its file may name another program by now: what was recorded counts.
    soul = replace(soul_of(ws, attempt.worker.agent), backend=attempt.worker.backend)
    project, target = ws.project(job.at.project), ws.terms(job).target
    tree = {**attempt_tree(ws, job, attempt), "include": _included(ws, project)}
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
        "fixes": [{key: getattr(fix, key) for key in FIX_FACTS} for fix in attempt.fixes],
    }
    spec = spec_for(ws, run, RunKind.ATTEMPT, job, tree, attempt.worker.agent, project, ws.terms(job).minutes)
    given = folder.records.get(f"attempt-{run.number}.system")
    system = ws.ledger.objects.read(given).decode("utf-8", "replace") if given else ""
    launched = _launch_attempt(ws, job, attempt, soul, folder_of(ws, str(run)).path, Path(tree["path"]), system)
    setup = project.setup
    return Start(
        replace(spec, launch=launched, setup=CommandSpec(setup.run, setup.timeout_s) if setup else None),
        prompt.decode("utf-8", "replace"),
        facts,
        system=system,
        files={**files_of(ws, attempt), **conflict_files(ws, job, attempt)},
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
        skills=run_folder / SKILLS if attempt.skills else None,
    )
    if not attempt.resumed:
        return launch_spec(ws, soul, replace(order, session=new_session_id(attempt.run)))
    session = session_of(ws, soul.name, job.at.project)
    before = session.so_far if session and session.id == attempt.session else NOTHING_USED
    return launch_spec(ws, soul, replace(order, resume=attempt.session), before)


def attempt_tree(ws: Workspace, job: Job, attempt: Attempt) -> dict[str, Any]:
    """The tree of an attempt from the ledger alone: what an agent can write is not asked.

    What is lent to it is added when it starts, and stands in its own record from then on.
    """
    project, agent = ws.project(job.at.project), attempt.worker.agent
    return {
        "mode": "work",
        "path": tree_folder(ws, agent, project.name),
        "mirror": str(ws.paths.mirror(project.name)),
        "commit": attempt.base,
        "reuse": job.at.tip if job.at.tip and job.at.tip != attempt.base else None,
        "branch": f"orc/{job.id}",
        "keep": list(project.keep),
        "include": [],
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
