"""Runs that are started as copies of a warm process: the same as those that are started one by one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from run_helpers import Bench, StartedRun, has_ended, is_alive, wait_until
from warm_shims import COLD, begin_warm

from orchestrator.adapters import shims
from orchestrator.adapters.locks import release_lease, take_lease
from orchestrator.adapters.run_folder import RunFolder, read_result, write_spec
from orchestrator.adapters.run_values import RunResult, RunSpec
from orchestrator.adapters.shims import Nursery
from orchestrator.core.attempt_record import RunStatus

UNTIL_ASKED = "while ! test -e go; do sleep 0.02; done; echo went"


@dataclass
class NurseryBench(Bench):
    """A bench whose shims come from a nursery."""

    nursery: Nursery = field(default_factory=Nursery)

    def start_folder(self, folder: RunFolder) -> StartedRun:
        folder.lease.parent.mkdir(exist_ok=True)
        lease = take_lease(folder.lease)
        assert lease is not None
        try:
            return StartedRun(folder, self.nursery.spawn(folder.path, lease))
        finally:
            release_lease(lease)

    def waiting_run(self) -> StartedRun:
        """A run that lives until `let_go`."""
        command = {"run": f"cd {self.root}; {UNTIL_ASKED}"}
        return self.start(self.checks(command))

    def let_go(self) -> None:
        (self.root / "go").touch()


@pytest.fixture(autouse=True)
def start(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the nursery is what the program itself starts; with `either` also what the other tests have in its place."""
    monkeypatch.setattr(shims, "_start", getattr(request, "param", COLD))


either = pytest.mark.parametrize("start", [COLD, begin_warm], indirect=True, ids=["cold", "warm"])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[NurseryBench]:
    bench = NurseryBench(tmp_path)
    try:
        yield bench
    finally:
        bench.let_go()
        bench.nursery.close()


def result_of(run: StartedRun) -> RunResult:
    """The result of a run that is nobody's child here."""
    wait_until(lambda: not run.is_running())
    result = read_result(run.folder)
    assert result is not None, run.folder.shim_log.read_text()
    return result


def parent_of(pid: int) -> int:
    """The nursery that a shim came from."""
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def is_there(pid: int) -> bool:
    """Whether a process is in the table, be it as a zombie."""
    return Path(f"/proc/{pid}").exists()


