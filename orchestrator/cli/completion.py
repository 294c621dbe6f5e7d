"""`orc completion`: the script that completes verbs, options and ids in your shell."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL. For bash: eval "$(orc completion bash)"."""
    from click.shell_completion import get_completion_class

    from orchestrator.cli.main import orc

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(orc, {}, "orc", "_ORC_COMPLETE").source())
