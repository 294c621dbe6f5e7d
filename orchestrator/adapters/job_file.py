"""A job as a file: what a person dropped becomes a `JobSpec`, a `Job` the file that the ledger and `queue/` hold.

The person's text is kept to the letter. It reads and writes bytes only; where the files lie is not its business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import date
from typing import Any

from orchestrator.adapters.orc_block import Parts, read_parts, write_parts
from orchestrator.adapters.schemas import load_schema, validate
from orchestrator.adapters.strict_yaml import KeyPath, load, load_mapping
from orchestrator.adapters.templates import SCHEMA_LINE, render_prompt, render_section
from orchestrator.core.codec import from_mapping, to_mapping
from orchestrator.core.document import FENCE, cut_front_matter
from orchestrator.core.globs import matches
from orchestrator.core.ids import slug
from orchestrator.core.job import Expects, Job, JobSpec, Kind, Purpose, Standing
from orchestrator.core.times import parse
from orchestrator.errors import InvalidFileError, LedgerError

SUFFIXES = (".yaml", ".yml", ".md")
"""The endings of files that are jobs."""

_LOOK_LIKE_ANSWERS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "none", "null"})

Problem = tuple[str, str, str]
"""The key, what is wrong with it, and the way out."""


@dataclass(frozen=True, slots=True)
class JobText:
    """A job file that was read: the person's text, what it says, and the engine's block if there is one.

    `lines` has the 1-based line of each key. The block is as somebody left it: compare it with
    the ledger before believing it.
    """

    text: str
    markdown: bool
    spec: JobSpec
    lines: Mapping[KeyPath, int]
    block: Mapping[str, Any] | None = None


def parse_job(data: bytes, *, name: str) -> JobText:
    """Read a job that a person wrote or edited; `name` is its file's. Raises InvalidFileError."""
    markdown = _is_markdown(name)
    parts = read_parts(data, markdown=markdown, file=name)
    facts, lines = _read_facts(parts.text, markdown=markdown, file=name)
    absent = "" if markdown and not facts.get("routine") else "absent"
    if not str(facts.get("prompt", absent)).strip():
        where = "below the front matter" if markdown else "below `prompt: |`, indented"
        hint = f"Write what is to be done {where}."
        raise InvalidFileError("is empty", file=name, line=lines.get(("prompt",), 0), key="prompt", hint=hint)
    validate(facts, "job", file=name, lines=lines)
    try:
        spec = JobSpec.from_file(facts)
    except ValueError as error:
        raise InvalidFileError(str(error), file=name) from error
    for key, reason, hint in _contradictions(spec, name):
        line = lines.get(tuple(key.split(".")), 0)
        raise InvalidFileError(reason, file=name, line=line, key=key, hint=hint)
    return JobText(parts.text, markdown, spec, lines, parts.block)


def show_job(job: Job) -> bytes:
    """The file of a job: the person's text, then where it stands."""
    return write_parts(job.text, to_mapping(job.at), markdown=job.markdown)


def read_job(data: bytes, *, name: str) -> Job:
    """The inverse of `show_job`, for files of the ledger. Raises LedgerError.

    The schema is not consulted: it may have become stricter since the job was accepted.
    """
    try:
        markdown = _is_markdown(name)
        parts: Parts = read_parts(data, markdown=markdown, file=name)
        facts, _ = _read_facts(parts.text, markdown=markdown, file=name)
        return Job(parts.text, markdown, JobSpec.from_file(facts), from_mapping(Standing, parts.block))
    except InvalidFileError as error:
        raise _unreadable(str(error)) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(f"{name}: {error}") from error


def job_template(kind: str = Kind.CODE, *, schema_path: str = "", prompt: str = "") -> str:
    """A job file to fill in: every key for agents with its meaning, all but the prompt and the kind commented out.

    `schema_path` is where editors find the schema. Without a prompt the text is not a valid job, so it
    cannot start by itself.
    """
    schema = load_schema("job")
    head = [SCHEMA_LINE.format(schema_path)] if schema_path else []
    head += ["# A job for orc. Only the prompt is required; to use another key, take the # in front of it away.", ""]
    body = render_prompt(schema["properties"]["prompt"], prompt)
    return (
        "\n".join([*head, *body, "", *render_section(schema, given={"kind": str(kind)}, skip=("prompt", "routine"))])
        + "\n"
    )


def _is_markdown(name: str) -> bool:
    if not name.endswith(SUFFIXES):
        raise InvalidFileError("is not a job by its name", file=name, hint=f"Let it end in {', '.join(SUFFIXES)}.")
    return name.endswith(".md")


