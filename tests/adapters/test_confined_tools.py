"""The tools of the API backend under Landlock: what commands do that want out, tried for real against this kernel."""

from __future__ import annotations

import errno
import json
import os
import platform
import pwd
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from run_helpers import is_alive, wait_until

from orchestrator.adapters import landlock
from orchestrator.adapters.backends import tree_bounds
from orchestrator.adapters.backends.tree_bounds import Bounds, bounds_of
from orchestrator.adapters.backends.tree_server import ConfinedTools, NotConfinedError
from orchestrator.adapters.landlock import READ, WRITE, Right, Rule

needs_landlock = pytest.mark.skipif(
    bool(landlock.why_not()), reason=f"NOT TRIED: {landlock.why_not()}; {landlock.NEEDS} would enable it"
)
needs_scopes = pytest.mark.skipif(
    landlock.version() < 6, reason=f"NOT TRIED: this kernel has Landlock {landlock.version()}; 6 (Linux 6.12) would do"
)
KEY = "sk-ant-not-a-key-0815"
SECRET = "nobody may see this"
PTRACE = {"x86_64": 101, "aarch64": 117, "riscv64": 117}
PROCESS_VM_READV = {"x86_64": 310, "aarch64": 270, "riscv64": 270}


@dataclass
class World:
    """A workspace with the tree of an agent, the tree of another, the folder of a run; and a home beside it."""

    root: Path
    tools: ConfinedTools = field(init=False)

    def __post_init__(self) -> None:
        made = (self.tree, self.other, self.run, self.state, self.mirror / "objects" / "info", self.home, self.shared)
        for folder in made:
            folder.mkdir(parents=True)
        (self.home / "secret").write_text(f"{SECRET}\n")
        (self.other / "work").write_text(f"{SECRET}\n")
        (self.state / "session.json").write_text(json.dumps({"key": SECRET}))
        (self.run / "facts.json").write_text("{}\n")
        (self.shared / "seen").write_text("given\n")
        self.tools = self.open()

    def open(self) -> ConfinedTools:
        env = {"PATH": os.environ["PATH"], "HOME": str(self.run / "home"), "TMPDIR": str(self.run / "tmp")}
        more = {"ORC_RESULT": str(self.run / "report"), "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        bounds = bounds_of(self.tree, self.run, state=self.state, path=env["PATH"], may_read=[self.shared])
        tools = ConfinedTools(self.tree, env | more, bounds)
        tools.begin()
        tools.confirm()
        return tools

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def tree(self) -> Path:
        return self.workspace / "state" / "trees" / "ada" / "web"

    @property
    def other(self) -> Path:
        return self.workspace / "state" / "trees" / "bob" / "web"

    @property
    def run(self) -> Path:
        return self.workspace / ".git" / "orc" / "runs" / "job.1"

    @property
    def state(self) -> Path:
        return self.workspace / ".git" / "orc" / "agents" / "ada" / "anthropic"

    @property
    def mirror(self) -> Path:
        return self.workspace / ".git" / "orc" / "mirrors" / "web.git"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    def sh(self, command: str, timeout_s: float = 60) -> str:
        """What a command tells, with its exit code before it."""
        result = self.tools.run("bash", {"command": command, "timeout_s": timeout_s})
        assert not result.is_error, result.text
        return result.text

    def python(self, code: str) -> str:
        (self.tree / "try.py").write_text(code)
        return self.sh(f"{sys.executable} -I try.py")

    def outside(self) -> dict[str, bytes]:
        """All files that are not the run's, with what is in them."""
        mine = (self.tree, self.run)
        found = (path for path in self.root.rglob("*") if not any(path.is_relative_to(each) for each in mine))
        return {str(path): path.read_bytes() if path.is_file() else b"" for path in found}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    # This process is the one that talks with the service, and has the key.
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.tools.end()


@needs_landlock
class TestWhatABuildDoes:
    def test_it_writes_in_the_tree_in_home_and_in_the_temporary_folder(self, world: World) -> None:
        told = world.sh(
            "set -e; mkdir -p a b; echo 1 > a/f; mv a/f b/g; ln b/g a/h; ln -s ../b/g a/link; cat a/link; "
            "rm a/h; rmdir --ignore-fail-on-non-empty a; mkfifo pipe; echo 2 > ~/h; echo 3 > $TMPDIR/t; mktemp; "
            "truncate -s 0 ~/h; cat <<E\nhere\nE\ndiff <(echo 5) <(echo 5) && echo same"
        )
        assert told.startswith("[exit code 0,")
        assert "here\nsame" in told
        assert (world.tree / "b" / "g").read_text() == "1\n"
        assert [path.name for path in (world.run / "home").iterdir()] == ["h"]

    def test_locks_between_processes_and_files_without_a_name_can_be_made(self, world: World) -> None:
        code = "import multiprocessing, tempfile; multiprocessing.Lock(); tempfile.TemporaryFile(); print('made')"
        assert "made" in world.python(code)

    def test_git_commits_on_objects_that_are_borrowed(self, world: World) -> None:
        def git(folder: Path, *words: str) -> str:
            who = ["-c", "user.name=a", "-c", "user.email=a@example.invalid"]
            return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout

        git(world.mirror, "init", "-q", "--bare", ".")
        git(world.home, "clone", "-q", str(world.mirror), "made")
        (world.home / "made" / "base").write_text("base\n")
        for words in (("add", "."), ("commit", "-qm", "base"), ("push", "-q", "origin", "HEAD:main")):
            git(world.home / "made", *words)
        git(world.tree, "clone", "-q", "--shared", "--branch=main", str(world.mirror), ".")
        before = world.outside()
        world.tools.end()
        world.tools = world.open()  # What is borrowed is read as a run begins.
        told = world.sh(
            "git -c user.name=a -c user.email=a@b commit -q --allow-empty -m two && git log --format=%s && git gc -q"
        )
        assert "two\nbase" in told
        assert told.startswith("[exit code 0,")
        assert world.outside() == before

    def test_it_reads_what_its_run_is_told_and_answers_into_the_report(self, world: World) -> None:
        told = world.sh(f'cat {world.run}/facts.json; echo done > "$ORC_RESULT"; echo 1 > {world.run}/outbox/a.json')
        assert told.startswith("[exit code 0,")
        assert (world.run / "report").read_text() == "done\n"
        assert "Permission denied" in world.sh(f"echo 1 > {world.run}/result.json")

    def test_orc_itself_can_be_called(self, world: World) -> None:
        root = Path(__file__).resolve().parents[2]
        code = "from orchestrator.cli.main import main; sys.argv = ['orc', '--version']; main()"
        packages = [each for each in sys.path if each.endswith("site-packages")]
        told = world.python(f"import sys; sys.path[:0] = [{str(root)!r}, *{packages!r}]; {code}")
        assert told.startswith("[exit code 0,")
        assert "Permission denied" in world.sh(f"cat {root}/pyproject.toml")

    def test_the_report_is_written_though_nothing_beside_it_can_be(self, world: World) -> None:
        told = world.python(
            f"import os, pathlib, sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})\n"
            "from orchestrator.adapters.files import write_atomic, write_in_place\n"
            "report = pathlib.Path(os.environ['ORC_RESULT'])\n"
            "try: write_atomic(report, b'whole', sync=False)\n"
            "except PermissionError: write_in_place(report, b'in place')\n"
        )
        assert told.startswith("[exit code 0,")
        assert (world.run / "report").read_text() == "in place"

    def test_what_the_person_adds_can_be_read_and_not_written(self, world: World) -> None:
        assert "given" in world.sh(f"cat {world.shared}/seen")
        assert "Permission denied" in world.sh(f"echo 1 > {world.shared}/seen")

    def test_settings_of_tools_in_folders_above_are_read_and_nothing_else_there(self, world: World) -> None:
        world.tools.end()
        (world.workspace / "pyproject.toml").write_text("[tool]\n")
        (world.workspace / "notes").write_text(SECRET)
        world.tools = world.open()
        assert "[tool]" in world.sh(f"cat {world.workspace}/pyproject.toml")
        assert SECRET not in world.sh(f"cat {world.workspace}/notes; ls {world.workspace}")

    def test_what_a_command_left_running_can_be_ended_by_a_later_one(self, world: World) -> None:
        world.sh("setsid sleep 60 & echo $! > pid")
        pid = int((world.tree / "pid").read_text())
        assert is_alive(pid)
        assert world.sh("kill $(cat pid)").startswith("[exit code 0,")
        wait_until(lambda: not is_alive(pid))


WAYS_TO_WRITE = {
    "by its name": "echo x > {out}/new; echo x >> {out}/secret",
    "to empty it by its name": "truncate -s 0 {out}/secret; {python} -c 'import os; os.truncate(\"{out}/secret\", 0)'",
    "through a link": "ln -s {out} way; echo x > way/secret; echo x > way/new; rm way/secret",
    "through a link to the file": "ln -s {out}/secret way; echo x > way",
    "through the root of a process": "echo x > /proc/self/root{out}/new; echo x > /proc/$$/root{out}/secret",
    "through a folder above": "cd ..; cd ../../../../home; echo x > new; echo x > ./secret",
    "by a hard link to it": "ln {out}/secret twin && echo x > twin",
    "by moving it here": "mv {out}/secret mine; mv -T {out} all",
    "by moving something there": "echo x > made; mv made {out}/secret; ln made {out}/new; cp made {out}/new",
    "by removing it": "rm -rf {out}; rmdir {out}; find {out} -delete",
    "with new folders and links": "mkdir {out}/d; ln -s / {out}/l; mkfifo {out}/p; mknod {out}/n c 1 3",
    "by exchanging two folders": (
        'mkdir here; {python} -c \'import ctypes; ctypes.CDLL(None).renameat2(-100, b"here", -100, b"{out}", 2)\''
    ),
    "in a namespace of its own": (
        "unshare -Urm sh -c 'mount --bind {out} /mnt && echo x > /mnt/new'; "
        "unshare -m sh -c 'mount --bind {out} /mnt && echo x > /mnt/new'; mount -t tmpfs none {out}; "
        "unshare -Ur sh -c 'echo x > {out}/new'; chroot {out} /bin/sh -c 'echo x > /new'"
    ),
    "with a device of its own": "mknod disk b 8 0 && cat disk > {out}/new; mknod mem c 1 1; ls disk mem 2>/dev/null",
    "as another user": "setpriv --reuid=65534 --clear-groups sh -c 'echo x > {out}/new'; sudo -n touch {out}/new",
    "from a child that outlives the call": (
        "setsid sh -c 'sleep 1; echo x > {out}/new; echo ended > done' > /dev/null 2>&1 & sleep 0.1"
    ),
}


@needs_landlock
class TestWritingOutside:
    @pytest.mark.parametrize("way", WAYS_TO_WRITE)
    def test_there_is_no_way_to_write(self, world: World, way: str) -> None:
        before = world.outside()
        world.sh(WAYS_TO_WRITE[way].format(out=world.home, python=sys.executable) + "; true")
        if "outlives" in way:
            wait_until(lambda: (world.tree / "done").exists())
        assert world.outside() == before

    def test_that_these_ways_are_ways_without_it(self, tmp_path: Path) -> None:
        """Else what is refused would prove nothing."""
        out, tree = tmp_path / "home", tmp_path / "a" / "b" / "c" / "d" / "e"
        works = []
        for way, command in WAYS_TO_WRITE.items():
            for folder in (out, tree):
                subprocess.run(["rm", "-rf", str(folder)], check=True)
                folder.mkdir(parents=True)
            (out / "secret").write_text(SECRET)
            line = command.format(out=out, python=sys.executable)
            if way not in ("in a namespace of its own", "as another user", "with a device of its own"):
                subprocess.run(["bash", "-c", line], cwd=tree, capture_output=True, check=False)
                found = [path.name for path in out.iterdir()] if out.is_dir() else []
                works.append(found != ["secret"] or (out / "secret").read_text() != SECRET)
                if "outlives" in way:
                    wait_until(lambda: (tree / "done").exists())
                    works[-1] = (out / "new").exists()
        assert all(works)
        assert len(works) == len(WAYS_TO_WRITE) - 3

    def test_trees_of_others_are_closed(self, world: World) -> None:
        before = world.outside()
        told = world.sh(f"cat {world.other}/work; ls {world.other}; echo x > {world.other}/new; rm {world.other}/work")
        assert SECRET not in told
        assert world.outside() == before

    def test_a_folder_that_turns_into_a_link_under_the_tools_leads_nowhere(self, world: World) -> None:
        """The tools look where a path leads and then open it. Between the two a command may put a link there."""
        before = world.outside()
        world.sh(
            f"mkdir -p real; ln -s {world.home} link; cat > swap.py <<'E'\n"
            "import ctypes\nswap = ctypes.CDLL(None).renameat2\n"
            "while True: swap(-100, b'real', -100, b'link', 2)\nE\n"
            f"setsid {sys.executable} swap.py & echo $! > pid"
        )
        seen = []
        until = time.monotonic() + 3
        while time.monotonic() < until:
            world.tools.run("write", {"path": "real/new", "content": "x"})
            world.tools.run("edit", {"path": "real/secret", "old": SECRET, "new": "mine"})
            seen += [world.tools.run("read", {"path": "real/secret"}).text]
            seen += [world.tools.run("grep", {"pattern": "nobody", "path": "real"}).text]
            seen += [world.tools.run("glob", {"pattern": "*", "path": "real"}).text]
        world.sh("kill $(cat pid)")
        assert len(seen) > 30
        assert not [text for text in seen if SECRET in text or "real/secret\n" in f"{text}\n"]
        assert world.outside() == before


WAYS_TO_READ = {
    "by its name": "cat {out}/secret; ls {out}",
    "through a link": "ln -s {out} way; cat way/secret",
    "through processes": "for p in /proc/[0-9]*; do cat $p/cwd/secret $p/root{out}/secret; done",
    "through the folder of the one that talks": "cat /proc/{pid}/cwd/secret /proc/{pid}/root{out}/secret",
    "by running it": ". {out}/secret; bash {out}/secret; {python} {out}/secret",
    "by a copy of the kernel's": "cp --reflink=auto {out}/secret mine; cat mine; dd if={out}/secret",
    "as part of git": "git init -q .; git -C {out} status; git --git-dir={out} log; git hash-object -w {out}/secret",
    "by what the workspace holds": "cat {workspace}/.git/orc/agents/ada/anthropic/session.json; ls {workspace}",
}


@needs_landlock
class TestReadingOutside:
    @pytest.mark.parametrize("way", WAYS_TO_READ)
    def test_there_is_no_way_to_read(self, world: World, way: str) -> None:
        words = {"out": world.home, "workspace": world.workspace, "pid": os.getpid(), "python": sys.executable}
        told = world.sh(WAYS_TO_READ[way].format(**words) + "; true")
        assert SECRET not in told
        assert "session.json\n" not in told

    def test_the_key_is_in_no_process_that_can_be_looked_into(self, world: World) -> None:
        # Set above in this process for Python alone; in this one the kernel shows it.
        code = "import os, sys, time; print('up', flush=True); time.sleep(120)"
        with subprocess.Popen([sys.executable, "-c", code], env=os.environ, stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                holder.stdout.readline()
                assert KEY in Path(f"/proc/{holder.pid}/environ").read_text()
                told = world.sh(
                    f"cat /proc/{holder.pid}/environ /proc/*/environ | tr '\\0' '\\n' | grep -c {KEY}; "
                    f"ls -l /proc/{holder.pid}/fd/ /proc/{holder.pid}/cwd; cat /proc/{holder.pid}/maps; "
                    f"head -c 1 /proc/{holder.pid}/mem; echo; grep -c . /proc/kcore /dev/mem"
                )
                assert "\n0\n" in told
                assert " -> " not in told
                assert "r-xp" not in told
                ptrace, readv = PTRACE[platform.machine()], PROCESS_VM_READV[platform.machine()]
                told = world.python(
                    "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
                    f"for pid in ({holder.pid}, {os.getpid()}, 1):\n"
                    f"    print([libc.syscall({ptrace}, each, pid, 0, 0) for each in (16, 0x4206)], "
                    f"libc.syscall({readv}, pid, 0, 0, 0, 0, 0))\n"
                )
                assert told.count("[-1, -1]") == 3
                assert is_alive(holder.pid)
            finally:
                holder.kill()

    @needs_scopes
    def test_no_signal_reaches_what_is_outside(self, world: World) -> None:
        with subprocess.Popen(["sleep", "60"]) as victim:
            told = world.sh(f"kill -9 {victim.pid}; kill -TERM {os.getpid()}; pkill -9 -P {os.getpid()} sleep; true")
            assert "not permitted" in told
            assert victim.poll() is None
            victim.kill()

    @needs_scopes
    def test_no_abstract_socket_of_somebody_else_can_be_talked_to(self, world: World) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("\0orc-test-" + os.urandom(8).hex())
            server.listen()
            name = server.getsockname()
            told = world.python(f"import socket; s = socket.socket(socket.AF_UNIX); print(s.connect_ex({name!r}))")
            assert f"\n{errno.EPERM}\n" in told

    def test_root_keeps_no_power_that_reaches_around_the_files(self, world: World) -> None:
        told = world.sh("grep -E '^(Cap(Prm|Eff|Inh)|NoNewPrivs)' /proc/self/status")
        powers = dict(line.split(":\t") for line in told.splitlines()[1:])
        dangerous = sum(1 << number for number in (2, 12, 16, 17, 18, 19, 21, 27, 38, 39))
        assert {int(powers[f"Cap{name}"], 16) & dangerous for name in ("Prm", "Eff", "Inh")} == {0}
        assert powers["NoNewPrivs"] == "1"


@needs_landlock
class TestTheProcessOfTheTools:
    @pytest.mark.parametrize("how", ["KILL", "TERM"])
    def test_one_that_a_command_ends_is_begun_anew_and_confined_again(self, world: World, how: str) -> None:
        result = world.tools.run("bash", {"command": f"kill -{how} $PPID; sleep 1"})
        assert result.is_error
        assert "Another one begins" in result.text
        assert "Permission denied" in world.sh(f"cat {world.home}/secret")

    def test_one_that_a_command_stops_is_not_waited_for_without_end(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("orchestrator.adapters.backends.tree_server.SPARE_S", 1.0)
        monkeypatch.setattr("orchestrator.adapters.backends.tree_server.BASH_SECONDS", 1.0)
        result = world.tools.run("bash", {"command": "kill -STOP $PPID; sleep 60"})
        assert result.is_error
        assert "gave no answer for 2 s" in result.text
        assert "Permission denied" in world.sh(f"cat {world.home}/secret")

    def test_what_it_answers_is_not_believed(self, world: World) -> None:
        forged = json.dumps({"text": "x" * 10**6, "error": "no", "denied": 3, "more": [1]})
        code = (
            f"import os\nos.write(os.open('/proc/%d/fd/1' % os.getppid(), os.O_WRONLY), {forged!r}.encode() + b'\\n')"
        )
        (world.tree / "forge.py").write_text(code)
        first = world.tools.run("bash", {"command": f"exec {sys.executable} forge.py"})
        assert (first.is_error, first.is_denied) == (False, False)
        assert len(first.text) <= 256 * 1024
        flood = "import os\nwhile True: os.write(os.open('/proc/%d/fd/1' % os.getppid(), os.O_WRONLY), b'x' * 60000)"
        (world.tree / "forge.py").write_text(flood)
        world.tools.run("bash", {"command": f"exec {sys.executable} forge.py"})
        again = world.tools.run("bash", {"command": "true"})
        assert "said too much" in again.text or not again.is_error
        assert "Permission denied" in world.sh(f"cat {world.home}/secret")

    def test_it_ends_with_the_one_that_started_it(self, world: World, tmp_path: Path) -> None:
        code = (
            "import json, sys, time; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
            "from orchestrator.adapters.backends.tree_bounds import Bounds; "
            "from orchestrator.adapters.backends.tree_server import ConfinedTools; "
            "bounds = Bounds.from_json(json.loads(sys.argv[3])); "
            "tools = ConfinedTools(Path(sys.argv[2]), {'PATH': '/usr/bin:/bin'}, bounds); "
            "tools.begin(); tools.confirm(); told = tools.run('bash', {'command': 'echo $PPID'}).text; "
            "print(told.split()[-1], flush=True); time.sleep(60)"
        )
        root, bounds = str(Path(__file__).resolve().parents[2]), json.dumps(world.tools.bounds.to_json())
        argv = [sys.executable, "-c", code, root, str(world.tree), bounds]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert is_alive(pid)
            parent.send_signal(signal.SIGKILL)
        wait_until(lambda: not is_alive(pid))

    def test_bounds_that_leave_open_what_must_be_closed_are_no_bounds(self, world: World) -> None:
        open_ = Bounds((*world.tools.bounds.rules, Rule(world.root, READ)), world.tools.bounds.closed)
        tools = ConfinedTools(world.tree, {"PATH": os.environ["PATH"]}, open_)
        tools.begin()
        with pytest.raises(NotConfinedError, match="can still be listed"):
            tools.confirm()


# --- the adapter ---


def restricted(rules: list[Rule], code: str) -> str:
    """What a Python process prints that has given up all but what the rules allow."""
    given = json.dumps([[str(rule.path), int(rule.rights)] for rule in rules])
    begin = (
        "import json, os, sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; "
        "from orchestrator.adapters.landlock import restrict, Rule, Right; "
        "restrict([Rule(Path(p), Right(r)) for p, r in json.loads(sys.argv[2])])\n"
    )
    argv = [sys.executable, "-I", "-S", "-c", begin + code, str(Path(__file__).resolve().parents[2]), given]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@needs_landlock
def test_a_rule_for_a_file_gives_what_files_have(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    rules = [Rule(tmp_path / "one", WRITE), Rule(tmp_path / "none", WRITE)]
    code = (
        "def tried(path, mode):\n"
        "    try: return open(path, mode).read() if mode == 'r' else open(path, mode).write('x')\n"
        "    except PermissionError: return 'refused'\n"
        f"print(tried('{tmp_path}/one', 'r'), tried('{tmp_path}/one', 'w'), tried('{tmp_path}/two', 'r'), "
        f"tried('{tmp_path}/none', 'w'))"
    )
    assert restricted(rules, code) == "1 1 refused refused\n"


@needs_landlock
def test_rules_are_refused_where_the_kernel_does_not_take_them() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        restricted([Rule(Path("/"), Right(1 << 40))], "os.open('/', 0); raise SystemExit(0)")


def test_each_version_is_asked_for_what_it_knows() -> None:
    assert [int(landlock.rights_of(version)).bit_length() for version in (1, 2, 3, 4, 5, 6, 7, 8, 9)] == [
        *(13, 14, 15, 15, 16, 16, 16, 16, 17)
    ]
    assert not landlock.rights_of(1) & Right.REFER


def test_where_there_is_none_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "version", lambda: 2)
    assert landlock.why_not() == "this kernel has Landlock 2, which is too old"
    with pytest.raises(OSError, match="too old"):
        landlock.restrict([])
    monkeypatch.setattr(landlock, "version", lambda: 0)
    assert landlock.why_not() == "this kernel has no Landlock"


def test_a_workspace_in_a_folder_of_the_system_is_left_out_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "usr"
    for folder in ("bin", "src/app/.git/orc/runs/job.1", "src/app/state/trees/a/b", "src/other"):
        (system / folder).mkdir(parents=True)
    monkeypatch.setattr(tree_bounds, "SYSTEM", (str(system),))
    tree, run = system / "src" / "app" / "state" / "trees" / "a" / "b", system / "src/app/.git/orc/runs/job.1"
    (system / "src" / "app" / "orc.yaml").touch()
    rules = bounds_of(tree, run, state=tmp_path, path="/nowhere").rules
    readable = {rule.path for rule in rules if rule.rights == READ}
    assert {system / "bin", system / "src" / "other"} <= readable
    assert not {system, system / "src", system / "src" / "app", system / "src" / "app" / ".git"} & readable
    assert tree in {rule.path for rule in rules if rule.rights == WRITE}


def test_names_in_a_checkout_of_orc_are_seen_unless_the_workspace_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed(root: Path) -> bool:
        run = root / ".git" / "orc" / "runs" / "job.1"
        rules = bounds_of(root / "state" / "trees" / "a" / "b", run, state=root / "s", path="/nowhere").rules
        return Rule(checkout, Right.READ_DIR) in rules

    checkout = tmp_path / "orc"
    monkeypatch.setattr(tree_bounds, "__file__", str(checkout / "orchestrator" / "adapters" / "backends" / "x.py"))
    assert listed(tmp_path / "elsewhere")
    assert not listed(checkout)


def test_of_a_home_with_programs_only_those_are_read(tmp_path: Path) -> None:
    home = tmp_path / "home"
    path = f"{home}/.local/bin:{home}/.pyenv/shims:relative:{home}"
    rules = bounds_of(tmp_path, tmp_path / "run", state=tmp_path, path=path).rules
    readable = {str(rule.path.relative_to(home)) for rule in rules if rule.path.is_relative_to(home)}
    assert {".local/bin", ".local/lib", ".pyenv/shims", ".pyenv"} <= readable
    assert not {".local", ".local/share"} & readable


def test_a_home_or_a_workspace_on_the_path_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, work = tmp_path / "home", tmp_path / "home" / "work"
    tree, run = work / "state" / "trees" / "a" / "b", work / ".git" / "orc" / "runs" / "job.1"
    for folder in (tree, run, home / "shims"):
        folder.mkdir(parents=True)
    (work / "orc.yaml").touch()
    passwd = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd([*passwd[:5], str(home), passwd[6]]))
    rules = bounds_of(tree, run, state=tmp_path, path=f"{home}:{work}:{home}/shims:{tmp_path}:{home}/bin").rules
    readable = {rule.path for rule in rules}
    assert {home / "shims", home / "bin"} <= readable
    assert not {home, work, tmp_path} & readable
