"""`orc gate`: judge a branch or a pull request of any repository, in one shot and without a workspace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_branch
from orchestrator.errors import ExitCode, NotFoundError, OrcError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.core.config import Project
    from orchestrator.core.gated import Conclusion, Gated
    from orchestrator.core.job import Check, JobSpec
    from orchestrator.engine.gate import Asked

KINDS = ("code", "writing", "research", "ops")
RESERVED = ("selftest",)
"""Words that are no branch here: they are kept for commands of the gate itself."""


class Gate(click.Command):
    """The command, with some words kept free in the place of the branch."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in RESERVED:
            ctx = click.Context(self, info_name=info_name, parent=parent)
            told = f"{args[0]!r} is kept for a command of the gate; a branch of that name is heads/{args[0]}"
            raise click.UsageError(told, ctx)
        return super().make_context(info_name, args, parent=parent, **extra)


@click.command(cls=Gate)
@click.argument("branch", shell_complete=complete_branch)
@click.option(
    "--base",
    metavar="REV",
    default="",
    help="What it is to be merged into; else the default branch.",
    shell_complete=complete_branch,
)
@click.option("--check", "checks", multiple=True, metavar="LINE", help="Run this line of shell; may be given again.")
@click.option("--setup", default="", metavar="LINE", help="Run this first in each checkout, such as 'npm ci'.")
@click.option("--timeout", type=click.IntRange(1), default=1800, show_default=True, help="Seconds for each check.")
@click.option("--skip-base", is_flag=True, help="Do not run the checks on the base as well, to compare with.")
@click.option("--paths", multiple=True, metavar="GLOB", help="What the branch may change; may be given again.")
@click.option("--kind", type=click.Choice(KINDS), default="code", show_default=True, help="What sort of work it is.")
@click.option("--task", default="", metavar="TEXT", help="What the branch is for, told to the reviewer; - reads it.")
@click.option("--reviewer", default="", metavar="NAME", help="An agent of this workspace, or BACKEND:MODEL.")
@click.option("--reviewer-command", default="", metavar="LINE", help="A program that reviews instead.")
@click.option("--markdown", is_flag=True, help="Print a block to paste into a pull request.")
@json_option
@pass_app
def gate(app: App, /, branch: str, reviewer: str, reviewer_command: str, markdown: bool, **given: Any) -> None:
    """Judge BRANCH: a branch, a tag, a commit, BASE..TIP, or the number of a pull request that was fetched.

    The rules of the diff, the checks on a clean checkout of the branch, of the branch merged into its base, and of
    the base; then the reviewer, if you name one. No workspace is needed, nothing is fetched, and nothing is written
    into the repository. Only what you name is run, or what the orc.yaml of your workspace names. A check runs as
    you, on the code of the branch: for a branch that you do not trust, use a container.

    Exit codes: 0 pass, 1 a check failed or nothing can be said, 4 refused.
    """
    from orchestrator.cli.gate_text import tell_gated
    from orchestrator.engine.gate import gate_branch

    if markdown and app.json:
        raise click.UsageError("--json and --markdown cannot both be printed.")
    if reviewer and reviewer_command:
        raise click.UsageError("give --reviewer or --reviewer-command, not both.")
    if given["base"] and ".." in branch:
        raise click.UsageError("BASE..TIP names the base already: leave --base out.")
    asked = _asked(app, branch, **given)
    judge = None
    if reviewer or reviewer_command:
        from orchestrator.engine.gate_review import find_reviewer

        judge = find_reviewer(app.start, reviewer, reviewer_command)
    with Progress() as progress:
        found = gate_branch(app.start, asked, progress.tell, judge)
    tell_gated(app, found, _again(found, given), markdown=markdown)
    if code := _exit_code(found.conclusion):
        sys.exit(int(code))


def _asked(
    app: App,
    branch: str,
    *,
    base: str,
    checks: tuple[str, ...],
    setup: str,
    timeout: int,
    skip_base: bool,
    paths: tuple[str, ...],
    kind: str,
    task: str,
) -> Asked:
    from orchestrator.core.config import Project
    from orchestrator.engine.gate import Asked

    project = _project_here(app.start) or Project()
    chosen = _checks(checks, timeout) if checks else project.checks
    setup = setup or (project.setup.run if project.setup else "")
    note = "The checks are those of the workspace's orc.yaml." if chosen and not checks else ""
    spec = _spec(task, kind, paths)
    return Asked(branch, spec, base, chosen, setup, with_base=not skip_base, project=project, note=note)


def _spec(task: str, kind: str, paths: tuple[str, ...]) -> JobSpec:
    from orchestrator.core.job import JobSpec, Kind

    words = sys.stdin.buffer.read().decode("utf-8", "replace") if task == "-" else task
    return JobSpec(prompt=words, kind=Kind(kind), paths=paths)


def _checks(lines: Iterable[str], timeout: int) -> tuple[Check, ...]:
    from orchestrator.core.job import Check

    return tuple(Check(line, timeout_s=timeout) for line in lines)


def _project_here(start: Path) -> Project | None:
    """What the workspace at hand says of this repository; None where orc was never at work."""
    from orchestrator.adapters.git import common_dir
    from orchestrator.adapters.places import find_root

    try:
        root, source = find_root(start), common_dir(start)
    except NotFoundError:
        return None
    # An orc.yaml alone may have come with a clone: whoever cloned it has not asked for what it names to be run.
    if not (common_dir(root) / "orc").is_dir():
        return None
    from orchestrator.adapters.config_file import read_config

    for project in read_config(root).projects.values():
        try:
            if common_dir((root / project.path).resolve()) == source:
                return project
        except OrcError:
            continue  # A project that is not there is not the one at hand.
    return None


def _exit_code(conclusion: Conclusion) -> ExitCode:
    codes = {"PASS": ExitCode.OK, "REFUSED": ExitCode.REFUSED}
    return codes.get(conclusion.value, ExitCode.FAILED)


def _again(found: Gated, given: dict[str, Any]) -> list[str]:
    """The command that judges the very same commits in the same way, but for the review."""
    words = ["orc", "gate", found.seen.branch.commit, "--base", found.seen.base.commit]
    for check in found.seen.declared:
        words += ["--check", check.run]
    for glob in given["paths"]:
        words += ["--paths", glob]
    if given["setup"]:
        words += ["--setup", given["setup"]]
    return words if given["kind"] == "code" else [*words, "--kind", given["kind"]]


class Progress:
    """A line on standard error that says what takes long; off a terminal one line for each thing."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._told = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._terminal and self._told:
            click.echo("\r\x1b[K", nl=False, err=True)

    def tell(self, what: str, how_far: str) -> None:
        """What takes long, and how far it is; called again and again."""
        line = clean_line(what)
        if self._terminal:
            click.echo(f"\r\x1b[K{line} ... {how_far}", nl=False, err=True)
        elif line != self._told:
            click.echo(f"{line} ...", err=True)
        self._told = line
