"""Power cuts for real: a disk of its own for each life, from which the kernel takes all that was never flushed.

The disk is a file, mounted in mounts of this thread's own. What was acknowledged is known outside of it: what the
engine printed as committed, what a command returned 0 for, and each commit of the ledger that another one followed.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crash_helpers import KILLED, PATIENCE_S, RUN, SOULS, Expected, World, check_world, jobs_by_name, make_world

from orchestrator.adapters.effects import Effect
from orchestrator.adapters.files import sync_filesystem
from orchestrator.adapters.ledger import REF
from orchestrator.core.attempt_record import Attempt, RunStatus
from orchestrator.core.job import Lane, State
from orchestrator.engine.workspace import open_workspace

ENABLED_BY = "to run it: as root, with loop devices, `apt install xfsprogs e2fsprogs util-linux`"
SIZE = "400M"
MAKERS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
# ext4 would write everything every five seconds: then there would be less to lose.
OPTIONS = {"ext4": "loop,commit=300", "xfs": "loop"}
BOOT_ID = "/proc/sys/kernel/random/boot_id"
_CLONE_NEWNS = 0x00020000
_SHUT_DOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_MADE = " as ([0-9a-f]{12})$"
ENGINE = ("run", "--until-idle")
MORE_AGENTS = ("cy", "dan", "eve")

PLAYS = """\
plays:
- match: {{kind: attempt, title: lost, number: 1}}
  write: {{lost.py: "lost = 1\\n"}}
  run: {begin}; sh {outside}/kill_shim.sh $PPID
- match: {{kind: attempt, title: stopped}}
  write: {{stopped.py: "stopped = 1\\n"}}
  run: {begin}; sh {outside}/hold.sh stopped; {end}
- match: {{kind: attempt}}
  run: {begin}; echo "made = '$ORC_RUN'" > "${{ORC_JOB%-*}}.py"; {end}
  commit: work of the agent
  answers: fixed
- match: {{kind: review, title: fixes, number: 1}}
  run: {begin}; {end}
  verdict: REVISE
  findings: [{{severity: blocking, file: fixes.py, line: 1, problem: half, fix: make it whole}}]
- match: {{kind: review}}
  run: {begin}; {end}
  verdict: APPROVED
