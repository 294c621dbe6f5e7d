"""Reads what a person wrote for the agents: rules, souls, skills, criteria and schedules, from the working tree.

Nothing here is executed or followed: a link is refused, and no file includes another.
A broken file does not hide the others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache, lru_cache, partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from orchestrator.adapters.reading import safe_read
from orchestrator.adapters.schemas import Lines, validate
from orchestrator.adapters.strict_yaml import dump, load_mapping
from orchestrator.core.codec import from_mapping
from orchestrator.core.criteria import Checks, Criteria, Item
from orchestrator.errors import InvalidFileError

if TYPE_CHECKING:
    # Who reads one sort of file needs the values of that sort only.
    from orchestrator.core.agent import Skill, Soul
    from orchestrator.core.prompt import Templates
    from orchestrator.core.recurring import Schedule
    from orchestrator.core.rules import Incident

MOST_BYTES = 256 * 1024
"""A larger file is none that a person wrote for a prompt."""
TRIGGER_LIMIT = 500
"""Characters of a skill's trigger."""
SKILL_FILES = 50
"""Files beside its SKILL.md that go along with a skill, the first by their names."""

_RULE_NAME = re.compile(r"([0-9]{4})-([a-z0-9]+(?:-[a-z0-9]+)*)")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_SOME_SLOT = datetime(2026, 1, 1, tzinfo=UTC)
_FENCE = re.compile(r"^-{3}[ \t]*$", re.MULTILINE)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shelf(Generic[T]):
    """What a folder holds by name, in the order of the names, and the problems of the files that could not be used."""

    good: Mapping[str, T]
    problems: tuple[InvalidFileError, ...]

    def all_good(self) -> Mapping[str, T]:
        """What the folder holds. Raises the first problem if there is one."""
        if self.problems:
            raise self.problems[0]
        return self.good


@dataclass(frozen=True, slots=True)
class _Page:
    """A Markdown file: its checked front matter, the text below it, and its blob id."""

    facts: Mapping[str, Any]
    body: str
    blob: str


def blob_id(data: bytes) -> str:
    """The id that Git (SHA-1 object format) gives to a file with these bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def read_rules(root: Path) -> list[Incident]:
    """The rules in the order of their numbers. Raises InvalidFileError for the first broken file."""
    return list(scan_rules(root).all_good().values())


def read_souls(root: Path, *, known: Path | None = None) -> tuple[dict[str, Soul], list[InvalidFileError]]:
    """The usable souls by name, and the problems of the others; `known` as in `schemas.validate`."""
    shelf = _scan(_pages(root / "souls"), root, partial(_soul, known=known))
    return dict(shelf.good), list(shelf.problems)


def read_criteria(root: Path) -> dict[str, Criteria]:
    """Criteria by kind: the shipped ones, replaced or joined by `criteria/KIND.yaml`. Raises InvalidFileError."""
    return dict(scan_criteria(root).all_good())


def scan_rules(root: Path) -> Shelf[Incident]:
    """The usable rules by id, and the problems of the others."""
    return _scan(_pages(root / "rules"), root, _incident)


def scan_skills(root: Path) -> Shelf[Skill]:
    """The usable skills by name, and the problems of the others. A folder without a SKILL.md is a problem."""
    folder = root / "skills"
    entries = sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []
    found = (entry for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    return _scan(((entry.name, entry / "SKILL.md") for entry in found), root, _skill)


def scan_criteria(root: Path) -> Shelf[Criteria]:
    """The usable criteria by kind, and the problems of the others. A broken file leaves the shipped ones in force."""
    own = _scan(_pages(root / "criteria", ".yaml"), root, _criteria)
    shipped = {name: _shipped(name) for name in _shipped_files()}
    return Shelf({**shipped, **own.good}, own.problems)


def find_criteria(root: Path, kind: str) -> Criteria | None:
    """The criteria of one kind; None if there is no file for it. Raises InvalidFileError if its own one is broken."""
    own = ((name, path) for name, path in _pages(root / "criteria", ".yaml") if name == kind)
    found = _scan(own, root, _criteria).all_good().get(kind)
    return found or (_shipped(kind) if kind in _shipped_files() else None)


def list_kinds(root: Path) -> tuple[str, ...]:
    """The kinds for which there is a file, be it broken or not: the shipped ones first, then the workspace's own."""
    return tuple(dict.fromkeys((*_shipped_files(), *(name for name, _ in _pages(root / "criteria", ".yaml")))))


