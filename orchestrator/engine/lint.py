"""Lint: what a person should put right in souls and skills that can be used as they are. Only warns."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.adapters.library import read_souls, scan_skills
from orchestrator.core.agent import lint_soul, lint_voices
from orchestrator.engine.agents import BUILT_IN, backend_of
from orchestrator.engine.finding import Finding, Health
from orchestrator.engine.skills import lint_skill, missing_skills
from orchestrator.engine.workspace import Workspace


def look_at_souls(ws: Workspace) -> Iterator[Finding]:
    """Sections that are missing, voices that are too long, and agents that nobody can tell apart."""
    souls, _ = read_souls(ws.paths.root, known=ws.paths.known)
    for name, soul in souls.items():
        backend = backend_of(ws.config, soul.backend)
        is_model = backend is not None and backend.type in BUILT_IN
        for text in lint_soul(soul, is_model=is_model):
            yield Finding(f"soul {name}", Health.WARN, text, f"add to souls/{name}.md, or shorten it")
    for one, other, how in lint_voices(souls.values()):
        text = f"{one} and {other} sound alike: {how:.0%} of what their voices say is in both"
        yield Finding("voices", Health.WARN, text, f"give souls/{other}.md a voice of its own")


def look_at_skills_lint(ws: Workspace) -> Iterator[Finding]:
    """Slow triggers, bodies that never fit, and skills that agents bring but nobody has."""
    skills = scan_skills(ws.paths.root).good
    for name, skill in skills.items():
        for text in lint_skill(skill):
            yield Finding(f"skill {name}", Health.WARN, text, f"change skills/{name}/SKILL.md")
    souls, _ = read_souls(ws.paths.root, known=ws.paths.known)
    for text in missing_skills(souls, skills):
        yield Finding("skills", Health.WARN, f"souls/{text}; its jobs cannot start", "orc skills list")
