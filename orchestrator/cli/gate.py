"""`orc gate`: judge a branch or a pull request of any repository, in one shot and without a workspace."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.app import App, clean_line, json_option, pass_app
from orchestrator.cli.complete import complete_branch, complete_kind
from orchestrator.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.core.gated import Conclusion, Gated
    from orchestrator.core.job import Check, JobSpec
    from orchestrator.engine.gate import Asked

TIMEOUT_S = 1800
"""Seconds for each check, where nobody says otherwise."""
MOST_CHECKS = 200
AREAS = ("tests", "ci", "orc", "keys", "programs")
RESERVED = ("selftest",)
"""Words that are no branch here but commands of the gate itself."""


class Gate(click.Command):
    """The command, with some words in the place of the branch that are commands of their own."""

    @property
    def commands(self) -> dict[str, click.Command]:
        """These commands by their words."""
        from orchestrator.cli.gate_selftest import selftest

        return {"selftest": selftest}

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args and args[0] in RESERVED:
            command = self.commands[args[0]]
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
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
@click.option("--timeout", type=click.IntRange(1), default=TIMEOUT_S, show_default=True, help="Seconds for each check.")
@click.option("--skip-base", is_flag=True, help="Do not run the checks on the base as well, to compare with.")
@click.option("--paths", multiple=True, metavar="GLOB", help="What the branch may change; may be given again.")
@click.option(
    "--allow", "allows", multiple=True, type=click.Choice(AREAS), help="Let it touch this; may be given again."
)
@click.option("--reproduces", is_flag=True, help="It mends a defect: its tests must fail without the rest of it.")
@click.option(
    "--kind",
    metavar="NAME",
    default="code",
    show_default=True,
    help="What sort of work it is.",
    shell_complete=complete_kind,
)
@click.option(
    "--task", default="", metavar="TEXT", help="What the branch is for, told to the reviewer; - reads it from stdin."
)
@click.option("--reviewer", metavar="NAME", help="An agent of this workspace, or BACKEND:MODEL.")
@click.option("--reviewer-command", metavar="LINE", help="A program that reviews instead.")
@click.option("--markdown", is_flag=True, help="Print a block to paste into a pull request.")
@json_option
@pass_app
def gate(app: App, /, branch: str, markdown: bool, **given: Any) -> None:
    """Judge BRANCH: a branch, a tag, a commit, BASE..TIP, or the number of a pull request that was fetched.

    The rules of the diff, the checks on a clean checkout of the branch, of the branch merged into its base, and of
    the base; then the reviewer, if you name one. No workspace is needed, nothing is fetched, and nothing is written
    into the repository. Only what you name is run, or what the orc.yaml of your workspace names. A check runs as
    you, on the code of the branch: for a branch that you do not trust, use a container.

    With --reproduces the checks run once more, on the merge base with the tests of the branch laid over it, and one of
    them must fail there.

    Tests that are taken away or weakened, and changes to CI or to what agents work by, are no pass unless you --allow
    them: tests, ci, orc.

    orc gate selftest tries the gates themselves; a branch of that name is heads/selftest.

    Exit codes: 0 pass, 1 a check failed or nothing can be said, 4 refused.
    """
    from orchestrator.adapters.shims import Nursery

    if markdown and app.json:
        raise click.UsageError("--json and --markdown cannot both be printed.")
    if given["base"] and ".." in branch:
        raise click.UsageError("BASE..TIP names the base already: leave --base out.")
    with closing(Nursery()) as nursery, Progress() as progress:
        nursery.warm()  # It loads what runs need while the rest is loaded here.
        from orchestrator.engine.gate import gate_branch

        asked = _asked(branch, **given)
        found = gate_branch(app.start, asked, progress.tell, nursery=nursery)
    from orchestrator.cli.gate_text import tell_gated

    tell_gated(app, found, _again(found, asked), markdown=markdown)
    if code := _exit_code(found.conclusion):
        sys.exit(int(code))


def _asked(
    branch: str,
    *,
    base: str,
    checks: tuple[str, ...],
    setup: str,
    timeout: int,
    skip_base: bool,
    paths: tuple[str, ...],
    allows: tuple[str, ...],
    kind: str,
    reproduces: bool,
    task: str,
    reviewer: str | None,
    reviewer_command: str | None,
) -> Asked:
    from orchestrator.engine.gate import Asked

    name, command = reviewer_words(reviewer, reviewer_command)
    return Asked(
        branch,
        replace(_spec(task, kind, paths, allows), reproduces=reproduces),
        base,
        _checks(checks, timeout),
        setup.strip(),
        with_base=not skip_base,
        reviewer=name,
        command=command,
    )


def reviewer_words(name: str | None, line: str | None) -> tuple[str, tuple[str, ...]]:
    """The reviewer's name and the words of its command, either of which is empty. Raises UsageError."""
    if name is not None and line is not None:
        raise click.UsageError("give --reviewer or --reviewer-command, not both.")
    if name is not None and not name.strip():
        raise click.UsageError("--reviewer is blank: nobody would review.")
    return name or "", () if line is None else _words(line)


def _words(line: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(line))
    except ValueError as error:
        raise click.UsageError(f"--reviewer-command is no line of a shell: {error}.") from error
    if not words or not words[0].strip():
        raise click.UsageError("--reviewer-command names no program.")
    return words


def _spec(task: str, kind: str, paths: tuple[str, ...], allows: tuple[str, ...]) -> JobSpec:
    from orchestrator.core.job import Area, JobSpec

    words = sys.stdin.buffer.read().decode("utf-8", "replace") if task == "-" else task
    return JobSpec(prompt=words, kind=kind, paths=paths, allows=tuple(map(Area, dict.fromkeys(allows))))


def _checks(lines: Sequence[str], timeout: int) -> tuple[Check, ...]:
    from orchestrator.core.job import Check

    if not all(line.strip() for line in lines):
        raise click.UsageError("--check is blank: it would pass whatever the branch is.")
    if len(lines) > MOST_CHECKS:
        raise click.UsageError(f"--check may be given {MOST_CHECKS} times; put more into a script.")
    return tuple(Check(line, timeout_s=timeout) for line in lines)


def _exit_code(conclusion: Conclusion) -> ExitCode:
    codes = {"PASS": ExitCode.OK, "REFUSED": ExitCode.REFUSED}
    return codes.get(conclusion.value, ExitCode.FAILED)


def _again(found: Gated, asked: Asked) -> list[str]:
    """The command that judges the very same commits in the same way, but for the review."""
    seen, spec = found.seen, asked.spec
    words = ["orc", "gate", seen.branch.commit, "--base", seen.base.commit]
    limits = {check.timeout_s for check in seen.declared}
    # Checks with limits of their own are those of the base's configuration, from which they are read again.
    if len(limits) == 1:
        words += [word for check in seen.declared for word in ("--check", check.run)]
        words += ["--timeout", str(*limits)] if limits != {TIMEOUT_S} else []
    words += ["--setup", seen.setup] if seen.setup else []
    words += [] if asked.with_base else ["--skip-base"]
    words += [word for glob in spec.paths for word in ("--paths", glob)]
    words += [word for area in spec.allows for word in ("--allow", area.value)]
    words += ["--reproduces"] if spec.reproduces else []
    return words if spec.kind == "code" else [*words, "--kind", spec.kind]


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
