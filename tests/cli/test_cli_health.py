"""`orc health` and what `orc status` and `orc doctor` say of it, as a person and a monitor see them."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.adapters import clock
from orchestrator.adapters.ledger import Filing
from orchestrator.cli.health_metrics import metrics_of
from orchestrator.core.funnel import Funnel
from orchestrator.core.limits import Refusal, Scope
from orchestrator.core.tally import Tally
from orchestrator.engine.health import HealthReport
from orchestrator.engine.services import Told
from orchestrator.engine.workspace import Workspace, open_workspace
from orchestrator.errors import ExitCode

NOTHING = "- match: {kind: attempt}\n  say: I did it all.\n- match: {kind: review}\n  verdict: APPROVED\n"


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose agent says that it has done it all, and changes nothing."""
    root = w.new_workspace(tmp_path_factory.mktemp("refused") / "work", NOTHING)
    for number in range(2):
        w.submit(root, f"prompt: greet {number}\n", name=f"greet-{number}")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    return root


def test_a_house_where_nothing_was_asked_for_is_well(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    done = w.orc(root, "health", code=0)
    assert done.out.startswith("Well: nothing was asked for")
    assert w.orc(root, "health", "--json", code=0).json()["healthy"] is True


def test_a_job_that_was_merged_is_counted_at_every_stage(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work", merge="auto")
    w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    out = w.orc(root, "health", code=0).out
    assert out.startswith("Well: 1 job done in the last 24 hours\n")
    for stage in ("accepted", "started", "produced", "reviewed", "merged"):
        assert re.search(rf"^{stage} +1 +1  -$", out, re.M)
    assert "alerts" not in w.orc(root, "status", code=0).out


def test_a_house_that_refuses_everything_is_an_alert_with_its_reason_and_the_exit_code_1(refused: Path) -> None:
    out = w.orc(refused, "health", code=1).out
    first, alert, command, cards, *_ = out.splitlines()
    assert first == "1 alert; 0 jobs done in the last 24 hours"
    assert alert.startswith(
        "! 6 of 6 tries to get to 'produced' came to nothing in 24 hours, for one reason: empty_diff"
    )
    assert re.fullmatch(r" +orc show greet-[01]-[0-9a-f]{8}", command)
    assert re.fullmatch(r"2 questions wait for you, the oldest for .*: orc status", cards)
    assert re.search(r"^produced +0 +0  empty_diff 6$", out, re.M)
    assert "No engine is at work here: orc run" in out
    assert w.orc(refused, *command.split()[1:], code=0).out


def test_prometheus_reads_the_same_figures(refused: Path) -> None:
    lines = w.orc(refused, "health", "--prometheus", code=0).out.splitlines()
    form = re.compile(r'([a-z_]+)(\{[a-z_]+="[^"\\]*"(?:,[a-z_]+="[^"\\]*")*\})? (\d+)')
    found = {}
    for at, line in enumerate(lines):
        if line.startswith("# TYPE"):
            assert lines[at - 1].startswith(f"# HELP {line.split()[2]} ")
        elif not line.startswith("#"):
            parts = form.fullmatch(line)
            assert parts, line
            assert f"# TYPE {parts[1]} gauge" in lines
            found[parts[1] + (parts[2] or "")] = int(parts[3])
    assert found["orc_engine_up"] == found["orc_healthy"] == 0
    assert found['orc_alerts{kind="one_reason"}'] == 1
    assert found["orc_cards_waiting"] == 2
    assert found['orc_stage_drops_day{stage="produced",reason="empty_diff"}'] == 6
    assert found["orc_runs_today"] == 6
    assert 0 < found["orc_window_tokens"] <= found["orc_tokens_today"]
    assert found["orc_microusd_today"] == 0
    assert "does not go with --json" in w.orc(refused, "health", "--prometheus", "--json", code=2).out


def test_prometheus_reads_which_limits_are_reached_and_which_services_take_less() -> None:
    nothing = Funnel(0, 0, {}, {})
    told = Told("api", "rests", 'a "big" one', "2026-11-22T12:00:00Z", "", "")
    report = HealthReport(0, nothing, nothing, (), (), 0, (), (), 0, 0, services=(told,))
    report = replace(report, limits=(Refusal("usd", Scope.PROJECT, "main", 20, 21),), today=Tally(3, 900, 21_000_000))
    lines = metrics_of(report, engine=True).splitlines()
    assert 'orc_limit_reached{limit="usd",scope="project",name="main"} 1' in lines
    assert r'orc_service_away{backend="api",model="a \"big\" one",state="rests"} 1' in lines
    assert {"orc_runs_today 3", "orc_tokens_today 900", "orc_microusd_today 21000000"} < set(lines)


def test_status_begins_with_the_alert_in_one_line(refused: Path) -> None:
    first, second, *_ = w.orc(refused, "status", code=0).out.splitlines()
    assert first.startswith("! 6 of 6 tries")
    assert re.search(r"\(seen at [-0-9T:]+Z\): orc health$", first)
    assert second == "Needs you"
    (told,) = w.orc(refused, "status", "--json", code=0).json()["alerts"]
    assert told in first


def test_a_pipe_gets_no_bars_and_no_colours_and_a_terminal_gets_both(refused: Path) -> None:
    plain = w.orc(refused, "health", code=1).out
    assert "\x1b" not in plain
    assert "█" not in plain
    shown = w.Terminal(refused, "health")
    assert shown.end() == 1
    text = shown.shown
    assert "█" in text
    assert "\x1b[" in text
    assert "6 of 6 tries" in text


def test_since_says_how_far_back_is_counted(refused: Path) -> None:
    data = w.orc(refused, "health", "--since", "36h", "--json", code=1).json()
    assert len(data["days"]) in (2, 3)
    assert w.orc(refused, "health", "--since", "2h", code=1).out.count("2 H") == 1
    for wrong in ("soon", "1m", "9999d", "2999-01-01", "-3d"):
        assert "--since" in w.orc(refused, "health", f"--since={wrong}", code=ExitCode.USAGE).err


@pytest.mark.parametrize("has_config", [True, False])
def test_what_cannot_be_told_is_neither_well_nor_an_alert(tmp_path: Path, *, has_config: bool) -> None:
    root = w.new_repository(tmp_path / "work")
    if has_config:
        (root / "orc.yaml").write_text("version: 1\nprojects: {main: {target: main}}\n")
    assert w.orc(root, "health", code=2).err.startswith("error: ")
    assert w.orc(root, "health", "--json", code=2).json()["error"]["code"] == 2


def test_the_run_itself_tells_the_alert_and_only_the_first_time(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work", NOTHING)
    for number in range(2):
        w.submit(root, f"prompt: greet {number}\n", name=f"greet-{number}")
    assert w.orc(root, "run", "--until-idle", code=1).out.count("! 6 of 6 tries") == 1
    assert "tries" not in w.orc(root, "run", "--until-idle", code=1).out


def test_doctor_says_which_limits_cannot_be_and_nothing_of_what_is_as_it_must_be(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    findings = {each["what"]: each for each in w.orc(root, "doctor", "--json", code=0).json()["findings"]}
    assert not {"states", "limits", "limits of main", "agents of main"} & findings.keys()
    with (root / "orc.yaml").open("a") as file:
        file.write("limits: {starts: 2, attempts: 3}\n")
    findings = {each["what"]: each for each in w.orc(root, "doctor", "--json", code=1).json()["findings"]}
    assert findings["limits of main"]["health"] == "fail"
    assert findings["limits"]["health"] == "warn"


# --- the gates ------------------------------------------------------------------------------------------------------

BREAKS = "import orchestrator.core.gate as gate\ngate.RULES['empty_diff'] = lambda spec, facts, docs: ''\n"
TOLD = "the gate diff fails its own test: empty_diff lets through what it must refuse"


def test_a_broken_gate_is_named_by_every_command_and_nothing_is_merged(tmp_path: Path) -> None:
    """An orc whose gate lets everything through, from its start on."""
    root = w.new_workspace(tmp_path / "work", merge="auto")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(BREAKS)
    env = {"PYTHONPATH": f"{tmp_path / 'broken'}:{w.SOURCE}"}
    before = w.git(root, "rev-parse", "main")
    job = w.submit(root, "title: greet\nprompt: greet\n", name="greet")
    assert w.orc(root, "run", "--until-idle", env=env, code=1).out.count(f"! {TOLD}; nothing is merged") == 1
    assert w.git(root, "rev-parse", "main") == before
    assert f"{TOLD}, so nobody could judge the work" in w.orc(root, "show", job, code=0).out.replace("\n", " ")
    first, alert, command, *_ = w.orc(root, "health", env=env, code=1).out.splitlines()
    assert (first, alert, command.strip()) == (
        "1 alert; 0 jobs done in the last 24 hours",
        f"! {TOLD}; nothing is merged",
        "orc doctor",
    )
    assert f"fail  gate diff: {TOLD}" in w.orc(root, "doctor", env=env, code=1).out.splitlines()
    assert w.orc(root, "status", code=0).out.startswith(f"! {TOLD}; nothing is merged (seen at ")
    w.git(root, "branch", "side", w.git(root, "commit-tree", "-p", "main", "-m", "a side", "main^{tree}"))
    judged = w.orc(root, "gate", "side", env=env, code=1)
    assert (judged.out, f"{TOLD}; nothing was judged" in judged.err) == ("", True)
    w.orc(root, "run", "--until-idle", "--quiet", code=0)
    assert w.orc(root, "health", code=0).out.startswith("Well: 1 job done")
    assert TOLD not in w.orc(root, "status", code=0).out


def refuse_all(ws: Workspace, number: int, days_ago: float) -> None:
    """So much work that the rules of the diff refused, at a time in the past."""
    with ws.ledger.writing() as writer:
        writer.tip = writer.tip if days_ago < 1 else ""  # A history that begins in the past.
        for each in range(number):
            name = f"{days_ago}-{each}"
            told = Filing(f"evidence: {name}", {f"rejected/{name}": b"x\n"}, (("Refused-By", "empty_diff"),))
            writer.file(told, clock.now() - timedelta(days=days_ago))


@pytest.mark.parametrize(("old", "new", "is_odd"), [(25, 0, False), (25, 19, False), (0, 20, True)])
def test_a_gate_that_stops_all_or_nothing_is_a_warning_and_no_alert(
    tmp_path: Path, old: int, new: int, *, is_odd: bool
) -> None:
    root = w.new_workspace(tmp_path / "work")
    with open_workspace(root) as ws:
        if old:
            refuse_all(ws, old, 40)
        refuse_all(ws, new, 0.1)
    warnings = w.orc(root, "health", "--json", code=0).json()["warnings"]
    scars = w.orc(root, "scars", "--json", code=0).json()
    out = w.orc(root, "health", code=0).out
    assert out.startswith("Well: ")
    judged = {each["guard"]: each["judged"] for each in scars["scars"] if each["gate"] == "diff"}
    assert judged["empty_diff"] == new
    if not is_odd:
        assert (warnings, scars["notes"]) == ([], [])
        return
    assert warnings == [
        "these gates stopped none of so many works in 30 days: tamper (20). Do they still look?",
        "these gates stopped all of so many works in 30 days: diff (20). Do they let anything through?",
    ]
    assert out.splitlines()[1:5] == [
        line for text in warnings for line in (f"? {text}", "      orc scars; orc gate selftest")
    ]
    assert scars["notes"] == [
        "diff stopped all of 20 in 30 days: does it let anything through?",
        "tamper stopped none of 20 in 30 days: does it still look?",
    ]
