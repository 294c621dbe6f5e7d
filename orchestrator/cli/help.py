"""`orc help`: the help of one verb or of all, and the description of what `--json` prints."""

from __future__ import annotations

from collections.abc import Iterator

import click

from orchestrator.cli.main import VERBS, orc

TOPICS = ("json",)


def complete_verb(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Verbs and topics that begin so."""
    return [name for name in (*VERBS, *TOPICS) if name.startswith(incomplete)]


@click.command("help")
@click.argument("words", metavar="[VERB]...", nargs=-1, shell_complete=complete_verb)
@click.option("--all", "everything", is_flag=True, help="The help of every verb.")
@click.pass_context
def help_(ctx: click.Context, words: tuple[str, ...], everything: bool) -> None:
    """Explain VERB, such as `gate` or `gate selftest`, or say which verbs there are.

    `orc help json` prints the JSON Schema of what --json prints.
    """
    top = ctx.find_root()
    if words == ("json",):
        from importlib.resources import files

        click.echo(files("orchestrator").joinpath("schemas", "cli.schema.json").read_text("utf-8"), nl=False)
    elif everything:
        click.echo("\n\n".join([orc.get_help(top), *_all_help(top)]))
    elif not words:
        click.echo(orc.get_help(top))
    else:
        _, command, _ = orc.resolve_command(top, [words[0]])
        for word in words[1:]:
            command = getattr(command, "commands", {}).get(word)
        click.echo(_help_of(top, " ".join(words), command))


def _all_help(top: click.Context) -> Iterator[str]:
    for name in VERBS:
        command = orc.get_command(top, name)
        yield f"--- orc {name}\n\n{_help_of(top, name, command)}"


def _help_of(top: click.Context, name: str | None, command: click.Command | None) -> str:
    if command is None:
        raise click.UsageError(f"there is no verb {name!r}.")
    with click.Context(command, info_name=name, parent=top) as ctx:
        told = command.get_help(ctx)
        if isinstance(command, click.Group):
            for below in command.list_commands(ctx):
                told += f"\n\n{_help_of(ctx, below, command.get_command(ctx, below))}"
    # A command with words in the place of its argument, which are commands of their own.
    if not isinstance(command, click.Group):
        for below, its in getattr(command, "commands", {}).items():
            told += f"\n\n{_help_of(top, f'{name} {below}', its)}"
    return told
