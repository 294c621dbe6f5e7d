"""Where the workspace is. Imports next to nothing: the completion of a shell asks it at every key."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import NotFoundError


def find_root(start: Path) -> Path:
    """The folder with `orc.yaml`, at `start` or above it. Raises NotFoundError."""
    for folder in (start, *start.parents):
        if (folder / "orc.yaml").is_file():
            return folder
    raise NotFoundError(
        f"{start} is not in an orc workspace",
        cause="There is no orc.yaml here or above.",
        hint="go to your workspace (or orc -C PATH …); or make one of a git repository: orc init",
    )
