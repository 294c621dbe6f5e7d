"""Skills: those of `skills/`, their earlier versions, and how the ones that two runs used differ.

An earlier version is asked of Git by its blob id. It counts only if it reads as that very skill.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff

from orchestrator.adapters.git_objects import read_small_blobs
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.library import MOST_BYTES, blob_id, parse_skill, read_souls, scan_skills
from orchestrator.adapters.triggers import LIMIT_S, is_slow
from orchestrator.core.agent import Skill, Soul
from orchestrator.core.attempt_record import Attempt, Used
from orchestrator.core.ids import RunKind
from orchestrator.core.nearest import guess
from orchestrator.core.skills import BUDGET_TOKENS, skill_of_path, skill_path, split_pin, tokens_of
from orchestrator.engine.find import find_job
from orchestrator.engine.workspace import Workspace
from orchestrator.errors import InvalidFileError, NotFoundError

MOST_TOLD = 8
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BLOB = re.compile(r"[0-9a-f]{8,64}")
_RUN = re.compile(rf"(?P<job>[^.]+)(?:\.{RunKind.ATTEMPT}-(?P<number>[1-9][0-9]{{0,8}}))?")


@dataclass(frozen=True, slots=True)
class SkillNow:
    """One skill as it is now. `tokens` of its body; `agents` bring it to every job; `problems` do not keep it out."""

    name: str
    description: str
    trigger: str
    blob: str
    tokens: int
    agents: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skills:
    """All skills, and what is wrong with files that cannot be used."""

    skills: tuple[SkillNow, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SkillDiff:
    """How skills differ: what was compared, each skill with its two blob ids ('' for none), and the patch."""

    old: str
    new: str
    blobs: Mapping[str, tuple[str, str]]
    text: str


def look_at_skills(ws: Workspace) -> Skills:
    """Every skill now. Tries out triggers, so it may take a moment."""
    shelf = scan_skills(ws.paths.root)
    souls, _ = read_souls(ws.paths.root, known=ws.paths.known)
    used_by: dict[str, list[str]] = {}
    for soul in souls.values():
        for asked in soul.skills:
            used_by.setdefault(split_pin(asked)[0], []).append(soul.name)
    listed = tuple(
        SkillNow(
            skill.name,
            skill.description,
            skill.trigger,
            skill.blob,
            tokens_of(skill.body),
            tuple(used_by.get(skill.name, ())),
            tuple(lint_skill(skill)),
        )
        for skill in shelf.good.values()
    )
    problems = [str(problem) for problem in shelf.problems]
    return Skills(listed, (*problems, *(f"souls/{each}" for each in missing_skills(souls, shelf.good))))


def missing_skills(souls: Mapping[str, Soul], skills: Mapping[str, Skill]) -> Iterator[str]:
    """What agents bring that is not there. A pinned version may be of a skill that was removed."""
    for soul in souls.values():
        for asked in soul.skills:
            if "@" not in asked and asked not in skills:
                yield f"{soul.name}.md: skill {asked!r} has no usable file in skills/"


def skills_problem(ws: Workspace, names: Iterable[str]) -> str:
    """Why no job can have the skills that it asks for, by `name` or `name@blob`; '' if it can."""
    for each in names:
        try:
            find_skill(ws, each)
        except InvalidFileError as error:
            return str(error)
        except NotFoundError as error:
            return error.message + (f". {error.cause}" if error.cause else "")
    return ""


def lint_skill(skill: Skill) -> Iterator[str]:
    """What a person should put right in a skill that can be used."""
    if skill.trigger and is_slow(skill.trigger):
        yield (
            f"its trigger takes longer than {LIMIT_S * 1000:.0f} ms on some texts, and then does not count: "
            "avoid repetitions inside and beside each other"
        )
    if tokens_of(skill.body) > BUDGET_TOKENS:
        yield f"its {tokens_of(skill.body)} tokens never fit whole: a prompt has room for {BUDGET_TOKENS}"


# --- versions ---


def find_skill(ws: Workspace, asked: str) -> Skill:
    """A skill by name, or a version of it by `name@blob`. Raises NotFoundError, InvalidFileError."""
    name, blob = split_pin(asked)
    if "@" in asked:
        return find_pinned(ws, name, blob)
    shelf = scan_skills(ws.paths.root)
    if name in shelf.good:
        return shelf.good[name]
    for problem in shelf.problems:
        if problem.file == skill_path(name):
            raise problem
    known = ", ".join(shelf.good) or "none"
    raise NotFoundError(
        f"there is no skill {name!r} (there: {known})" + guess(name, shelf.good), hint="orc skills list"
    )


def find_pinned(ws: Workspace, name: str, blob: str) -> Skill:
    """The version of a skill whose blob id begins with `blob`, at least 8 hex digits.

    It may lie in `skills/`, in the ledger's copies, or anywhere in the repository. Raises NotFoundError, which names
    the known versions.
    """
    cause = ""
    if not _BLOB.fullmatch(blob):
        cause = "A version is named by at least 8 hex digits of its blob id."
    else:
        current = scan_skills(ws.paths.root).good.get(name)
        if current is not None and current.blob.startswith(blob):
            return current
        # Of several objects that begin so git names none; those of the ledger's copies still count.
        for asked in ([blob], [each for each in versions_of(ws, name) if each.startswith(blob)]):
            found, why = _read_versions(ws, name, asked)
            if len(found) == 1:
                return found[0]
            cause = cause or why
    known = ", ".join(each[:12] for each in _known_versions(ws, name)[:MOST_TOLD]) or "none"
    raise NotFoundError(
        f"skill {name!r} has no version {blob!r} (known: {known})", cause=cause, hint=f"orc skills log {name}"
    )


def _read_versions(ws: Workspace, name: str, blobs: list[str]) -> tuple[list[Skill], str]:
    """Those of the blobs that are this skill, and why one is not."""
    found, why = [], ""
    for oid, data in read_small_blobs(ws.ledger.git, blobs, MOST_BYTES).items():
        # A tag may have the name that was asked for, and name anything.
        if blob_id(data) == oid and any(oid.startswith(each) for each in blobs):
            try:
                found.append(parse_skill(name, data, f"{skill_path(name)}@{oid[:12]}"))
            except InvalidFileError as error:
                why = str(error)
    return found, why


def versions_of(ws: Workspace, name: str) -> list[str]:
    """The blob ids of the ledger's copies of a skill, the one that was used for the first time last first."""
    if not _NAME.fullmatch(name):
        return []
    path = f"library/{skill_path(name)}"
    out = ws.ledger.git.run("log", "--format=", "--raw", "--no-abbrev", "--no-renames", REF, "--", path).out
    lines = (line.split() for line in out.decode("utf-8", "replace").splitlines() if line.startswith(":"))
    return list(dict.fromkeys(facts[3] for facts in lines if set(facts[3]) != {"0"}))


