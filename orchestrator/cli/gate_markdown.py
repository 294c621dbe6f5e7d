"""What `orc gate` found as Markdown, to paste into a pull request.

Names, output and findings are other people's. They stand in code, or with every sign escaped that means something: no
text of theirs makes a heading, a link, a picture or a ping.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.cli.app import clean, clean_line
from orchestrator.cli.gate_text import (
    GOOD,
    failed_checks,
    finding_lines,
    headline,
    rows_of,
    tail_lines,
)
from orchestrator.core.gated import place_of

if TYPE_CHECKING:
    from orchestrator.cli.gate_text import Row
    from orchestrator.core.gated import Gated, Seen

SHOWN_PATHS = 20
_SIGNS = re.compile(r"[\\`*_\[\]<>#|~@&$]|:(?=//)|(?<=\bwww)\.", re.I)
_ENTITIES = re.compile(r"[^\w ./-]|_")
_CALLING = ("@", "#")
"""What calls a person or another thread, even escaped; a comment behind it keeps it from doing so."""


def markdown_lines(found: Gated, again: Sequence[str]) -> Iterator[str]:
    """A block to paste into a pull request; `again` is the command that judges the same once more."""
    seen = found.seen
    yield f"### orc gate: {headline(found)}"
    yield ""
    count = f"{seen.commits} commit{'s' * (seen.commits != 1)}"
    branch, base = (f"{code(each.name)} at `{each.commit[:12]}`" for each in (seen.branch, seen.base))
    yield f"{branch} onto {base}: {count}, {seen.stat}."
    yield ""
    if found.reasons or found.notes:
        yield from (f"- **{inert(reason)}**" for reason in found.reasons)
        yield from (f"- {inert(note)}" for note in found.notes)
        yield ""
    yield "| outcome | what | detail |"
    yield "|---|---|---|"
    yield from (_table_line(row) for row in rows_of(found))
    for where, result in failed_checks(seen):
        place, names = place_of(where, seen)
        title = f"What {_html(result.run)} printed on {place.format(*map(_html, names))}"
        yield from _folded(title, tail_lines(result.tail))
    yield from _folded("What the reviewer found", list(finding_lines(seen.review)))
    yield from _folded("Changed files", list(_path_lines(seen)))
    yield from _folded("Receipts", list(_receipts(found, again)))


def _table_line(row: Row) -> str:
    is_plain = row.outcome in GOOD or row.outcome.startswith("not")
    outcome = row.outcome if is_plain else f"**{row.outcome}**"
    what = row.what.format(*(_cell(name) for name in row.names))
    detail = " ".join(each for each in (row.detail, _cell(row.quoted) if row.quoted else "") if each)
    return f"| {outcome} | {what} | {detail} |"


def _path_lines(seen: Seen) -> Iterator[str]:
    for path in seen.paths[:SHOWN_PATHS]:
        lines = "binary" if path.added is None else f"+{path.added} -{path.deleted}"
        yield clean_line(f"{path.status} {path.path} ({lines})")
    more = len(seen.paths) + seen.more_paths - SHOWN_PATHS
    if more > 0:
        yield f"and {more} more"


def _receipts(found: Gated, again: Sequence[str]) -> Iterator[str]:
    """Ids by which anybody can look up what was judged, and the command that does it again."""
    from orchestrator.adapters.git_process import version

    seen = found.seen
    yield f"judged       {seen.branch.commit} (tree {seen.tree})"
    yield f"base         {seen.base.commit}"
    yield f"merge base   {seen.merge_base}"
    if seen.merged_tree:
        yield f"merged tree  {seen.merged_tree}"
    if seen.review is not None and seen.review.record.nonce_sha256:
        yield f"review       nonce sha256 {seen.review.record.nonce_sha256}"
    yield f"time         {', '.join(f'{name} {value:.1f} s' for name, value in found.seconds.items())}"
    yield f"by           orc {__version__}, git {'.'.join(map(str, version()))}"
    # As it is, blanks and line ends inside of quotes included; what a terminal would obey is in no line of this block.
    command = shlex.join(again)
    yield from f"again        {command if command == clean(command) else 'as --json has it'}".split("\n")


def _folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    """A part that is opened by a click; nothing without lines."""
    if not lines:
        return
    fence = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    yield ""
    yield f"<details><summary>{title}</summary>"
    yield ""
    yield f"{fence}text"
    yield from lines
    yield fence
    yield ""
    yield "</details>"


def inert(text: str) -> str:
    """Foreign text as it would be read, with nothing in it that means something to Markdown or to a forge."""

    def escape(found: re.Match[str]) -> str:
        return f"\\{found[0]}" + ("<!-- -->" if found[0] in _CALLING else "")

    return _SIGNS.sub(escape, clean_line(text))


def code(text: str) -> str:
    """Foreign text as a code span, which it cannot leave."""
    text = clean_line(text)
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if not text or "`" in (text[0], text[-1]) else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _cell(text: str) -> str:
    """The same in a table, where a bar ends a cell even in code."""
    return code(text).replace("|", "\\|")


def _html(text: str) -> str:
    """The same inside of HTML, where Markdown's signs count too."""
    return f"<code>{_ENTITIES.sub(lambda found: f'&#{ord(found[0])};', clean_line(text))}</code>"
