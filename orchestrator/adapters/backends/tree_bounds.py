"""What the tools over a tree may reach where the kernel holds them to it: what is listed here, and nothing else.

Written is the tree, HOME and TMPDIR of the run, and what it may ask through; read is besides what a build needs. What
the person keeps at home, the workspace, the trees of others and the sessions of agents are on no list.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.adapters.files import ensure_folder
from orchestrator.adapters.landlock import DEVICE, READ, SCRATCH, WRITE, Right, Rule
from orchestrator.adapters.reading import safe_read
from orchestrator.errors import OrcError

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store", "/gnu/store"),
    *("/run/current-system", "/snap", "/proc", "/sys/devices/system", "/sys/fs/cgroup", "/sys/kernel/mm"),
    *("/var/lib/ca-certificates", "/var/cache/fontconfig", "/var/lib/texmf", "/var/lib/ghc", "/var/lib/gems"),
)
"""Folders of the system. What is in /proc about processes outside is kept by the kernel itself."""
LINKED = ("/etc/resolv.conf", "/etc/hosts", "/etc/localtime", "/etc/ssl/certs/ca-certificates.crt")
"""Files that everybody reads, and that may be links to where nothing else is read."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
BESIDE_BIN = ("lib", "lib64", "libexec", "include", "pyvenv.cfg")
"""What programs in a `bin` outside of the system need of the folder above it. All of it may be too much: ~/.local."""
ABOVE = (
    *("Cargo.toml", ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain", "rustfmt.toml"),
    *("pyproject.toml", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "setup.py", "conftest.py", "ruff.toml"),
    *("package.json", "tsconfig.json", "jsconfig.json", ".eslintrc", ".eslintrc.js", ".eslintrc.cjs", ".eslintrc.json"),
    *(".prettierrc", ".prettierrc.json", ".browserslistrc", ".editorconfig", "go.mod", "go.work", ".clang-format"),
    *("settings.gradle", "settings.gradle.kts", "Gemfile", ".rubocop.yml"),
)
"""Settings that tools look for in all folders above the one they work in, and break on when they are there and cannot
be read. The tree lies in the workspace, where such files are."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which rules hold for the tools, and folders that must be out of reach then: a look at them proves it."""

    rules: tuple[Rule, ...]
    closed: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it is told to the process that is to be held."""
        rules = [[str(rule.path), int(rule.rights)] for rule in self.rules]
        return {"rules": rules, "closed": [str(path) for path in self.closed]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Bounds:
        """The inverse."""
        rules = tuple(Rule(Path(path), Right(rights)) for path, rights in data["rules"])
        return cls(rules, tuple(Path(path) for path in data["closed"]))


def bounds_of(
    tree: Path,
    run: Path,
    *,
    state: Path,
    path: str,
    may_read: Collection[Path] = (),
    may_write: Collection[Path] = (),
) -> Bounds:
    """What the tools of one run may reach.

    `run` is its folder, `state` where its session is kept, which they need not reach, `path` the PATH of commands.
    `may_read` and `may_write` are what the person adds. Makes what is written in the folder of the run.
    """
    home, temporary, outbox, report = (run / name for name in ("home", "tmp", "outbox", "report"))
    for folder in (home, temporary, outbox):
        ensure_folder(folder)
    # A file that is not there cannot be allowed, and the folder around it is not to be written.
    with suppress(FileExistsError):
        os.close(os.open(report, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    closed = _private(tree, run)
    readable = [Path(each) for system in SYSTEM for each in _without(Path(system), closed)]
    programs = [each for each in _programs(path) if not _holds_any(each, closed)]
    readable += [run, *_borrowed(tree), *programs, *_own(), *_above(tree), *may_read]
    readable += [Path(os.path.realpath(each)) for each in LINKED]
    rules = [Rule(each, READ) for each in readable]
    own = (tree, home, temporary, outbox)
    rules += [Rule(each, WRITE) for each in own]
    rules += [Rule(report, Right.READ_FILE | Right.WRITE_FILE | Right.TRUNCATE), Rule(Path("/dev/shm"), SCRATCH)]
    rules += [Rule(Path(each), DEVICE) for each in DEVICES]
    rules += [Rule(each, WRITE | Right.IOCTL_DEV | Right.RESOLVE_UNIX) for each in may_write]
    # A reviewer keeps its session in its HOME, and a person may add what they like.
    given = (*own, *may_read, *may_write)
    shut = tuple(each for each in (run.parent, state) if not any(each.is_relative_to(one) for one in given))
    checkout = Path(__file__).resolve().parents[3]
    if not any(Path(os.path.realpath(each)).is_relative_to(checkout) for each in (*shut, *closed)):
        # Python finds orc there by a list of what there is: names are seen, and nothing else.
        rules.append(Rule(checkout, Right.READ_DIR))
    return Bounds(tuple(rules), shut)


def _private(tree: Path, run: Path) -> tuple[Path, ...]:
    """The person's home, and where this workspace is: they may lie in a folder of the system, as in containers."""
    found = [*run.parents[1:4], *(each for each in tree.parents if (each / "orc.yaml").is_file())]
    with suppress(KeyError):
        found.append(Path(pwd.getpwuid(os.getuid()).pw_dir))
    return tuple(Path(os.path.realpath(each)) for each in found)


def _without(folder: Path, closed: Iterable[Path]) -> Iterator[Path]:
    """A folder, or where some of `closed` lie in it, all the rest that is in it."""
    real = Path(os.path.realpath(folder))
    inside = [each for each in closed if each.is_relative_to(real)]
    if not inside:
        yield folder
    elif real not in inside:
        with suppress(OSError):
            for entry in os.scandir(real):
                yield from _without(Path(entry.path), inside)


def _borrowed(tree: Path) -> Iterator[Path]:
    """The objects that the tree's repository borrows: without them Git sees nothing in it."""
    try:
        named = safe_read(tree / ".git" / "objects" / "info" / "alternates").data
    except (OSError, OrcError):
        return
    for line in os.fsdecode(named).splitlines():
        if line.startswith("/") and Path(line).name == "objects":
            yield Path(line)


def _holds_any(folder: Path, closed: Iterable[Path]) -> bool:
    """Whether one of these lies in a folder: a PATH may name a home or a workspace itself, or ~/shims."""
    real = Path(os.path.realpath(folder))
    return any(each.is_relative_to(real) for each in closed)


def _programs(path: str) -> Iterator[Path]:
    """The folders of PATH, and what is needed beside those that are called `bin`, or `shims` of a version manager."""
    for folder in (Path(each) for each in path.split(os.pathsep) if each.startswith("/")):
        yield from _with_libraries(folder)
        if folder.name == "shims":
            yield folder.parent


def _with_libraries(folder: Path) -> Iterator[Path]:
    yield folder
    if folder.name in ("bin", "sbin"):
        yield from (folder.parent / each for each in BESIDE_BIN)


def _own() -> Iterator[Path]:
    """The interpreter, and orc itself, which agents call in their runs."""
    yield Path(__file__).resolve().parents[2]
    for prefix in dict.fromkeys((sys.prefix, sys.base_prefix)):
        yield from _with_libraries(Path(prefix) / "bin")


def _above(tree: Path) -> Iterator[Path]:
    for folder in tree.parents:
        yield from (folder / name for name in ABOVE if _is_plain(folder / name))


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