@cache
def _shipped_files() -> Mapping[str, bytes]:
    with as_file(files("orchestrator").joinpath("criteria")) as folder:
        return {name: path.read_bytes() for name, path in _pages(folder, ".yaml")}


def _shipped(kind: str) -> Criteria:
    # orc's own tests hold these against the schema: to load the validator takes longer than all else that a look does.
    return parse_criteria(kind, _shipped_files()[kind], f"{kind}.yaml", checked=False)


def scan_schedules(root: Path) -> Shelf[Schedule]:
    """The usable schedules by name, and the problems of the others."""
    return _scan(_pages(root / "schedules", ".yaml"), root, _schedule)


def _pages(folder: Path, ending: str = ".md") -> Iterator[tuple[str, Path]]:
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.suffix == ending and not path.name.startswith((".", "#")):
            yield path.stem, path


def _scan(entries: Iterator[tuple[str, Path]], root: Path, read: Callable[[str, Path, str], T]) -> Shelf[T]:
    good: dict[str, T] = {}
    problems: list[InvalidFileError] = []
    for name, path in entries:
        file = path.relative_to(root).as_posix()
        try:
            if path.parent.is_symlink():
                raise InvalidFileError("its folder is a symbolic link; copy the folder here instead")
            good[name] = read(name, path, file)
        except FileNotFoundError:
            problems.append(InvalidFileError("does not exist", file=file))
        except InvalidFileError as error:
            problems.append(error if error.file == file else error.in_file(file))
    return Shelf(good, tuple(problems))


def _incident(name: str, path: Path, file: str) -> Incident:
    from orchestrator.core.rules import Enforcement, Incident

    named = _RULE_NAME.fullmatch(name)
    if named is None:
        raise InvalidFileError("a rule's file is named NNNN-slug.md, such as 0001-no-single-pass.md", file=file)
    page = _read_page(path, "rule", file)
    return Incident(
        number=int(named[1]),
        slug=named[2],
        rule=page.facts["rule"],
        incident=page.facts["incident"],
        date=date.fromisoformat(page.facts["date"]),
        enforced_by=Enforcement(page.facts["enforced_by"]),
        test=page.facts.get("test", ""),
        story=page.body,
        blob=page.blob,
    )


def _soul(name: str, path: Path, file: str, *, known: Path | None = None) -> Soul:
    _check_name(name, file)
    return parse_soul(name, safe_read(path, max_bytes=MOST_BYTES).data, file, known=known)


def parse_soul(name: str, data: bytes, file: str, *, known: Path | None = None) -> Soul:
    """The agent `name` from the bytes of its soul; `file` is what errors call it. Raises InvalidFileError."""
    from orchestrator.core.agent import BODY_LIMIT, Soul

    page = _parse_page(data, "soul", file, known)
    if len(page.body) > BODY_LIMIT:
        raise InvalidFileError(f"the text has {len(page.body)} characters; at most {BODY_LIMIT} fit", file=file)
    facts = page.facts
    return Soul(
        name=name,
        backend=facts["backend"],
        model=facts.get("model", ""),
        family=facts.get("family", ""),
        roles=tuple(facts.get("roles", ("work", "review"))),
        skills=tuple(facts.get("skills", ())),
        projects=tuple(facts.get("projects", ())),
        voice=dict(facts.get("voice", {})),
        kinds=tuple(facts.get("kinds", ())),
        persistent=bool(facts.get("persistent", False)),
        drain=_reason(facts.get("drain", False)),
        body=page.body,
        blob=page.blob,
    )


