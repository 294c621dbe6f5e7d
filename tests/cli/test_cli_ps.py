"""`orc ps` and `orc workers`, with real runs of a real engine."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cli_world as w
import pytest

from orchestrator.adapters.locks import release_lease, take_lease
from orchestrator.adapters.process_table import command_of, holders_of, process_table
from orchestrator.cli.ps import duration
from orchestrator.errors import ExitCode

CONFIG = """\
version: 1
tick_seconds: 1
review: {{second: 0}}
projects:
  main: {{path: ., target: main, checks: ["test -f README.md"], merge: ask}}
backends:
  slow:
    family: alpha
    model: turtle-1
    argv: [sh, -c, {script}]
  absent: {{family: beta, argv: [no-such-program-anywhere]}}
"""
TITLE = "Water the plants"

pytestmark = pytest.mark.skipif(process_table() is None, reason="this machine does not tell about its processes")


@dataclass
class Place:
    """A workspace whose agent goes on until the file `go` is there."""

    root: Path
    go: Path
    engine: subprocess.Popen[bytes] | None = None

    def ps(self, *args: str) -> dict[str, Any]:
        return w.orc(self.root, "ps", "--json", *args, code=0).json()

    def start(self) -> subprocess.Popen[bytes]:
        self.engine = subprocess.Popen(
            w.orc_argv("run", "--quiet"), cwd=self.root, env=w.environment(), stderr=subprocess.DEVNULL
        )
        return self.engine

    def running(self) -> dict[str, Any]:
        """The one live run, once its program has printed something."""
        found: list[dict[str, Any]] = []

        def printed() -> bool:
            found[:] = [each for each in self.ps("--tree")["runs"] if each["phase"] == "running"]
            return bool(found) and found[0]["output_bytes"] > 0 and len(found[0]["tree"]) >= 3

        w.wait_until(printed)
        return found[0]

    def stop(self) -> None:
        for each in (part := self.ps("--tree"))["runs"] + part["leftovers"]:
            for pid in [each["pid"], *(child["pid"] for child in each["tree"])]:
                if pid:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        if self.engine is not None:
            self.engine.kill()
            self.engine.wait()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    root, go = tmp_path / "work", tmp_path / "go"
    w.new_repository(root)
    lie = json.dumps({"pid": os.getpid(), "phase": "asleep", "output_bytes": 5})
    script = (
        f"printf '%s' '{lie}' > $ORC_RUN_DIR/heartbeat; (sleep 500 & sleep 501) & echo begun;"
        " bash -c \"exec -a $(printf 'evil\\033[31m') sleep 502\" &"
        f" while [ ! -e {go} ]; do sleep 0.1; done; echo x > made"
    )
    (root / "orc.yaml").write_text(CONFIG.format(script=json.dumps(script)))
    (root / "souls").mkdir()
    (root / "souls" / "ada.md").write_text("---\nbackend: slow\nroles: [work]\nprojects: [main]\n---\nYou work.\n")
    (root / "souls" / "bea.md").write_text("---\nbackend: absent\nroles: [review]\n---\nYou look.\n")
    w.orc(root, "init", code=0)
    w.git(root, "add", "-A")
    w.git(root, "commit", "--quiet", "-m", "a workspace")
    made = Place(root, go)
    yield made
    made.stop()


def test_a_live_run_is_told_with_its_processes_and_its_limit(place: Place) -> None:
    job = w.submit(place.root, f"title: {TITLE}\nprompt: water\nlimits: {{minutes: 7}}\n", name="water")
    engine = place.start()
    run = place.running()
    assert (run["run"], run["kind"], run["job"], run["title"]) == (f"{job}.attempt-1", "attempt", job, TITLE)
    assert (run["agent"], run["model"], run["project"], run["state"]) == ("ada", "turtle-1", "main", "alive")
    assert run["limit_s"] == 420
    assert 0 < run["left_s"] <= 420
    assert (run["output_bytes"], run["processes"]) == (6, len(run["tree"]))
    commands = {each["command"] for each in run["tree"]}
    assert {"sleep 500", "sleep 501"} <= commands
    assert all(each["rss_bytes"] > 0 for each in run["tree"])
    told = place.ps()
    assert told["engine"]["running"] is True
    assert told["engine"]["pid"] == engine.pid
    assert told["runs"][0]["tree"] == []
    text = w.orc(place.root, "ps", "--tree", code=0).out
    assert f"The engine is at work as process {engine.pid}" in text
    assert "sleep 501" in text
    assert "evil[31m 502" in text
    assert "\x1b" not in text


def test_the_supervisor_is_who_holds_the_lock_whatever_the_heartbeat_says(place: Place) -> None:
    w.submit(place.root, "prompt: water\n", name="water")
    place.start()
    run = place.running()
    assert json.loads((place.root / ".git/orc/runs" / run["run"] / "heartbeat").read_text())["pid"] == os.getpid()
    assert run["pid"] != os.getpid()
    os.kill(run["pid"], signal.SIGTERM)  # What the how-to says: the run ends, and its work is kept.
    w.wait_until(lambda: not any(each["run"] == run["run"] for each in place.ps()["runs"]))
    assert all(each["pid"] not in (process_table() or {}) for each in run["tree"])


@pytest.mark.slow
def test_a_dead_run_and_one_that_nobody_waits_for_are_left_over(place: Place) -> None:
    job = w.submit(place.root, "prompt: water\n", name="water")
    engine = place.start()
    run = place.running()
    engine.kill()
    engine.wait()
    told = place.ps()
    assert (told["engine"], len(told["runs"])) == ({"running": False, "pid": None, "since": None, "seconds": None}, 1)
    w.orc(place.root, "cancel", job, code=0)
    (left,) = (told := place.ps())["leftovers"]
    assert (told["runs"], left["run"], left["named"], left["state"]) == ([], run["run"], False, "alive")
    assert left["agent"] == "ada"
    assert "no job waits for it any more" in w.orc(place.root, "ps", code=0).out
    (worker,) = w.orc(place.root, "workers", "ada", "--json", code=0).json()["workers"]
    assert (worker["doing"], worker["job"]) == ("ending", job)
    os.kill(run["pid"], signal.SIGKILL)
    w.wait_until(lambda: place.ps()["leftovers"][0]["state"] == "dead")
    strays = {each["command"] for each in place.ps("--tree")["leftovers"][0]["tree"]}
    assert {"sleep 500", "sleep 501"} <= strays
    assert "of its processes are alive" in w.orc(place.root, "ps", code=0).out


def test_where_nothing_runs_it_says_so(place: Place) -> None:
    assert w.orc(place.root, "ps", code=0).out == "No engine is at work here: orc run\nNothing is running.\n"
    assert place.ps() == {
        **{"schema": "orc/cli/v1", "command": "ps", "runs": [], "leftovers": [], "services": []},
        "engine": {"running": False, "pid": None, "since": None, "seconds": None},
    }
    w.orc(place.go.parent, "ps", code=ExitCode.NOT_FOUND)


def test_workers_say_what_they_do_and_what_they_did(place: Place) -> None:
    before = {each["name"]: each for each in w.orc(place.root, "workers", "--json", code=0).json()["workers"]}
    assert (before["ada"]["doing"], before["ada"]["last_used"]) == ("idle", "")
    assert before["bea"]["doing"] == "cannot start"
    assert "no-such-program-anywhere" in before["bea"]["why"]
    job = w.submit(place.root, "prompt: water\n", name="water")
    place.start()
    place.running()
    told = w.orc(place.root, "workers", "ada", "--json", code=0).json()
    (ada,) = told["workers"]
    assert (ada["doing"], ada["job"], ada["run"]) == ("working", job, f"{job}.attempt-1")
    assert ada["since"]
    assert (ada["attempts"], ada["judged"], ada["projects"]) == (1, 0, ["main"])
    assert [(each["project"], each["job"], each["sealed"]) for each in told["trees"]] == [("main", job, "")]
    shown = w.orc(place.root, "workers", code=0).out
    assert re.search(rf"working on {job} since \S+, rule (\d)\n", shown)[1] == str(ada["rule_number"])  # type: ignore[index]
    assert (ada["rule"], ada["rule_number"]) in (("project", 5), ("idle", 6))
    assert f"chosen:     rule {ada['rule_number']}, " in w.orc(place.root, "workers", "ada", code=0).out
    place.go.touch()
    w.wait_until(lambda: w.orc(place.root, "workers", "ada", "--json").json()["trees"][0]["sealed"])
    text = w.orc(place.root, "workers", "ada", code=0).out
    assert "soul:       souls/ada.md" in text
    assert "Counted over the newest" in text
    assert "there: ada, bea" in w.orc(place.root, "workers", "eve", code=ExitCode.NOT_FOUND).err


def test_verdicts_count_for_the_author_and_for_the_judge(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    w.asked(root)
    told = w.orc(root, "workers", "--json", code=0).json()
    by = {each["name"]: each for each in told["workers"]}
    assert (by["worker"]["attempts"], by["worker"]["judged"], by["worker"]["approved"]) == (1, 1, 1)
    assert (by["critic"]["reviews"], by["critic"]["attempts"]) == (1, 0)
    assert told["counted"]["steps"] > 5
    shown = w.Terminal(root, "workers")
    assert shown.end() == 0
    assert "1/1" in shown.shown


def test_a_look_at_what_runs_imports_nothing_heavy(place: Place) -> None:
    import sys

    for verb in ("ps", "workers"):
        argv = [sys.executable, "-X", "importtime", "-m", "orchestrator", verb]
        done = subprocess.run(argv, cwd=place.root, env=w.environment(), capture_output=True, text=True, check=True)
        modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert modules & {"rich", "git", "gitdb", "filelock", "watchdog", "orchestrator.engine.tick"} == set()


def test_a_lock_is_held_by_who_has_its_file_open_and_not_by_who_was_named(tmp_path: Path) -> None:
    lease = tmp_path / "lease"
    assert holders_of({lease: 1}) == {}
    fd = take_lease(lease)
    assert fd is not None
    child = subprocess.Popen(["sleep", "100"], pass_fds=[fd])
    release_lease(fd)
    try:
        assert holders_of({lease: 1}) == {lease: child.pid}
        assert holders_of({lease: child.pid}) == {lease: child.pid}
        assert command_of(child.pid) == "sleep 100"
    finally:
        child.kill()
        child.wait()
    assert holders_of({lease: child.pid}) == {}


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "-"), (0, "0s"), (3.25, "3.2s"), (59.9, "59s"), (125, "2m05"), (4020, "1h07"), (273600, "3d04h")],
)
def test_times_are_told_briefly(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize("columns", [80, 100, 200])
def test_the_state_of_an_agent_is_shown_on_every_terminal(tmp_path: Path, columns: int) -> None:
    """It stands last, and had no room at all at 80 columns."""
    root = w.new_workspace(tmp_path / "work")
    soul = (root / "souls/worker.md").read_text()
    assert w.orc(root, "workers", "workr", code=int(ExitCode.NOT_FOUND)).err.count("did you mean 'worker'?") == 1
    (root / "souls/a-worker-with-a-long-name.md").write_text(soul.replace("backend: player", "backend: plaier"))
    terminal = w.Terminal(root, "workers", env={"COLUMNS": str(columns), "NO_COLOR": "1"})
    assert terminal.end() == 0
    lines = [line.rstrip() for line in terminal.shown.splitlines()]
    assert [line for line in lines if line.endswith("idle")], terminal.shown
    assert "cannot start: backend 'plaier' is not in orc" in terminal.shown
    assert max(map(len, lines)) <= columns
    assert {"TRIED", "PASSED", "JUDGED", "SESSION", "TOKENS"} <= set(lines[0].split())
