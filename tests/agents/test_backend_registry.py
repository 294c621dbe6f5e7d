"""Every place that knows the backends by name knows the same ones, and the how-to for a new one is true."""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from agent_kinds import EVERY_KIND, KINDS
from cli_install import PROGRAMS

from orchestrator.adapters import backends
from orchestrator.adapters.backends.base import Backend, Launch, Order, Output
from orchestrator.adapters.backends.registry import BACKENDS, find_backend
from orchestrator.core.said import Said, Trouble, Usage
from orchestrator.engine.agents import BUILT_IN

PROJECT = Path(__file__).resolve().parents[2]
HOW_TO = PROJECT / "docs" / "how-to"
NOT_TRIED = {"agy"}
"""It cannot be started without a person's login."""


def code_of(page: str) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text(encoding="utf-8"), re.M | re.S)


def rows_of(page: str, heading: str) -> list[str]:
    """What stands in the first column of the table whose heading begins so."""
    text = (HOW_TO / page).read_text(encoding="utf-8")
    table = text.partition(f"\n{heading}")[2].partition("|---")[2].partition("\n\n")[0]
    return [name for line in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]


# --- the names ---


def classes_of_backends() -> Iterator[tuple[str, str]]:
    """Module and class of everything that is a backend."""
    for module in pkgutil.iter_modules(backends.__path__):
        own = importlib.import_module(f"{backends.__name__}.{module.name}")
        for name, value in vars(own).items():
            if isinstance(value, type) and value.__module__ == own.__name__ and name.endswith("Backend"):
                yield module.name, name


def test_the_registry_has_every_backend_under_the_name_of_its_module() -> None:
    found = [pair for pair in classes_of_backends() if pair != ("base", "Backend")]
    assert sorted(found) == sorted(BACKENDS.items())
    assert {name: find_backend(name).name for name in BACKENDS} == {name: name for name in BACKENDS}


def test_the_schema_names_every_type_and_no_other() -> None:
    schema = json.loads((PROJECT / "orchestrator" / "schemas" / "config.schema.json").read_text(encoding="utf-8"))
    about = schema["properties"]["backends"]["additionalProperties"]["properties"]["type"]["description"]
    listed = re.sub(r"\([^)]*\)", "", about).partition(":")[2].partition(".")[0]
    assert sorted(re.findall(r"\w+", listed)) == sorted(BACKENDS)


def test_the_page_about_agents_has_a_row_for_each() -> None:
    assert sorted(rows_of("agents.md", "| backend | program |")) == sorted({*BUILT_IN, "command"})
    assert sorted(rows_of("agents.md", "| backend | know that |")) == sorted(BUILT_IN)


def test_each_is_tried_with_its_real_program() -> None:
    assert {kind.name for kind in EVERY_KIND} == BUILT_IN - NOT_TRIED
    assert {kind.name for kind in EVERY_KIND if kind.has_program} == {kind.name for kind in KINDS}
    assert {kind.name for kind in KINDS} == {program.name for program in PROGRAMS}


def test_each_that_was_tried_says_with_which_version() -> None:
    seen = {name: find_backend(name).seen for name in BACKENDS}
    assert {name for name, version in seen.items() if re.fullmatch(r"\d+\.\d+\.\d+", version)} == BUILT_IN - NOT_TRIED
    assert {seen[name] for name in BACKENDS.keys() - BUILT_IN | NOT_TRIED} == {""}


# --- the how-to ---


@pytest.mark.parametrize("kind", [Launch, Said], ids=lambda kind: kind.__name__)
def test_the_how_to_explains_every_field_of_what_comes_back(kind: type[Launch] | type[Said]) -> None:
    assert sorted(rows_of("add-a-backend.md", f"| `{kind.__name__}` | |")) == sorted(each.name for each in fields(kind))


def test_the_how_to_shows_a_row_of_the_table_as_it_is() -> None:
    _, row = code_of("add-a-backend.md")
    assert f"\n{row}" in (PROJECT / "tests" / "agents" / "agent_kinds.py").read_text(encoding="utf-8")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Backend:
    """The backend of the how-to."""
    module = ModuleType("backend_of_the_how_to")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code_of("add-a-backend.md")[0], module.__name__, "exec"), vars(module))
    made: Backend = module.NameBackend()
    return made


def test_the_backend_of_the_how_to_is_one(shown: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"program": sys.executable, "args": ["--more"]}
    assert "NAME_API_KEY" in shown.problem(settings, path=os.defpath)
    monkeypatch.setenv("NAME_API_KEY", "dummy")
    assert shown.problem(settings, path=os.defpath) == ""
    assert "max_turns" in shown.problem({**settings, "max_turns": 3}, path=os.defpath)
    order = Order(run_folder=tmp_path, tree=tmp_path, state=tmp_path, model="m", resume="s", read_only=True)
    launch = shown.launch(settings, order)
    options = ("--json", "--model=m", f"--sessions={tmp_path}", "--resume=s", "--no-edits", "--more")
    assert launch == Launch(argv=(sys.executable, *options), pass_env=("NAME_API_KEY",))


@pytest.mark.parametrize(
    ("exit", "end", "ok", "trouble"),
    [
        (0, {"status": "ok", "text": "Done."}, True, Trouble.NONE),
        (0, None, False, Trouble.CUT),
        (1, {"status": "ok", "text": "Done."}, False, Trouble.ERROR),
        (0, {"status": "error", "http": 429}, False, Trouble.RATE_LIMITED),
        (0, {"status": ["ok"], "text": 7, "http": "429", "input": -1}, False, Trouble.ERROR),
    ],
)
def test_the_backend_of_the_how_to_reads_what_was_printed(
    shown: Backend, exit: int, end: dict[str, Any] | None, ok: bool, trouble: Trouble
) -> None:
    used = {"input": 5, "output": 2}
    lines = [{"type": "begun", "session": "s1"}, *([{"type": "end", **used, **end}] if end else [])]
    said = shown.read(Output(io.BytesIO("".join(f"{json.dumps(line)}\n" for line in lines).encode()), exit=exit))
    assert said is not None
    assert (said.ok, said.trouble, bool(said.why), said.session) == (ok, trouble, not ok, "s1")
    assert not ok or (said.text, said.usage) == ("Done.", Usage(5, 2))
