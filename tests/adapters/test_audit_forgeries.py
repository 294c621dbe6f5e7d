"""A forged ledger is found out, whatever was forged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import audit_world as w
import pytest
from audit_forgeries import FORGERIES

from orchestrator.adapters.git import Git
from orchestrator.adapters.git_refs import rev_parse, update_ref
from orchestrator.adapters.ledger import REF


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest world that all forgeries are made in: each only moves the ledger's ref."""
    root = tmp_path_factory.mktemp("arena") / "world"
    with w.new_world(root) as world:
        w.honest(world)
    return root


@pytest.fixture
def forged(arena: Path) -> Iterator[Path]:
    """The arena with an honest ledger, put back afterwards."""
    door = Git(arena / ".git")
    honest = rev_parse(door, REF) or ""
    yield arena
    update_ref(door, REF, honest, rev_parse(door, REF) or "")


EACH = 16
"""Of so many one is tried with the quick tests; all are of the same make, and each takes a ledger of its own."""
SLOW = [pytest.param(name, marks=pytest.mark.slow if at % EACH else ()) for at, name in enumerate(FORGERIES)]


@pytest.mark.parametrize("name", SLOW)
def test_a_forgery_is_found_out(forged: Path, name: str) -> None:
    forgery = FORGERIES[name]
    w.forge(forged, forgery.forge)
    report = w.verify(forged)
    told = [lie.text for lie in report.lies if lie.rule is forgery.rule]
    assert any(re.search(forgery.words, text) for text in told), report.lies
