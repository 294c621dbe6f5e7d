"""The real command line programs of agents, in pinned versions, in a cache of the person's.

`python tests/agents/cli_install.py` installs those that are missing and runs the tests against them, with loopback as
the only network; arguments go to pytest. `--install` installs only. At the end it says which programs were driven. If
none was, that is a failure, unless ORC_AGENTS_MAY_SKIP=1 says that this machine is not meant to drive them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]  # It is started where nothing of orc is installed, too.

from orchestrator.adapters.backends.registry import find_backend  # noqa: E402

CACHE = "ORC_AGENTS_CACHE"
MAY_SKIP = "ORC_AGENTS_MAY_SKIP"
INSTALL_S = 900


@dataclass(frozen=True)
class Program:
    """A program and the package of npm that it comes in."""

    name: str
    package: str
    version: str

    @property
    def folder(self) -> Path:
        """Where this version of it is, or belongs."""
        return cache_folder() / f"{self.name}-{self.version}"

    @property
    def path(self) -> Path:
        """The program itself."""
        return self.folder / "node_modules" / ".bin" / self.name

    def is_there(self) -> bool:
        """Whether it is installed; a folder appears only when it is whole."""
        return os.access(self.path, os.X_OK)


PACKAGES = {
    "claude": "@anthropic-ai/claude-code",
    "codex": "@openai/codex",
    "gemini": "@google/gemini-cli",
    "opencode": "opencode-ai",
}
PROGRAMS = tuple(Program(name, package, find_backend(name).seen) for name, package in PACKAGES.items())
"""Each in the version that its backend was tried with."""


def cache_folder() -> Path:
    """The folder that ORC_AGENTS_CACHE names, else one in the person's cache."""
    if named := os.environ.get(CACHE):
        return Path(named).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "orc-agents"


def install(program: Program) -> None:
    """Put a program into the cache, whole or not at all. Raises CalledProcessError."""
    program.folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.folder.parent, prefix=".new-") as made:
        print(f"installing {program.package}@{program.version} into {program.folder}", file=sys.stderr, flush=True)
        quiet = ("--no-audit", "--no-fund", "--loglevel=error")
        command = ["npm", "install", f"--prefix={made}", *quiet, f"{program.package}@{program.version}"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=INSTALL_S)
        shutil.rmtree(program.folder, ignore_errors=True)
        os.rename(made, program.folder)
        os.mkdir(made)  # For the context to remove.


def only_loopback(command: Sequence[str]) -> list[str]:
    """The command in a network of its own that has nothing but loopback."""
    return ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]


def can_shut_in() -> bool:
    """Whether this machine allows such a network."""
    is_there = shutil.which("unshare") is not None
    return is_there and subprocess.run(only_loopback(["true"]), capture_output=True, check=False).returncode == 0


def has_only_loopback() -> bool:
    """Whether this process is in such a network."""
    try:
        # Not /sys/class/net, which shows the network in which /sys was mounted.
        with open("/proc/net/dev", encoding="ascii") as file:
            return [line.partition(":")[0].strip() for line in file if ":" in line] == ["lo"]
    except OSError:
        return False


def main(argv: Sequence[str]) -> int:
    """Install what is missing, and run the tests. The exit code of pytest."""
    if missing := [program for program in PROGRAMS if not program.is_there()]:
        if shutil.which("npm") is None:
            print("npm is needed to install the agents: https://nodejs.org (20 or newer)", file=sys.stderr)
            return 2
        for program in missing:
            install(program)
    if list(argv) == ["--install"]:
        return 0
    with tempfile.TemporaryDirectory(prefix="orc-agents-") as made:
        report = Path(made) / "report.xml"
        tests = [sys.executable, "-m", "pytest", "-m", "agents", f"--junitxml={report}", str(Path(__file__).parent)]
        environment = {**os.environ, CACHE: str(cache_folder())}
        shut_in = can_shut_in()
        command = [*tests, *argv]
        code = subprocess.run(only_loopback(command) if shut_in else command, env=environment, check=False).returncode
        passed, skipped = read_report(report)
    return judge(code, passed, skipped, shut_in=shut_in)


def read_report(report: Path) -> tuple[Counter[str], Counter[str]]:
    """How many tests passed and how many were skipped, by the program that they name or as `others`."""
    passed: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for test in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        words = re.split("[^a-z]+", f"{test.get('classname')} {test.get('name')}")
        names = {program.name for program in PROGRAMS if program.name in words} or {"others"}
        if test.find("skipped") is not None:
            skipped.update(names)
        elif test.find("failure") is None and test.find("error") is None:
            passed.update(names)
    return passed, skipped


def judge(code: int, passed: Counter[str], skipped: Counter[str], *, shut_in: bool) -> int:
    """Say what was tried. pytest's exit code, or 1 if no program was driven and nobody has said that this may be so."""
    told = ", ".join(f"{name} {count}" for name, count in sorted(passed.items())) or "none"
    print(f"passed: {told}; skipped: {skipped.total()}", file=sys.stderr)
    programs = {program.name for program in PROGRAMS}
    # What is no program of others, such as the API's own loop, passes without any.
    tried = passed.keys() & programs or (passed and not skipped.keys() & programs)
    if code or (shut_in and tried):
        return code
    why = "every test was skipped" if shut_in else "`unshare --map-root-user --net` is not possible here"
    may = os.environ.get(MAY_SKIP) == "1"
    way_out = "" if may else f": a failure, unless {MAY_SKIP}=1 is set"
    print(f"no real program was driven, for {why}{way_out}", file=sys.stderr)
    return 0 if may else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
