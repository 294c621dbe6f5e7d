"""The files of skills, put into the folder of a run: a project has none of them where the agent works."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from orchestrator.adapters.library import blob_id, read_skill_files
from orchestrator.core.attempt_record import Attempt, Used
from orchestrator.core.ids import RunId
from orchestrator.core.skills import SKILLS, Chosen, skill_path
from orchestrator.engine.launch import folder_of
from orchestrator.engine.workspace import Workspace

FOLDER = "skills"
"""In the folder of a run."""


def skills_folder(ws: Workspace, run: RunId) -> str:
    """Where the files of the skills will lie in a run."""
    return str(folder_of(ws, str(run)).path / FOLDER)


def with_files(ws: Workspace, chosen: Iterable[Chosen]) -> tuple[tuple[Chosen, ...], tuple[Used, ...]]:
    """The skills of a prompt with the places where their files will lie, and what those files are beside SKILL.md."""
    skills, used = [], []
    for each in chosen:
        name = each.skill.name
        files = read_skill_files(ws.paths.root, name, each.skill.blob)
        skills.append(replace(each, folder=f"{SKILLS}/{name}", files=tuple(files)))
        used += [Used(f"{FOLDER}/{name}/{path}", blob_id(data)) for path, data in files.items()]
    return tuple(skills), tuple(used)


def used_skill(chosen: Chosen) -> Used:
    """The version of a skill that went into a prompt."""
    return Used(skill_path(chosen.skill.name), chosen.skill.blob)


def files_of(ws: Workspace, attempt: Attempt) -> dict[str, bytes]:
    """What goes into the folder of an attempt's run, by path there: exactly what it was reserved with."""
    return {each.name: ws.ledger.objects.read(each.blob) for each in (*attempt.skills, *attempt.files)}
