"""`orc prompt`: exactly what an agent gets, and why each part of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.app import App, clean, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_agent, complete_any

if TYPE_CHECKING:
    from orchestrator.engine.prompt import ShownPrompt


@click.command()
@click.argument("job", shell_complete=complete_any)
@click.option("--attempt", type=click.IntRange(min=1), help="What this attempt got, word for word.")
@click.option("--review", type=click.IntRange(min=1), help="What the reviewer got in this review, but for its nonce.")
@click.option("--agent", default="", shell_complete=complete_agent, help="As if this agent were to get the job.")
@click.option("--parts", is_flag=True, help="Only the table of the parts.")
@json_option
@pass_app
def prompt(app: App, job: str, attempt: int | None, review: int | None, agent: str, parts: bool) -> None:
    """What the next attempt at JOB would be told now, and why each part of it is there.

    Nothing is started or changed. Tokens are about a quarter of the characters.
    """
    from orchestrator.engine.find import find_job
    from orchestrator.engine.prompt import show_prompt, show_review

    if sum(map(bool, (attempt, review, agent))) > 1:
        raise click.UsageError("--attempt, --review and --agent: one of them")
    with app.workspace(lean=True) as ws:
        found = find_job(ws, job).job
        shown = show_review(ws, found, review) if review else show_prompt(ws, found, agent=agent, attempt=attempt or 0)
    if app.json:
        app.emit({**asdict(shown), "tokens": shown.tokens}, "")
        return
    paint = app.paints()
    click.echo(f"{shown.job}: {_which(shown)}")
    for line in _facts(shown):
        click.echo(f"  {clean_line(line)}")
    click.echo()
    for line in _table(shown):
        click.echo(line)
    if parts:
        return
    for title, text in (("system prompt", shown.system), ("message", shown.message)):
        if text:
            click.echo(f"\n{click.style(f'──── {title} ────', bold=True) if paint else f'──── {title} ────'}\n")
            click.echo(clean(text.rstrip("\n")))


def _which(shown: ShownPrompt) -> str:
    what = f"attempt {shown.attempt}" if shown.attempt else "the next attempt, as things are"
    return f"review {shown.review}, of {what}" if shown.review else what


def _facts(shown: ShownPrompt) -> Iterator[str]:
    from orchestrator.core.matching import tell_rule

    model = f", model {shown.model}" if shown.model else ""
    yield f"agent: {shown.agent} ({tell_rule(shown.rule)}); backend {shown.backend}{model}"
    yield f"session: {shown.session}"
    if not shown.system:
        yield "identity degraded: this program has no system prompt, so who the agent is stands before the message"
    if shown.left_out:
        yield f"without: {shown.left_out}"
    for used in (shown.soul, shown.rules, *shown.skills):
        if used is not None:
            yield f"uses: {used.name} @ {used.blob[:12]}"


def _table(shown: ShownPrompt) -> Iterator[str]:
    parts = ((each.name, str(each.tokens), clean_line(each.why)) for each in shown.parts)
    rows = [("PART", "TOKENS", "WHY"), *parts, ("all", str(shown.tokens), "")]
    width = max(len(name) for name, _, _ in rows)
    yield from (f"{name:<{width}}  {tokens:>7}  {why}".rstrip() for name, tokens, why in rows)