def opened_by(pid: int) -> dict[int, str]:
    """What a process has open."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(entry.name)] = os.readlink(entry)
        except FileNotFoundError:
            continue
    return found


def test_several_runs_at_once_leave_their_results_free_their_leases_and_leave_no_zombie(bench: NurseryBench) -> None:
    runs = [bench.waiting_run() for _ in range(3)]
    assert len({run.shim for run in runs}) == 3
    assert all(run.is_running() for run in runs)
    bench.let_go()
    for run in runs:
        result = result_of(run)
        assert (result.run, result.status) == (run.folder.path.name, RunStatus.ENDED)
        wait_until(lambda run=run: not is_there(run.shim))  # type: ignore[misc]


@either
def test_a_shim_is_a_session_leader_and_has_nothing_open_of_the_nursery_or_of_other_runs(bench: NurseryBench) -> None:
    first, second = bench.waiting_run(), bench.waiting_run()
    wait_until(lambda: os.getsid(second.shim) == second.shim)
    nursery = parent_of(second.shim)
    assert nursery not in (os.getpid(), 1)
    assert any(what.startswith("socket:") for what in opened_by(nursery).values())
    wait_until(lambda: opened_by(second.shim)[1] == str(second.folder.shim_log))
    opened = opened_by(second.shim)
    assert opened[0] == "/dev/null"
    assert opened[2] == str(second.folder.shim_log)
    assert not [what for what in opened.values() if what.startswith("socket:")]
    assert not [what for what in opened.values() if first.folder.path.name in what]
    assert str(second.folder.lease) in opened.values()
    assert not [what for what in opened_by(nursery).values() if str(bench.root) in what], "a lease would never be free"


def test_what_a_shim_says_goes_to_the_log_of_its_run(bench: NurseryBench) -> None:
    quiet = bench.start(bench.checks({"run": "true"}))
    result_of(quiet)
    again = bench.start_folder(quiet.folder)
    wait_until(lambda: not is_there(again.shim))
    assert "a run happens once" in quiet.folder.shim_log.read_text()
    other = bench.start(bench.checks({"run": "true"}))
    assert result_of(other).status is RunStatus.ENDED
    assert other.folder.shim_log.read_text() == ""


def test_runs_outlive_the_nursery_that_is_closed(bench: NurseryBench) -> None:
    run = bench.waiting_run()
    nursery = parent_of(run.shim)
    bench.nursery.close()
    assert not is_there(nursery)
    assert run.is_running()
    assert is_alive(run.shim)
    bench.let_go()
    assert result_of(run).status is RunStatus.ENDED


@either
def test_a_nursery_has_the_environment_and_a_session_of_its_own_and_ends_with_its_engine(
    bench: NurseryBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = f"{os.environ['PATH']}:/of/this/test/\udcff", bench.root / "said"
    monkeypatch.setenv("PATH", path)
    run = bench.start(bench.checks({"run": f'cd {bench.root}; printf %s "$PATH" > said; {UNTIL_ASKED}'}))
    nursery = parent_of(run.shim)
    wait_until(lambda: said.exists() and os.fsencode(path) in said.read_bytes())
    assert os.getsid(nursery) == nursery != os.getsid(0)
    assert os.readlink(f"/proc/{nursery}/cwd") == "/"
    opened = opened_by(nursery)
    assert [opened[number] for number in range(3)] == ["/dev/null"] * 3
    assert bench.nursery._socket is not None
    bench.nursery._socket.close()
    wait_until(lambda: not is_alive(nursery))
    assert run.is_running()


@either
def test_after_the_nursery_was_killed_its_runs_go_on_and_the_next_one_starts(bench: NurseryBench) -> None:
    first = bench.waiting_run()
    nursery = parent_of(first.shim)
    os.kill(nursery, signal.SIGKILL)
    wait_until(lambda: not is_alive(nursery))
    second = bench.waiting_run()
    assert parent_of(second.shim) not in (nursery, os.getpid())
    assert not is_there(nursery), "its zombie is taken away"
    bench.let_go()
    assert [result_of(run).status for run in (first, second)] == [RunStatus.ENDED] * 2


def shim_after(run: StartedRun) -> int:
    """The shim that waits for the next run, where one has been started: the other child of the nursery."""
    nursery = parent_of(run.shim)

    def others() -> list[int]:
        children = Path(f"/proc/{nursery}/task/{nursery}/children").read_text().split()
        return [int(each) for each in children if int(each) != run.shim]

    wait_until(others)
    return others()[0]


def test_the_next_shim_is_forked_before_its_run_is_asked_for_and_holds_nothing_of_another(bench: NurseryBench) -> None:
    first = bench.waiting_run()
    waiting = shim_after(first)
    assert not [what for what in opened_by(waiting).values() if str(bench.root) in what], "a lease would never be free"
    second = bench.waiting_run()
    assert second.shim == waiting
    bench.let_go()
    assert [result_of(run).status for run in (first, second)] == [RunStatus.ENDED] * 2


def test_when_the_shim_that_waits_was_killed_another_takes_its_place(bench: NurseryBench) -> None:
    first = bench.waiting_run()
    waiting = shim_after(first)
    os.kill(waiting, signal.SIGKILL)
    wait_until(lambda: not is_there(waiting))
    second = bench.waiting_run()
    wait_until(lambda: opened_by(second.shim)[1] == str(second.folder.shim_log))
    leases = [what for what in opened_by(second.shim).values() if what == str(second.folder.lease)]
    assert len(leases) == 1, "it is free before the bell rings"
    bench.let_go()
    assert result_of(second).status is RunStatus.ENDED


def test_the_shim_that_waits_ends_with_the_nursery(bench: NurseryBench) -> None:
    run = bench.waiting_run()
    waiting = shim_after(run)
    bench.nursery.close()
    wait_until(lambda: not is_alive(waiting))
    assert run.is_running()


def test_a_nursery_that_was_closed_can_be_used_again(bench: NurseryBench) -> None:
    bench.nursery.warm()
    bench.nursery.close()
    bench.nursery.close()
    run = bench.start(bench.checks({"run": "true"}))
    assert result_of(run).status is RunStatus.ENDED


def test_a_folder_whose_name_is_too_long_for_a_request_gets_a_shim_of_its_own(bench: NurseryBench) -> None:
    bench.nursery.warm()
    # Each byte that is no text takes six in a request.
    deep = bench.orcdir.joinpath("runs", *[os.fsdecode(b"\xff" * 200)] * 15)
    deep.mkdir(parents=True)
    run = bench.start_folder(RunFolder(deep))
    assert parent_of(run.shim) == os.getpid()
    wait_until(lambda: has_ended(run.shim))
    assert not run.is_running()


SERVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from orchestrator.adapters.shims import serve
def main(argv):
    Path(argv[0], "loaded").write_text(str("orchestrator.adapters.backends.opencode" in sys.modules))
    return 0
serve(int(sys.argv[2]), main, ["no-such-backend", "opencode"])
"""


def test_what_reads_the_answers_of_agents_is_loaded_before_a_run_begins(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    argv = [sys.executable, "-c", SERVER, str(Path(__file__).parents[2]), str(theirs.fileno())]
    loaded = tmp_path / "loaded"
    with theirs:
        server = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    with server, ours, open(os.devnull, "ab") as null:

        def is_loaded() -> bool:
            loaded.unlink(missing_ok=True)
            socket.send_fds(ours, [json.dumps(str(tmp_path)).encode() + b"\n"], [null.fileno()] * 2)
            assert int(ours.recv(64)) > 0
            wait_until(lambda: loaded.exists() and loaded.read_text() != "")
            return loaded.read_text() == "True"

        wait_until(is_loaded)


ENGINE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from orchestrator.adapters.locks import take_lease
from orchestrator.adapters.run_folder import RunFolder
from orchestrator.adapters.shims import Nursery
folder = RunFolder(Path(sys.argv[2]))
folder.lease.parent.mkdir(exist_ok=True)
lease = take_lease(folder.lease)
nursery = Nursery()
nursery.warm()
print(nursery.spawn(folder.path, lease), flush=True)
sys.stdin.read()
"""


def test_the_nursery_ends_with_an_engine_that_is_killed_and_the_run_does_not(bench: NurseryBench) -> None:
    spec = bench.checks({"run": f"cd {bench.root}; {UNTIL_ASKED}"})
    folder = bench.folder_of(spec)
    write_spec(folder, RunSpec.from_json(spec))
    argv = [sys.executable, "-c", ENGINE, str(Path(__file__).parents[2]), str(folder.path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        run = StartedRun(folder, int(engine.stdout.readline()))
        nursery = parent_of(run.shim)
        assert parent_of(nursery) == engine.pid
        engine.kill()
    wait_until(lambda: not is_alive(nursery))
    assert run.is_running()
    bench.let_go()
    assert result_of(run).status is RunStatus.ENDED
