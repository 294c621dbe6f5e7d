"""`orc mcp`: what an agent may ask of orc, as tools of the Model Context Protocol."""

from __future__ import annotations

import click


@click.command()
def mcp() -> None:
    """Serve the requests of a run as MCP tools on standard input and output, for an agent's program to start.

    The tools are ask, remember, submit, progress and verdict. They write the same files as the verbs of these names.
    """
    from orchestrator.adapters.mcp_server import serve
    from orchestrator.cli import inside

    serve(inside.request, inside.give_verdict)
