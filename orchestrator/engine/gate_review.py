"""The review of a branch by one agent, with the engine's own prompt, nonce and reading of the verdict.

Who made the branch is not known, so neither is how far the reviewer is from its author: that is for people to judge.
"""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path

from orchestrator.adapters import clock
from orchestrator.adapters.backends.base import Order
from orchestrator.adapters.config_file import FILE_NAME
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import read_patch
from orchestrator.adapters.library import prompt_templates, read_souls
from orchestrator.adapters.run_folder import find_orc
from orchestrator.adapters.run_values import LimitsSpec, RunKind, RunSpec
from orchestrator.core.agent import Soul
from orchestrator.core.attempt_record import Attempt, Used
from orchestrator.core.board import AgentView
from orchestrator.core.claims import claims_asked
from orchestrator.core.config import BackendConfig, Config
from orchestrator.core.criteria import Criteria
from orchestrator.core.evidence_record import Evidence
from orchestrator.core.gated import Reviewed, Seen, Where, reproduction_of
from orchestrator.core.job import Job, JobSpec, Standing, State, Worker
from orchestrator.core.prompt import fill_review, review_prompt
from orchestrator.core.review_record import ReviewRecord, Verdict
from orchestrator.core.times import iso
from orchestrator.engine.agents import (
    BUILT_IN,
    backend_in,
    backend_of,
    launch_soul,
    may_be_asked_again,
    suspicion_of,
    view_soul,
)
from orchestrator.engine.collect import end_review
from orchestrator.engine.gate_bench import Bench, pin_backend, whole_words
from orchestrator.engine.gate_runs import GRACE_S, Workshop
from orchestrator.engine.launch import Start, export_in
from orchestrator.engine.reviews import answer_schema, review_facts
from orchestrator.engine.rules import PromptRules, rules_for_prompt
from orchestrator.engine.sessions import new_session_id
from orchestrator.errors import NotFoundError, OrcError, UnavailableError

COMMAND = "command"
UNKNOWN = Worker("unknown")
MAX_TASK = 4_000
"""Characters of the commits' own words, where nobody says what the branch is for."""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who reviews, and what it needs of the workspace that it comes from."""

    agent: AgentView
    config: Config
    root: Path
    """What relative paths of the configuration start from."""
    bench: Bench | None = None
    """The workspace with rules and criteria of its own; None without one."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One review: everything that its run is made of."""

    shop: Workshop
    git: Git
    job: Job
    seen: Seen
    record: ReviewRecord
    reviewer: Reviewer
    criteria: Criteria
    rules: str
    patch: bytes
    nonce: str


def find_reviewer(start: Path, name: str, command: Sequence[str], bench: Bench | None) -> Reviewer:
    """The reviewer that was asked for: an agent of the workspace, BACKEND:MODEL, or a command.

    Files that a command names are looked for from `start`. Raises OrcError if it cannot be used.
    """
    if command:
        config = Config(backends={COMMAND: BackendConfig(name=COMMAND, argv=whole_words(command, start))})
        return _usable(Reviewer(view_soul(config, start, _critic(COMMAND, "")), config, start), shlex.join(command))
    backend, colon, model = name.partition(":")
    if colon:
        if backend not in BUILT_IN or not model:
            known = ", ".join(sorted(BUILT_IN))
            raise NotFoundError(f"{name!r} is no BACKEND:MODEL", hint=f"BACKEND is one of {known}")
        soul = _critic(backend, model)
        return _usable(Reviewer(view_soul(Config(), start, soul), Config(), start), name)
    return _usable(_of_workspace(start, name, bench), name)


def _critic(backend: str, model: str) -> Soul:
    """The reviewer that `orc init` gives everybody, on another program."""
    text = files("orchestrator").joinpath("starter", "souls", "critic.md").read_text(encoding="utf-8")
    return Soul(name="critic", backend=backend, model=model, body=text.split("---\n", 2)[2])