"""

# --- disks ---


class NoRigError(Exception):
    """This machine cannot cut the power of a disk of its own. Says why."""


@contextmanager
def private_mounts() -> Iterator[str]:
    """Mounts of this thread and its children only; the kernel takes them down when the last of these has ended.

    Yields the name of these mounts, for `end_everybody`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNS) != 0:
            raise NoRigError(f"no mounts of its own: {os.strerror(ctypes.get_errno())}")
        try:
            _mount("--make-rprivate", "/")
            yield os.readlink("/proc/thread-self/ns/mnt")
        finally:
            assert libc.setns(before, _CLONE_NEWNS) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(before)


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NoRigError(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


def end_everybody(mounts: str, guard: int) -> None:
    """Kill every process that was started in these private mounts, whatever session or parent it has by now."""
    spared, deadline = (os.getpid(), guard), time.monotonic() + PATIENCE_S
    while found := [pid for pid in _processes() if pid not in spared and _mounts_of(pid) == mounts]:
        assert time.monotonic() < deadline, f"they do not end: {found}"
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _mounts_of(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""  # It has ended; a zombie has no mounts either.


_GUARD = """\
import os, signal, sys
sys.stdin.read()
for _ in range(20):
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()):
        try:
            if os.readlink(f"/proc/{pid}/ns/mnt") == sys.argv[1]:
                os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
"""


@contextmanager
def guarded(mounts: str) -> Iterator[int]:
    """A process that ends everybody in these mounts once this one is gone, however it ended. Yields its id."""
    guard = subprocess.Popen([sys.executable, "-I", "-c", _GUARD, mounts], stdin=subprocess.PIPE)
    try:
        yield guard.pid
    finally:
        guard.kill()
        guard.communicate()


@dataclass
class Disk:
    """A file system in a file, mounted at `at`."""

    kind: str
    image: Path
    at: Path
    mounts: str
    guard: int

    @property
    def name(self) -> Path:
        """What the machine says when it is asked for the name of its start."""
        return self.image.with_suffix(".boot")

    def make(self) -> None:
        """Make and mount it. Raises NoRigError."""
        maker = MAKERS[self.kind]
        if shutil.which(maker[0]) is None:
            raise NoRigError(f"there is no {maker[0]}")
        subprocess.run(["truncate", "-s", SIZE, str(self.image)], check=True)
        subprocess.run([*maker, str(self.image)], check=True, capture_output=True)
        self.at.mkdir(parents=True)
        self.mount()
        _mount("--bind", str(self.name), BOOT_ID)
        with suppress(FileNotFoundError):
            (self.at / "lost+found").rmdir()

    def mount(self) -> None:
        """The machine comes up: under another name, and with the disk as the kernel's journal brings it in order."""
        _mount("-t", self.kind, "-o", OPTIONS[self.kind], str(self.image), str(self.at))
        self.name.write_text(f"{uuid.uuid4()}\n")

    def unmount(self) -> None:
        """Take it down; everybody at work on it must have been killed, and may take a moment to be gone."""
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(["umount", str(self.at)], capture_output=True).returncode:
            assert time.monotonic() < deadline, f"somebody is still at work in {self.at}"
            time.sleep(0.01)

    def go_down(self) -> None:
        """From here on nothing reaches the disk, and what was not flushed is gone. Everybody's writes fail."""
        fd = os.open(self.at, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(fd, _SHUT_DOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def cut(self) -> None:
        """The power goes, everybody dies, and the machine comes up again."""
        self.go_down()
        end_everybody(self.mounts, self.guard)
        self.unmount()
        self.mount()


@contextmanager
def disk(kind: str, place: Path) -> Iterator[Disk]:
    """A new disk below `place`, in mounts of its own. Nothing of it is left, whatever happens. Raises NoRigError."""
    if os.geteuid() != 0:
        raise NoRigError("only root may mount")
    if not Path("/dev/loop-control").exists():
        raise NoRigError("there are no loop devices")
    place.mkdir(parents=True, exist_ok=True)
    with private_mounts() as mounts, guarded(mounts) as guard:
        found = Disk(kind, place / f"{kind}.img", place / "work", mounts, guard)
        try:
            found.make()
            yield found
        finally:
            end_everybody(mounts, guard)
            if os.path.ismount(found.at):
                found.unmount()
            subprocess.run(["umount", BOOT_ID], capture_output=True)
            for path in (found.image, found.name):
                path.unlink(missing_ok=True)


# --- when the power goes ---


@dataclass(frozen=True)
class Moment:
    """When the power goes: where a process dies, or once a file is there, or at any time; `after_s` later."""

    point: str = ""
    """A place before or after an effect, at which whoever comes by is killed first."""
    path: str = ""
    """A file of the workspace that has to appear."""
    after_s: float = 0.0

    def __str__(self) -> str:
        where = self.point or self.path.replace("/", "_") or "time"
        return f"{where}+{self.after_s * 1000:.0f}ms" if self.after_s else where


EVERY_POINT = [Moment(f"{effect}:{side}") for effect in Effect for side in ("before", "after")]
_WATCHED = (
    ".git/refs/heads/main.lock",
    ".git/index.lock",
    ".git/refs/heads/orc/state.lock",
    ".git/refs/orc/next",
    ".git/orc/mirrors/main.git",
    ".git/orc/leases",
)


def random_moments(seed: str, count: int) -> list[Moment]:
    """Moments that are the same for the same seed: half of them at any time, half when git or orc is at work."""
    chance, found = random.Random(seed), []
    for number in range(count):
        if number % 2:
            found.append(Moment(path=chance.choice(_WATCHED), after_s=round(chance.uniform(0, 0.04), 4)))
        else:
            found.append(Moment(after_s=round(chance.uniform(0.2, 4.0), 4)))
    return found


WANTED = {
    **{name: Expected(attempts=None, reviews=None) for name in ("plain", "fixes", "lost", "asked")},
    "branch": Expected(attempts=None, reviews=None, on_main=0),
    "stopped": Expected(State.CANCELLED, attempts=None, reviews=None, on_main=0),
}


# --- a life with power cuts ---


@dataclass
class PowerWorld(World):
    """A workspace on a disk of its own, with people who go on until all they want is done."""

    lines: list[str] = field(default_factory=list)
    """What was acknowledged: subjects of the ledger, whole or their beginnings."""
    tips: list[str] = field(default_factory=list)
    """Every commit that the ledger's ref was seen to name, in order."""
    engines: list[int] = field(default_factory=list)
    """The starts that were engines."""
    before: list[str] = field(default_factory=list)
    """The subjects of the ledger when the power came back, oldest first."""
    tries: int = 0
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    wanted: dict[str, Expected] = field(default_factory=lambda: dict(WANTED))
    """How each job must have ended."""

    def drop(self, name: str, text: str, folder: str = "inbox") -> None:
        """As a careful program does it that does not care for power cuts."""
        place = self.root / "queue" / folder
        (place / f".{name}").write_text(text)
        os.rename(place / f".{name}", place / name)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """As any `orc`; all of them die when the power goes."""
        self.started.append(super().start(*arguments))
        return self.started[-1]

    def reap(self) -> None:
        """Take leave of those that have died."""
        while self.started:
            self.started.pop().wait(PATIENCE_S)

    def more(self) -> None:
        """One more job, so that there is something to do."""
        name = f"more{len(self.wanted) - len(WANTED)}"
        self.job(name)
        sync_filesystem(self.root)
        self.wanted[name] = Expected(attempts=None, reviews=None)

    # --- what was acknowledged ---

    def told(self) -> list[str]:
        """What the engines have printed as committed, whole lines only."""
        texts = [(self.outside / f"orc-{number}.log").read_text() for number in self.engines]
        return [line for text in texts for line in text.split("\n")[:-1] if re.match(r"[a-z-]+: ", line)]

    def acknowledged(self) -> list[str]:
        """All that nothing may take back from now on."""
        return self.lines + [line for line in self.told() if not line.startswith(("reject: ", "error: "))]

    def see_tip(self) -> None:
        """Look at the ledger's ref as any other program can."""
        with suppress(OSError):
            tip = (self.root / ".git" / REF).read_text().strip()
            if tip and (not self.tips or self.tips[-1] != tip):
                self.tips.append(tip)

    # --- people ---

    def next_act(self) -> tuple[str, tuple[str, ...]] | None:
        """What a person wants next: the beginning of the step that says that it is done, and the command."""
        seen = self.before + self.told() + self.lines
        found = {name: _first(seen, rf"[a-z-]+: ({name}-[0-9a-f]{{8}})\b") for name in ("stopped", "plain", "asked")}
        if not any(line.startswith("accept: asked-") for line in seen):
            return "accept: asked-", ("submit", str(self.outside / "asked.yaml"))
        stopped, plain = found["stopped"], found["plain"]
        if stopped and _first(seen, f"(start): {stopped}") and not _first(seen, f"(cancel): {stopped}"):
            return f"cancel: {stopped}", ("cancel", stopped)
        for card in sorted((self.root / "queue" / "decide").glob("[a-z]*.card-*.yaml")):
            job = card.stem.partition(".")[0]
            if not _first(seen, rf"(answer|supersede): {job} .*{re.escape(card.stem)}"):
                try:
                    key = "approve" if "approve" in card.read_text() else "retry"
                except FileNotFoundError:
                    continue  # It was answered, or superseded.
                return f"answer: {job} {key} ({card.stem})", ("answer", card.stem, key)
        if plain and _first(seen, f"(done): {plain}") and not _first(seen, f"(revert): {plain}"):
            return f"revert: {plain} ", ("revert", plain)
        return None

    # --- one time under power ---

    def play(self, moment: Moment | None) -> bool:
        """Everything goes on until the power goes at that moment (True), or nothing is left to be done (False).

        What is acknowledged is counted before the cut, so that nothing counts that was told after it.
        """
        self.before = self.git("log", "--reverse", "--format=%s", REF).splitlines()
        self.kill_at = [moment.point] if moment and moment.point else []
        due = _due(self, moment) if moment else lambda: False
        acting: tuple[subprocess.Popen[str], int, str] | None = None
        engine, deadline = self._engine(), time.monotonic() + PATIENCE_S
        while True:
            assert time.monotonic() < deadline, f"it came to no end; {self.told_now()}"
            self.see_tip()
            if due():
                return True
            code = engine.poll()
            if code is not None and code == KILLED and self._was_killed(self.engines[-1]):
                return True
            if acting is not None and (ended := acting[0].poll()) is not None:
                if ended == KILLED and self._was_killed(acting[1]):
                    return True
                if ended == 0:
                    self.lines.append(acting[2])
                acting = None
            if acting is None and (wanted := self.next_act()) is not None:
                self.tries += 1
                assert self.tries < 60, f"{wanted} comes to nothing: {self.said()}"
                acting = (self.start(*wanted[1]), self.starts, wanted[0])
            elif code is not None:
                assert code in (0, 1), (self.outside / f"orc-{self.engines[-1]}.log").read_text()
                if acting is None:
                    return False
                acting[0].wait(PATIENCE_S)
                engine = self._engine()
            time.sleep(0.0005)

    def told_now(self) -> str:
        """What a person who looks for a mistake wants to see."""
        orcdir = self.root / ".git" / "orc"
        runs = [str(path.relative_to(orcdir)) for name in ("runs", "leases") for path in (orcdir / name).rglob("*")]
        noted = (orcdir / "engine.json").read_text()
        return f"{self.said()}\n{noted}\n{self.log.read_text()}\n{runs}\n{self.ledger_log()}"

    def _engine(self) -> subprocess.Popen[str]:
        process = self.start(*ENGINE)
        self.engines.append(self.starts)
        return process

    def _was_killed(self, start: int) -> bool:
        had = len(self.kills)
        self.note_end(start, KILLED)
        return len(self.kills) > had


def _first(lines: list[str], pattern: str) -> str:
    return next((found[1] for line in lines if (found := re.match(pattern, line))), "")


def _due(world: PowerWorld, moment: Moment) -> Callable[[], bool]:
    if moment.point:
        return lambda: False
    if not moment.path:
        until = time.monotonic() + moment.after_s
        return lambda: time.monotonic() >= until
    path = world.root / moment.path
    was_there = path.exists()

    def appeared() -> bool:
        if was_there or not path.exists():
            return False
        time.sleep(moment.after_s)
        return True

    return appeared


def make_power_world(place: Path) -> PowerWorld:
    """A workspace in the mounted `place/work`, all of it on the disk; what is outside of it beside it."""
    made = make_world(place, plays=PLAYS)
    world = PowerWorld(made.root, made.outside)
    world.clutter()
    (world.outside / "asked.yaml").write_text("title: asked\nprompt: do it\nmerge: ask\n")
    for name in MORE_AGENTS:
        (world.root / "souls" / f"{name}.md").write_text(f"---\n{SOULS['ada']}---\n# {name.title()}\n")
    for name in WANTED.keys() - {"asked", "branch"}:
        world.job(name)
    world.job("branch", "urgent", merge="branch")
    world.drop("broken.yaml", "prompt: [never closed\n")
    # What the person did by then is on disk; what comes now is orc's.
    sync_filesystem(world.root)
    return world


def survive(machine: Disk, world: PowerWorld, moments: list[Moment]) -> int:
    """Live through a power cut at each moment, then to the end; everything is checked. How often the power went."""
    cuts = 0
    for moment in moments:
        world.more()
        world.play(moment)
        world.see_tip()
        # Nobody has built on the newest yet: it may be gone.
        told, world.tips = world.acknowledged(), world.tips[:-1]
        machine.cut()
        world.reap()
        cuts += 1
        check_kept(world, told, world.tips)
    while world.play(None):
        pass
    check_end(world)
    world.reap()
    return cuts


# --- the checkers ---


def check_kept(world: PowerWorld, told: list[str], tips: list[str]) -> None:
    """Right after the power came back: what was acknowledged is there, and nothing of the person's is torn."""
    check_files(world.root)
    steps = world.git("log", "--reverse", "--format=%s", REF).splitlines()
    assert find_lost(told, steps) == [], f"acknowledged, and lost; left is\n{steps}"
    history = set(world.git("rev-list", REF).split())
    assert [tip for tip in tips if tip not in history] == [], "the ledger was built on, and is gone"
    _check_landed(world, told)
    world.git("fsck", "--full", "--strict", "--no-dangling", "--no-progress")


def find_lost(told: list[str], steps: list[str]) -> list[str]:
    """What was acknowledged and is not among the steps, of which it may be the beginning."""
    return [line for line in told if not any(step.startswith(line) for step in steps)]


def _check_landed(world: PowerWorld, told: list[str]) -> None:
    main = world.git("rev-list", "main").split()
    for line in told:
        landed = re.match(rf"(?:done|revert): .* on main{_MADE}", line)
        assert landed is None or any(oid.startswith(landed[1]) for oid in main), f"not on main: {line}"
        branch = re.match(rf"done: .* on (orc/\S+){_MADE}", line)
        assert branch is None or world.git("rev-parse", f"refs/heads/{branch[1]}").startswith(branch[2]), line
        sealed = re.match(r"collect: (\S+) attempt (\d+) ended", line)
        assert sealed is None or world.git("rev-parse", f"refs/orc/attempts/{sealed[1]}/{sealed[2]}")


def check_files(root: Path) -> None:
    """No file that a person's git needs is empty or torn, and git reads them all."""
    git_dir = root / ".git"
    for name in ("HEAD", "config", "index", "info/exclude"):
        assert (git_dir / name).stat().st_size, f"{name} is empty"
    for path in (git_dir / "refs").rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            assert re.fullmatch(rb"[0-9a-f]{40}\n", path.read_bytes()), f"{path} is torn: {path.read_bytes()!r}"
    for command in (["config", "--list"], ["ls-files"], ["for-each-ref"], ["rev-parse", "HEAD^{tree}"]):
        subprocess.run(["git", "-C", str(root), *command], check=True, capture_output=True)


def check_end(world: PowerWorld) -> None:
    """All has come to rest as it must; to start once more changes nothing."""
    (world.outside / "go.stopped").touch()
    world.settle()
    before = (world.git("rev-parse", REF), world.git("for-each-ref"), _listing(world))
    assert world.orc(*RUN) in (0, 1)
    assert (world.git("rev-parse", REF), world.git("for-each-ref"), _listing(world)) == before
    expected = {name: replace(wanted, lost=_lost(world, name)) for name, wanted in world.wanted.items()}
    check_world(world, expected)
    rejected = sorted(path.name for path in (world.root / "queue" / Lane.REJECTED).iterdir())
    assert rejected == ["broken.yaml", "broken.yaml.why.txt"]
    assert world.orc("verify") == 0, world.said()


def _listing(world: PowerWorld) -> list[tuple[str, bytes]]:
    return sorted((str(path), path.read_bytes()) for path in (world.root / "queue").rglob("*") if path.is_file())


def _lost(world: PowerWorld, name: str) -> tuple[int, ...]:
    """The attempts that came to nothing because the power went: only those may be without their work."""
    with open_workspace(world.root) as ws:
        folder = jobs_by_name(ws)[name][0]
        attempts = [ws.ledger.record(Attempt, folder, f"attempt-{n}") for n in range(1, folder.job.at.attempt + 1)]
    gone = (RunStatus.LOST, None)
    return tuple(each.number for each in attempts if each.status in gone or not each.ended)


def main() -> None:
    """One life by hand: power_helpers.py KIND PLACE POINT|PATH|SECONDS ..."""
    kind, place, *texts = sys.argv[1:]
    moments = [
        Moment(text) if ":" in text else Moment(path=text) if "/" in text else Moment(after_s=float(text))
        for text in texts
    ]
    with disk(kind, Path(place)) as machine:
        world = make_power_world(Path(place))
        try:
            print(survive(machine, world, moments), "cuts")
        except BaseException:
            print(world.ledger_log())
            if os.environ.get("POWER_SHELL"):
                subprocess.run(["bash"], cwd=world.root)
            raise


if __name__ == "__main__":
    main()
