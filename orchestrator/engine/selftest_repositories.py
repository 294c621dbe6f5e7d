"""Cases of the self-test that are repositories of their own: a branch for `orc gate`, a checkout to land in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.adapters.effects import Effect, effect
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse
from orchestrator.adapters.yaml_text import dump
from orchestrator.core.agent import Soul
from orchestrator.core.config import BackendConfig, Config
from orchestrator.core.gated import Conclusion, Gated, RuleOutcome
from orchestrator.core.job import Check, JobSpec
from orchestrator.core.selftest import Case, Found
from orchestrator.engine.agents import view_soul
from orchestrator.engine.gate import Asked, gate_branch
from orchestrator.engine.gate_review import Reviewer
from orchestrator.engine.merge import find_obstacle
from orchestrator.engine.selftest_stage import BASE, make_commit, make_repository

CHECK_S = 60


def play_landing(folder: Path, case: Case) -> Found:
    """Whether a commit would land in a checkout that holds what the case says."""
    root = folder / "landings" / case.name
    with effect(Effect.RUN_FOLDER):
        ensure_folder(root)
        git = make_repository(root, {"main": BASE if case.base is None else case.base, "feature": case.change})
        for name, text in case.checkout.items():
            _put(root / name, text)
    obstacle = find_obstacle(git.bare(), "main", rev_parse(git.bare(), "refs/heads/feature") or "")
    return Found(True, "free") if obstacle is None else Found(False, "blocked", (obstacle.problem,))


def play_branch(folder: Path, case: Case) -> Found:
    """What `orc gate` says of a branch, with the checks and the reviewer that the case names."""
    found = gate_case(folder, case, _player(folder, case))
    refused = [each.rule for each in found.seen.rules if each.outcome is RuleOutcome.REFUSED]
    texts = (*(f"refused by {rule}" for rule in refused), *found.reasons)
    return Found(found.conclusion is Conclusion.PASS, found.conclusion.words, texts)


def gate_case(folder: Path, case: Case, reviewer: Reviewer | None) -> Gated:
    """The branch of a case, judged in a repository of its own."""
    root = folder / "branches" / case.name
    with effect(Effect.RUN_FOLDER):
        git = _make_branch(root, case)
    keys = {"prompt": "", "kind": case.kind, **case.job}
    checks = tuple(Check(line, timeout_s=CHECK_S) for line in case.run)
    asked = Asked(
        "feature", JobSpec.from_file(keys), "main", checks, with_base=False, judge=reviewer, by_tried_gates=False
    )
    return gate_branch(git.git_dir, asked, lambda what, how_far: None)


def _make_branch(root: Path, case: Case) -> Git:
    ensure_folder(root)
    git = Git(root / "repo.git")
    git.run("init", "--quiet", "--template=", "--initial-branch=main")
    base = make_commit(git, "refs/heads/main", BASE if case.base is None else case.base)
    make_commit(git, "refs/heads/feature", case.change, base, case.said)
    if case.meanwhile:
        make_commit(git, "refs/heads/main", case.meanwhile, base)
    return git


def _player(folder: Path, case: Case) -> Reviewer | None:
    """A reviewer that plays what the case says; None if the case has none."""
    if not case.reviewer:
        return None
    script = folder / "branches" / f"{case.name}.plays.yaml"
    with effect(Effect.RUN_FOLDER):
        ensure_folder(script.parent)
        write_atomic(script, dump({"plays": [case.reviewer]}).encode(), sync=False)
    config = Config(backends={"player": BackendConfig(name="player", type="scripted", script=str(script))})
    soul = Soul(name="reviewer", backend="player", family="beta", body="You look twice.\n")
    return Reviewer(view_soul(config, folder, soul), config, folder)


def _put(path: Path, text: Any) -> None:
    ensure_folder(path.parent)
    write_atomic(path, str(text).encode(), sync=False)
