"""The `orc` command: finds the verb, imports only what that verb needs, maps errors to exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator import __version__
from orchestrator.cli.app import App, ReaderGoneError, is_reader_gone, tell_error, told_errors
from orchestrator.errors import ExitCode, OrcError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VERBS: dict[str, tuple[str, str]] = {
    "init": ("init", "Make a workspace in this git repository."),
    "demo": ("demo", "Watch real jobs go their whole way, in a throw-away repository."),
    "new": ("new", "Print a commented job file to fill in."),
    "submit": ("submit", "Hand in a job file and get its id."),
    "run": ("run", "Work on what is in queue/."),
    "status": ("status", "What needs you, what is going on, what ended."),
    "health": ("health", "What comes out, why jobs drop out, and alerts; for monitors."),
    "costs": ("costs", "What was used and spent: by model, job, schedule and more."),
    "ps": ("ps", "What is running now, and what is left over."),
    "workers": ("workers", "Your agents: what each is doing, and what it did lately."),
    "show": ("show", "Everything about one job."),
    "log": ("log", "The ledger, newest first."),
    "diff": ("diff", "What a job changed."),
    "prompt": ("prompt", "What an agent is told, and why each part is there."),
    "logs": ("logs", "What a job's agents printed."),
    "approve": ("approve", "Say yes to a card, after seeing commit and diff-stat."),
    "reject": ("reject", "Send work back; your words become numbered fixes."),
    "answer": ("answer", "Answer any card."),
    "retry": ("retry", "Give a job another go."),
    "cancel": ("cancel", "Give a job up; its work is kept."),
    "edit": ("edit", "Change a job's file, in your editor or key by key."),
    "hold": ("hold", "Keep jobs from going on, until you release them."),
    "release": ("release", "Let held jobs go on where they were."),
    "drain": ("drain", "Give an agent nothing new; what it is at, it brings to its end."),
    "reopen": ("reopen", "Have a backend tried at once that rests or is shut."),
    "retire": ("retire", "Take an agent out of service; its soul is kept."),
    "revert": ("revert", "Undo a job that was merged, as a new commit."),
    "gate": ("gate", "Judge a branch or pull request of any repository, without a workspace."),
    "scars": ("scars", "Which guard comes from which incident, and how often it fired."),
    "trace": ("trace", "Send jobs to a collector, as traces of OpenTelemetry."),
    "verify": ("verify", "Prove the ledger again from the objects it cites."),
    "schedule": ("schedule", "Jobs that come by themselves: when, what came of them, make one now."),
    "routine": ("routine", "Maintenance without a model: what there is, do one now."),
    "simulate": ("simulate", "Try limits on a made-up house, before they hold."),
    "notify": ("notify", "What you are told without asking, and a test of each way."),
    "skills": ("skills", "The skills of your agents: versions, and what came of them."),
    "rules": ("rules", "Make CLAUDE.md, AGENTS.md and GEMINI.md from rules/."),
    "sweep": ("sweep", "Give back the space of trees that nobody uses any more."),
    "doctor": ("doctor", "What is wrong with this workspace, and the way out."),
    "ask": ("ask", "In a run: ask the person a question."),
    "remember": ("remember", "In a run: keep a sentence for later jobs."),
    "progress": ("progress", "In a run: say in a line where the work stands."),
    "verdict": ("verdict", "In a review: give the verdict."),
    "mcp": ("mcp", "In a run: offer these requests to an agent as MCP tools."),
    "completion": ("completion", "Print the completion script for your shell."),
    "help": ("help", "Explain one verb, or all of them."),
}
"""Every verb: its module in orchestrator.cli, and one line of help that is shown without importing it."""
IN_A_RUN = ("ask", "remember", "submit", "progress", "verdict")
"""What an agent may do from inside its run. `mcp` offers the same, `help` explains it."""

EPILOG = """\
\b
A JOB is named by its id, by its name without the digits, or by the beginning
of its id. orc help VERB explains a verb, orc help json the output of --json.

