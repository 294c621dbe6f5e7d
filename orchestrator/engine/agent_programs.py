"""The agents' programs on this machine: in which version, with which login, and whether they answer."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.adapters import landlock
from orchestrator.adapters.backends.base import Order, Output, Standing
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.files import ensure_folder, write_atomic
from orchestrator.adapters.git import Git
from orchestrator.adapters.programs import ask_version
from orchestrator.adapters.run_folder import (
    RunFolder,
    add_launch_environment,
    build_environment,
    secret_values,
)
from orchestrator.adapters.run_values import LaunchSpec, LimitsSpec, RunKind, RunSpec
from orchestrator.adapters.supervised import End, Limits, Supervised
from orchestrator.core.board import AgentView
from orchestrator.core.config import BackendConfig, Config
from orchestrator.core.said import Said
from orchestrator.engine.agents import BUILT_IN, backend_of, backend_problem, backend_settings
from orchestrator.engine.finding import Finding, Health
from orchestrator.errors import NotFoundError

QUESTION = "Answer with the one word READY and do nothing else.\n"
TRY_S = 120.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one trivial prompt."""

    said: Said
    seconds: float
    problem: str = ""


def look_at_programs(config: Config, root: Path, agents: Mapping[str, AgentView]) -> Iterator[Finding]:
    """The program of each backend that agents use, with its version and login; then those that none of them uses."""
    for name in sorted({agent.soul.backend for agent in agents.values()}):
        backend = backend_of(config, name)
        if backend is None or backend.type not in BUILT_IN:
            continue
        if not _is_installed(backend, root):
            continue  # That is told with its agents.
        yield _tell_backend(name, _version(backend, root), standing_of(backend, root))
    used = {backend.type for agent in agents.values() if (backend := backend_of(config, agent.soul.backend))}
    for name in sorted(BUILT_IN - used):
        try:
            yield from _tell_unused(BackendConfig(name=name, type=name), root)
        except NotFoundError as error:
            yield Finding(f"backend {name}", Health.WARN, f"{error.message}; no agent uses it", error.hint)


def _tell_unused(backend: BackendConfig, root: Path) -> Iterator[Finding]:
    name = backend.type
    if find_backend(name).seen and _is_installed(backend, root) and not standing_of(backend, root).package:
        text = f"{_version(backend, root)}; no agent uses it; {_what_is_there(backend, root)}"
        yield Finding(f"backend {name}", Health.OK, text)


def _is_installed(backend: BackendConfig, root: Path) -> bool:
    """Whether its program is on this machine; a Python package comes with orc."""
    program = backend_settings(backend, root)["program"] or backend.type
    return bool(shutil.which(program) or standing_of(backend, root).package)


def way_to_log_in(config: Config, root: Path, agent: AgentView) -> str:
    """What to do if no more than its key or its login is missing to an agent that cannot be started, else ''."""
    backend = backend_of(config, agent.soul.backend)
    if backend is None or backend.type not in BUILT_IN or agent.problem != backend_problem(backend, root):
        return ""
    return standing_of(backend, root).way_out if _is_installed(backend, root) else ""


def _version(backend: BackendConfig, root: Path) -> str:
    if package := standing_of(backend, root).package:
        return _package_version(package)
    program = backend_settings(backend, root)["program"] or backend.type
    found = ask_version(program, path=os.environ.get("PATH", ""))
    seen = find_backend(backend.type).seen
    remark = f" (orc was tried with {seen})" if seen and not _is_version(found, seen) else ""
    return (f"{program}: {found}" if found else f"{program}: in 10 s it did not say which version it is") + remark


def _is_version(told: str, version: str) -> bool:
    """Whether a program's answer names exactly that version."""
    return re.search(rf"(?<![0-9.]){re.escape(version)}(?![0-9.-])", told) is not None


def _package_version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version  # Slow to load, and asked for here alone.

    try:
        return f"the Python package {name} {version(name)}"
    except PackageNotFoundError:  # A copy that pip did not put there tells no version.
        return f"the Python package {name}"


def standing_of(backend: BackendConfig, root: Path) -> Standing:
    """With what a backend would log in here, and what would hold its tools."""
    home = os.environ.get("HOME")
    return find_backend(backend.type).standing(backend_settings(backend, root), home=Path(home) if home else None)


def _tell_backend(name: str, version: str, standing: Standing) -> Finding:
    told, hints = [version, standing.login], [standing.way_out]
    if standing.sandbox.startswith("none"):
        told.append(f"nothing holds its commands to the tree ({standing.sandbox.partition(': ')[2]})")
        hints.append(f"{landlock.NEEDS}, holds them; else give it only what you trust, or run orc in a container")
    elif standing.sandbox:
        told.append(f"its commands are held to the tree ({standing.sandbox})")
    hint = "; ".join(filter(None, hints))
    return Finding(f"backend {name}", Health.WARN if hint else Health.OK, "; ".join(filter(None, told)), hint)