def _of_workspace(start: Path, name: str, bench: Bench | None) -> Reviewer:
    if bench is None:
        raise NotFoundError(
            f"there is no agent {name!r}: {start} is not in a workspace in which orc has been at work",
            cause=f"Agents are files in souls/, beside {FILE_NAME}; those that came with a clone are not used.",
            hint="--reviewer BACKEND:MODEL, such as codex:gpt-5.5, or --reviewer-command LINE",
        )
    souls, problems = read_souls(bench.places["souls"])
    if name not in souls:
        why = next((str(each) for each in problems if f"{name}.md" in str(each)), "")
        whose = bench.owner("souls")
        raise NotFoundError(f"there is no agent {name!r} in the souls/ of {whose}", cause=why, hint=", ".join(souls))
    soul, config = souls[name], bench.config
    used = backend_of(config, soul.backend)
    if used is not None:
        config = replace(config, backends={**config.backends, used.name: pin_backend(bench, used)})
    return Reviewer(view_soul(config, bench.root, soul), config, bench.root, bench)


def _usable(reviewer: Reviewer, asked: str) -> Reviewer:
    if reviewer.agent.problem:
        raise UnavailableError(f"{asked} cannot review: {reviewer.agent.problem}", hint="orc doctor")
    return reviewer


def review_branch(
    shop: Workshop, git: Git, seen: Seen, spec: JobSpec, reviewer: Reviewer, criteria: Criteria
) -> Reviewed:
    """What the reviewer says of the branch. A review that could not be made has a `problem`."""
    job = _job(seen, spec, _task(git, seen, spec))
    bench = reviewer.bench
    rules = rules_for_prompt(bench.places["rules"]) if bench else PromptRules("", None, ())
    record = _record(job, seen, reviewer, criteria, rules)
    limit = reviewer.config.review.max_diff_bytes
    patch, is_cut = read_patch(git, seen.merge_base, seen.branch.commit, max_bytes=limit)
    if is_cut or seen.more_paths:
        why = f"more than {limit} bytes" if is_cut else f"more than the {len(seen.paths)} files that a review lists"
        return Reviewed(record, f"the diff is too large to be reviewed whole: {why}")
    nonce = secrets.token_hex(16)
    try:
        asked = _Asked(shop, git, job, seen, record, reviewer, criteria, rules.text, patch, nonce)
        start = _start(asked)
        result = shop.play(start, f"{record.reviewer.agent} reviews {seen.branch.name}")
    except (OrcError, OSError) as error:
        return Reviewed(record, error.message if isinstance(error, OrcError) else str(error))
    if result.said is not None and result.said.trouble.is_of_service:
        return Reviewed(record, f"{result.said.trouble}: {result.said.why or result.error}", result.seconds)
    ended, _ = end_review(record, _evidence(seen), result, nonce, iso(clock.now()))
    return Reviewed(ended, "", result.seconds)


def _task(git: Git, seen: Seen, spec: JobSpec) -> str:
    """What the branch is for: as somebody says, else as its own commits do."""
    if spec.prompt.strip():
        return spec.prompt
    shape = ("--reverse", "--no-merges", "--no-commit-header", "--format=- %s", "--max-count=100")
    said, is_cut = git.run_bounded("rev-list", *shape, f"{seen.merge_base}..{seen.branch.commit}", max_bytes=MAX_TASK)
    more = "\n…" if is_cut else ""
    told = "Nobody said what this branch is for. Its own commits, whose words are no evidence, say:"
    return f"{told}\n{said.decode('utf-8', 'replace').strip()}{more}"


def _job(seen: Seen, spec: JobSpec, task: str) -> Job:
    now = iso(clock.now())
    at = Standing(f"gate-{seen.branch.commit[:8]}", 1, State.REVIEWING, now, now)
    title = spec.title or f"the branch {seen.branch.name}"
    return Job("", False, replace(spec, prompt=task, title=title), at)


