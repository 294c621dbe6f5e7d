"""What every backend in the folder keeps to, found there by its name: a new file is held to it without a word here."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hostile_output import GARBAGE

from orchestrator.adapters import backends
from orchestrator.adapters.backends import registry
from orchestrator.adapters.backends.base import Launch, Order, Output
from orchestrator.adapters.backends.registry import BACKENDS, find_backend
from orchestrator.core.config import Config
from orchestrator.engine import agent_programs
from orchestrator.engine.finding import Health

SECRET = "sk-tell-nobody-4242"
SYSTEM = "You are the one with the odd word zephyrine."
ENDS: tuple[dict[str, Any], ...] = ({"exit": 1}, {"exit": None, "signal": 9}, {"exit": 0, "ended": False})


@pytest.fixture(params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings_of(name: str, folder: Path) -> dict[str, Any]:
    """What it cannot do without; most need nothing."""
    (folder / "plays.yaml").write_text("plays: []\n")
    needed: dict[str, dict[str, Any]] = {
        "command": {"argv": ["x"]},
        "scripted": {"script": str(folder / "plays.yaml")},
        "agy": {"login": True},
    }
    return needed.get(name, {})


def order_in(folder: Path, **more: Any) -> Order:
    given = {"run_folder": folder / "run", "tree": folder / "tree", "state": folder / "state", "model": "some/model"}
    return Order(**{**given, "person_home": folder, "session": "00000000-0000-4000-8000-000000000000", **more})


def whole(launch: Launch) -> str:
    return json.dumps([launch.argv, launch.env, launch.files])


def test_it_is_called_as_its_module(name: str) -> None:
    assert find_backend(name).name == name


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("x = nothing_of_the_kind\n", "NameError: name 'nothing_of_the_kind'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("class Brokenone: pass\n", "has no attribute 'BrokenoneBackend'"),
        ("class BrokenoneBackend: name = 'brokenone'\n", "has no seen and no capabilities and no problem"),
        ("def BrokenoneBackend(name): pass\n", "TypeError"),
    ],
)
def test_a_file_that_is_no_backend_is_named_and_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    (tmp_path / "brokenone.py").write_text(code)
    monkeypatch.setattr(backends, "__path__", [*backends.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "BACKENDS", (*BACKENDS, "brokenone"))
    monkeypatch.setattr(agent_programs, "BUILT_IN", frozenset({"brokenone"}))
    monkeypatch.delitem(sys.modules, f"{backends.__name__}.brokenone", raising=False)
    (finding,) = agent_programs.look_at_programs(Config(), tmp_path, {})
    assert (finding.what, finding.health) == ("backend brokenone", Health.WARN)
    assert finding.text.startswith("the backend 'brokenone' cannot be loaded: ")
    assert told in finding.text
    assert finding.hint == "backends/brokenone.py must have a class BrokenoneBackend: docs/how-to/add-a-backend.md"
    assert find_backend("claude").name == "claude"


def test_what_it_promises_goes_together(name: str) -> None:
    can = find_backend(name).capabilities
    assert can.system_prompt in ("flag", "file", "none")
    assert can.resume in ("anywhere", "same folder", "no")
    assert can.usage in ("run", "session", "none")
    assert not (can.names_session or can.system_on_resume) or can.resume != "no"


def test_a_problem_is_words_and_starts_nothing(name: str, tmp_path: Path) -> None:
    trap = tmp_path / "bin"
    trap.mkdir()
    (trap / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/was-started\n")
    (trap / name).chmod(0o755)
    backend = find_backend(name)
    assert isinstance(backend.problem(settings_of(name, tmp_path), path=str(trap)), str)
    assert isinstance(backend.problem({}, path=""), str)
    assert backend.standing(settings_of(name, tmp_path), home=None).login is not None
    assert not (tmp_path / "was-started").exists()


def test_a_secret_stays_in_the_variable_that_it_is_in(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, settings = find_backend(name), {**settings_of(name, tmp_path), "pass_env": ["MORE_KEY"]}
    if name == "scripted":
        del settings["pass_env"]
    for variable in ("MORE_KEY", *backend.launch(settings, order_in(tmp_path)).pass_env):
        monkeypatch.setenv(variable, SECRET)
    (tmp_path / "run").mkdir()
    for more in ({}, {"read_only": True}):
        assert SECRET not in whole(backend.launch(settings, order_in(tmp_path, **more)))
    assert SECRET not in str(backend.standing(settings, home=tmp_path))


def test_files_are_put_into_the_run_and_its_own_folder_only(name: str, tmp_path: Path) -> None:
    system = {"system": tmp_path / "run" / "system.md", "system_text": SYSTEM}
    for more in ({}, {"read_only": True}, {"resume": "s1"}, system):
        launch = find_backend(name).launch(settings_of(name, tmp_path), order_in(tmp_path, **more))
        for path in launch.files:
            assert Path(path).is_relative_to(tmp_path / "run") or Path(path).is_relative_to(tmp_path / "state")


def test_the_system_prompt_goes_along_where_it_is_promised(name: str, tmp_path: Path) -> None:
    backend, file = find_backend(name), tmp_path / "run" / "system.md"
    launch = backend.launch(settings_of(name, tmp_path), order_in(tmp_path, system=file, system_text=SYSTEM))
    is_there = str(file) in whole(launch) or "zephyrine" in whole(launch)
    assert is_there == (backend.capabilities.system_prompt != "none")


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_no_output_of_it_is_never_a_success(name: str, kind: str) -> None:
    said = find_backend(name).read(Output(io.BytesIO(GARBAGE[kind]), exit=0))
    assert said is None or (not said.ok and said.trouble and said.why)


@pytest.mark.parametrize("end", ENDS, ids=str)
def test_nothing_that_it_prints_makes_a_bad_end_good(name: str, end: dict[str, Any]) -> None:
    events = [{"type": kind, "status": "ok", "subtype": "success", "is_error": False} for kind in ("result", "end")]
    printed = "".join(f"{json.dumps(event)}\n" for event in events).encode()
    said = find_backend(name).read(Output(io.BytesIO(printed), **end))
    assert said is None or (not said.ok and said.trouble and said.why)
