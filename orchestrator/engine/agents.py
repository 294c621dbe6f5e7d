"""Agents: those of `souls/` as they can be used here, and their backends' settings."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.library import read_souls
from orchestrator.core.agent import Soul
from orchestrator.core.board import AgentView
from orchestrator.core.config import BackendConfig
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import NotFoundError


def view_agents(ws: Workspace) -> tuple[dict[str, AgentView], list[str]]:
    """The agents of `souls/`, and what is wrong with the files that are not used."""
    souls, problems = read_souls(ws.paths.root, known=ws.paths.known)
    views = {name: view_agent(ws, soul) for name, soul in souls.items()}
    return views, [str(problem) for problem in problems]


def view_agent(ws: Workspace, soul: Soul) -> AgentView:
    """One agent: what it runs on, and why it could not be started."""
    backend = ws.config.backends.get(soul.backend)
    if backend is None:
        known = ", ".join(ws.config.backends) or "none"
        return AgentView(soul, soul.family, soul.model, f"backend {soul.backend!r} is not in orc.yaml (there: {known})")
    family, model = soul.family or backend.family, soul.model or backend.model
    return AgentView(soul, family, model, backend_problem(backend, ws.paths.root))


def backend_problem(backend: BackendConfig, root: Path) -> str:
    """Why a backend's program cannot be started here, '' if it can."""
    try:
        return find_backend(backend.type).problem(backend_settings(backend, root), path=os.environ.get("PATH", ""))
    except NotFoundError as error:
        return error.message


def backend_settings(backend: BackendConfig, root: Path) -> dict[str, Any]:
    """A backend's settings, its paths relative to the workspace made whole: a run starts in another folder."""
    settings = asdict(backend)
    if backend.script:
        settings["script"] = str(root / backend.script)
    if backend.argv and "/" in backend.argv[0]:
        settings["argv"] = (str(root / backend.argv[0]), *backend.argv[1:])
    return settings
