"""What `orc` says: help, errors, exit codes, colours, and what it does when nobody reads any more."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cli_world as w
import click
import pytest
from click.testing import CliRunner

from orchestrator.cli.app import App, clean
from orchestrator.cli.main import VERBS, Verbs
from orchestrator.cli.main import orc as command
from orchestrator.errors import ExitCode

HEAVY = {
    "anthropic",
    "filelock",
    "git",
    "gitdb",
    "hypothesis",
    "httpx",
    "pydantic",
    "pygments",
    "rich",
    "watchdog",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one job whose approved work waits for a yes."""
    root = w.new_workspace(tmp_path_factory.mktemp("words") / "work")
    w.asked(root)
    return root


def imported(root: Path, *args: str) -> set[str]:
    """The modules that a command imports."""
    argv = [sys.executable, "-X", "importtime", "-m", "orchestrator", *args]
    done = subprocess.run(argv, cwd=root, env=w.environment(), capture_output=True, text=True, check=True)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}


def test_help_imports_no_verb_and_nothing_heavy(root: Path) -> None:
    modules = imported(root, "--help")
    mine = {name for name in modules if name.startswith("orchestrator.")}
    assert mine == {"orchestrator.cli", "orchestrator.cli.app", "orchestrator.cli.main", "orchestrator.errors"}
    assert modules & (HEAVY | {"frontmatter", "yaml", "jsonschema", "subprocess", "asyncio", "logging"}) == set()


LOOKS = [("status",), ("status", "--json"), ("health",), ("log",), ("show", "greet"), ("diff", "greet")]


@pytest.mark.parametrize("args", LOOKS)
def test_a_look_from_a_pipe_imports_nothing_heavy(root: Path, args: tuple[str, ...]) -> None:
    modules = imported(root, *args)
    assert modules & HEAVY == set()
    assert "orchestrator.engine.tick" not in modules
    assert "orchestrator.adapters.ledger" in modules  # The list is of what was really imported.


def test_completing_an_id_does_not_open_the_workspace(root: Path) -> None:
    env = {"_ORC_COMPLETE": "bash_complete", "COMP_WORDS": "orc approve gr", "COMP_CWORD": "2"}
    done = w.orc(root, env=env, code=0)
    (job,) = [path.stem for path in (root / "queue" / "decide").glob("greet-????????.yaml")]
    assert done.out.splitlines() == [f"plain,{job}", f"plain,{job}.card-1"]
    argv = [sys.executable, "-X", "importtime", "-m", "orchestrator"]
    traced = subprocess.run(argv, cwd=root, env=w.environment(env), capture_output=True, text=True, check=False)
    assert "orchestrator.adapters.places" in traced.stderr
    assert not re.search(r"orchestrator\.(engine|core)|yaml|jsonschema", traced.stderr)


def test_every_verb_is_explained() -> None:
    for verb in VERBS:
        result = CliRunner().invoke(command, ["help", verb], obj=App(Path()))
        assert result.exit_code == 0, result.output
        assert f"orc {verb}" in result.output
    everything = CliRunner().invoke(command, ["help", "--all"], obj=App(Path())).output
    assert all(f"--- orc {verb}" in everything for verb in VERBS)
    assert "orc rules adopt" in everything


def test_no_line_of_help_about_the_verbs_of_a_verb_is_cut() -> None:
    verbs = Verbs()
    groups = [each for name in VERBS if isinstance(each := verbs.get_command(click.Context(verbs), name), click.Group)]
    assert {"skills", "schedule"} <= {group.name for group in groups}
    for group in groups:
        told = group.get_help(click.Context(group, info_name=group.name, terminal_width=80, max_content_width=80))
        assert "..." not in told.partition("Commands:")[2], told


def test_help_tells_every_exit_code() -> None:
    told = CliRunner().invoke(command, ["--help"], obj=App(Path())).output.partition("Exit codes:")[2]
    assert [int(line.split()[0]) for line in told.splitlines() if line.strip()] == [int(code) for code in ExitCode]


def test_a_mistyped_verb_is_named_and_the_near_one_offered(tmp_path: Path) -> None:
    done = w.orc(tmp_path, "statsu", code=ExitCode.USAGE)
    assert "there is no verb 'statsu'. Did you mean 'status'?" in done.err
    assert w.orc(tmp_path, "help", "statsu", code=ExitCode.USAGE).err == done.err
    assert w.orc(tmp_path, "zzz", "--json", code=ExitCode.USAGE).json()["error"]["code"] == 2