def _known_versions(ws: Workspace, name: str) -> list[str]:
    current = scan_skills(ws.paths.root).good.get(name)
    return list(dict.fromkeys([*([current.blob] if current else []), *versions_of(ws, name)]))


# --- differences ---


def diff_versions(ws: Workspace, name: str, old: str, new: str) -> SkillDiff:
    """How two versions of a skill differ. Raises NotFoundError."""
    before, after = find_pinned(ws, name, old).blob, find_pinned(ws, name, new).blob
    return _diff(ws, f"{name}@{before}", f"{name}@{after}", {name: before}, {name: after})


def diff_runs(ws: Workspace, old: str, new: str) -> SkillDiff:
    """How the skills that two attempts used differ; a job is its newest attempt. Raises NotFoundError."""
    (one, before), (other, after) = _used_by(ws, old), _used_by(ws, new)
    return _diff(ws, one, other, before, after)


def _used_by(ws: Workspace, run: str) -> tuple[str, dict[str, str]]:
    named = _RUN.fullmatch(run)
    if named is None:
        raise NotFoundError(f"{run!r} names no attempt", hint="orc show JOB; a run is JOB.attempt-1")
    folder = find_job(ws, named["job"])
    number = int(named["number"] or folder.job.at.attempt)
    if not number:
        raise NotFoundError(f"{folder.job.id} has had no attempt yet", hint=f"orc show {folder.job.id}")
    attempt = ws.ledger.record(Attempt, folder, f"attempt-{number}")
    return f"{folder.job.id}.attempt-{number}", dict(_blobs_of(attempt.skills))


def _blobs_of(used: tuple[Used, ...]) -> Iterator[tuple[str, str]]:
    for each in used:
        if name := skill_of_path(each.name):
            yield name, each.blob


def _diff(ws: Workspace, old: str, new: str, before: Mapping[str, str], after: Mapping[str, str]) -> SkillDiff:
    blobs = {name: (before.get(name, ""), after.get(name, "")) for name in sorted({*before, *after})}
    lines: list[str] = []
    for name, (one, other) in blobs.items():
        if one != other:
            lines += unified_diff(
                _lines(ws, one), _lines(ws, other), _called(name, one), _called(name, other), lineterm=""
            )
    return SkillDiff(old, new, blobs, "\n".join(lines))


def _called(name: str, blob: str) -> str:
    return f"{skill_path(name)}@{blob[:12]}" if blob else "/dev/null"


def _lines(ws: Workspace, blob: str) -> list[str]:
    if not blob:
        return []
    found = read_small_blobs(ws.ledger.git, [blob], MOST_BYTES).get(blob)
    if found is None:
        raise NotFoundError(f"blob {blob} is not in the repository any more", hint="git fsck")
    return found.decode("utf-8", "replace").splitlines()
