"""`orc completion`: the script that completes verbs, options and ids in your shell."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    bash:  eval "$(orc completion bash)"     in ~/.bashrc
    zsh:   eval "$(orc completion zsh)"      in ~/.zshrc, after compinit
    fish:  orc completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    from orchestrator.cli.main import orc

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(orc, {}, "orc", "_ORC_COMPLETE").source())