def _read_facts(text: str, *, markdown: bool, file: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """The keys of a job; in Markdown the body is `prompt`."""
    if not markdown:
        document = load_mapping(text, file=file)
        return document.value, document.lines
    matter, body = cut_front_matter(text)
    facts, lines = _read_front_matter(matter, text, file)
    prompt = body.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if prompt.strip():
        if "prompt" in facts:
            reason = "is a key of the front matter, and there is a text below the front matter too"
            hint = "The text is the prompt: move the one into the other."
            raise InvalidFileError(reason, file=file, line=lines["prompt",], key="prompt", hint=hint)
        facts["prompt"] = prompt
        lines["prompt",] = text.count("\n", 0, len(text) - len(body)) + 1
    return facts, lines


def _read_front_matter(matter: str | None, text: str, file: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    if matter is None:
        if text.partition("\n")[0].rstrip() == FENCE:
            hint = f"Close it with a line that is exactly {FENCE}; if the text is to begin with a rule, write ***."
            raise InvalidFileError("the front matter is not closed", file=file, line=1, hint=hint)
        return {}, {}
    document = load("\n" + matter, file=file)  # the line break stands for the fence, for the line numbers
    if document.value is None:
        return {}, {}
    if not isinstance(document.value, dict):
        line = document.lines[()]
        raise InvalidFileError("the front matter holds no keys", file=file, line=line, hint="Write `key: value` lines.")
    return document.value, document.lines


def _contradictions(spec: JobSpec, name: str) -> Iterator[Problem]:
    """What no schema can say: keys that contradict each other or the calendar."""
    own = name.rpartition("/")[2].rpartition(".")[0]
    if not {own, slug(own)}.isdisjoint(spec.needs):
        yield "needs", f"the job needs itself ({own})", "Take its own name away."
    yield from _beside_routine(spec)
    if spec.not_before and (problem := _date_problem(spec.not_before)):
        yield "not_before", problem, "Write a day, 2027-01-31, or a time in UTC, 2027-01-31T08:00:00Z."
    if spec.hold is not None and spec.hold.lower() in _LOOK_LIKE_ANSWERS:
        yield "hold", f"{spec.hold!r} is a text here, and would hold the job", "Write true, false, or a reason."
    if spec.expects is Expects.NO_CHANGE:
        if spec.deliverables:
            yield "deliverables", "a job with `expects: no_change` changes no files", "Take one of the two keys away."
        if spec.repairs_base:
            yield "repairs_base", "a job with `expects: no_change` repairs nothing", "Take one of the two keys away."
        if spec.reproduces:
            yield "reproduces", "a job with `expects: no_change` mends nothing", "Take one of the two keys away."
    for path in spec.deliverables if spec.paths else ():
        if not set(path) & set("*?") and not matches(path, spec.paths):
            yield "deliverables", f"{path!r} is to be made, but lies outside `paths`", "Add it to `paths`."
    if spec.agent and spec.review.by and set(spec.review.by) == {spec.agent}:
        yield "review.by", f"{spec.agent!r} is to do the work and to judge it", "Name another reviewer."


_BESIDE_ROUTINE = frozenset({"routine", "prompt", "title", "kind", "purpose", "priority", "needs", "dedup_key"})
_BESIDE_ROUTINE |= {"again", "not_before", "hold", "limits"}


def _beside_routine(spec: JobSpec) -> Iterator[Problem]:
    """A routine is done by orc: there is nothing to tell an agent, to judge, or to merge."""
    if not spec.routine:
        return
    if spec.prompt:
        yield "prompt", "a routine is told nothing", "Take one of the two keys away."
    if spec.purpose is not Purpose.MAINTENANCE:
        yield "purpose", "a routine is maintenance", "Take the key away."
    for each in fields(JobSpec):
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if each.name not in _BESIDE_ROUTINE and getattr(spec, each.name) != default:
            yield each.name, "a routine is done by orc itself, without an agent", "Take the key away."


def _date_problem(text: str) -> str:
    try:
        parse(text) if "T" in text else date.fromisoformat(text)
    except ValueError:
        return f"{text!r} is not in the calendar"
    return ""


def _unreadable(reason: str) -> LedgerError:
    return LedgerError(
        f"the ledger holds a job that cannot be read: {reason}",
        cause="A newer orc wrote it, or somebody changed the branch by hand.",
        hint="orc verify",
    )
