"""How `orc gate` tells what it found: as a table on a terminal, as plain lines in a pipe."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, clean_line
from orchestrator.core.gated import Where, place_of, place_words, reproduction_of
from orchestrator.core.reproduction import SHOWN
from orchestrator.core.rule_words import AREA_WORDS
from orchestrator.core.tamper import RULES

if TYPE_CHECKING:
    from orchestrator.core.evidence_record import CheckResult
    from orchestrator.core.gated import Checked, Gated, Reviewed, Seen

TAIL_LINES, TAIL_CHARS = 20, 2000
"""What is shown of the output of a check that failed."""
GOOD = {"ok": "green", "allowed": "yellow", "passed": "green", "flaky": "yellow", "same tree": "bright_black"}
"""The outcomes that are nothing against the branch, and their colours."""


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was looked at. What other people wrote stands apart from orc's own words."""

    outcome: str
    what: str
    """In words, with `{}` for each of the names."""
    names: tuple[str, ...] = ()
    detail: str = ""
    quoted: str = ""
    """More detail, which may hold other people's words."""

    @property
    def told(self) -> str:
        """What it is about, as plain text."""
        return clean_line(self.what.format(*self.names))

    @property
    def remark(self) -> str:
        """All detail, as plain text."""
        return clean_line("  ".join(each for each in (self.detail, self.quoted) if each))


def tell_gated(app: App, found: Gated, again: Sequence[str], *, markdown: bool) -> None:
    """Print it in the form that was asked for; `again` is the command that judges the same once more."""
    if app.json:
        from orchestrator.cli.gate_json import json_of

        app.emit(json_of(found, again), "")
    elif markdown:
        from orchestrator.cli.gate_markdown import markdown_lines

        click.echo(clean("\n".join(markdown_lines(found, again))))
    elif app.is_shown_on_terminal():
        _tell_table(app, found)
    else:
        click.echo(clean("\n".join(plain_lines(found))))


# --- what there is to tell ---


def rows_of(found: Gated) -> Iterator[Row]:
    """Everything that was looked at, in the order in which it was; rules that nobody asked for are left out."""
    seen = found.seen
    yield from _rule_rows(seen)
    if seen.conflicts:
        names = ", ".join(seen.conflicts[:5]) + (" …" if len(seen.conflicts) > 5 else "")
        yield Row("conflict", "merge into {}", (seen.base.name,), quoted=names)
    elif seen.merged:
        is_ahead = seen.merge_base == seen.base.commit
        yield Row("ok", "merge into {}", (seen.base.name,), "fast-forward" if is_ahead else "")
    for checked in seen.checks:
        yield from _check_rows(seen, checked)
    yield from _missing_rows(found)
    if seen.review is not None:
        yield _review_row(seen.review)


def _rule_rows(seen: Seen) -> Iterator[Row]:
    found = {RULES[each.rule][0] for each in seen.evidence.tampering}
    for rule in seen.rules:
        # A dozen rules that found nothing are one line for each thing that they are about.
        if rule.outcome.value != "not asked" and not (rule.outcome.value == "ok" and rule.rule in RULES):
            yield Row(rule.outcome.value, rule.words, quoted=rule.text)
    more = seen.evidence.more_tampering
    if seen.evidence.tamper_rules and not more:
        yield from (Row("ok", words) for area, words in AREA_WORDS.items() if area not in found)
    if more:
        yield Row("not shown", "more of these", detail=str(more))


def _check_rows(seen: Seen, checked: Checked) -> Iterator[Row]:
    place, names = place_of(checked.where, seen)
    if checked.where is Where.REPRODUCTION and not checked.problem:
        # A failure is what is wanted here.
        failing, outcome = ", ".join(checked.failing), "ok" if reproduction_of(seen) == SHOWN else "refused"
        yield Row(outcome, f"a check fails on {place}", names, "" if failing else "all pass", failing)
        return
    if checked.same_as is not None:
        same = place_of(checked.same_as, seen)
        yield Row("same tree", f"checks on {place}, as on {same[0]}", (*names, *same[1]))
        return
    if checked.problem:
        yield Row("not run", f"checks on {place}", names, quoted=checked.problem)
    for result in checked.results:
        told = f"exit {result.exit}, {result.seconds:.1f} s" if result.exit else f"{result.seconds:.1f} s"
        yield Row(result.outcome.value, f"{{}} on {place}", (result.run, *names), told)