def _record(job: Job, seen: Seen, reviewer: Reviewer, criteria: Criteria, rules: PromptRules) -> ReviewRecord:
    agent = reviewer.agent
    return ReviewRecord(
        number=1,
        attempt=1,
        evidence=1,
        commit=seen.branch.commit,
        base=seen.merge_base,
        reviewer=agent.worker(),
        author=UNKNOWN,
        run=f"{job.id}.review-1",
        started=iso(clock.now()),
        independence="",
        threshold=reviewer.config.review.threshold if criteria.threshold is None else criteria.threshold,
        required=tuple(item.id for item in criteria.items if item.required),
        items_asked=tuple(item.id for item in criteria.items),
        draw=secrets.token_hex(8) if seen.evidence.claims else "",
        soul=Used(f"souls/{agent.soul.name}.md", agent.soul.blob) if agent.soul.blob else None,
        rules=rules.used,
        rule_ids=rules.ids,
        suspicion=suspicion_of(reviewer.config, agent.soul),
        again=may_be_asked_again(reviewer.config, agent.soul),
        verdict=Verdict.INCONCLUSIVE,
    )


def _evidence(seen: Seen) -> Evidence:
    checked, laid = seen.on(Where.BRANCH), seen.on(Where.REPRODUCTION)
    tests, results = (checked.tests, checked.results) if checked else ("none", ())
    found = replace(seen.evidence, base=seen.base.commit, tests=tests, checks=results)
    return replace(found, reproduction=reproduction_of(seen), reproduction_checks=laid.results if laid else ())


def _start(asked: _Asked) -> Start:
    agent, evidence, items = asked.reviewer.agent, _evidence(asked.seen), list(asked.criteria.items)
    diff, claims = asked.patch.decode("utf-8", "replace"), claims_asked(evidence, asked.record.draw)
    told = review_prompt(
        prompt_templates("review"),
        asked.job,
        soul=agent.soul,
        evidence=evidence,
        items=items,
        diff=diff,
        report="",
        rules=asked.rules,
        previous=((), ()),
        claims=claims,
    )
    has_system = backend_in(asked.reviewer.config, agent.soul)[1].capabilities.system_prompt != "none"
    system = told.system if has_system else ""
    message = told.message if has_system else told.in_one()
    facts = review_facts(asked.job, evidence, Attempt(1, UNKNOWN, evidence.base, "", ""))
    return Start(
        _spec(asked, system),
        fill_review(message, base=evidence.merge_base, commit=evidence.tip, diff=diff, nonce=asked.nonce),
        {
            **facts,
            "nonce": asked.nonce,
            "items": [asdict(item) for item in items],
            "claims": [asdict(each) for each in claims],
        },
        asked.patch or b" ",
        system=system,
    )


def _spec(asked: _Asked, system: str) -> RunSpec:
    reviewer, run = asked.reviewer, asked.record.run
    tree = export_in(asked.shop.folder / "trees" / "review", asked.git.git_dir, asked.record.commit, read_only=True)
    folder, limits = asked.shop.run_folder(run).path, reviewer.config.limits
    order = Order(
        run_folder=folder,
        tree=Path(tree["path"]),
        state=folder / "home" / ".orc-agent",
        model=reviewer.agent.model,
        system=folder / "system.md" if system else None,
        system_text=system,
        session=new_session_id(f"{run} {asked.shop.folder.name}"),
        read_only=True,
        answer_schema=answer_schema(),
    )
    return RunSpec(
        run=run,
        kind=RunKind.REVIEW,
        job=asked.job.id,
        number=1,
        orcdir=asked.shop.orcdir,
        agent=reviewer.agent.soul.name,
        project="gate",
        tree=tree,
        limits=LimitsSpec(
            wall_s=limits.review_minutes * 60,
            grace_s=GRACE_S,
            output_bytes=limits.output_mb * 1024 * 1024,
            silent_s=limits.silent_minutes * 60,
        ),
        launch=launch_soul(reviewer.config, reviewer.root, reviewer.agent.soul, order, again=asked.record.again),
        orc_folder=find_orc(sys.argv[0], sys.executable),
    )
