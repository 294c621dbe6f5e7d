"""A throw-away workspace of a given size, its engine as a process of its own, and jobs that do next to nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.adapters.spans import TRACE
from orchestrator.adapters.strict_yaml import dump
from orchestrator.core.transitions import Actor
from orchestrator.engine.init import init_workspace

PROJECT = Path(__file__).resolve().parents[1]
DURABLE = (
    "-c",
    "core.fsync=committed",
    "-c",
    "core.fsyncMethod=batch",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
)
"""What orc gives to each git command of its own, for the scripts that it is compared with."""
ADA = Actor("human:ada")

# One of two hundred files, by the number in the name of the job: the tree stays as large as it is.
CHOOSE = """n=${ORC_JOB%-*}
n=${n##*[!0-9]}
while :; do case $n in 0?*) n=${n#0};; *) break;; esac; done
file=out/$((${n:-0} % 200)).py
"""

AGENT = f"""#!/bin/sh
cat > /dev/null
{CHOOSE}mkdir -p out
echo "done = '$ORC_JOB'" > "$file"
echo "I wrote the file that was asked for."
"""

# No process but the shell: the facts are one key to a line.
REVIEWER = (
    f"#!/bin/sh\n{CHOOSE}"
    + """
while IFS='"' read -r _ key _ value _; do
  case $key in nonce) nonce=$value;; commit) commit=$value;; esac
done < "$ORC_FACTS"
items=
for id in does-the-task correct tests-prove-it safe within-the-task errors-speak readable documented; do
  items="$items${items:+,}{\\"id\\":\\"$id\\",\\"pass\\":true,\\"evidence\\":\\"the one line of $file\\"}"
done
printf '{"nonce":"%s","job":"%s","commit":"%s","verdict":"APPROVED","files":["%s"],"items":[%s],' \\
  "$nonce" "$ORC_JOB" "$commit" "$file" "$items"
printf '"findings":[],"summary":"It does what was asked."}\\n'
"""
)

JOB = "title: Write a file\nprompt: |\n  Write the file {name} that this job is about, and nothing else.\n"
"""Each asks for another file: what asks for the same while it is open becomes no second job."""


def run(
    argv: Sequence[str],
    cwd: Path,
    *,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
    codes: Sequence[int] = (0,),
) -> str:
    """The output of a command. Raises RuntimeError with its words if its exit code is not among `codes`."""
    done = subprocess.run(argv, cwd=cwd, env=env, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        raise RuntimeError(f"{' '.join(argv[:6])}: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def git(root: Path, *args: str) -> str:
    """Git as the person types it, without anything of this machine's configuration."""
    return run(["git", "-C", str(root), *args], root, env=plain_environment())