def _missing_rows(found: Gated) -> Iterator[Row]:
    from orchestrator.core.gated import is_refused, may_be_reviewed

    seen = found.seen
    if is_refused(seen):
        yield Row("not run", "checks and review", detail="the diff was refused")
        return
    if not seen.declared:
        way = f"--check {shlex.quote(seen.suggestion)}" if seen.suggestion else ""
        yield Row(
            "not run", "checks", detail=f"name what runs the tests: {'' if way else '--check LINE'}".strip(), quoted=way
        )
    if seen.review is None:
        told = "--reviewer NAME asks somebody" if may_be_reviewed(seen) else "something else decides already"
        yield Row("not reviewed", "review", detail=told)


def _review_row(review: Reviewed) -> Row:
    record = review.record
    names = (record.reviewer.agent,)
    if review.problem:
        return Row("not made", "review by {}", names, quoted=review.problem)
    score = "" if record.score is None else f"score {record.score:.2f}, "
    on = ", ".join(each for each in (record.reviewer.backend, record.reviewer.model, record.why) if each)
    outcome = "ok" if record.verdict == "APPROVED" else str(record.verdict).lower()
    return Row(outcome, "review by {}", names, f"{score}{review.seconds:.1f} s", on)


def headline(found: Gated) -> str:
    """The conclusion, and what it rests on."""
    return f"{found.conclusion.words} ({found.scope})"


def failed_checks(seen: Seen) -> Iterator[tuple[Where, CheckResult]]:
    """Each check that does not pass, and where it does not."""
    for checked in seen.checks:
        if checked.same_as is None:
            yield from ((checked.where, each) for each in checked.results if not each.passed)


def tail_lines(text: str) -> list[str]:
    """The last lines of what a check printed."""
    lines = clean(text[-TAIL_CHARS:]).strip("\n").splitlines()
    return ["…", *lines[-TAIL_LINES:]] if len(lines) > TAIL_LINES or len(text) > TAIL_CHARS else lines


def finding_lines(review: Reviewed | None) -> Iterator[str]:
    """What a reviewer found, one line for each problem and each way out."""
    if review is None:
        return
    for claim in review.record.claims:
        yield clean_line(f"looked up {claim.id}: {claim.result}: {claim.evidence}")
    for each in review.record.findings:
        place = each.file + (f":{each.line}" if each.line else "")
        yield clean_line(f"{each.severity}: {place}: {each.problem}" if place else f"{each.severity}: {each.problem}")
        if each.fix:
            yield f"  to do: {clean_line(each.fix)}"
    if review.record.summary:
        yield f"in short: {clean_line(review.record.summary)}"


# --- on a terminal, and in a pipe ---


def plain_lines(found: Gated) -> Iterator[str]:
    """Lines for a pipe."""
    yield headline(found)
    yield f"  {_subject(found.seen)}"
    yield f"  {found.seen.stat}"
    for row in rows_of(found):
        yield f"  {row.outcome:<12}  {row.told}" + (f"  ({row.remark})" if row.remark else "")
    yield from _more_lines(found)


def _subject(seen: Seen) -> str:
    count = f"{seen.commits} commit{'s' * (seen.commits != 1)}"
    onto = f"{seen.base.name} at {seen.base.commit[:12]}"
    return clean_line(f"{seen.branch.name} at {seen.branch.commit[:12]}, {count} beyond {onto}")


def _more_lines(found: Gated) -> Iterator[str]:
    for reason in found.reasons:
        yield f"! {clean_line(reason)}"
    for where, result in failed_checks(found.seen):
        lines = list(tail_lines(result.tail))
        what = "printed:" if lines else "printed nothing"
        yield f"{clean_line(result.run)} on {clean_line(place_words(where, found.seen))} {what}"
        yield from (f"  | {line}" for line in lines)
    yield from (f"  {line}" for line in finding_lines(found.seen.review))
    for note in found.notes:
        yield f"note: {clean_line(note)}"
    spent = found.seconds
    rest = "".join(f", the {what} {spent[what]:.1f} s" for what in ("checks", "review") if spent[what])
    yield f"{spent['all']:.1f} s in all{rest}, orc itself {spent['orc']:.1f} s"


def _tell_table(app: App, found: Gated) -> None:
    from rich.table import Table
    from rich.text import Text

    paint = app.paints()
    color = {"PASS": "green", "INCONCLUSIVE": "yellow"}.get(found.conclusion.value, "red")
    click.secho(headline(found), fg=color, bold=True, color=paint)
    click.echo(_subject(found.seen))
    click.echo(found.seen.stat)
    table = Table(box=None, pad_edge=False, show_header=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for row in rows_of(found):
        style = GOOD.get(row.outcome, "yellow" if row.outcome.startswith("not") else "red")
        table.add_row(Text(row.outcome, style=style if paint else ""), Text(row.told), Text(row.remark))
    app.console().print(table)
    for line in _more_lines(found):
        told = clean(line)
        click.echo(click.style(told, fg=color) if line.startswith("!") else told, color=paint)
