"""`orc doctor --fix`: it mends what is left wrong, asks before, does nothing twice, and takes nothing from a person."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import cli_world as w
import pytest
from spelling_helpers import install_list

from orchestrator.adapters import landlock
from orchestrator.adapters.backends.registry import find_backend
from orchestrator.adapters.locks import hold_lock, release_lease, take_lease
from orchestrator.errors import ExitCode

OLD = time.time() - 3 * 86400
BODY = "## Values\nCare.\n## Voice\nLow.\n## Boundaries\nNone crossed.\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a job that asks: it has a mirror, a tree and a card."""
    root = w.new_workspace(tmp_path_factory.mktemp("doctor") / "work")
    w.asked(root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it, whose trees say that they are where they are."""
    copy = tmp_path / "work"
    shutil.copytree(made, copy, symlinks=True)
    for record in (copy / ".git" / "orc" / "trees").glob("*.json"):
        record.write_text(record.read_text().replace(str(made), str(copy)))
    return copy


def look(root: Path, *args: str, code: int = 0) -> list[dict[str, Any]]:
    """What is found that is not well, or was mended."""
    findings: list[dict[str, Any]] = w.orc(root, "doctor", "--json", *args, code=code).json()["findings"]
    # Whether the machine has a list of misspellings says nothing about the workspace.
    return [each for each in findings if each["health"] != "ok" and each["what"] != "spelling"]


def mend(root: Path, what: str, *, code: int = 0) -> list[dict[str, Any]]:
    """What was mended of one sort, after it was seen that only mending does it, and that once is enough."""
    (before, *_) = [each for each in look(root, code=code) if each["what"] == what]
    assert before["fixable"]
    assert not before["fixed"]
    listed = w.orc(root, "doctor", "--fix", code=code).out
    assert "Nothing was done." in listed
    assert before in look(root, "--fix", code=code)
    after = [each for each in look(root, "--fix", "--yes", code=code) if each["what"] == what]
    assert all(each["fixed"] for each in after), after
    assert [each for each in look(root, "--fix", "--yes", code=code) if each["what"] == what] == []
    return after


def leave(path: Path, text: str = "", *, at: float = OLD) -> Path:
    """A file that somebody left behind a while ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


def test_a_healthy_workspace_has_nothing_to_mend(root: Path) -> None:
    assert look(root) == []
    assert "Nothing that orc can mend by itself." in w.orc(root, "doctor", "--fix", code=0).out


def test_a_fresh_workspace_lacks_only_what_the_person_has_to_say(tmp_path: Path) -> None:
    root = w.new_repository(tmp_path / "fresh")
    w.orc(root, "init", code=0)
    assert {each["what"] for each in look(root, code=1)} == {
        *("project main", "agent critic", "agent engineer", "agent researcher")
    }
    assert w.orc(root, "rules", "check", code=0).out == "The rules are in every file.\n"


def test_a_file_of_the_persons_own_is_theirs_at_init_and_at_fix(tmp_path: Path) -> None:
    root = w.new_repository(tmp_path / "fresh")
    (root / "AGENTS.md").write_text("mine\n")
    assert "AGENTS.md" not in w.orc(root, "init", "--json", code=0).json()["files"]
    (rules,) = [each for each in look(root, "--fix", "--yes", code=1) if each["what"] == "generated rules"]
    assert (rules["fixable"], rules["fixed"]) == (False, False)
    assert "orc rules adopt AGENTS.md" in rules["hint"]
    assert (root / "AGENTS.md").read_text() == "mine\n"


@pytest.mark.parametrize(("text", "told"), [("teh->the\n", False), (None, True)])
def test_a_list_of_misspellings_that_is_missing_is_told(
    root: Path, tmp_path: Path, text: str | None, told: bool
) -> None:
    install_list(tmp_path / "packages", text)
    path = os.pathsep.join((str(tmp_path / "packages"), str(w.SOURCE)))
    out = w.orc(root, "doctor", env={"PYTHONPATH": path}, code=0).out
    assert ("not checked for other and writing: codespell is not installed" in out) is told


def test_criteria_of_a_kind_that_there_is_not_are_told_with_the_nearest_one(root: Path) -> None:
    (root / "criteria").mkdir()
    (root / "criteria" / "wirting.yaml").write_text("items:\n  - {id: fits, question: Does it fit?}\n")
    (found,) = look(root)
    assert found["text"].endswith("makes wirting a kind of its own; did you mean writing.yaml?")


def test_criteria_of_a_kind_of_ones_own_are_no_finding_and_its_routing_is_looked_at(root: Path) -> None:
    (root / "criteria").mkdir()
    (root / "criteria" / "poem.yaml").write_text("items:\n  - {id: fits, question: Does it fit?}\n")
    assert look(root) == []
    with (root / "orc.yaml").open("a") as file:
        file.write("routing: {poem: worker, peom: worker}\n")
    (found,) = look(root, code=1)
    assert "routing.peom: there are no criteria for the kind 'peom'; did you mean 'poem'?" in found["text"]


def test_the_rules_are_built(root: Path) -> None:
    (root / "CLAUDE.md").unlink()
    (root / "rules" / "0004-new.md").write_text((root / "rules" / "0001-no-single-pass.md").read_text())
    mend(root, "generated rules")
    assert "orc:begin" in (root / "CLAUDE.md").read_text()


def test_on_a_terminal_it_shows_what_it_would_do_and_asks(root: Path) -> None:
    (root / "CLAUDE.md").unlink()
    no = w.Terminal(root, "doctor", "--fix")
    no.read_until("Do it?")
    assert "1. write the rules into" in no.shown
    no.type("n\n")
    assert no.end() == 0
    assert not (root / "CLAUDE.md").exists()
    yes = w.Terminal(root, "doctor", "--fix")
    yes.read_until("Do it?")
    yes.type("y\n")
    yes.read_until("mended: CLAUDE.md written")
    assert yes.end() == 0
    assert (root / "CLAUDE.md").exists()


def test_stale_git_locks_of_ours_are_moved_aside(root: Path) -> None:
    git, mirror = root / ".git", root / ".git/orc/mirrors/main.git"
    stale = [
        leave(git / "refs/heads/orc/state.lock"),
        leave(git / "refs/orc/attempts/x/1.lock"),
        leave(mirror / "packed-refs.lock"),
        leave(mirror / "refs/heads/main.lock"),
        leave(git / "orc/trees/worker.main.json.index.lock"),
    ]
    fresh = leave(mirror / "refs/heads/other.lock", at=time.time() + 60)
    (told,) = mend(root, "git locks")
    assert "moved 5 aside" in told["text"]
    assert [path for path in stale if path.exists()] == []
    assert fresh.exists()
    assert len(list((git / "orc/orphans").iterdir())) == 5
    w.submit(root, "prompt: x\n", name="after")


def test_a_lock_of_the_persons_own_is_told_and_left(root: Path) -> None:
    lock = leave(root / ".git/index.lock")
    branch = leave(root / ".git/refs/heads/mine.lock")
    found = [each for each in look(root, "--fix", "--yes") if each["what"] == "your git locks"]
    assert [each["fixable"] for each in found] == [False, False]
    assert f"rm {lock}" in found[0]["hint"]
    assert lock.exists()
    assert branch.exists()


def test_what_killed_processes_left_half_made_is_removed(root: Path) -> None:
    orcdir = root / ".git/orc"
    left = [
        leave(orcdir / ".tmp-0123456789ab-engine.json"),
        leave(orcdir / "checks/.tmp-0123456789ab-x"),
        leave(orcdir / "runs/.new-greet-00000000.attempt-1/spec.json").parent,
    ]
    os.utime(left[-1], (OLD, OLD))
    young = leave(orcdir / ".tmp-0123456789cd-engine.json", at=time.time() + 60)
    # The folder of a run that was never whole is put away with the others where it is found among them.
    look(root, "--fix", "--yes")
    assert [path for path in left if path.exists()] == []
    assert young.exists()
    assert look(root) == []
    temporary = leave(orcdir / "mirrors/main.git/objects/pack/tmp_pack_x")
    os.utime(temporary, (OLD, OLD))
    mend(root, "mirrors")
    assert not temporary.exists()


def test_what_keeps_queue_and_state_out_of_commits_is_written_again(root: Path) -> None:
    exclude = root / ".git/info/exclude"
    exclude.write_text("# mine\n/secrets/")
    (root / "queue/.gitignore").unlink()
    mend(root, "ignored files")
    assert exclude.read_text() == "# mine\n/secrets/\n# orc: what may vanish\n/state/\n"
    assert w.git(root, "status", "--porcelain") == ""


def test_queue_shows_the_open_jobs_again_and_writes_over_nothing(root: Path) -> None:
    (shown,) = (root / "queue/decide").glob("greet-????????.yaml")
    text = shown.read_text()
    shutil.rmtree(root / "queue/decide")
    (root / "queue/inbox/mine.yaml").write_text("prompt: mine\n")
    tip = w.git(root, "rev-parse", "orc/state")
    mend(root, "queue/")
    assert shown.read_text() == text
    assert (root / "queue/inbox/mine.yaml").read_text() == "prompt: mine\n"
    assert w.git(root, "rev-parse", "orc/state") == tip


def test_a_file_that_a_person_moved_is_a_request_and_stays_moved(root: Path) -> None:
    (shown,) = (root / "queue/decide").glob("greet-????????.yaml")
    moved = shown.rename(root / "queue/cancelled" / shown.name)
    told = [each for each in look(root, "--fix", "--yes") if each["what"] == "queue/"]
    assert "orc run looks at them" in told[0]["text"]
    assert moved.exists()
    assert not shown.exists()
    w.orc(root, "run", "--once", "--quiet")
    assert w.orc(root, "show", shown.stem, "--json", code=0).json()["lane"] == "cancelled"


def test_run_folders_that_no_job_waits_for_are_put_away(root: Path) -> None:
    run = "greet-00000000.review-1"
    leave(root / ".git/orc/runs" / run / "stdout", "what it said\n")
    leave(root / ".git/orc/leases" / run)
    leave(root / ".git/orc/leases/gone-00000000.checks-2")
    mend(root, "runs")
    assert list((root / ".git/orc/runs").iterdir()) == list((root / ".git/orc/leases").iterdir()) == []
    assert (root / "state/logs/00" / run / "stdout").read_text() == "what it said\n"


def test_a_run_that_is_alive_is_asked_to_stop_and_never_removed(root: Path) -> None:
    run = "greet-00000000.review-1"
    leave(root / ".git/orc/runs" / run / "stdout")
    leave(root / ".git/orc/leases" / run)
    fd = take_lease(root / ".git/orc/leases" / run)
    assert fd is not None
    try:
        (told,) = look(root, "--fix", "--yes")
        assert f"still there: {run}" in told["text"]
        assert (root / ".git/orc/runs" / run / "stop").exists()
        assert (root / ".git/orc/runs" / run / "stdout").exists()
    finally:
        release_lease(fd)


def test_while_an_engine_is_at_work_its_part_is_left_to_it(root: Path) -> None:
    shutil.rmtree(root / "queue/decide")
    lock = leave(root / ".git/refs/orc/x.lock")
    with hold_lock(root / ".git/orc/engine.lock", timeout=0, what="a test"):
        (told,) = look(root, "--fix", "--yes")
        assert (told["what"], told["fixed"]) == ("git locks", False)
        assert "an engine is at work" in told["text"]
    assert lock.exists()
    assert not (root / "queue/decide").exists()


@pytest.mark.slow
def test_a_tree_of_which_nothing_is_known_is_set_aside_whole_and_built_anew(root: Path) -> None:
    tree = root / "state/trees/worker/main"
    (tree / "work.txt").write_text("not under any ref\n")
    (root / ".git/orc/trees/worker.main.json").write_text("{")
    mend(root, "tree worker/main")
    (kept,) = (root / "state/trees/.kept").iterdir()
    assert (kept / "work.txt").read_text() == "not under any ref\n"
    assert not tree.exists()
    w.submit(root, "title: greet again\nprompt: x\n", name="again")
    w.orc(root, "run", "--until-idle", "--quiet", code=1)
    assert (tree / "README.md").exists()


def test_a_tree_that_was_set_aside_goes_only_when_all_of_it_is_under_a_ref(root: Path) -> None:
    tree, kept = root / "state/trees/worker/main", root / "state/trees/.kept"

    def set_aside(day: str) -> Path:
        return Path(shutil.copytree(tree, kept / f"worker.main-{day}T000000Z", symlinks=True))

    proved, changed, ignored, committed, foreign = (set_aside(f"2026010{number}") for number in range(1, 6))
    young = set_aside(time.strftime("%Y%m%d", time.gmtime()))
    (changed / "hello.py").write_text("print('other')\n")
    (ignored / ".git/info/exclude").write_text("*.log\n")
    (ignored / "a.log").write_text("only here\n")
    w.git(committed, "commit", "--quiet", "--allow-empty", "-m", "only here")
    foreign = foreign.rename(kept / "worker.gone-20260105T000000Z")
    named = {each["text"].split(" was set aside")[0]: each for each in look(root)}
    assert {root / name for name in named} == {proved, changed, ignored, committed, foreign}
    assert all(" KiB in " in each["text"] for each in named.values())
    look(root, "--fix", "--yes")
    assert sorted(kept.iterdir()) == sorted([changed, ignored, committed, foreign, young])
    look(root, "--fix", "--yes")
    assert (ignored / "a.log").read_text() == "only here\n"


def test_reviewers_that_cannot_start_are_told_from_those_that_drain_or_are_missing(root: Path) -> None:
    soul = root / "souls/critic.md"
    text = soul.read_text()
    soul.write_text(text.replace("backend: player", "backend: absent"))
    found = {each["what"]: each for each in look(root, code=1)}
    assert "critic cannot start" in found["reviewers of worker"]["text"]
    assert found["reviewers of worker"]["hint"] == "mend what stands above about critic"
    soul.write_text(text.replace("---\n", "---\ndrain: true\n", 1))
    found = {each["what"]: each for each in look(root)}
    assert "critic drains" in found["reviewers of worker"]["text"]
    assert found["reviewers of worker"]["hint"] == "orc drain critic --undo"
    soul.unlink()
    found = {each["what"]: each for each in look(root)}
    assert "add an agent of another family" in found["reviewers of worker"]["hint"]


def test_that_an_agent_which_drains_cannot_start_comes_first(root: Path) -> None:
    soul = root / "souls/worker.md"
    soul.write_text(soul.read_text().replace("backend: player", "backend: absent\ndrain: for good"))
    found = {each["what"]: each for each in look(root, code=1)}
    assert "backend 'absent' is not in orc.yaml" in found["agent worker"]["text"]
    shown = w.orc(root, "workers", code=0).out
    assert "cannot start: backend 'absent'" in shown
    assert "drains" not in shown


def test_routing_to_nobody_fails_and_is_told_wherever_problems_are(root: Path) -> None:
    config = root / "orc.yaml"
    line = config.read_text().count("\n") + 1
    config.write_text(f"{config.read_text()}routing: {{code: workr}}\n")
    told = f"orc.yaml:{line}: routing.code: agent 'workr' has no usable file in souls/; did you mean 'worker'?"
    assert [(each["what"], each["text"]) for each in look(root, code=1)] == [("routing", told)]
    assert f"! {told}" in w.orc(root, "status", code=0).out
    assert f"! {told}" in w.orc(root, "run", "--once").out
    config.write_text(config.read_text().replace("workr", "{tier: strong}"))
    assert "no model under models: has one" in w.orc(root, "status", code=ExitCode.INVALID_FILE).err


def test_a_stand_in_that_is_nobody_fails_and_is_told_wherever_problems_are(root: Path) -> None:
    config = root / "orc.yaml"
    line = config.read_text().count("\n") + 1
    config.write_text(f"{config.read_text()}fallback: {{worker: [workr]}}\n")
    told = f"orc.yaml:{line}: fallback.worker: agent 'workr' has no usable file in souls/; did you mean 'worker'?"
    assert [(each["what"], each["text"]) for each in look(root, code=1)] == [("fallback", told)]
    assert f"! {told}" in w.orc(root, "status", code=0).out
    assert f"! {told}" in w.orc(root, "run", "--once").out


def test_limits_of_nobody_and_money_that_no_limit_sees_are_told(root: Path) -> None:
    config = root / "orc.yaml"
    before = config.read_text()
    config.write_text(f"{before}execution_limits: {{agents: {{workr: {{runs: 3}}}}}}\n")
    (found,) = look(root, code=1)
    assert (found["what"], found["health"]) == ("limits", "fail")
    assert "execution_limits.agents.workr: agent 'workr' has no usable file in souls/" in found["text"]
    config.write_text(f"{before}execution_limits: {{total: {{usd: 3}}}}\n")
    blind = look(root)
    assert {(each["what"], each["health"]) for each in blind} == {("limits", "warn")}
    assert all("no limit in US dollars sees what " in each["text"] for each in blind)
    assert any("worker" in each["text"] for each in blind)
    # The usual limits are no reason to look up prices.
    config.write_text(f"{before}execution_limits: {{total: {{tokens: 3000000}}}}\n")
    assert look(root) == []


def test_a_program_of_another_version_and_one_that_nobody_uses_are_told_and_are_no_failure(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, said in (("claude", "9.0.0 (Claude Code)"), ("codex", "codex-cli 1")):
        (programs / name).write_text(f"#!/bin/sh\necho '{said}'\n")
        (programs / name).chmod(0o755)
    (root / "souls" / "ada.md").write_text("---\nbackend: claude\nmodel: m\n---\n" + BODY)
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "ANTHROPIC_API_KEY": "dummy"}

    def told() -> dict[str, str]:
        findings = w.orc(root, "doctor", "--json", env=env, code=0).json()["findings"]
        return {each["what"]: each["text"] for each in findings if each["what"].startswith("backend ")}

    seen = find_backend("claude").seen
    other = find_backend("codex").seen
    assert told()["backend codex"].startswith(f"codex: codex-cli 1 (orc was tried with {other}); no agent uses it; the")
    assert told()["backend claude"].startswith(f"claude: 9.0.0 (Claude Code) (orc was tried with {seen}); the key")
    (programs / "claude").write_text(f"#!/bin/sh\necho '{seen} (Claude Code)'\n")
    assert told()["backend claude"].startswith(f"claude: {seen} (Claude Code); the key")


@pytest.mark.parametrize(
    ("name", "place", "way_out"),
    [
        ("claude", ".claude/.credentials.json", "/login"),
        ("codex", ".codex/auth.json", "codex login"),
        ("opencode", ".local/share/opencode/auth.json", "opencode auth login"),
    ],
)
def test_a_login_that_is_not_there_is_told_with_the_way_to_one_and_its_content_never(
    tmp_path: Path, name: str, place: str, way_out: str
) -> None:
    root, home = w.new_workspace(tmp_path / "work"), tmp_path / "home"
    programs = tmp_path / "programs"
    programs.mkdir()
    # What it is asked is its version, and nothing that could go to the network.
    (programs / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/asked\necho 1.0.0\n')
    (programs / name).chmod(0o755)
    env = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(home)}

    def told() -> tuple[dict[str, Any], dict[str, Any]]:
        """What is said of the backend, and of the agent that uses it."""
        output = w.orc(root, "doctor", "--json", env=env)
        assert "tell-nobody" not in output.out
        found = {each["what"]: each for each in output.json()["findings"]}
        return found[f"backend {name}"], found.get("agent ada", {})

    backend, _ = told()
    assert "no agent uses it; the key in " in backend["text"]
    assert f"~/{place} is not there" in backend["text"]
    (root / "souls" / "ada.md").write_text(f"---\nbackend: {name}\nmodel: m/m\n---\n" + BODY)
    backend, ada = told()
    assert ada["health"] == "fail"
    assert backend["text"].startswith(f"{name}: 1.0.0 ")
    for word in ("put the key of the API into ", way_out, f"say `login: true` below `backends: {name}:` in orc.yaml"):
        assert word in ada["hint"]
        assert word in backend["hint"]
    (home / place).parent.mkdir(parents=True)
    (home / place).write_text('{"token": "tell-nobody"}')
    (home / place).chmod(0)
    _, ada = told()
    assert f"for your own login, which ~/{place} seems to be, say `login: true`" in ada["hint"]
    with (root / "orc.yaml").open("a") as config:
        config.write(f"  {name}: {{login: true}}\n")
    backend, _ = told()
    assert backend["health"] == "ok"
    assert backend["text"].endswith(f"your own login, with your HOME: ~/{place} is there")
    (home / place).unlink()
    backend, _ = told()
    assert backend["health"] == "warn"
    assert f"~/{place} is not there" in backend["text"]
    assert way_out in backend["hint"]
    assert set((tmp_path / "asked").read_text().splitlines()) == {"--version"}


def test_what_holds_the_commands_of_the_api_backend_is_told(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    (root / "souls" / "ada.md").write_text("---\nbackend: anthropic\nmodel: m\n---\n" + BODY)

    def told() -> dict[str, Any]:
        findings = w.orc(root, "doctor", "--json", env={"ANTHROPIC_API_KEY": "tell-nobody"}).json()["findings"]
        return next(each for each in findings if each["what"] == "backend anthropic")

    why = landlock.why_not()
    assert (f"({why})" if why else f"held to the tree (landlock {landlock.version()})") in str(told()["text"])
    assert told()["health"] == ("warn" if why else "ok")
    with (root / "orc.yaml").open("a") as config:
        config.write("  anthropic: {args: [--confine=no]}\n")
    assert "nothing holds its commands to the tree (switched off)" in told()["text"]
    assert told()["health"] == "warn"


def test_yes_goes_with_fix_only_and_an_agent_may_not_mend(root: Path) -> None:
    assert "orc doctor --fix --yes" in w.orc(root, "doctor", "--yes", code=ExitCode.USAGE).err
    w.orc(root, "doctor", "--fix", env={"ORC_RUN": "x-00000000.attempt-1"}, code=ExitCode.REFUSED)
