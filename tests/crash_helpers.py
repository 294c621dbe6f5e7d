"""A small workspace that is run by real engines, killed for real, and held against one checker at the end.

The agents are scripted. Each leaves a line outside of the repository when it begins and when it ends, and says so if
it finds another run of its job alive.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from warm_python import ORC, run_warm

from orchestrator.adapters.audit import audit
from orchestrator.adapters.effects import KILL_AT, TRACE, Effect
from orchestrator.adapters.ledger import REF
from orchestrator.adapters.ledger_snapshot import Folder
from orchestrator.adapters.locks import lease_is_free
from orchestrator.adapters.run_folder import RunFolder
from orchestrator.cli.verify import find_projects
from orchestrator.core.attempt_record import Attempt
from orchestrator.core.job import Job, Lane, State
from orchestrator.core.records import MergeRecord
from orchestrator.core.review_record import ReviewRecord
from orchestrator.core.transitions import Actor
from orchestrator.engine.attempts import attempt_ref
from orchestrator.engine.init import init_workspace
from orchestrator.engine.project_queue import Projection
from orchestrator.engine.upkeep import MOST_LOOSE
from orchestrator.engine.workspace import Workspace, open_workspace

SOURCES = Path(__file__).resolve().parents[1]
PATIENCE_S = 120.0
MOST_STARTS = 60
KILLED = -signal.SIGKILL
RUN = ("run", "--until-idle", "--quiet")
_PROGRAM = ("-m", "orchestrator")

AGENT = """\
#!/bin/sh
# What every scripted program runs first and last: agent.sh begin|end PID
log="{outside}/runs.log"
job="${{ORC_RUN%.*}}"
if [ "$1" = begin ]; then
  grep "^begin $job\\." "$log" 2>/dev/null | while read -r _ run pid; do
    state=$(sed 's/.*) //; s/ .*//' "/proc/$pid/stat" 2>/dev/null)
    case "$state" in ''|Z|X) ;; *) echo "overlap $ORC_RUN $pid" >> "$log" ;; esac
  done
fi
echo "$1 $ORC_RUN $2" >> "$log"
"""

HOLD = """\
#!/bin/sh
# Wait, as a child of the agent, until somebody says go: hold.sh NAME
while [ ! -e "{outside}/go.$1" ]; do sleep 0.05; done
"""

ASKS = """\
#!/bin/sh
# Something that the agent asks of the engine while it is at work.
printf '{{"protocol":1,"kind":"remember","type":"lesson","text":"half is not enough"}}' > "$ORC_RUN_DIR/outbox/.part"
mv "$ORC_RUN_DIR/outbox/.part" "$ORC_RUN_DIR/outbox/lesson.json"
echo "asks $ORC_RUN" >> "{outside}/runs.log"
"""

KILL_SHIM = """\
#!/bin/sh
# The supervisor of this run dies, as if the operator had picked the wrong process: kill_shim.sh PID-OF-THE-AGENT
kill -9 "$(sed 's/.*) //' /proc/$1/stat | cut -d' ' -f2)"
sleep 600
"""

CONFIG = """\
version: 1
tick_seconds: 1
review: {{second: 0}}
projects:
  main:
    target: main
    merge: auto
    checks: ["test ! -e red && for t in tests/test_*.sh; do test ! -e $t || sh $t || exit 1; done"]
backends:
  played: {{type: scripted, script: {outside}/plays.yaml}}
"""

SOULS = {
    "ada": "backend: played\nfamily: north\nroles: [work]\n",
    "bob": "backend: played\nfamily: north\nroles: [work]\n",
    "bea": "backend: played\nfamily: south\nroles: [review]\n",
}

PLAYS = """\
plays:
- match: {{kind: attempt, title: fixes, number: 1}}
  write: {{fixes.py: "half = 1\\n"}}
  run: {begin}; sh {outside}/asks.sh; {end}
  say: half
- match: {{kind: attempt, title: fixes}}
  run: echo "whole = '$ORC_RUN'" > fixes.py; {begin}; {end}
  commit: the other half
  answers: fixed
- match: {{kind: review, title: fixes, number: 1}}
  run: {begin}; {end}
  verdict: REVISE
  findings: [{{severity: blocking, file: fixes.py, line: 1, problem: half, fix: make it whole}}]
- match: {{kind: attempt, title: lost, number: 1}}
  write: {{lost.py: "lost = 1\\n"}}
  run: {begin}; sh {outside}/kill_shim.sh $PPID
