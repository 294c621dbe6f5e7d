"""The recipe for Claude Code drives `claude -p` through a whole job: a stand-in everywhere, the real one where it is.

Started as a program, this file serves the scripted model and runs a command beside it, so that both can be in one
network namespace: `python test_claude_recipe.py LOG COMMAND…`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fake_claude
import pytest
from fake_dialects import Asked
from fake_models import FakeModels, fingerprint

from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.config_file import parse_config
from orchestrator.errors import ExitCode

SOURCE = Path(__file__).resolve().parents[2]
PAGE = SOURCE / "docs" / "how-to" / "claude-through-command.md"
GREETING = "hello\n"
JOB = "prompt: Write the word hello into greeting.txt.\n"
MAKEFILE = "test:\n\ttest ! -e greeting.txt || grep -qx hello greeting.txt\n"

FOLDER = "$HOME/.cache/orc-ci/claude"


# --- the model ---


def push_or_stop(asked: Asked) -> dict[str, Any]:
    """After the tests, the author tries what the recipe denies; after that it reports."""
    if "grep" in (asked.result or ""):
        return call("Bash", command="git push --force ../elsewhere HEAD", description="Publish")
    return {"text": "I wrote greeting.txt, and make test passes."}


def give_verdict(asked: Asked) -> dict[str, Any]:
    """The form that the prompt ends with, filled in by a reviewer that approves what it has read, and nothing else."""
    has_read = GREETING.strip() in (asked.result or "")
    form = fake_claude.verdict_of(asked.prompt)
    return call("StructuredOutput", **(form if has_read else {**form, "verdict": "REJECT"}))


def call(tool: str, **given: object) -> dict[str, Any]:
    """The model calls a tool."""
    return {"tools": [{"name": tool, "input": given}]}


AUTHOR = {"api": "anthropic", "model": "^claude-sonnet-5$", "match": "(?m)^# Who you are"}
CRITIC = {"api": "anthropic", "model": "^claude-opus-5-5$", "match": "(?m)^You review one change"}
SCRIPT: list[dict[str, Any]] = [
    {**AUTHOR, "after_tool": False, **call("Write", file_path="greeting.txt", content=GREETING)},
    {**AUTHOR, "after_tool": "Write", **call("Bash", command="make test", description="Run the tests")},
    {**AUTHOR, "after_tool": "Bash", "reply": push_or_stop},
    {**CRITIC, "after_tool": False, **call("Read", file_path="greeting.txt")},
    {**CRITIC, "after_tool": "Read", "reply": give_verdict},
]


def main(log: Path, command: list[str]) -> int:
    """Run a command beside the scripted model, and keep what was asked. The command's exit code."""
    with FakeModels(SCRIPT) as fake:
        code = subprocess.run(command, env={**os.environ, "ANTHROPIC_BASE_URL": fake.url}, check=False).returncode
    asked = [line.to_json() for line in fake.log_lines if line.asked]
    log.write_text(json.dumps({"asked": asked, "unanswered": fake.unanswered}))
    return code


# --- the workspace, as the page says ---


def block(language: str) -> str:
    """The one fenced block of the page in this language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return str(found)


def pinned() -> str:
    """The version that the page says it was tried with."""
    found = re.search(r"tried with Claude Code (\d+\.\d+\.\d+)", PAGE.read_text(encoding="utf-8"))
    assert found
    return found[1]


@dataclass(frozen=True)
class World:
    """A workspace made after the recipe, with `claude` on a PATH of its own."""

    root: Path
    env: dict[str, str]
    before: tuple[str, ...] = ()

    def call(self, *command: str, code: int | None = 0) -> str:
        """Run a command there; what it printed."""
        done = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=50)
        assert code is None or done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def orc(self, *args: str, code: int | None = 0) -> str:
        """Run `orc` there; what it printed."""
        return self.call(sys.executable, "-m", "orchestrator", *args, code=code)

    def work(self) -> str:
        """Hand the job in and work until a person is asked; its id."""
        (self.root / "job.yaml").write_text(JOB)
        job = self.orc("submit", "job.yaml").strip()
        run = (sys.executable, "-m", "orchestrator", "run", "--until-idle")
        self.call(*self.before, *run, code=ExitCode.FAILED)
        return job

    def shown(self, job: str) -> dict[str, Any]:
        """What the ledger says of a job."""
        value: dict[str, Any] = json.loads(self.orc("show", job, "--json"))
        return value

    def told(self, job: str) -> str:
        """Everything that could explain what became of a job."""
        return self.orc("status", code=None) + self.orc("show", job, code=None) + self.orc("logs", job, code=None)

    def steps(self, job: str) -> list[str]:
        """The subjects of a job's commits on the ledger, oldest first."""
        return self.call("git", "log", "orc/state", "--reverse", "--format=%s", "--grep", f"^Job: {job}$").splitlines()