"""
EXIT_CODES = "\b\nExit codes:\n" + "\n".join(
    f"  {code.value:>3}  {text}"
    for code, text in (
        (ExitCode.OK, "all work asked for was produced"),
        (ExitCode.FAILED, "something did not succeed, or work is left that was not produced"),
        (ExitCode.USAGE, "the command line was wrong"),
        (ExitCode.NOT_FOUND, "what was named does not exist, or there was nothing to do"),
        (ExitCode.REFUSED, "a gate or a rule refused it"),
        (ExitCode.BUSY, "locked by another process; try again"),
        (ExitCode.INVALID_FILE, "a file that a person wrote is not valid"),
        (ExitCode.UNEXPECTED, "a defect of orc itself"),
        (ExitCode.INTERRUPTED, "interrupted from the keyboard"),
    )
)


@contextmanager
def _noticing_gone_reader() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        # Click would call it a failure, but whoever read had read enough.
        if is_reader_gone():
            raise ReaderGoneError from None
        raise RuntimeError("a program that orc had started ended too early") from None


class Verbs(click.Group):
    """The verbs, each imported when it is used: `orc --help` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"orchestrator.cli.{VERBS[cmd_name][0]}")
        command = getattr(module, "help_" if cmd_name == "help" else cmd_name)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        # Click would import every verb for its line of help.
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        from click.shell_completion import CompletionItem

        return [CompletionItem(name, help=told) for name, (_, told) in VERBS.items() if name.startswith(incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # `orc help VERB` asks for the verb too, and is answered.
        if ctx.invoked_subcommand is None:
            _refuse_inside_run(args)
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1) if args else []
            told = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"there is no verb {args[0]!r}.{told}", ctx) from None

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _noticing_gone_reader():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _noticing_gone_reader():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in VERBS.items()])


def _refuse_inside_run(args: list[str]) -> None:
    run, verb = os.environ.get("ORC_RUN"), args[0] if args else ""
    if not run or verb not in VERBS or verb in (*IN_A_RUN, "mcp", "help") or {"--help", "-h"} & set(args):
        return
    raise RefusedError(
        f"orc {verb} is not possible inside a run ({run})",
        cause=f"It was called by an agent's program, for which there are orc {', '.join(IN_A_RUN)}.",
        hint="orc help ask, or say what you need in your final answer",
    )


@click.group(cls=Verbs, epilog=EPILOG + EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="orc", message="%(prog)s %(version)s")
@click.option(
    "-C",
    "where",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Work as if started there.",
)
@click.option("--no-color", is_flag=True, help="No colours, as with NO_COLOR.")
@click.pass_context
def orc(ctx: click.Context, where: Path | None, no_color: bool) -> None:
    """Drop a YAML file into queue/ and it is worked on, reviewed, and merged; git log orc/state tells how."""
    app = ctx.find_object(App)
    assert app is not None
    app.color = False if no_color else None
    if where is not None:
        os.chdir(where)
    app.start = _current_folder()


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UnavailableError(
            "the current folder does not exist any more",
            cause="It was removed or moved while the shell stood in it.",
            hint="cd to a folder that is there",
        ) from None


def main(argv: list[str] | None = None) -> None:
    """The console script. Ends the process with one of the documented exit codes."""
    for stream in (sys.stdout, sys.stderr):
        # Names of files need not be text, and not every terminal shows every character.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app = App(Path())
    as_json = "--json" in (sys.argv[1:] if argv is None else argv)
    with told_errors(app, as_json=as_json):
        try:
            orc.main(args=argv, obj=app, standalone_mode=False, prog_name="orc")
            _flush()
        except click.exceptions.Abort:
            raise KeyboardInterrupt from None
        except click.exceptions.Exit as end:
            _flush()
            sys.exit(end.exit_code)
        except click.ClickException as error:
            _tell_usage(app, error, as_json=as_json)
            sys.exit(int(ExitCode.USAGE))


def _flush() -> None:
    with _noticing_gone_reader():
        sys.stdout.flush()


def _tell_usage(app: App, error: click.ClickException, *, as_json: bool) -> None:
    path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "orc"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    told = error.format_message()
    hint = f"{path} --help"
    # What begins with a name is left as it is.
    told = told if told[1:2].isupper() else told[:1].lower() + told[1:]
    tell_error(app, OrcError(told, hint=hint), as_json=as_json, code=ExitCode.USAGE)
