"""Agents: those of `souls/` as they can be used here, and their backends' settings."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.base import SAME_SESSION, Backend, Order
from orchestrator.adapters.backends.registry import BACKENDS, find_backend
from orchestrator.adapters.library import read_souls
from orchestrator.adapters.run_values import LaunchSpec
from orchestrator.core.agent import Soul
from orchestrator.core.board import AgentView
from orchestrator.core.config import BackendConfig, Config, Suspicion
from orchestrator.core.nearest import guess
from orchestrator.core.said import NOTHING_USED, Usage
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError

BUILT_IN = frozenset(BACKENDS) - {"command", "scripted"}
"""Backends that a soul may name without a word in orc.yaml."""
AGAIN_FILE = "again.md"
"""What a reviewer is told that is asked once more, in the folder of its run."""


def view_agents(ws: Workspace) -> tuple[dict[str, AgentView], list[str]]:
    """The agents of `souls/`, and what is wrong with the files that are not used."""
    souls, problems = read_souls(ws.paths.root, known=ws.paths.known)
    # Many agents share a program: it is looked for once.
    programs: dict[str, str] = {}
    views = {name: view_soul(ws.config, ws.paths.root, soul, programs) for name, soul in souls.items()}
    return views, [str(problem) for problem in problems]


def view_agent(ws: Workspace, soul: Soul) -> AgentView:
    """One agent: what it runs on, and why it could not be started."""
    return view_soul(ws.config, ws.paths.root, soul)


def view_soul(config: Config, root: Path, soul: Soul, programs: dict[str, str] | None = None) -> AgentView:
    """The same for a soul that need not be in a workspace; paths of `config` are relative to `root`.

    `programs`: what was found about backends before, by their names; what is found now is added.
    """
    backend = backend_of(config, soul.backend)
    if backend is None:
        known = sorted({*config.backends, *BUILT_IN})
        problem = f"backend {soul.backend!r} is not in orc.yaml (there: {', '.join(known)})"
        return AgentView(soul, soul.family, soul.model, problem + guess(soul.backend, known))
    model = soul.model or backend.model
    # What is known of the model goes before what somebody says of it.
    family = family_of(config, model) or soul.family or backend.family or _family(backend)
    return AgentView(soul, family, model, _problem(config, root, backend, model, {} if programs is None else programs))


def backend_of(config: Config, name: str) -> BackendConfig | None:
    """A backend by the name that souls use: one of orc.yaml, or one that needs no settings."""
    found = config.backends.get(name)
    return found or (BackendConfig(name=name, type=name) if name in BUILT_IN else None)


def family_of(config: Config, model: str) -> str:
    """The family of a model as orc.yaml has it, '' if it says nothing."""
    known = config.models.get(model)
    return known.family if known else ""


def _family(backend: BackendConfig) -> str:
    try:
        return find_backend(backend.type).capabilities.family
    except NotFoundError:
        return ""  # Why it cannot be used is told as the agent's problem.


def _problem(config: Config, root: Path, backend: BackendConfig, model: str, programs: dict[str, str]) -> str:
    models = config.models
    if model and models and model not in models:
        known = ", ".join(sorted(models))
        return f"model {model!r} is not under models: in orc.yaml (there: {known})" + guess(model, models)
    if not model and backend.type in BUILT_IN:
        return f"no model is named: add `model:` to its soul, or to backends.{backend.name} in orc.yaml"
    if backend.name not in programs:
        programs[backend.name] = backend_problem(backend, root)
    return programs[backend.name]


def backend_problem(backend: BackendConfig, root: Path) -> str:
    """Why a backend's program cannot be started here, '' if it can."""
    try:
        return find_backend(backend.type).problem(backend_settings(backend, root), path=os.environ.get("PATH", ""))
    except NotFoundError as error:
        return error.message


def backend_settings(backend: BackendConfig, root: Path) -> dict[str, Any]:
    """A backend's settings, its paths relative to the workspace made whole: a run starts in another folder."""
    settings = asdict(backend)
    if "/" in backend.program:
        settings["program"] = str(root / backend.program)
    if backend.script:
        settings["script"] = str(root / backend.script)
    if backend.argv and "/" in backend.argv[0]:
        settings["argv"] = (str(root / backend.argv[0]), *backend.argv[1:])
    return settings


def soul_file(ws: Workspace, name: str) -> Path:
    """The file of an agent, whether it can be used or not. Raises NotFoundError."""
    folder = ws.paths.root / "souls"
    known = sorted(path.stem for path in folder.glob("*.md"))
    if name in known:
        return folder / f"{name}.md"
    there = ", ".join(known) or "none"
    raise NotFoundError(f"there is no agent {name!r} (there: {there})" + guess(name, known), hint="orc workers")


def soul_of(ws: Workspace, name: str) -> Soul:
    """An agent's soul as it is now. Raises NotFoundError."""
    souls, _ = read_souls(ws.paths.root)
    if name not in souls:
        raise NotFoundError(f"agent {name!r} has no usable file in souls/")
    return souls[name]


def backend_for(ws: Workspace, soul: Soul) -> tuple[BackendConfig, Backend]:
    """The settings and the backend that a soul asks for. Raises NotFoundError."""
    return backend_in(ws.config, soul)


def backend_in(config: Config, soul: Soul) -> tuple[BackendConfig, Backend]:
    """The same for a soul that need not be in a workspace."""
    settings = backend_of(config, soul.backend)
    if settings is None:
        raise NotFoundError(f"backend {soul.backend!r} is not in orc.yaml")
    return settings, find_backend(settings.type)


def suspicion_of(config: Config, soul: Soul) -> Suspicion:
    """When an approval by this agent is suspicious. A program that counts no tokens may well be quick."""
    settings, backend = backend_in(config, soul)
    quick = backend.capabilities.usage == "none" if settings.quick is None else settings.quick
    limits = config.review.suspicion
    return replace(limits, seconds=0.0) if quick else limits


def launch_spec(
    ws: Workspace, soul: Soul, order: Order, before: Usage = NOTHING_USED, *, again: bool = False
) -> LaunchSpec:
    """How the program of an agent is started for a run. Raises OrcError."""
    return launch_soul(ws.config, ws.paths.root, soul, order, before, again=again)


def launch_soul(
    config: Config, root: Path, soul: Soul, order: Order, before: Usage = NOTHING_USED, *, again: bool = False
) -> LaunchSpec:
    """The same for a soul that need not be in a workspace; paths of `config` are relative to `root`.

    `again`: a reviewer may be asked once more in the session that the run begins.
    """
    settings, backend = backend_in(config, soul)
    if settings.login and (home := os.environ.get("HOME")):
        order = replace(order, person_home=Path(home))
    launch = backend.launch(backend_settings(settings, root), order)
    can = backend.capabilities
    session = order.resume or (order.session if can.names_session else "")
    keeps_form = settings.type in BUILT_IN
    more = {"backend": settings.type if keeps_form or settings.type == "command" else "", "state": str(order.state)}
    spec = launch.to_spec(**more, session=session, before=before)
    if not (again and may_be_asked_again(config, soul)):
        return spec
    order = replace(order, resume=SAME_SESSION)
    once_more = backend.launch(backend_settings(settings, root), order).to_spec(**more, stdin=AGAIN_FILE)
    return replace(spec, again=once_more)


def may_be_asked_again(config: Config, soul: Soul) -> bool:
    """Whether the program of an agent can go on with the session that a run of it began, and tells which that is."""
    settings, backend = backend_in(config, soul)
    return settings.type in BUILT_IN and backend.capabilities.resume != "no"
