"""The benchmarks run, in their short form, and leave results of the right shape.

Nothing here depends on how fast the machine is: what is held are counts, ratios with much room, and that orc never has
git tidy up the person's repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.disk import Traced, commands_of, is_tidying, run_traced
from benchmarks.ledger_maker import make_ledger, some_id
from benchmarks.result import Result, compare, middle
from benchmarks.timeline import Span, covered
from benchmarks.world import git, make_workspace, orc_argv, orc_environment, run

PROJECT = Path(__file__).resolve().parents[2]
MOST_PROCESSES = 200
"""Of git and of agents for a job that does next to nothing: some three times as many as it takes."""


def bench(tmp_path: Path, *names: str) -> dict[str, list[dict[str, Any]]]:
    """The results of some benchmarks in their short form."""
    argv = [sys.executable, "-m", "benchmarks.run", "--quick", "--out", str(tmp_path / "out")]
    argv += ["--cache", str(tmp_path / "cache")]
    for name in names:
        argv += ["--only", name]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    data = json.loads((tmp_path / "out" / "latest.json").read_text())
    assert data["quick"] is True
    return {name: each["results"] for name, each in data["benchmarks"].items()}


def named(results: list[dict[str, Any]], words: str) -> dict[str, Any]:
    """The one result with these words in its name."""
    (found,) = [each for each in results if words in each["name"]]
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_short_form_measures_jobs_and_the_processes_of_one_do_not_grow_with_the_project(tmp_path: Path) -> None:
    results = bench(tmp_path, "jobs")["jobs"]
    small, larger = results[0], named(results, "overhead of one job, 300 files")
    assert small["name"] == "overhead of one job, 10 files"
    assert 0 < small["processes"] <= MOST_PROCESSES
    assert larger["processes"] <= 1.2 * small["processes"]
    for each in results:
        assert each["figure"] in ("1", "2")
        assert each["value"] > 0
        assert each["runs"] >= 3
        assert each["bounded_by"]
    report = (tmp_path / "out" / "latest.md").read_text()
    assert all(each["name"] in report for each in results)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_short_form_measures_the_ledger_and_a_step_does_not_grow_with_what_has_ended(tmp_path: Path) -> None:
    results = bench(tmp_path, "ledger", "commands", "heal", "gate", "intake")
    assert [each["figure"] for name in results for each in results[name][:1]] == ["3", "4", "6", "10", "12"]
    assert results["gate"][0]["value"] <= 5 * results["gate"][0]["limit"]
    for each in results["ledger"][-2:]:
        assert each["ratio"] <= 3 * each["limit"], each["name"]
    assert named(results["commands"], "orc --help")["ratio"] < 30


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_short_form_measures_what_an_idle_engine_and_many_jobs_take(tmp_path: Path) -> None:
    results = bench(tmp_path, "idle", "many")
    assert named(results["idle"], "processor")["value"] <= 3 * 1.0
    assert named(results["idle"], "memory")["value"] <= 3 * 120
    assert named(results["many"], "dropped at once")["value"] > 0
    assert len(named(results["many"], "second half against the first")["series"]) == 10
    for name in ("nq", "task-spooler", "huey"):
        other = named(results["many"], f"alone, {name}")
        assert other["value"] or other["note"].startswith("not measured here")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_short_form_measures_agents_that_are_at_work_at_once(tmp_path: Path) -> None:
    results = bench(tmp_path, "load")["load"]
    assert {each["figure"] for each in results} == {"11"}
    assert named(results, "99th")["runs"] >= 20
    assert named(results, "processor")["value"] > 0
    for whose in ("of a run", "of the engine"):
        life = named(results, f"the oldest sign of life {whose}")
        assert 0 < life["value"] <= 2 * life["limit"]
    assert named(results, "slots at work")["value"] >= 10
    assert named(results, "P0")["value"] > 0
    assert named(results, "jobs lost")["value"] == 0


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_git_never_tidies_up_the_persons_repository_because_of_orc(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "project", 3)
    git(root, "config", "gc.auto", "1")
    run_traced(root, tmp_path, tmp_path / "events", 6)
    said = commands_of(tmp_path / "events")
    # What lands on a branch that is checked out is pushed, and the other side of a push may tidy up by itself.
    assert "receive-pack" in {each[0] for each in said}
    assert [each for each in said if is_tidying(each)] == []


def test_the_trace_tells_of_commands_that_git_starts_by_itself(tmp_path: Path) -> None:
    root = make_workspace(tmp_path / "project", 1)
    path = Traced(tmp_path, tmp_path / "events").environment()["PATH"]
    run(["git", "maintenance", "run", "--task=gc", "--quiet"], root, env={**orc_environment(), "PATH": path})
    assert {"maintenance", "gc"} <= {each[0] for each in commands_of(tmp_path / "events") if is_tidying(each)}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_ledger_that_was_made_by_hand_is_read_like_one_that_grew(tmp_path: Path) -> None:
    root = tmp_path / "project"
    make_ledger(root, 300)
    assert "error" not in git(root, "fsck", "--strict", "--no-dangling")
    id_ = some_id(root)
    shown = run(orc_argv("show", id_, "--json"), root, env=orc_environment())
    assert json.loads(shown)["job"]["id"] == id_
    steps = git(root, "log", "--format=%s", f"--grep=^Job: {id_}$", "orc/state").splitlines()
    assert steps[0].startswith("done: ")
    assert steps[-1].startswith("accept: ")
    assert len(steps) >= 10


def test_time_of_programs_that_overlap_counts_once() -> None:
    spans = [Span(1, "git", "a", 10, 30), Span(1, "git", "b", 20, 40), Span(1, "git", "c", 60, 90)]
    assert covered(spans, 0, 80) == 30 + 20
    assert covered(spans, 25, 35) == 10


def test_a_figure_is_judged_by_its_value_or_by_its_ratio() -> None:
    assert Result("1", "a", 5.0, "ms", limit=4.0).verdict == "over"
    assert Result("1", "a", 5.0, "ms", ratio=1.1, limit=1.2, on_ratio=True).verdict == "ok"
    assert Result("3", "a", 299.0, "steps/s", limit=300.0, at_least=True).verdict == "over"
    assert Result("8", "a", None, "jobs/s", limit=300.0).verdict == ""
    assert middle([3.0, 1.0, 2.0]).median == 2.0
    beside = compare("4", "a", middle([3.0, 1.0, 2.0]), middle([4.0]), "b", limit=1.0)
    assert (beside.value, beside.baseline, beside.ratio, beside.runs) == (2.0, "b: 4.0 ms", 0.5, 3)
