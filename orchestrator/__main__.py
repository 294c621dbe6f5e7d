"""`python -m orchestrator`, and the console scripts `orc` and `git-orc`."""

from __future__ import annotations

from orchestrator.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