def parse_skill(name: str, data: bytes, file: str) -> Skill:
    """The skill `name` from the bytes of a SKILL.md; `file` is what errors call it. Raises InvalidFileError."""
    from orchestrator.core.agent import Skill

    page = _parse_page(data, "skill", file, None)
    facts = page.facts
    if facts["name"] != name:
        raise InvalidFileError(f"is `{facts['name']}`, but the folder is named `{name}`", file=file, key="name")
    skill = Skill(
        name=name,
        description=facts["description"],
        license=facts.get("license", ""),
        compatibility=facts.get("compatibility", ""),
        metadata=dict(facts.get("metadata", {})),
        allowed_tools=tuple(facts.get("allowed-tools", "").split()),
        body=page.body,
        blob=page.blob,
    )
    _check_trigger(skill.trigger, file)
    return skill


def read_skill_files(root: Path, name: str, blob: str) -> dict[str, bytes]:
    """The files of a skill beside its SKILL.md, by their paths in its folder; none unless that is the version `blob`.

    Links, large files, and names that are hidden or hold more than letters, digits and `._-` are left out.
    """
    folder = root / "skills" / name
    found: dict[str, bytes] = {}
    try:
        if blob_id(safe_read(folder / "SKILL.md", max_bytes=MOST_BYTES).data) != blob:
            return found
    except (OSError, InvalidFileError):
        return found
    for path in _files_below(folder):
        if path.name == "SKILL.md" and path.parent == folder:
            continue
        if len(found) == SKILL_FILES:
            break
        try:
            found[path.relative_to(folder).as_posix()] = safe_read(path, max_bytes=MOST_BYTES).data
        except (OSError, InvalidFileError):
            continue  # A link, a pipe, or larger than a text for a prompt: the message does not name it.
    return found


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not _FILE_NAME.fullmatch(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files_below(path)
        else:
            yield path


def _check_trigger(trigger: str, file: str) -> None:
    """Only that it can be used at all: how quick it is depends on the text, so `adapters/triggers.py` sees to that."""
    key = "metadata.trigger"
    if len(trigger) > TRIGGER_LIMIT:
        raise InvalidFileError(f"has {len(trigger)} characters; at most {TRIGGER_LIMIT} fit", file=file, key=key)
    try:
        re.compile(trigger)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidFileError(f"is not a regular expression: {error}", file=file, key=key) from error


def _reason(value: bool | str) -> str:
    """`true` and a reason of a file as a reason; '' for `false`."""
    return (value.strip() if isinstance(value, str) else "") or ("its file says so" if value else "")


def _skill(name: str, path: Path, file: str) -> Skill:
    return parse_skill(name, safe_read(path, max_bytes=MOST_BYTES).data, file)


def _criteria(name: str, path: Path, file: str) -> Criteria:
    _check_name(name, file)
    return parse_criteria(name, safe_read(path, max_bytes=MOST_BYTES).data, file)


@lru_cache(maxsize=64)
def parse_criteria(name: str, data: bytes, file: str, *, checked: bool = True) -> Criteria:
    """The criteria of a kind from the bytes of their file, which errors call `file`. Raises InvalidFileError.

    `checked` is False for a file that has been held against the schema before.
    """
    _, facts = _load(data, "criteria", file, checked=checked)
    items = tuple(Item(one["id"], one["question"], one.get("required", False)) for one in facts["items"])
    ids = [item.id for item in items]
    if repeated := sorted({one for one in ids if ids.count(one) > 1}):
        raise InvalidFileError(f"used twice as an id: {', '.join(repeated)}", file=file, key="items")
    threshold = float(facts["threshold"]) if "threshold" in facts else None
    checks = from_mapping(Checks, facts.get("checks", {}))
    return Criteria(kind=name, items=items, threshold=threshold, checks=checks, blob=blob_id(data), source=data)


def _schedule(name: str, path: Path, file: str) -> Schedule:
    _check_name(name, file)
    return parse_schedule(name, safe_read(path, max_bytes=MOST_BYTES).data, file)


@lru_cache(maxsize=256)
def parse_schedule(name: str, data: bytes, file: str) -> Schedule:
    """The schedule `name` from the bytes of its file, which errors call `file`. Raises InvalidFileError."""
    from orchestrator.adapters.cron import problem_of
    from orchestrator.adapters.job_file import parse_job
    from orchestrator.core.recurring import Catchup, Overlap, Schedule, fill_in

    lines, facts = _load(data, "schedule", file)
    schedule = Schedule(
        name=name,
        cron=" ".join(facts["cron"].split()),
        tz=facts["tz"],
        job=facts["job"],
        catchup=Catchup(facts.get("catchup", Catchup.LAST)),
        overlap=Overlap(facts.get("overlap", Overlap.SKIP)),
        blob=blob_id(data),
        **{key: facts[key] for key in ("enabled", "grace_s", "jitter_s") if key in facts},
    )
    key, problem = problem_of(schedule.cron, schedule.tz)
    if problem:
        raise InvalidFileError(problem, file=file, line=lines.get((key,), 0), key=key)
    if schedule.catchup is Catchup.ALL and schedule.overlap is not Overlap.ALLOW:
        hint = "Write `overlap: allow`, or another `catchup`."
        problem = "`all` makes several jobs at once, which `overlap: skip` does not let be open together"
        raise InvalidFileError(problem, file=file, line=lines.get(("catchup",), 0), key="catchup", hint=hint)
    try:
        # As it will be: what is filled in is as long for one slot as for another.
        parse_job(dump(fill_in(schedule, _SOME_SLOT, _SOME_SLOT)).encode(), name=f"{name}.yaml")
    except InvalidFileError as error:
        line = lines.get(("job", error.key), lines.get(("job",), 0))
        raise InvalidFileError(error.reason, file=file, line=line, key=f"job.{error.key}", hint=error.hint) from error
    return schedule


def _load(data: bytes, schema_name: str, file: str, *, checked: bool = True) -> tuple[Lines, Any]:
    """A file that is one mapping: where its keys stand, and the mapping, checked against the schema if asked for."""
    document = load_mapping(data, file=file)
    if checked:
        validate(document.value, schema_name, file=file, lines=document.lines)
    return document.lines, document.value


def _check_name(name: str, file: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidFileError("the file's name may have lower-case letters, digits and single hyphens", file=file)


def _read_page(path: Path, schema_name: str, file: str, known: Path | None = None) -> _Page:
    return _parse_page(safe_read(path, max_bytes=MOST_BYTES).data, schema_name, file, known)


# The engine reads all files at every tick, and nearly always they say what they said before.
@lru_cache(maxsize=512)
def _parse_page(data: bytes, schema_name: str, file: str, known: Path | None) -> _Page:
    import frontmatter
    from frontmatter.default_handlers import BaseHandler

    text = _decode(data, file)
    if not text.startswith("---\n") or len(_FENCE.findall(text)) < 2:
        raise InvalidFileError("must begin with front matter: YAML between two lines of ---", file=file, line=1)

    class StrictHandler(BaseHandler):
        """Front matter as strict YAML, checked against the schema. The line it begins on is the file's second."""

        FM_BOUNDARY = _FENCE

        def load(self, fm: str) -> dict[str, Any]:
            document = load_mapping(fm, file=file)
            facts: Any = document.value
            validate(facts, schema_name, file=file, lines=document.lines, known=known)
            return dict(facts)

    facts, body = frontmatter.parse(text, handler=StrictHandler())
    return _Page(facts, body, blob_id(data))


def _decode(data: bytes, file: str) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidFileError("is not UTF-8 text", file=file, line=line) from error
    return text.replace("\r\n", "\n")


@cache
def prompt_templates(name: str) -> Templates:
    """The two parts of a prompt as orc ships them: what the system prompt and the message begin as."""
    from orchestrator.core.prompt import Templates

    folder = files("orchestrator").joinpath("prompts")
    system, message = (folder.joinpath(f"{name}{part}.md").read_text(encoding="utf-8") for part in (".system", ""))
    return Templates(system, message)
