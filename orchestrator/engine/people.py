"""Who the person is, as the ledger names them."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

from orchestrator.adapters.git import Git
from orchestrator.core.transitions import Actor


def person_of(git_dir: Path) -> Actor:
    """The person at this machine: the name that git knows them by in this repository, else the login."""
    # The person's own configuration, in the person's own repository: reading a value runs nothing.
    own = os.environ.get("GIT_CONFIG_GLOBAL") or os.path.join(os.path.expanduser("~"), ".gitconfig")
    output = Git(git_dir).run("config", "--get", "user.name", ok=(0, 1), env={"GIT_CONFIG_GLOBAL": own})
    name = " ".join(output.out.decode("utf-8", "replace").split())
    if not name:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            name = f"uid-{os.getuid()}"
    return Actor(f"human:{name[:80]}")