def _what_is_there(backend: BackendConfig, root: Path) -> str:
    """Of a program that no agent uses yet: whether one could, by its key or by the person's login."""
    by_key, by_login = (standing_of(replace(backend, login=login), root) for login in (False, True))
    there = next((each.login for each in (by_key, by_login) if not each.way_out), "")
    return there or "; ".join(dict.fromkeys((by_key.login, by_login.login)))


def try_agent(config: Config, root: Path, agent: AgentView) -> Tried:
    """One trivial prompt through the program of an agent without a problem, in a throw-away repository. It may cost a
    little.

    Nothing else of this process may have children: whatever is below it is ended with the program.
    """
    settings = backend_of(config, agent.soul.backend)
    assert settings is not None  # Else the agent has a problem.
    with tempfile.TemporaryDirectory(prefix="orc-try-") as made:
        folder, tree, state = (Path(made) / name for name in ("run", "tree", "state"))
        order = _prepare(RunFolder(folder), tree, state, agent, settings)
        launch = find_backend(settings.type).launch(backend_settings(settings, root), order).to_spec()
        for path, text in {str(folder / launch.stdin): QUESTION, **launch.files}.items():
            ensure_folder(Path(path).parent)
            write_atomic(Path(path), text.encode("utf-8", "replace"), mode=0o600, sync=False)
        return _play(settings, launch, RunFolder(folder), _spec(folder, tree, agent.soul.name))


def _prepare(folder: RunFolder, tree: Path, state: Path, agent: AgentView, settings: BackendConfig) -> Order:
    """The folders of a try, with a new repository as the tree; what is asked of the backend there."""
    for each in (folder.home, folder.tmp, tree, state):
        ensure_folder(each)
    Git(tree / ".git").run("init", "--quiet", "--template=")
    order = Order(run_folder=folder.path, tree=tree, state=state, model=agent.model, read_only=True)
    if find_backend(settings.type).capabilities.names_session:
        order = replace(order, session="00000000-0000-4000-8000-000000000000")
    if settings.login and (home := os.environ.get("HOME")):
        order = replace(order, person_home=Path(home))
    return order


def _play(settings: BackendConfig, launch: LaunchSpec, folder: RunFolder, spec: RunSpec) -> Tried:
    """The program from its start to its end, and what it said."""
    environment = build_environment(folder, spec, os.environ)
    with open(folder.stdout, "w+b") as out, open(folder.stderr, "w+b") as err:
        outcome = Supervised(
            argv=launch.argv,
            env=add_launch_environment(environment, launch, os.environ),
            cwd=Path(spec.tree["path"]),
            stdin=folder.path / launch.stdin,
            stdout=out,
            stderr=err,
            limits=Limits(wall_s=TRY_S, grace_s=5, output_bytes=8 * 1024 * 1024),
            run_id=spec.run,
            run_dir=folder.path,
            secrets=secret_values(launch, os.environ),
        ).run()
        tail = outcome.error_tail.decode("utf-8", "replace")
        output = Output(out, tail, outcome.exit, outcome.signal, ended=outcome.end is End.ENDED)
        said = find_backend(settings.type).read(output) or Said(ok=outcome.exit == 0, why=tail.strip()[-300:])
    return Tried(said, outcome.seconds, outcome.problem)


def _spec(folder: Path, tree: Path, agent: str) -> RunSpec:
    return RunSpec(
        run=f"try.{agent}",
        kind=RunKind.REVIEW,
        job="try",
        number=1,
        orcdir=folder.parent,
        agent=agent,
        project="try",
        tree={"path": str(tree), "author": {"name": agent, "email": f"{agent}@agents.orc.invalid"}},
        limits=LimitsSpec(),
    )


def tell_tried(name: str, tried: Tried) -> Finding:
    """What is to be said of a try."""
    what = f"try {name}"
    if tried.problem or not tried.said.ok:
        trouble = f" ({tried.said.trouble})" if tried.said.trouble else ""
        why = tried.problem or tried.said.why or "it did not say that it had done what was asked"
        return Finding(what, Health.FAIL, f"no answer{trouble}: {why}", "try its program by hand, with the same key")
    usage = tried.said.usage
    used = f", {usage.total:,} tokens" if usage else ""
    text = " ".join(tried.said.text.split())[:60]
    return Finding(what, Health.OK, f"answered {text!r} in {tried.seconds:.1f} s{used}")