def environment(home: Path, programs: Path) -> dict[str, str]:
    """The whole environment of the engine: nothing of the person's reaches it, and the key is a dummy."""
    return {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(SOURCE), str(SOURCE / "tests")]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "ANTHROPIC_API_KEY": "sk-test",
        **{f"GIT_{who}_{what}": "ada@example.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }


def follow_the_page(root: Path, home: Path, *, argv: tuple[str, ...]) -> World:
    """A repository and a workspace with the files of the recipe where the page's table puts them."""
    programs = root.parent / "bin"
    programs.mkdir()
    (programs / "claude").write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in argv) + ' "$@"\n')
    (programs / "claude").chmod(0o755)
    root.mkdir()
    world = World(root, environment(home, programs))
    (root / "Makefile").write_text(MAKEFILE)
    (root / "orc.yaml").write_text(block("yaml"))
    (root / "agents").mkdir()
    (root / "agents" / "claude-reviewer").write_text(block("python"))
    (root / "agents" / "claude-reviewer").chmod(0o755)
    world.call("git", "init", "--quiet", "--initial-branch=main")
    world.orc("init")
    shutil.rmtree(root / "souls")
    shutil.copytree(PAGE.with_suffix("") / "souls", root / "souls")
    plant_traps(root)
    world.call("git", "add", "--all")
    world.call("git", "commit", "--quiet", "--message=A workspace")
    return world


def plant_traps(root: Path) -> None:
    """What Claude Code would start from a repository without asking; a file beside the workspace tells of it."""
    trap = {"type": "command", "command": f"touch '{root.parent / 'trapped'}'"}
    (root / ".claude").mkdir()
    hooks = {event: [{"hooks": [trap]}] for event in ("SessionStart", "Stop")}
    (root / ".claude" / "settings.json").write_text(json.dumps({"hooks": hooks}))
    server = {"command": "touch", "args": [str(root.parent / "trapped")]}
    (root / ".mcp.json").write_text(json.dumps({"mcpServers": {"trap": server}}))


def approve_and_prove(world: World, job: str) -> None:
    """A person says yes to what was judged; the work is on the target, and the ledger holds."""
    assert f"verdict: {job} approved by critic" in world.steps(job), world.told(job)
    review = world.shown(job)["records"]["review-1"]
    assert (review["verdict"], review["reviewer"]["model"]) == ("APPROVED", "claude-opus-5-5")
    assert world.call("git", "ls-tree", "main", "greeting.txt") == ""
    world.orc("approve", f"{job}.card-1")
    world.orc("run", "--until-idle")
    assert world.call("git", "show", "main:greeting.txt") == GREETING
    assert world.shown(job)["job"]["state"] == "done"
    assert "every decision proved again" in world.orc("verify")


# --- the stand-in: on every machine ---


def stand_in(*words: str) -> tuple[str, ...]:
    """The stand-in as a command line."""
    return (sys.executable, "-I", str(Path(fake_claude.__file__)), *words)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_recipe_leads_a_job_to_its_merge(tmp_path: Path, sealed: Path) -> None:
    world = follow_the_page(tmp_path / "repo", sealed, argv=stand_in())
    healthy = world.orc("doctor")
    assert "agent engineer" in healthy
    assert "agent critic" in healthy
    approve_and_prove(world, world.work())