def plain_environment() -> dict[str, str]:
    """An environment in which git finds no configuration but the repository's."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    names = {f"GIT_{who}_{what}": "ada@example.invalid" if what == "EMAIL" else "Ada"
             for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
    return {**kept, **names, "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}


def orc_argv(*args: str) -> list[str]:
    """The command line of orc as this checkout has it."""
    return [sys.executable, "-m", "orchestrator", *args]


def orc_environment(**more: str) -> dict[str, str]:
    """The environment for it. Nothing of an orc that this process may itself run under."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ORC_", "GIT_"))}
    return {**clean, "PYTHONPATH": str(PROJECT), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **more}


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """A folder outside of any repository, removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix=f"orc-bench-{name}-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def make_repository(root: Path, files: int) -> None:
    """A repository with one commit of `files` small files, a hundred in a folder, on `main`, checked out."""
    root.mkdir(parents=True)
    git(root, "init", "--quiet", "--initial-branch=main")
    for name, value in (("user.name", "Ada"), ("user.email", "ada@example.invalid")):
        git(root, "config", name, value)
    for number in range(files):
        path = root / "src" / f"{number // 100:04d}" / f"part_{number:06d}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"NUMBER = {number}\n" + f"# line of part {number}\n" * (20 + number % 60))
    git(root, "add", "-A")
    git(root, *DURABLE, "commit", "--quiet", "--allow-empty", "-m", "first")


def make_workspace(root: Path, files: int, *, slots: int = 1, tick_seconds: float = 10) -> Path:
    """The same with a workspace in it: one author, one reviewer of another family, a check that passes."""
    make_repository(root, files)
    write_configuration(root, slots=slots, tick_seconds=tick_seconds)
    init_workspace(root, ADA, starter=False)
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "-m", "a workspace")
    return root


def write_configuration(root: Path, *, slots: int = 1, tick_seconds: float = 10) -> None:
    """`orc.yaml`, souls and programs for jobs that do next to nothing."""
    (root / "tools").mkdir(exist_ok=True)
    for name, text in (("agent", AGENT), ("reviewer", REVIEWER)):
        path = root / "tools" / name
        path.write_text(text)
        path.chmod(0o755)
    (root / "souls").mkdir(exist_ok=True)
    for number in range(slots):
        for who, role, tool, family in (("ada", "work", "agent", "alpha"), ("bea", "review", "reviewer", "beta")):
            text = f"---\nbackend: {tool}\nfamily: {family}\nroles: [{role}]\n---\nYou are {who}.\n"
            (root / "souls" / f"{who}-{number}.md").write_text(text)
    config = {
        "version": 1,
        "slots": slots,
        "tick_seconds": tick_seconds,
        "backends": {tool: {"type": "command", "argv": [f"tools/{tool}"]} for tool in ("agent", "reviewer")},
        "projects": {"main": {"path": ".", "target": "main", "checks": ["true"], "merge": "auto"}},
        # Ten thousand jobs in a row are more than a day is to have anywhere else.
        "execution_limits": {
            "window_tokens": "unlimited",
            "total": {"tokens": "unlimited"},
            "agent": {"runs": "unlimited"},
        },
        # This reviewer approves everything, which is suspicious anywhere else; and nothing is left to chance.
        "review": {"suspicion": {"approvals": 1}, "second": 0},
    }
    (root / "orc.yaml").write_text(dump(config))


def drop(root: Path, name: str, text: str = "") -> int:
    """Save a file in `queue/` by an atomic rename; the moment, on the clock of `time.monotonic_ns`."""
    temporary = root / "queue" / "inbox" / f".{name}.part"
    temporary.write_text(text or JOB.format(name=name))
    moment = time.monotonic_ns()
    temporary.rename(root / "queue" / "inbox" / f"{name}.yaml")
    return moment


def ended(root: Path, prefix: str = "", lane: str = "done") -> list[str]:
    """Names of the jobs that are shown as done."""
    try:
        return [name for name in os.listdir(root / "queue" / lane) if name.startswith(prefix) and name[0] != "."]
    except FileNotFoundError:
        return []


def wait_until(condition: Callable[[], object], *, seconds: float, what: str, every: float = 0.005) -> None:
    """Wait for a condition. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {seconds:g} s")
        time.sleep(every)


@dataclass(frozen=True, slots=True)
class Cpu:
    """Seconds of a processor: of a process, and of the children that it has seen end."""

    own: float
    children: float

    def __sub__(self, other: Cpu) -> Cpu:
        return Cpu(self.own - other.own, self.children - other.children)

    @property
    def total(self) -> float:
        """Both."""
        return self.own + self.children


def cpu_of(pid: int) -> Cpu:
    """What a process has used so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, children = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
    ticks = os.sysconf("SC_CLK_TCK")
    return Cpu(own / ticks, children / ticks)


def memory_of(pid: int) -> int:
    """Resident memory of a process in bytes, without pages that it shares with files (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


@dataclass(slots=True)
class EngineProcess:
    """`orc run` in a workspace, as a person starts it."""

    root: Path
    spans: Path | None = None
    environment: dict[str, str] = field(default_factory=dict)
    args: tuple[str, ...] = ("--quiet",)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> EngineProcess:
        more = {TRACE: str(self.spans)} if self.spans else {}
        with open(self.root / ".git" / "bench-engine.log", "ab") as log:
            self._process = subprocess.Popen(
                orc_argv("run", *self.args),
                cwd=self.root,
                env=orc_environment(**more, **self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self.process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once started."""
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    def log(self) -> str:
        """What it said, for the message of a benchmark that broke."""
        return (self.root / ".git" / "bench-engine.log").read_text("utf-8", "replace")[-3000:]

    def wait_for_start(self, seconds: float = 60) -> None:
        """Until it holds the workspace and rests: the file that tells so is there and no event is pending."""
        note = self.root / ".git" / "orc" / "engine.json"
        wait_until(lambda: note.exists() or self.process.poll() is not None, seconds=seconds, what="the engine's start")
        if self.process.poll() is not None:
            raise RuntimeError(f"the engine ended: {self.log()}")
        self.wait_for_rest()

    def wait_for_rest(self, still_s: float = 0.15, seconds: float = 60) -> None:
        """Until neither the engine nor its children have used the processor for a while."""
        deadline = time.monotonic() + seconds
        before = cpu_of(self.pid)
        since = time.monotonic()
        while time.monotonic() - since < still_s and time.monotonic() < deadline:
            time.sleep(0.02)
            now = cpu_of(self.pid)
            if now != before:
                before, since = now, time.monotonic()
