"""What runs the tests without being a file of their runner: scripts that call it, and packages that plug into it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from orchestrator.core.globs import matches
from orchestrator.core.suite_files import is_of_tests, language_of

_SCRIPT = re.compile(r"\.(sh|bash|zsh|ksh|fish|cmd|bat|ps1)\Z", re.I)
_SHEBANG = re.compile(rb"#![^\n]{0,80}\b(?:ba|da|z|k|fi)?sh\b")
_BETWEEN = re.compile(r"&&|\|\||[;|&(){}`]")
_BEFORE = frozenset((
    "if", "then", "do", "else", "elif", "while", "until", "!", "call", "command", "env", "exec", "nice", "sudo", "time",
    "timeout", "bundle", "bunx", "coverage", "hatch", "npx", "pdm", "pipenv", "pipx", "poetry", "run", "rye", "uv",
    "uvx", "xvfb-run",
))  # fmt: skip
"""What may stand before the name of the program that is run. Options, numbers and variables may, too."""
_NO_NAME = re.compile(r"-|\d|[A-Za-z_]\w{0,80}=")
_RUNNERS = frozenset((
    "pytest", "py.test", "unittest", "nose2", "nosetests", "tox", "nox", "trial", "jest", "vitest", "mocha", "karma",
    "cypress", "bats", "prove", "phpunit", "rspec", "ctest", "behave",
))  # fmt: skip
_BUILDERS = frozenset((
    "make", "gmake", "just", "ninja", "meson", "bazel", "npm", "pnpm", "yarn", "bun", "deno", "playwright", "go",
    "cargo", "dotnet", "swift", "mix", "dart", "flutter", "sbt", "lein", "stack", "cabal", "zig", "mvn", "mvnw",
    "gradle", "gradlew", "rake", "rails", "composer",
))  # fmt: skip
"""Programs that run tests among other things: where a word about tests follows."""
_ABOUT_TESTS = re.compile(r"test|check|verify|coverage", re.I)
_INTERPRETER = re.compile(r"python[\d.]{0,8}|node|ruby|perl|php|(?:ba|da|z|k)?sh")
_STOPS = re.compile(r"\b(?:exit|return) 0\b|\bset \+e\b")
_OR_TRUE = re.compile(r"\|\|[ \t]{0,5}(?:true\b|:(?:\s|\Z))")
_CLEARS_UP = frozenset((
    ":", "cat", "chmod", "cp", "echo", "find", "grep", "kill", "killall", "ls", "mkdir", "mv", "pkill", "printf", "rm",
    "rmdir", "tail", "touch", "true", "umount", "unlink", "wait", "which",
))  # fmt: skip
"""Programs that try nothing: whether they fail says nothing about the work."""

LISTS = (
    "*requirements*.txt", "*requirements*.in", "**/requirements/*.txt", "**/requirements/*.in", "pyproject.toml",
    "setup.cfg", "setup.py", "pipfile", "environment*.yml", "environment*.yaml",
)  # fmt: skip
"""Files that say which packages are installed."""
_PLUGIN = re.compile(r"(?<![\w./@-])(?:pytest|nose2?|tox)[-_][a-z0-9][\w-]{0,80}", re.I)
_COMMENT = re.compile(r"(?:\A|(?<=\s))#[^\n]*")


def may_run_tests(path: str) -> bool:
    """Whether a file is a script, by its ending, and holds no tests itself."""
    return _SCRIPT.search(path) is not None and not language_of(path)


def lines_of_tests(path: str, data: bytes) -> tuple[Counter[str], Counter[str]]:
    """(the lines of a script that run tests, those that end it early or let go what failed); nothing of other files."""
    if language_of(path) or not (_SCRIPT.search(path) or _SHEBANG.match(data)):
        return Counter(), Counter()
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.split("\n") if not line.lstrip().startswith(("#", "::", "REM "))]
    runs = Counter(line for line in lines if any(map(_runs_tests, _BETWEEN.split(line))))
    return runs, Counter(line for line in lines if _lets_go(line)) if runs else Counter()


def _lets_go(line: str) -> bool:
    """Whether a line ends a script early, or goes on where something of it has failed that may try the work."""
    *tried, _ = _OR_TRUE.split(line)
    return _STOPS.search(line) is not None or any(
        not _clears_up(command) for part in tried for command in _BETWEEN.split(part) if command.strip()
    )


def _clears_up(command: str) -> bool:
    words = [word for word in command.split() if word not in _BEFORE and not _NO_NAME.match(word)]
    return not words or (words[0] in _CLEARS_UP and not any(_ABOUT_TESTS.search(word) for word in words))


def _runs_tests(command: str) -> bool:
    """Whether a simple command runs tests, as far as its words tell."""
    words = [word.strip("\"'@") for word in command.split()]
    at = 0
    while at < len(words):
        is_module = _is_interpreter(words[at]) and words[at + 1 : at + 2] == ["-m"]
        if not (is_module or words[at] in _BEFORE or _NO_NAME.match(words[at])):
            break
        at += 1
    if at == len(words):
        return False
    name, rest = words[at].rpartition("/")[2], words[at + 1 :]
    script = words[at]
    if _is_interpreter(name):
        script = next((word for word in rest if not word.startswith("-")), "")
    elif name in _RUNNERS or (name in _BUILDERS and any(_ABOUT_TESTS.search(word) for word in rest if "/" not in word)):
        return True
    # A file of the tests that is run.
    return ("/" in script or script != words[at]) and is_of_tests(script.removeprefix("./"))


def _is_interpreter(word: str) -> bool:
    return _INTERPRETER.fullmatch(word.rpartition("/")[2]) is not None


def lists_packages(path: str) -> bool:
    """Whether a file says which packages are installed."""
    return matches(path.lower(), LISTS)


def plugins_in(data: bytes) -> Iterator[str]:
    """The packages in such a file that a runner of tests loads by itself, told by their names."""
    for line in data.decode("utf-8", "replace").splitlines():
        for found in _PLUGIN.findall(_COMMENT.sub("", line)):
            yield found.lower().replace("_", "-").strip("-")
