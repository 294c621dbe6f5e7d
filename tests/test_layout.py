"""What stands where in this repository, and what the schemas promise to editors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

PROJECT = Path(__file__).resolve().parents[1]
DATA_FOLDERS = ("queue", "skills", "souls", "rules")
SCHEMAS = sorted((PROJECT / "orchestrator" / "schemas").glob("*.json"))
TOP_LEVEL = {
    # the program
    "orchestrator", "tests", "benchmarks", "docs", "integrations", "pyproject.toml", "Makefile",
    # the workspace that this repository is
    "orc.yaml", "queue", "state", "schedules", "souls", "skills", "rules", "criteria",
    "CLAUDE.md", "AGENTS.md", "GEMINI.md",
    # for people and for the forge
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", ".ci", ".github", ".editorconfig", ".gitattributes",
    ".gitignore",
}  # fmt: skip


def test_folders_of_data_are_not_packages() -> None:
    assert [str(p) for name in DATA_FOLDERS for p in (PROJECT / name).rglob("__init__.py")] == []


def test_import_queue_finds_the_standard_librarys() -> None:
    code = "import queue, sys; sys.exit(not hasattr(queue, 'SimpleQueue'))"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=False).returncode == 0


def test_the_top_level_holds_only_what_belongs_there() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("not a Git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    top = {name.split("/")[0] for name in listed.split("\0") if name}
    assert top - TOP_LEVEL == set()


def test_test_modules_have_unique_names_and_no_packages() -> None:
    names = [path.name for path in (PROJECT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))
    assert "__init__.py" not in names


def properties(schema: object, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key that a schema describes, at any depth, with its own schema."""
    if isinstance(schema, dict):
        keys = schema.get("properties")
        if isinstance(keys, dict):
            yield from ((f"{where}/{name}", own) for name, own in keys.items())
        for name, inner in schema.items():
            yield from properties(inner, f"{where}/{name}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from properties(inner, f"{where}/{number}")


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_schema_is_valid_and_explains_every_key(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema)
    assert schema["title"]
    assert schema["description"]
    lacking = [name for name, own in properties(schema) if not (own.get("title") and own.get("description"))]
    assert lacking == []


def test_there_are_schemas_to_check() -> None:
    assert len(SCHEMAS) >= 4


def test_this_repository_works_under_what_orc_init_gives_everybody() -> None:
    starter = PROJECT / "orchestrator" / "starter"
    given = sorted(path.relative_to(starter) for path in starter.rglob("*.md"))
    assert given
    assert [str(path) for path in given if (PROJECT / path).read_text() != (starter / path).read_text()] == []
