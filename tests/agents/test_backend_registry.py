"""Every place that knows the backends by name knows the same ones, and the how-to for a new one is true."""

from __future__ import annotations

import importlib
import io
import json
import os
import pkgutil
import re
import shutil
import subprocess
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


def test_every_class_that_is_a_backend_is_found_under_the_name_of_its_module() -> None:
    found = dict(pair for pair in classes_of_backends() if pair != ("base", "Backend"))
    assert tuple(sorted(found)) == BACKENDS
    assert {name: type(find_backend(name)).__name__ for name in BACKENDS} == found


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
    assert {seen[name] for name in set(BACKENDS) - BUILT_IN | NOT_TRIED} == {""}


# --- one file ---

NOVA = """#!{python}
import json, os, sys
prompt = sys.stdin.read()
assert os.environ["NOVA_API_KEY"] == "dummy" and "READY" in prompt
print(json.dumps({{"type": "begun", "session": "s1"}}))
print(json.dumps({{"type": "end", "status": "ok", "text": "READY", "input": 5, "output": 2}}))
"""


@pytest.mark.slow
def test_a_backend_is_one_file_and_one_run_of_the_conformance(tmp_path: Path) -> None:
    """The how-to, followed: in a copy of orc one file is dropped in, and nothing else is touched."""
    orc = tmp_path / "copy"
    unwanted = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in ("orchestrator", "tests"):
        shutil.copytree(PROJECT / name, orc / name, ignore=unwanted)
    shutil.copy(PROJECT / "pyproject.toml", orc)
    code = code_of("add-a-backend.md")[0]
    for word, mine in (("Name", "Nova"), ("NAME", "NOVA"), ('"name"', '"nova"'), (".name/", ".nova/")):
        assert word in code
        code = code.replace(word, mine)
    (orc / "orchestrator" / "adapters" / "backends" / "nova.py").write_text(code)

    def python(*words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
        outer = {key: value for key, value in os.environ.items() if not key.startswith(("ORC_", "PYTEST_", "COV_"))}
        env = {**outer, "PYTHONPATH": str(orc), "PYTHONDONTWRITEBYTECODE": "1", **more}
        return subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)

    suite = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/adapters/test_backend_contract.py", "-k", "nova")
    held = python(*suite, cwd=orc)
    assert held.returncode == 0, held.stdout[-3000:]
    assert re.search(r"\b(1[5-9]|[2-9]\d) passed", held.stdout)

    work, programs = tmp_path / "work", tmp_path / "programs"
    for folder in (work, programs):
        folder.mkdir()
    (programs / "nova").write_text(NOVA.format(python=sys.executable))
    (programs / "nova").chmod(0o755)
    subprocess.run(["git", "init", "-q", "-b", "main", "."], cwd=work, check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
    subprocess.run(["git", *who, "commit", "-q", "--allow-empty", "-m", "one"], cwd=work, check=True)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    told = python("-m", "orchestrator", "init", cwd=work, PATH=path)
    assert told.returncode == 0, told.stderr
    for soul in (work / "souls").glob("*.md"):
        soul.unlink()
    body = "\n## Values\nSmall.\n\n## Voice\nPlain.\n\n## Boundaries\n- Never guess.\n"
    (work / "souls" / "ada.md").write_text(f"---\nbackend: nova\nmodel: m\nfamily: f\n---\n{body}")
    tried = python("-m", "orchestrator", "doctor", "--try", "--json", cwd=work, PATH=path, NOVA_API_KEY="dummy")
    findings = {each["what"]: each["text"] for each in json.loads(tried.stdout)["findings"]}
    assert "the key in NOVA_API_KEY, and an empty HOME" in findings["backend nova"]
    assert "answered 'READY'" in findings["try ada"]
    assert "7 tokens" in findings["try ada"]
    (work / "souls" / "ada.md").write_text(f"---\nbackend: novva\nmodel: m\nfamily: f\n---\n{body}")
    slip = python("-m", "orchestrator", "doctor", cwd=work, PATH=path)
    assert "did you mean 'nova'?" in slip.stdout


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
