"""`orc simulate`: limits are tried on a made-up house, and nothing but a plot is left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cli_world as w
import pytest

from orchestrator.adapters.scenario_file import parse_scenario
from orchestrator.errors import ExitCode, InvalidFileError

SMALL = """
title: Two agents
start: "2026-10-19T08:00:00Z"
days: 0.25
orc:
  slots: 3
  projects: {main: {path: ., target: main, merge: auto, checks: [make test]}}
work:
  fixes: {per_day: 100}
agents:
  engineer:
    {copies: 2, backend: claude, model: sonnet, family: anthropic, roles: [work],
     minutes: {median: 5, p95: 9}, tokens: {median: 9000, p95: 20000}}
  critic:
    {backend: codex, model: gpt, family: openai, roles: [review],
     minutes: {median: 1, p95: 2}, tokens: {median: 5000, p95: 9000}}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def played(root: Path, *args: str, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(w.orc(root, "simulate", *args, "--json", code=code).out)
    return found


def files_of(root: Path) -> dict[str, float]:
    return {str(path.relative_to(root)): path.stat().st_mtime for path in sorted(root.rglob("*"))}


def test_a_house_is_played_outside_of_any_workspace_and_told_as_tables(small: Path, tmp_path: Path) -> None:
    before = files_of(tmp_path)
    told = w.orc(tmp_path, "simulate", str(small), code=0).out
    assert told.startswith("Two agents: 0.25 days from 2026-10-19, seed 1\nlimits: those of the scenario, 3 slots\n")
    assert "jobs handed in" in told
    assert told.count("\nkept ") == 12
    assert "BROKEN" not in told
    assert "\x1b" not in told
    assert files_of(tmp_path) == before


def test_routines_of_schedules_run_beside_the_slots(small: Path, tmp_path: Path) -> None:
    schedules = "schedules: {look: {cron: '*/15 * * * *', tz: UTC, job: {routine: snapshot, priority: P5}}}\n"
    without = played(tmp_path, str(small))
    small.write_text(SMALL + schedules)
    found = played(tmp_path, str(small))
    assert [(each["name"], each["made"], each["skipped"]) for each in found["schedules"]] == [("look", 23, 0)]
    assert found["runs"].pop("routine") == 23
    assert [found[key] for key in ("runs", "waits", "tokens", "left")] == [
        without[key] for key in ("runs", "waits", "tokens", "left")
    ]
    assert ", 23 routines" in w.orc(tmp_path, "simulate", str(small), code=0).out


def test_the_seed_and_the_days_may_be_others(small: Path, tmp_path: Path) -> None:
    first, other = played(tmp_path, str(small)), played(tmp_path, str(small), "--seed", "7", "--days", "0.1")
    assert first == played(tmp_path, str(small), "--seed", "1")
    assert (other["seed"], other["days"]) == (7, 0.1)
    assert first["offered"] > other["offered"] > 0


def test_in_a_workspace_its_own_limits_are_tried_and_nothing_is_written(small: Path, tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    with (root / "orc.yaml").open("a") as file:
        file.write("slots: 1\nexecution_limits: {total: {runs: 30}, agents: {nobody: {runs: 1}}}\n")
    before = files_of(root)
    found = played(root, str(small))
    assert (found["slots"], found["limits_of"]) == (1, "orc.yaml of this workspace")
    assert found["unused_limits"] == ["agents.nobody"]
    assert [each["limit"] for each in found["held"]] == ["total runs"]
    assert files_of(root) == before
    written = played(root, str(small), "--as-written")
    assert (written["slots"], written["limits_of"], written["held"]) == (3, "the scenario", [])
    other = tmp_path / "other.yaml"
    other.write_text("version: 1\nslots: 2\n")
    assert played(root, str(small), "--config", str(other))["slots"] == 2


def test_limits_under_which_work_is_never_done_are_told_and_are_exit_code_1(small: Path, tmp_path: Path) -> None:
    own = tmp_path / "orc.yaml"
    own.write_text("version: 1\nexecution_limits: {total: {runs: 1}}\n")
    found = played(tmp_path, str(small), "--config", str(own), code=1)
    broken = {each["name"]: each["told"] for each in found["promises"] if not each["kept"]}
    assert list(broken) == ["nothing_lost"]
    assert found["left"] > 0
    told = w.orc(tmp_path, "simulate", str(small), "--config", str(own), code=1).out
    assert "BROKEN every job that was taken in comes to an end" in told


def test_the_plots_are_one_svg_file(small: Path, tmp_path: Path) -> None:
    told = w.orc(tmp_path, "simulate", str(small), "--plot", "out.svg", code=0).out
    assert told.endswith("The plots are in out.svg.\n")
    drawn = (tmp_path / "out.svg").read_text()
    assert drawn.count("<svg ") == drawn.count("</svg>") == 5
    for title in ("jobs that waited", "slots in use (of 3)", "most tokens in five minutes", "spent"):
        assert title in drawn
    told = w.orc(tmp_path, "simulate", str(small), "--plot", "plots/out.svg", code=ExitCode.NOT_FOUND).err
    assert told.startswith("error: there is no folder plots\n")
    too_long = f"{'x' * 300}.svg"
    assert f"error: {too_long} cannot be written: " in w.orc(tmp_path, "simulate", str(small), "--plot", too_long).err
    assert "name it out.svg" in w.orc(tmp_path, "simulate", str(small), "--plot", "out.png", code=2).err


def test_what_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    assert "did you mean 'busy-week'" in w.orc(tmp_path, "simulate", "busy-weak", code=3).err
    assert "there is no file nothing.yaml" in w.orc(tmp_path, "simulate", "nothing.yaml", code=3).err


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("slots: 3", "slots: 0", "s.yaml:6: orc.slots: is 0; must be at least 1"),
        ("per_day: 100", "per_dya: 100", "s.yaml:9: work.fixes.per_dya: unknown key; did you mean `per_day`?"),
        (
            "per_day: 100",
            "project: site",
            "s.yaml:9: work.fixes.project: 'site' is not in this scenario (there: main)",
        ),
        ("days: 0.25", "days: 0", "s.yaml:4: days: is 0; must be more than 0"),
        (
            "work:",
            "incidents: [{at: day 1 09:00, what: outage, backend: claud, minutes: 5}]\nwork:",
            "did you mean 'claude'",
        ),
        ("work:", "incidents: [{at: day 1 09:00, what: outage}]\nwork:", "s.yaml:8: incidents[0]"),
        ("work:", "schedules: {a: {cron: '* *', tz: UTC, job: {prompt: x}}}\nwork:", "s.yaml:8: schedules.a.cron: "),
        ("work:", "schedules: {a: {cron: '@daily', tz: UTC, job: {prmpt: x}}}\nwork:", "s.yaml:8: schedules.a.job"),
    ],
)
def test_what_is_wrong_with_a_scenario_is_told_with_its_line_and_key(old: str, new: str, told: str) -> None:
    with pytest.raises(InvalidFileError) as caught:
        parse_scenario(SMALL.replace(old, new).encode(), name="s.yaml")
    assert told in str(caught.value)
