"""Who the person is, as the ledger names them."""

from __future__ import annotations

import getpass
import os
import time
from functools import lru_cache
from pathlib import Path

from orchestrator.adapters.git_person import personal_config
from orchestrator.core.transitions import Actor

ASKED_EVERY_S = 30
"""How long a changed name may take to be seen by an engine that runs."""


def person_of(git_dir: Path) -> Actor:
    """The person at this machine: the name that git knows them by in this repository, else the login."""
    # As git itself names the author of a commit: the environment goes before the configuration.
    return _person(git_dir, os.environ.get("GIT_AUTHOR_NAME", ""), int(time.monotonic() // ASKED_EVERY_S))


@lru_cache(maxsize=4)
def _person(git_dir: Path, told: str, _: int) -> Actor:
    name = told or personal_config(git_dir, "user.name")
    name = " ".join(name.split())
    if not name:
        try:
            name = getpass.getuser()
        except (OSError, KeyError):
            name = f"uid-{os.getuid()}"
    return Actor(f"human:{name[:80]}")