- match: {{kind: attempt, title: stopped, number: 1}}
  write: {{stopped.py: "stopped = 1\\n"}}
  run: {begin}; sh {outside}/hold.sh stopped; {end}
- match: {{kind: attempt, title: held, number: 1}}
  write: {{held.py: "held = 1\\n"}}
  run: {begin}; sh {outside}/hold.sh held; {end}
  say: done
- match: {{kind: attempt, title: clash, number: 1}}
  write: {{clash.py: "clash = 1\n"}}
  run: {begin}; sh {outside}/hold.sh clash; {end}
  say: done
- match: {{kind: attempt, title: mend}}
  write: {{mend.py: "mended = 1\n", tests/test_mend.sh: "test -e mend.py\n"}}
  run: {begin}; {end}
  say: done
- match: {{kind: attempt, title: lost|stopped|held|plain|branch|blocked|red|clash}}
  run: |
    echo "made = '$ORC_RUN'" > "${{ORC_JOB%-*}}.py"; {begin}
    case "$ORC_JOB" in plain-*) sh {outside}/asks.sh ;; esac; {end}
  say: done
- match: {{kind: review}}
  run: {begin}; {end}
  verdict: APPROVED
"""


@dataclass(frozen=True, slots=True)
class Expected:
    """How a job must have ended, and what it may have cost. None: not looked at."""

    state: State = State.DONE
    attempts: int | None = 1
    reviews: int | None = 1
    spent: int | None = 0
    on_main: int = 1
    """How many commits of main merge it."""
    lost: tuple[int, ...] = ()
    """Attempts whose tree a person deleted before anything could be saved from it."""


def _mounts() -> str:
    """The name of the mounts that this thread sees; '' where there is but one view of them."""
    try:
        return os.readlink("/proc/thread-self/ns/mnt")
    except OSError:
        return ""


_MOUNTS = _mounts()


@dataclass
class World:
    """A workspace, the files beside it, and the point at which the next process dies."""

    root: Path
    outside: Path
    kill_at: list[str] = field(default_factory=list)
    """Points at which an `orc` that comes by is killed, each once."""
    kills: list[str] = field(default_factory=list)
    starts: int = 0
    loose: list[str] = field(default_factory=list)
    """Objects of the person's that no ref reaches."""
    program: tuple[str, ...] = _PROGRAM
    """What `python` is to run as `orc`."""
    prefix: tuple[str, ...] = ()
    """What stands in front of the next command line."""
    environment: dict[str, str] = field(default_factory=dict)
    """What the next `orc` finds in its environment besides."""

    def trace(self, start: int) -> Path:
        """Every point that a process passed, one for each line."""
        return self.outside / f"trace-{start}"

    @property
    def log(self) -> Path:
        """What the agents noted."""
        return self.outside / "runs.log"

    # --- people ---

    def drop(self, name: str, text: str, folder: str = "inbox") -> None:
        """Put a file into the queue as a careful program does."""
        place = self.root / "queue" / folder
        place.mkdir(parents=True, exist_ok=True)
        (self.outside / name).write_text(text)
        os.rename(self.outside / name, place / name)

    def job(self, name: str, folder: str = "inbox", **keys: str) -> None:
        """Drop a plain job of this name."""
        lines = [f"title: {name}", "prompt: do it", *(f"{key}: {value}" for key, value in keys.items())]
        self.drop(f"{name}.yaml", "\n".join(lines) + "\n", folder)

    def go(self, name: str) -> None:
        """Let an agent go on that waits."""
        (self.outside / f"go.{name}").touch()

    def git(self, *arguments: str) -> str:
        """Run git in the person's checkout."""
        done = subprocess.run(["git", *arguments], cwd=self.root, capture_output=True, text=True, check=True)
        return done.stdout.rstrip("\n")

    def commit(self, message: str) -> None:
        """The person commits what they changed."""
        self.git("commit", "--quiet", "--all", "-m", message)

    def clutter(self) -> None:
        """The person's own work leaves as many loose objects as make packing due."""
        texts = (f"{number}\n" for number in itertools.count(self.starts * 1_000_000))
        full = (each for each in texts if hashlib.sha1(f"blob {len(each)}\0{each}".encode()).hexdigest()[:2] == "17")
        names = []
        for text in itertools.islice(full, 1 + MOST_LOOSE // 256):
            names.append(str(self.outside / f"loose-{text.strip()}"))
            Path(names[-1]).write_text(text)
        self.loose += self.git("hash-object", "-w", "--", *names).split()

    # --- processes ---

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `orc`; it dies at `kill_at`, if it gets there."""
        environment = self._next_environment()
        argv = [*self.prefix, sys.executable, *self.program, "-C", str(self.root), *arguments]
        with open(self.outside / f"orc-{self.starts}.log", "w") as told:
            return subprocess.Popen(
                argv, env=environment, stdout=told, stderr=told, stdin=subprocess.DEVNULL, text=True
            )

    def _next_environment(self) -> dict[str, str]:
        self.starts += 1
        environment = os.environ | {"PYTHONPATH": str(SOURCES), KILL_AT: ",".join(self.kill_at)}
        return environment | {TRACE: str(self.trace(self.starts))} | self.environment

    def said(self) -> str:
        """What the newest `orc` printed."""
        return (self.outside / f"orc-{self.starts}.log").read_text()

    def note_end(self, start: int, code: int) -> int:
        """Take down that a process was killed as planned."""
        passed = self.trace(start).read_text().split() if self.trace(start).exists() else []
        if code == KILLED and passed:
            place = passed[-1]
            nth = f"{place}:{passed.count(place)}"
            found = [each for each in (place, nth) if each in self.kill_at]
            self.kills += found
            self.kill_at = [each for each in self.kill_at if each not in found]
        return code

    def orc(self, *arguments: str) -> int:
        """Run `orc` to its end. The exit code; -9 if it was killed as planned."""
        # What would be warm was forked from a process that does not see what this thread alone has mounted.
        if self.prefix or self.environment or self.program != _PROGRAM or _mounts() != _MOUNTS:
            process = self.start(*arguments)
            return self.note_end(self.starts, process.wait(PATIENCE_S))
        code, name = ORC
        argv, environment = [name, "-C", str(self.root), *arguments], self._next_environment()
        done = run_warm(code, argv, cwd=Path.cwd(), env=environment, timeout=PATIENCE_S)
        (self.outside / f"orc-{self.starts}.log").write_text(done.stdout + done.stderr)
        return self.note_end(self.starts, done.returncode)

    def act(self, *arguments: str) -> None:
        """Something that a person asks for, again if the command was killed. It may have done its work by then."""
        if self.orc(*arguments) == KILLED:
            assert self.orc(*arguments) in (0, 3, 4), self.said()
        else:
            assert self.said_ok(), self.said()

    def said_ok(self) -> bool:
        """Whether the newest `orc` printed no error."""
        return "error:" not in self.said()

    def settle(self) -> None:
        """Start engines until one finds that nothing moves without a person."""
        for _ in range(MOST_STARTS):
            code = self.orc(*RUN)
            if code != KILLED:
                assert code in (0, 1), self.said()
                return
        raise AssertionError(f"no engine came to its end; killed at {self.kills[-3:]}")

    @contextmanager
    def engine(
        self, first: subprocess.Popen[str] | None = None
    ) -> Iterator[tuple[Callable[[Callable[[], object]], None], Callable[[], None]]]:
        """An engine in the background, started again whenever it dies. Yields a wait for a condition, and a killer."""
        running, number = first or self.start(*RUN), self.starts

        def wait(condition: Callable[[], object]) -> None:
            nonlocal running, number
            deadline = time.monotonic() + PATIENCE_S
            while not condition():
                assert time.monotonic() < deadline, f"it did not come to it; {self.said()}\n{self.ledger_log()}"
                if (code := running.poll()) is not None:
                    self.note_end(number, code)
                    running, number = self.start(*RUN), self.starts
                time.sleep(0.02)

        def kill() -> None:
            running.kill()
            running.wait(PATIENCE_S)

        try:
            yield wait, kill
        finally:
            if running.poll() is None:
                running.terminate()
            self.note_end(number, running.wait(PATIENCE_S))

    def begun(self, name: str, number: int = 1) -> bool:
        """Whether an attempt of the job of this name has begun."""
        return any(run.startswith(f"{name}-") and run.endswith(f".attempt-{number}") for run in self.runs("begin"))

    def runs(self, what: str) -> list[str]:
        """The runs that noted something, in the order in which they did."""
        if not self.log.exists():
            return []
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return [words[1] for words in lines if words[0] == what]

    def pid_of(self, name: str) -> int:
        """The agent of the newest run of the job of this name."""
        lines = [line.split() for line in self.log.read_text().splitlines()]
        return int(
            next(words[2] for words in reversed(lines) if words[0] == "begin" and words[1].startswith(f"{name}-"))
        )

    def shown(self, lane: Lane) -> set[str]:
        """The names of the jobs whose files a lane shows."""
        return {path.stem[:-9] for path in (self.root / "queue" / lane).glob("*.yaml") if ".card-" not in path.name}

    def id_of(self, name: str) -> str:
        """The id of the job of this name."""
        return next(run.partition(".")[0] for run in self.runs("begin") if run.startswith(f"{name}-"))

    def shims(self) -> list[int]:
        """The supervising processes of all runs."""
        found = []
        for path in (self.root / ".git" / "orc" / "runs").glob("*"):
            folder = RunFolder(path)
            if not lease_is_free(folder.lease) and folder.heartbeat.exists():
                found.append(int(json.loads(folder.heartbeat.read_text())["pid"]))
        return found

    def ledger_log(self) -> str:
        """The subjects of the ledger, newest first."""
        return self.git("log", "--format=%s", REF)

    def points(self) -> set[str]:
        """Every point that any process has passed."""
        return {point for path in self.outside.glob("trace-*") for point in path.read_text().split()}


def make_world(place: Path, *, plays: str = PLAYS) -> World:
    """A repository with one commit on main, a workspace in it, and the scripts of its agents beside it."""
    root, outside = place / "work", place / "outside"
    for folder in (root / "souls", outside):
        folder.mkdir(parents=True)
    world = World(root, outside)
    begin, end = (f"sh {outside}/agent.sh {what} $PPID" for what in ("begin", "end"))
    (outside / "plays.yaml").write_text(plays.format(outside=outside, begin=begin, end=end))
    for name, text in (("agent.sh", AGENT), ("hold.sh", HOLD), ("asks.sh", ASKS), ("kill_shim.sh", KILL_SHIM)):
        (outside / name).write_text(text.format(outside=outside) if name != "kill_shim.sh" else text)
    (root / "orc.yaml").write_text(CONFIG.format(outside=outside))
    (root / "seed.py").write_text("seed = 1\n")
    for name, text in SOULS.items():
        (root / "souls" / f"{name}.md").write_text(f"---\n{text}---\n# {name.title()}\n")
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(root)], check=True)
    world.git("add", "-A")
    world.git("commit", "--quiet", "-m", "first")
    init_workspace(root, Actor("human:Ada"), starter=False)
    return world


# --- a life ---


def live(world: World) -> dict[str, Expected]:
    """Everything that can happen to a job, one after the other, whatever gets killed meanwhile; how it must end."""
    world.clutter()
    for name in ("plain", "fixes", "lost", "stopped"):
        world.job(name)
    world.job("branch", "urgent", merge="branch")
    world.drop("broken.yaml", "prompt: [never closed\n")
    with world.engine() as (until, _):
        until(lambda: world.begun("stopped"))
        world.act("cancel", world.id_of("stopped"))
        until(lambda: "stopped" in world.shown(Lane.CANCELLED))
    world.settle()
    world.act("retry", world.id_of("stopped"))
    world.settle()
    for verb in ("drain", "retire"):
        world.act(verb, "bob")
        world.act(verb, "bob", "--undo")
    (world.root / "seed.py").write_text("seed = 'the person is at work here'\n")
    world.job("blocked")
    world.settle()
    assert "blocked" in world.shown(Lane.DECIDE), world.ledger_log()
    world.git("checkout", "--quiet", "seed.py")
    world.settle()
    (world.root / "red").touch()
    world.git("add", "red")
    world.commit("break the checks")
    world.job("red")
    world.settle()
    assert "red" in world.shown(Lane.WAITING) | world.shown(Lane.DECIDE), world.ledger_log()
    world.git("rm", "--quiet", "red")
    world.commit("put the checks right")
    world.settle()
    assert (world.root / "queue" / "rejected" / "broken.yaml").exists()
    while f"{Effect.LEDGER_PACK}:after" not in world.points():
        # It goes on beside the engine: an engine that died meanwhile had its objects packed without coming to the end.
        world.clutter()
        world.settle()
    # Last, so that no engine tells anything at its own times.
    with (world.root / "orc.yaml").open("a") as file:
        file.write("notify: {about: [rejected], to: {mine: {command: ['true']}}}\n")
    for verb in ("send", "test"):
        world.act("notify", verb)
    world.git("checkout", "--quiet", "orc.yaml")
    return {
        "plain": Expected(),
        "fixes": Expected(attempts=2, reviews=2),
        "lost": Expected(attempts=2),
        "stopped": Expected(attempts=2),
        "branch": Expected(on_main=0),
        "blocked": Expected(),
        "red": Expected(),
    }


# --- the checker ---


def check_world(world: World, expected: dict[str, Expected]) -> None:
    """Hold everything that must be true when all has come to rest against the workspace."""
    with open_workspace(world.root) as ws:
        jobs = jobs_by_name(ws)
        assert {name: len(found) for name, found in jobs.items()} == dict.fromkeys(expected, 1), world.ledger_log()
        for name, wanted in expected.items():
            _check_job(world, ws, jobs[name][0], wanted)
        _check_queue(ws, [found[0] for found in jobs.values()])
        _check_counted_once(world, [found[0].job for found in jobs.values()])
        _check_left_overs(ws)
    check_requests(world)
    check_runs(world)
    check_ledger(world)
    check_repository(world)


def jobs_by_name(ws: Workspace) -> dict[str, list[Folder]]:
    """Every job of the ledger, open and ended. One that is both raises."""
    snapshot, found = ws.ledger.snapshot(), list(ws.ledger.snapshot().folders.values())
    listed = ws.ledger.git.text("ls-tree", "-r", "--name-only", snapshot.tip, "closed/ids/").splitlines()
    for id_ in (line.rpartition("/")[2] for line in listed):
        assert id_ not in snapshot.folders, f"{id_} is open and closed"
        closed = ws.ledger.closed(id_)
        assert closed is not None
        found.append(closed)
    folders = ws.ledger.git.text("ls-tree", "-r", "--name-only", snapshot.tip).splitlines()
    stands = Counter(line.split("/")[-2] for line in folders if line.rpartition("/")[2] in ("job.yaml", "job.md"))
    assert set(stands.values()) <= {1}, f"in two places: {stands}"
    by_name: dict[str, list[Folder]] = {}
    for folder in found:
        by_name.setdefault(folder.job.id[:-9], []).append(folder)
    return by_name


def _check_job(world: World, ws: Workspace, folder: Folder, wanted: Expected) -> None:
    job, history = folder.job, world.ledger_log()
    assert job.state is wanted.state, f"{job.id} is {job.state} ({job.at.reason}), killed at {world.kills}\n{history}"
    for what, found, right in (
        ("attempts", job.at.attempt, wanted.attempts),
        ("reviews", job.at.review, wanted.reviews),
        ("spent", job.at.spent, wanted.spent),
    ):
        assert right in (None, found), f"{job.id}: {found} {what}, not {right}; killed at {world.kills}\n{history}"
    merges = world.git("log", "main", "--format=%(trailers:key=Orc-Job,valueonly,separator=%x2C)").split()
    assert merges.count(job.id) == wanted.on_main, f"{job.id} is {merges.count(job.id)} times on main"
    for number in range(1, job.at.attempt + 1):
        if number not in wanted.lost:
            _check_attempt_kept(world, job, ws.ledger.record(Attempt, folder, f"attempt-{number}"))
    for number in range(1, job.at.review + 1):
        ended = ws.ledger.record(ReviewRecord, folder, f"review-{number}").ended
        assert ended or f"not-started: {job.id} {job.id}.review-{number} " in history
    if job.state is State.DONE:
        _check_approved(world, ws, folder, wanted)


def _check_approved(world: World, ws: Workspace, folder: Folder, wanted: Expected) -> None:
    job = folder.job
    assert job.at.approved == job.at.tip
    assert job.at.approved
    if wanted.on_main:
        merge = ws.ledger.record(MergeRecord, folder, f"merge-{job.at.merge}")
        assert merge.approved == job.at.approved
        assert world.git("merge-base", job.at.merged, "main") == merge.merged
    else:
        assert world.git("rev-parse", f"refs/heads/orc/{job.id}") == job.at.approved


def _check_attempt_kept(world: World, job: Job, attempt: Attempt) -> None:
    """What an agent made is under a ref of the project, also when its run was killed."""
    if attempt.run not in world.runs("begin"):
        return
    tip = world.git("rev-parse", attempt_ref(job.id, attempt.number))
    assert f"{job.id[:-9]}.py" in world.git("ls-tree", "--name-only", tip).split()
    if not attempt.ended:
        # A job that was cancelled waits for no result; the work is kept all the same.
        assert f"cancel: {job.id}" in world.ledger_log()
        return
    assert attempt.tip == tip, f"{attempt.run} ({attempt.status}: {attempt.error})\n{world.ledger_log()}"


def _check_queue(ws: Workspace, folders: list[Folder]) -> None:
    """`queue/` shows the ledger: every job's file in its lane, byte for byte, and nothing else."""
    projection = Projection(ws, queue=None)  # type: ignore[arg-type]  # only its paths are asked for
    shown: dict[Path, bytes] = {}
    for folder in folders:
        shown |= _views(projection, ws, folder)
    found = {
        path: path.read_bytes()
        for lane in Lane
        if lane is not Lane.REJECTED
        for path in (ws.paths.queue / lane).iterdir()
        if not path.name.endswith(".why.txt")
    }
    assert sorted(found) == sorted(shown)
    assert found == shown
    assert sorted(path.name for path in ws.paths.queue.iterdir() if path.is_file()) == [".gitignore"]


def _views(projection: Projection, ws: Workspace, folder: Folder) -> dict[Path, bytes]:
    job = folder.job
    place = ws.paths.queue / job.lane / job.file_name
    views = {place: ws.ledger.objects.read(folder.records["#job"])}
    if job.state is State.DECIDE:
        card = ws.paths.queue / Lane.DECIDE / f"{job.id}.card-{job.at.card}.yaml"
        views[card] = card.read_bytes()
    return views


def _check_counted_once(world: World, jobs: list[Job]) -> None:
    """Each attempt and each review ended on the ledger exactly once; seq grows by one with every step."""
    form = "%(trailers:key=Job,valueonly,separator=%x2C)%x09%(trailers:key=Seq,valueonly,separator=%x2C)%x09%s"
    steps: dict[str, list[tuple[int, str]]] = {job.id: [] for job in jobs}
    for line in world.git("log", "-z", "--reverse", f"--format={form}", REF).rstrip("\0").split("\0"):
        id_, seq, subject = line.split("\t", 2)
        if seq:
            steps[id_].append((int(seq), subject.partition(":")[0]))
    for job in jobs:
        assert [seq for seq, _ in steps[job.id]] == list(range(1, job.at.seq + 1))
        events = Counter(event for _, event in steps[job.id])
        assert events["accept"] == 1
        assert events["start"] == job.at.attempt
        assert events["review"] == job.at.review
        runs = events["start"] + events["review"]
        # Runs of checks, of which the known ones need none, may be lost too: so this is no equation.
        assert events["collect"] + events["verdict"] <= runs
        assert events["collect"] + events["verdict"] + events["lost"] + events["not-started"] + events["cancel"] >= runs
        assert events["done"] <= 1


def _check_left_overs(ws: Workspace) -> None:
    runs = sorted(path.name for path in ws.paths.runs.iterdir()) if ws.paths.runs.is_dir() else []
    assert runs == []
    refs = [str(path) for path in (ws.paths.git_dir / "refs").rglob("*.lock")]
    assert refs == []


def check_runs(world: World) -> None:
    """No two runs of one job were ever alive at once, and no run happened twice."""
    assert world.runs("overlap") == []
    twice = [run for run, count in Counter(world.runs("begin")).items() if count > 1]
    assert twice == [], f"started more than once: {twice}"


def check_requests(world: World) -> None:
    """What an agent asked was granted exactly once."""
    asked = len(world.runs("asks"))
    for folder in ("memory/", "requests/"):
        assert len(world.git("ls-tree", "-r", "--name-only", REF, folder).splitlines()) == asked, folder
    assert world.ledger_log().count("request: ") == asked


def check_ledger(world: World) -> None:
    parents = world.git("rev-list", "--parents", REF).splitlines()
    assert [line for line in parents if len(line.split()) > 2] == [], "the ledger is not linear"
    assert len([line for line in parents if len(line.split()) == 1]) == 1
    report = audit(world.root / ".git", find_projects(world.root))
    assert [(lie.subject, lie.text) for lie in report.lies] == []
    assert [(doubt.subject, doubt.text) for doubt in report.unverifiable] == []


def check_repository(world: World) -> None:
    world.git("fsck", "--full", "--no-dangling", "--no-progress")
    mirror = world.root / ".git" / "orc" / "mirrors" / "main.git"
    if mirror.exists():
        world.git(f"--git-dir={mirror}", "fsck", "--full", "--no-dangling", "--no-progress")
    for oid in world.loose:
        world.git("cat-file", "-e", oid)
    assert world.git("status", "--porcelain", "--untracked-files=no") == ""
    assert world.git("symbolic-ref", "HEAD") == "refs/heads/main"
