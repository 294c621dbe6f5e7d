"""How tests are run: the files that say so, and what of a file says so where the rest is about something else."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from orchestrator.core.globs import matches

WHOLLY = (
    "pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "noxfile.py", ".coveragerc", "jest.config.*",
    "vitest.config.*", "vitest.workspace.*", ".mocharc*", "karma.conf.*", "playwright.config.*", "cypress.config.*",
    "ava.config.*", ".nycrc*", ".c8rc*", "phpunit.xml*", ".rspec", "nextest.toml", "sitecustomize.py",
    "usercustomize.py",
)  # fmt: skip
"""Files that are about running tests and nothing else, or that run before any test."""
PARTLY = (
    "pyproject.toml", "setup.cfg", "package.json", "cargo.toml", "conftest.py", "makefile", "gnumakefile", "justfile",
    "pom.xml", "build.gradle", "build.gradle.kts",
)  # fmt: skip

MOST_DOTS = 200
"""A line of TOML with more of them is not read."""

_TOOLS = ("pytest", "coverage", "tox", "nose", "interrogate")
_PACKAGE_KEYS = ("jest", "vitest", "mocha", "nyc", "c8", "ava", "tap", "jasmine", "cypress", "playwright")
_TARGET_KEYS = ("name", "path", "test", "harness", "doctest")
_SECTION = re.compile(r"tool:pytest|pytest|coverage|tox|testenv|nose|aliases")
_TARGET = re.compile(r"test|check|verify|coverage|\bci\b", re.I)
_BUILD = re.compile(r"skipTests|maven\.test\.skip|testFailureIgnore|ignoreFailures|excludeTestsMatching")
_HOOK = re.compile(
    r"(?:async )?def (pytest_(?:collect|ignore_collect|collection|itemcollected|pyfunc|runtest|report|sessionfinish|"
    r"exception|make|configure|load|cmdline|deselected|generate_tests)\w{0,80})|(collect_ignore\w{0,20}|pytest_plugins)\b"
)
_PATCH = re.compile(r"([A-Za-z_]\w{0,80}(?:\.\w{1,80}){1,9})[ \t]*=(?!=)|(?:builtins\.)?setattr\(")
"""At the top of a file: something of a module is replaced."""
_STOP = re.compile(r"\b(?:pytest\.(?:skip|exit|xfail)|os\._exit|sys\.exit)\(")
_VARIABLE = re.compile(r"(?:export[ \t]+|override[ \t]+)?([A-Za-z_][\w.-]{0,80})[ \t]*(?:[:?+!]|::)?=")
_USED = re.compile(r"\$[({]([A-Za-z_][\w.-]{0,80})[)}]")


def is_wholly(path: str) -> bool:
    """Whether a file is about running tests and nothing else."""
    return matches(path.lower(), WHOLLY)


def is_partly(path: str) -> bool:
    """Whether a part of a file may be about running tests."""
    return matches(path.lower(), PARTLY)


def about_tests(path: str, data: bytes) -> dict[str, str]:
    """What of such a file is about running tests: by its key, in a form in which it can be compared."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    try:
        found = _parts(path.rpartition("/")[2].lower(), text) if text.strip() else {}
        return {key: json.dumps(value, sort_keys=True, default=str) for key, value in found.items()}
    except (ValueError, RecursionError):
        return {"what cannot be read": text}


def _parts(name: str, text: str) -> dict[str, Any]:
    match name:
        case "pyproject.toml":
            return _pyproject(_toml(text))
        case "cargo.toml":
            return _cargo(_toml(text))
        case "package.json":
            return _package(json.loads(text))
        case "setup.cfg":
            return _sections(text)
        case "conftest.py":
            return _hooks(text)
        case "pom.xml" | "build.gradle" | "build.gradle.kts":
            return dict(Counter(found[0] for found in _BUILD.finditer(text)))
        case _:
            return _targets(text)


def _toml(text: str) -> dict[str, Any]:
    # A key of very many parts takes the square of their number to be read: minutes for one of 100 kB.
    if any(line.count(".") > MOST_DOTS for line in text.splitlines()):
        raise ValueError("a line has very many dots")
    return tomllib.loads(text)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _pyproject(data: Mapping[str, Any]) -> dict[str, Any]:
    tools = _mapping(data.get("tool"))
    found = {f"tool.{key}": tools[key] for key in _TOOLS if key in tools}
    return found | {f"tool.hatch.{key}": each for key, each in _mapping(tools.get("hatch")).items() if key == "envs"}


def _cargo(data: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: data[key] if isinstance(data[key], list) else [data[key]] for key in ("lib", "test") if key in data}
    return {
        f"[{key}]": [{own: _mapping(each).get(own) for own in _TARGET_KEYS} for each in found[key]] for key in found
    }


def _package(data: Any) -> dict[str, Any]:
    scripts = _mapping(_mapping(data).get("scripts"))
    found = {f"scripts.{key}": value for key, value in scripts.items() if _TARGET.search(key)}
    return found | {key: data[key] for key in _PACKAGE_KEYS if key in _mapping(data)}


def _sections(text: str) -> dict[str, Any]:
    """The sections of an ini file that are about tests, without comments."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.split("\n"):
        if header := re.match(r"\[([^\]\n]{1,200})\]", line):
            name = f"[{header[1]}]" if _SECTION.match(header[1]) else ""
        elif name and line.strip() and line.lstrip()[0] not in "#;":
            found.setdefault(name, []).append(line.strip())
    return found


def _hooks(text: str) -> dict[str, Any]:
    """What in a conftest.py says which tests are run, what comes of them, and of what code. Most fixtures do not."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.split("\n"):
        if hook := _HOOK.match(line):
            name = hook[1] or hook[2]
        elif changed := _PATCH.match(line):
            name = changed[1] or "setattr"
        elif stop := _STOP.search(line):
            found.setdefault(stop[0], []).append(line.strip())
        elif line[:1].strip(")]} \t"):
            name = ""
        if name and line.strip() and not line.lstrip().startswith("#"):
            found.setdefault(name, []).append(line.strip())
    return found


def _targets(text: str) -> dict[str, Any]:
    """The targets of a Makefile whose names are about tests, with what they do and the variables in that."""
    found: dict[str, list[str]] = {}
    given: dict[str, list[str]] = {}
    name = ""
    for line in text.split("\n"):
        if variable := _VARIABLE.match(line):
            given.setdefault(variable[1], []).append(line.strip())
        if line[:1].strip() and line[0] != "#":
            head, colon, rest = line.partition(":")
            is_target = colon and not rest.startswith("=") and not head.startswith(".PHONY") and _TARGET.search(head)
            name = f"target {head.strip()}" if is_target else ""
        if name and line.strip() and not line.lstrip().startswith("#"):
            found.setdefault(name, []).append(line.strip())
    ahead = [line for lines in found.values() for line in lines]
    while ahead:
        for used in _USED.findall(ahead.pop()):
            if f"variable {used}" not in found and used in given:
                found[f"variable {used}"] = given[used]
                ahead += given[used]
    return found