def test_an_error_says_cause_and_way_out(tmp_path: Path) -> None:
    done = w.orc(tmp_path, "status", code=ExitCode.NOT_FOUND)
    assert re.fullmatch(r"error: .* is not in an orc workspace\n  usually: .*\n  try:     .*orc init\n", done.err)
    assert done.out == ""


def test_exit_codes_are_what_the_help_says(root: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("title: x\npromt: y\n")
    assert w.orc(root, "status").code == ExitCode.OK
    (root / "GEMINI.md").unlink()
    assert w.orc(root, "rules", "check").code == ExitCode.FAILED
    assert w.orc(root, "log", "-n", "0").code == ExitCode.USAGE
    assert w.orc(root, "show", "nothing-of-the-kind").code == ExitCode.NOT_FOUND
    assert w.orc(root, "approve", "greet").code == ExitCode.REFUSED
    assert w.orc(root, "submit", str(bad)).code == ExitCode.INVALID_FILE


def test_a_second_engine_is_refused_as_busy(root: Path) -> None:
    from orchestrator.adapters.locks import hold_lock

    with hold_lock(root / ".git" / "orc" / "engine.lock", timeout=0, what="a test"):
        done = w.orc(root, "run", "--once", code=ExitCode.BUSY)
        assert "one `orc run` at a time" in done.err
        assert w.orc(root, "status", "--json").json()["engine"] is True
    assert w.orc(root, "status", "--json").json()["engine"] is False


def test_a_defect_says_that_it_is_one(tmp_path: Path) -> None:
    code = (
        "import sys; from orchestrator.cli import main\n"
        "main.VERBS['broken'] = ('broken', 'x'); sys.argv = ['orc', 'broken']; main.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=w.environment(), capture_output=True, text=True
    )
    assert done.returncode == ExitCode.UNEXPECTED
    assert "usually: A defect of orc itself." in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NOT TRIED: this system has no /dev/full")
def test_a_full_disk_is_no_defect(root: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            w.orc_argv("status"), cwd=root, env=w.environment(), stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr.splitlines()[:2] == [
        "error: No space left on device",
        "  usually: The machine refuses it. What was committed before stands.",
    ]
    assert "Traceback" not in done.stderr
    assert done.returncode == ExitCode.FAILED


@pytest.mark.parametrize("args", [["log", "-n", "1000"], ["--help"], ["status"], ["help", "--all"], ["diff", "greet"]])
def test_it_is_quiet_when_nobody_reads_any_more(root: Path, args: list[str]) -> None:
    process = subprocess.Popen(
        w.orc_argv(*args), cwd=root, env=w.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")


def test_colours_are_for_terminals_only(root: Path) -> None:
    assert "\x1b" not in w.orc(root, "status", env={"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}).out
    assert "\x1b" not in w.orc(root, "nonsense", env={"FORCE_COLOR": "1"}).err
    assert "\x1b[" in shown(root, "status")


@pytest.mark.parametrize("verb", ["status", "diff greet", "doctor", "show nothing-at-all", "run --until-idle"])
def test_no_color_is_obeyed(root: Path, verb: str) -> None:
    colours = re.compile(r"\x1b\[[0-9;]*m")
    assert not colours.search(shown(root, "--no-color", *verb.split()))
    assert not colours.search(shown(root, *verb.split(), env={"NO_COLOR": "1"}))


def shown(root: Path, *args: str, env: dict[str, str] | None = None) -> str:
    """What a command shows on a terminal."""
    terminal = w.Terminal(root, *args, env=env)
    terminal.end()
    return terminal.shown


def test_what_a_terminal_would_obey_is_taken_out() -> None:
    hostile = "a\x1b[31mb\x1b]8;;http://x\x07c\x9b2Jd\u202ee\u2066f\rg\x00h\udcffi\tj\nk"
    assert clean(hostile) == "a[31mb]8;;http://xc2Jdefghi\tj\nk"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_printed(tmp_path: Path, shell: str) -> None:
    assert "_ORC_COMPLETE" in w.orc(tmp_path, "completion", shell, code=0).out


def test_git_orc_is_orc(root: Path, tmp_path: Path) -> None:
    import tomllib

    scripts = tomllib.loads((w.SOURCE / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["git-orc"] == scripts["orc"] == "orchestrator.__main__:main"
    program = tmp_path / "git-orc"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m orchestrator "$@"\n')
    program.chmod(0o755)
    env = w.environment({"PATH": f"{tmp_path}:{w.environment()['PATH']}"})
    done = subprocess.run(["git", "orc", "status", "--json"], cwd=root, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"command": "status"' in done.stdout