@pytest.mark.timeout(180)
def test_a_reviewer_that_answers_in_text_approves_nothing(tmp_path: Path, sealed: Path) -> None:
    world = follow_the_page(tmp_path / "repo", sealed, argv=stand_in("--text"))
    job = world.work()
    assert world.shown(job)["records"]["review-1"]["verdict"] == "INCONCLUSIVE", world.told(job)
    assert not any("approved" in name for name in world.steps(job))
    assert world.call("git", "ls-tree", "main", "greeting.txt") == ""


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-p", "--no-such-option"], "unknown option '--no-such-option'"),
        (["-p", "--permission-mode", "acceptedits"], "--permission-mode cannot be 'acceptedits'"),
        (["-p", "--model"], "--model cannot be None"),
        (["-p", "do this"], "a prompt in the words: 'do this'"),
        (["--model", "claude-sonnet-5"], "without -p it waits for a person"),
    ],
)
def test_the_stand_in_refuses_what_the_real_program_would_not_take(words: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        fake_claude.read_options(words)


def test_the_stand_in_writes_only_when_it_may() -> None:
    argv = parse_config(block("yaml").encode()).backends["claude"].argv
    options = fake_claude.read_options(argv[1:])
    assert fake_claude.may_write(options)
    assert not fake_claude.may_write({"-p": ""})
    assert not fake_claude.may_write({**options, "--tools": "Read,Grep,Glob"})


def test_ci_installs_the_version_that_the_page_was_tried_with() -> None:
    assert "cli_install.py --install" in (SOURCE / ".ci" / "run").read_text(encoding="utf-8")
    assert find_backend("claude").seen == pinned()


# --- the real program: where it is installed ---


@pytest.fixture
def claude() -> str:
    """The real program, as ORC_TEST_CLAUDE names it."""
    path = os.environ.get("ORC_TEST_CLAUDE", "")
    if not path:
        install = f"npm install --prefix {FOLDER} @anthropic-ai/claude-code@{pinned()}"
        pytest.skip(f"no Claude Code here; {install} && ORC_TEST_CLAUDE={FOLDER}/node_modules/.bin/claude make test")
    assert os.access(path, os.X_OK), f"ORC_TEST_CLAUDE names no program: {path}"
    return os.path.abspath(path)


def only_loopback() -> tuple[str, ...]:
    """What to put before a command so that it has no network but loopback; nothing where the machine forbids that."""
    words = ("unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
    # In a namespace of users only one's own files have an owner, and orc reads no configuration of a stranger.
    if shutil.which("unshare") is None or (SOURCE / "orchestrator").stat().st_uid != os.getuid():
        return ()
    return words if subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0 else ()


def test_the_real_program_knows_every_option_of_the_stand_in(claude: str, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DISABLE_AUTOUPDATER": "1"}
    told = subprocess.run([claude, "--help"], env=env, capture_output=True, text=True, check=True, timeout=30).stdout
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", told))
    assert set(fake_claude.OPTIONS) - known == set()


@pytest.mark.timeout(180)
def test_the_recipe_drives_the_real_program(claude: str, tmp_path: Path, sealed: Path) -> None:
    log = tmp_path / "log.json"
    made = follow_the_page(tmp_path / "repo", sealed, argv=(claude,))
    world = World(made.root, made.env, (*only_loopback(), sys.executable, __file__, str(log)))
    job = world.work()
    kept = json.loads(log.read_text())
    assert kept["unanswered"] == [], world.told(job)
    asked = kept["asked"]
    assert {each["key"] for each in asked} == {fingerprint("sk-test")}
    author = [(each["after"], each["failed"]) for each in asked if each["model"] == "claude-sonnet-5"]
    assert author == [("", False), ("Write", False), ("Bash", False), ("Bash", True)], world.told(job)
    assert "denied" in asked[3]["result"]
    critic = [each for each in asked if each["model"] == "claude-opus-5-5"]
    assert [(each["after"], each["failed"]) for each in critic] == [("", False), ("Read", False)], world.told(job)
    assert not {"Bash", "Edit", "Write"} & set(critic[0]["tools"])
    assert not (tmp_path / "trapped").exists()
    approve_and_prove(world, job)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
