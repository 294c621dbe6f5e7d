"""Who the person is, as the ledger names them."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from orchestrator.adapters.git import personal_config
from orchestrator.core.transitions import Actor


def person_of(git_dir: Path) -> Actor:
    """The person at this machine: the name that git knows them by in this repository, else the login."""
    # As git itself names the author of a commit: the environment goes before the configuration.
    name = os.environ.get("GIT_AUTHOR_NAME") or personal_config(git_dir, "user.name")
    name = " ".join(name.split())
    if not name:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            name = f"uid-{os.getuid()}"
    return Actor(f"human:{name[:80]}")
