"""Ends one process of a world at one system call, or makes that call fail: of the engine, its nursery, a shim, or a
git of either.

strace does it (`-e inject=rename:signal=KILL:when=3`), and all hooks are outside of orc: strace in front of a command,
a `git` in front of PATH that counts what it is asked for, and a stand-in for the interpreter that starts the nursery.
`syscall_scenes.py` has the lives in which it happens, and writes the table of points.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path

from crash_helpers import World

TABLE = Path(__file__).parent / "engine" / "syscall_points.txt"
CALLS = (
    *("openat", "write", "pwrite64", "rename", "renameat", "renameat2", "link", "linkat", "unlink", "unlinkat"),
    *("mkdir", "mkdirat", "rmdir", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", "utimensat", "ftruncate"),
    *("truncate", "fallocate", "copy_file_range", "sendfile", "sendmsg", "fsync", "fdatasync", "syncfs", "sync"),
    *("flock", "fork", "vfork", "clone", "clone3", "kill", "setsid", "setpgid"),
)
"""What changes something that outlives the process, or another process."""
NOTICED = 0.004
"""Seconds between two looks whether it has happened."""

_LINE = re.compile(r"^\d+\.\d+ (\w+)\((.*)$")
_OPENED_TO_CHANGE = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC")
_OPTIONS = ("strace", "-q", "-ttt", "-y", "-s", "120", "-e", "signal=none")


@cache
def problem() -> str:
    """Why nothing can be injected on this machine, and what would enable it; "" if all is well."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "system calls are injected on Linux on x86-64 only, where the table of points was traced"
    if shutil.which("strace") is None:
        return "there is no strace: apt-get install strace"
    argv = ["strace", "-qq", "-o", os.devnull, "-e", "inject=getppid:error=EPERM", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        way_out = "sysctl kernel.yama.ptrace_scope=1, or in a container --cap-add=SYS_PTRACE"
        return f"strace may not trace here ({done.stderr.strip()}): {way_out}"
    return ""


# --- points ---


@dataclass(frozen=True, slots=True)
class Point:
    """One system call of one process in a scene."""

    scene: str
    process: str
    """`main` (the engine, or the command that the scene is about), `nursery`, `shim.2` (the second one),
    `git.main.fetch.3` (main's third), `git.shim.commit-tree.1`. With `+` at its end: what that git starts itself."""
    call: str
    nth: int
    """Which of the calls of this name the process makes, from 1; those that change nothing are counted too."""

    def __str__(self) -> str:
        return f"{self.scene}-{self.process}-{self.call}-{self.nth}"

    @classmethod
    def parse(cls, name: str) -> Point:
        """The point of this name."""
        rest, call, nth = name.rsplit("-", 2)
        scene, _, process = rest.partition("-")
        return cls(scene, process, call, int(nth))

    @property
    def kind(self) -> tuple[str, str, str]:
        """The scene, whose call it is (not which of them), and the call."""
        return self.scene, _without_number(self.process), self.call

    @property
    def family(self) -> str:
        """What points are spread over first: main, nursery, shim, git.main, git.shim, and what these gits start."""
        words = self.process.split(".")
        return (".".join(words[:2]) if words[0] == "git" else words[0]) + ("+" if self.process.endswith("+") else "")

    def later(self, nth: int) -> Point:
        """The same call at another time."""
        return Point(self.scene, self.process, self.call, nth)


@functools.cache
def _without_number(process: str) -> str:
    return re.sub(r"\.\d+(\+?)$", r"\1", process)


def read_points(path: Path = TABLE) -> list[Point]:
    """Every point of the table."""
    points = []
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            scene, process, call, numbers = line.split()
            points += [Point(scene, process, call, int(nth)) for nth in numbers.split(",")]
    return points


def choose(points: Iterable[Point], count: int, seed: str) -> list[Point]:
    """So many of them, as evenly over their kinds as can be; the same ones for the same seed."""

    def lot(of: object) -> bytes:
        return hashlib.sha256(f"{seed} {of}".encode()).digest()

    def in_turns(these: Iterable[Point], what: Callable[[Point], object]) -> list[Point]:
        groups: dict[object, list[Point]] = {}
        for point in these:
            groups.setdefault(what(point), []).append(point)
        lots = {group: lot(group) for group in groups}
        turns = [(turn, lots[group], point) for group, same in groups.items() for turn, point in enumerate(same)]
        return [point for _, _, point in sorted(turns, key=itemgetter(0, 1))]

    by_kind = in_turns(sorted(points, key=lot), lambda point: point.kind)
    return in_turns(by_kind, lambda point: (point.family, point.call))[:count]


# --- hooks ---

_ORC = """\
import sys
sys.executable = sys.argv.pop(1)
sys.argv[0] = "orc"
from orchestrator.__main__ import main
sys.exit(main())
"""
"""`orc`, which takes the program of its first argument for its own interpreter."""

_PYTHON = """\
#!/bin/sh
# Stands in for the interpreter: the process that it starts is the nursery, or a shim.
export ORC_TEST_HOOK=1
for word do
  shift
  case $word in
    *orchestrator*serve*) word="$(cat "{hook}")
$word"; trace='{nursery}' ;;
    *orchestrator.engine.run*) word="$(cat "{hook}")
attach()
$word" ;;
  esac
  set -- "$@" "$word"
done
exec $trace "{python}" "$@"
"""

_HOOK = """\
import os, time
forks, nursery = 0, os.getpid()
def count():
    global forks
    forks += 1
def attach():
    if nursery not in (os.getpid(), os.getppid()) or {shim} not in (0, forks or 1):
        return
    argv = [word.replace("NUMBER", str(forks or 1)) for word in {argv}] + ["-p", str(os.getpid())]
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.setsid()
            os.closerange(3, 256)  # The lease is not for it.
            os.execvp(argv[0], argv)
        os._exit(0)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with open("/proc/self/status") as file:
            if "TracerPid:\\t0\\n" not in file.read():
                return
        time.sleep(0.001)
os.register_at_fork(before=count, after_in_child=attach)
"""
"""Code that the nursery runs before its own: a process that it forks has itself traced before it goes on."""

_GIT = """\
#!/bin/sh
# Counts the commands that orc gives to git, and has the wanted one traced.
owner=
is_shim() {{ [ "$4" = "$PPID" ] && owner=shim; }}
if [ "$PPID" = "$(cat "{outside}/orc.pid")" ]; then
  owner=main
elif read -r line 2> /dev/null < "/proc/$PPID/stat"; then
  is_shim ${{line##*) }}
fi
skip= command=
for word do
  if [ "$skip" ]; then skip=; continue; fi
  case $word in -c|-C) skip=1 ;; -*) ;; *) command=$word; break ;; esac
done
case $owner.$command in .*|*.) ;; {wanted})
  number=1
  until (set -C; : > "{outside}/git.$owner.$command.$number") 2> /dev/null; do number=$((number + 1)); done
  case $number in {number}) exec {strace}/git.$owner.$command.$number "{git}" "$@" ;; esac
esac
exec "{git}" "$@"
"""


@dataclass
class Injection:
    """What happens at one point of one world, once. Without a point everything is traced and nothing happens."""

    world: World
    point: Point | None = None
    what: str = "signal=KILL"
    engine_too: bool = False
    """Whether the engine is killed as soon as it has happened."""
    hit: str = ""
    """The call at which it happened."""

    def __post_init__(self) -> None:
        # The same PATH before and after: what checks said is remembered with it.
        self.world.environment["PATH"] = f"{self.world.outside / 'bin'}{os.pathsep}{os.environ['PATH']}"
        for folder in (self.logs, self.world.outside / "bin"):
            folder.mkdir(exist_ok=True)
        self._write_plain()

    @property
    def logs(self) -> Path:
        """Where strace writes, one file for each process."""
        return self.world.outside / "strace"

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the `orc` to which, or to one of whose processes, it happens."""
        self._write_hooks()
        world, place = self.world, self.world.outside
        pid_file = ["sh", "-c", 'echo $$ > "$0"; exec "$@"', str(place / "orc.pid")]
        world.prefix = (*pid_file, *(self._strace("main") if self._wants("main") else []))
        world.program = ("-c", _ORC, str(place / "bin" / "python"))
        try:
            return world.start(*arguments)
        finally:
            world.prefix, world.program = (), ("-m", "orchestrator")

    def orc(self, *arguments: str) -> int:
        """The same, to its end. Its exit code."""
        process, start = self.start(*arguments), self.world.starts
        with self.watching(process):
            return self.world.note_end(start, process.wait(120))

    @contextmanager
    def watching(self, process: subprocess.Popen[str]) -> Iterator[None]:
        """See to it that it happens once, and that the engine dies as well where it is to."""
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(process, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self.find_hit()

    def close(self) -> None:
        """Let go of everything that is still traced; from now on nothing happens."""
        self._write_plain()
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError, ValueError):
                words = path.read_bytes().split(b"\0")
                if words[0] == b"strace" and any(os.fsencode(self.logs) in word for word in words):
                    os.kill(int(path.parent.name), signal.SIGKILL)

    def find_hit(self) -> str:
        """The call at which it happened, as strace tells; "" if it has not, yet."""
        if self.point is None or self.hit:
            return self.hit
        for log in sorted(self.logs.glob("*")):
            lines = log.read_text(errors="replace").splitlines()
            if self.what.startswith("signal"):
                calls = [line for line in lines if _LINE.match(line)]
                # A call that was never answered.
                found = [line for line in calls[self.point.nth - 1 :] if line.endswith(("= ?", "<unfinished ...>"))]
            else:
                found = [line for line in lines if line.endswith("(INJECTED)")]
            self.hit = self.hit or (found[0] if found else "")
        return self.hit

    def made(self) -> int:
        """How many of these calls the process made in which nothing happened."""
        logs = [log.read_text(errors="replace").splitlines() for log in self.logs.glob("*")]
        return max((sum(bool(_LINE.match(line)) for line in lines) for lines in logs), default=0)

    def _watch(self, process: subprocess.Popen[str], over: threading.Event) -> None:
        while not over.wait(NOTICED):
            if self.point and self.find_hit():
                if self.engine_too:
                    process.kill()
                return

    def _wants(self, process: str) -> bool:
        return self.point is None or self.point.process == process

    def _strace(self, name: str, *options: str) -> list[str]:
        wanted = [f"trace={','.join(f'?{call}' for call in CALLS)}"]
        if self.point is not None:
            wanted = [f"trace={self.point.call}", f"inject={self.point.call}:{self.what}:when={self.point.nth}"]
        for each in wanted:
            options += ("-e", each)
        return [*_OPTIONS, *options, "-DDD", "-o", str(self.logs / name)]

    def _write_plain(self) -> None:
        for name, program in (("git", shutil.which("git")), ("python", sys.executable)):
            _write_program(self.world.outside / "bin" / name, f'#!/bin/sh\nexec "{program}" "$@"\n')

    def _write_hooks(self) -> None:
        outside, process = self.world.outside, self.point.process if self.point else ""
        shim = process.removeprefix("shim.") if process.startswith("shim.") else "0" if not process else "-1"
        tracer = [word for word in self._strace("shim.NUMBER") if word != "-DDD"]
        (outside / "hook.py").write_text(_HOOK.format(shim=shim, argv=tracer))
        nursery = " ".join(self._strace("nursery")) if self._wants("nursery") else ""
        _write_program(
            outside / "bin" / "python",
            _PYTHON.format(hook=outside / "hook.py", nursery=nursery, python=sys.executable),
        )
        command, number = ("*", "*") if not process else ("-", "-")
        if process.startswith("git."):
            command, _, number = process.removeprefix("git.").rstrip("+").rpartition(".")
        follow = ["-ff"] if not process or process.endswith("+") else []
        words = {"outside": outside, "wanted": command, "number": number, "git": shutil.which("git")}
        _write_program(outside / "bin" / "git", _GIT.format(strace=" ".join(self._strace("", *follow)), **words))


def _write_program(path: Path, text: str) -> None:
    # Whoever runs the old one goes on with it.
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o755)
    os.replace(new, path)


# --- the table ---


def changes(log: Path) -> dict[str, list[int]]:
    """The calls in a log that changed something of orc's or git's, by their number among all of the same name."""
    made: dict[str, int] = {}
    found: dict[str, list[int]] = {}
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match:
            call, rest = match.groups()
            made[call] = made.get(call, 0) + 1
            if _is_change(call, rest):
                found.setdefault(call, []).append(made[call])
    return found


def _is_change(call: str, rest: str) -> bool:
    if " = -1 E" in rest or "/outside/" in rest or "__pycache__" in rest:
        return False
    if call == "openat":
        return bool(_OPENED_TO_CHANGE.search(rest)) and '"/dev/' not in rest
    if call in ("write", "pwrite64", "sendfile"):
        return bool(re.match(r"\d+</(?!dev/)", rest))
    return not (call == "kill" and rest.endswith(", 0) = 0"))


def points_of(logs: Path) -> dict[tuple[str, str], list[int]]:
    """What every process of a scene changed: its name and the call, and which of its calls of that name."""
    found: dict[tuple[str, str], list[int]] = {}
    for log in sorted(logs.iterdir()):
        name, _, pid = log.name.rpartition(".") if log.name.startswith("git.") else (log.name, "", "")
        top = min((int(each.name.rpartition(".")[2]) for each in logs.glob(f"{name}.*")), default=0) if pid else 0
        follow = bool(pid) and int(pid) != top
        above = changes(logs / f"{name}.{top}") if follow else {}
        for call, numbers in changes(log).items():
            # Where the first process makes as many calls it is the first to die, and that is another point.
            numbers = [nth for nth in numbers if nth > max(above.get(call, [0]))]
            key = (f"{name}+" if follow else name, call)
            if numbers:
                found[key] = sorted({*found.get(key, []), *numbers})
    return found
