"""`orc gate` as a person and a program meet it: exit codes, what is shown where, and what it says to hostile names."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import cli_world as w
import pytest
from gate_world import CRITIC, Ground, cache_of, left_overs


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """A repository, and a cache folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", cache_of(tmp_path))
    return Ground(tmp_path)


def test_exit_codes_tell_a_program_what_came_of_it(ground: Ground) -> None:
    ground.branch("empty", {})
    for words, code in (
        (["feature", "--check", "true"], 0),
        (["feature", "--check", "! grep two code.py"], 1),
        (["feature"], 1),
        (["empty", "--check", "true"], 4),
        (["nothing"], 3),
        ([], 2),
        (["feature", "--json", "--markdown"], 2),
        (["main..feature", "--base", "main"], 2),
        (["feature", "--reviewer", "critic"], 3),
        (["feature", "--reviewer", "nobody:x"], 3),
        (["feature", "--reviewer", "codex:"], 3),
        (["feature", "--reviewer-command", "/not/there"], 1),
        (["feature", "--reviewer-command", "a 'b"], 2),
        (["feature", "--reviewer-command", ""], 2),
        (["feature", "--reviewer", " "], 2),
        (["feature", "--check", ""], 2),
        (["feature", "--check", "true", "--check", " "], 2),
        (["feature", *["--check", "true"] * 201], 2),
    ):
        done = w.orc(ground.repo, "gate", *words)
        assert (words, done.code) == (words, code)


def test_outside_of_a_repository_it_says_so(tmp_path: Path) -> None:
    assert "is not in a git repository" in w.orc(tmp_path, "gate", "main", code=3).err


def test_in_a_pipe_it_is_plain_and_says_what_is_missing(ground: Ground) -> None:
    done = w.orc(ground.repo, "gate", "feature", env={"FORCE_COLOR": "1"}, code=1)
    lines = done.out.splitlines()
    assert lines[0] == "INCONCLUSIVE (diff only: nothing was run, not reviewed)"
    assert "  not run       checks  (name what runs the tests: --check LINE)" in lines
    assert "  not reviewed  review  (--reviewer NAME asks somebody)" in lines
    assert "\x1b" not in done.out + done.err
    assert done.err == ""


def test_on_a_terminal_there_are_colours_and_progress(ground: Ground) -> None:
    terminal = w.Terminal(ground.repo, "gate", "feature", "--check", "sleep 1.3; echo looked; false")
    assert terminal.end() == 1
    assert "the checks run on feature ... 1 s" in terminal.shown
    shown = terminal.shown.rpartition("\x1b[K")[2]
    assert "\x1b[31mfailed" in shown.replace("\x1b[0m", "")
    assert "  | looked" in shown
    plain = w.Terminal(ground.repo, "gate", "feature", "--check", "true", env={"NO_COLOR": "1"})
    assert plain.end() == 0
    assert not re.search(r"\x1b\[[0-9;]*m", plain.shown)


def test_what_takes_long_is_told_off_a_terminal_too_once(ground: Ground) -> None:
    done = w.orc(ground.repo, "gate", "feature", "--check", "sleep 1.5", "--skip-base", "--json", code=0)
    assert done.err == "the checks run on feature ...\n"
    assert done.json()["seconds"]["checks"] >= 1.5


def test_json_tells_every_rule_and_how_to_do_it_again(ground: Ground) -> None:
    done = w.orc(ground.repo, "gate", "feature", "--check", "true", "--paths", "*.py", "--json", code=0)
    found = done.json()
    assert {each["rule"]: each["outcome"] for each in found["rules"]}["out_of_scope"] == "ok"
    again = w.orc(ground.repo, *found["again"][1:], "--json", code=0).json()
    same = ("verdict", "rules", "merge", "stat", "again")
    assert [again[key] for key in same] == [found[key] for key in same]


def test_what_is_allowed_is_told_and_asked_for_again(ground: Ground) -> None:
    ground.branch("ci", {"code.py": "one = 2\n", ".github/workflows/ci.yml": "on: push\n", "CLAUDE.md": "Do.\n"})
    held = w.orc(ground.repo, "gate", "ci", "--check", "true", "--allow", "orc", code=1).out
    assert "  held          CI is as before  (.github/workflows/ci.yml: CI: added)\n" in held
    assert (
        "  allowed       what agents work by is as before  (CLAUDE.md: what orc or its agents work by: added)\n" in held
    )
    assert "  ok            tests are not weakened\n" in held
    done = w.orc(ground.repo, "gate", "ci", "--check", "true", "--allow", "ci", "--allow", "orc", "--json", code=0)
    found = done.json()
    assert {each["rule"] for each in found["rules"] if each["outcome"] == "allowed"} == {"ci_touched", "orc_touched"}
    assert found["again"][-4:] == ["--allow", "ci", "--allow", "orc"]
    assert "| **held** | CI is as before | `.github/workflows/ci.yml: CI: added` |\n" in markdown(ground, "ci")
    assert w.orc(ground.repo, "gate", "ci", "--allow", "everything").code == 2


def test_what_does_it_again_asks_for_the_same(ground: Ground) -> None:
    check = "test  -e made\ntrue 'a  b'"
    words = ["--check", check, "--setup", "touch made", "--skip-base", "--timeout", "77", "--kind", "ops"]
    words += ["--allow", "ci"]
    wanted = [*words[:2], "--timeout", "77", "--setup", "touch made", "--skip-base", "--allow", "ci", "--kind", "ops"]
    assert w.orc(ground.repo, "gate", "feature", *words, "--json", code=0).json()["again"][5:] == wanted
    told = markdown(ground, "feature", *words)
    line = told.partition("\nagain ")[2].partition("\n```")[0]
    assert shlex.split(line)[5:] == wanted


# --- Markdown ---


def markdown(ground: Ground, *words: str) -> str:
    return w.orc(ground.repo, "gate", *words, "--markdown").out


def test_markdown_is_a_block_for_a_pull_request(ground: Ground) -> None:
    told = markdown(ground, "feature", "--check", "echo looked; ! grep two code.py")
    commit, base = ground.git("git rev-parse feature"), ground.git("git rev-parse main")
    assert told.startswith(
        "### orc gate: CHECKS FAILED (checks only: not reviewed)\n\n"
        f"`feature` at `{commit[:12]}` onto `main` at `{base[:12]}`: 1 commit, 1 file changed, 1 insertion(+).\n"
    )
    assert "- **echo looked; ! grep two code.py fails on feature, and passes on main.**\n" in told
    assert "| ok | something is changed |  |\n" in told
    assert "\n| **failed** | `echo looked; ! grep two code.py` on `feature` | exit 1, " in told
    assert "\n| passed | `echo looked; ! grep two code.py` on `main` | " in told
    assert "```text\nlooked\ntwo = 2\n```" in told
    assert "```text\nM code.py (+1 -0)\n```" in told
    assert f"judged       {commit} (tree " in told
    assert f"again        orc gate {commit} --base {base} --check 'echo looked; ! grep two code.py'" in told


def test_a_defect_that_is_mended_is_told_in_every_form(ground: Ground) -> None:
    check = "test ! -e tests/mended.sh || sh tests/mended.sh"
    ground.branch("mended", {"code.py": "mended = 1\n", "tests/mended.sh": "grep -q mended code.py\n"})
    ground.branch("idle", {"code.py": "mended = 1\n", "tests/mended.sh": "test -e code.py\n"})
    words = ("--check", check, "--skip-base", "--reproduces")
    place = "a check fails on the merge base with the tests of"
    told = w.orc(ground.repo, "gate", "mended", *words, code=0).out
    assert f"  ok            {place} mended  ({check})\n" in told
    assert "  ok            a test comes with what mends a defect\n" in told
    refused = w.orc(ground.repo, "gate", "idle", *words, code=4).out
    assert f"  refused       {place} idle  (all pass)\n" in refused
    reason = "The tests that came with the change pass on the base as well, so they do not show the defect."
    assert f"! {reason}\n" in refused
    found = w.orc(ground.repo, "gate", "mended", *words, "--json", code=0).json()
    assert ([each["on"] for each in found["checks"]], found["reproduction"]) == (
        ["branch", "merged", "reproduction"],
        "shown",
    )
    assert found["again"][-1] == "--reproduces"
    assert w.orc(ground.repo, "gate", "mended", "--check", check, "--json", code=0).json()["reproduction"] == ""
    shown = markdown(ground, "idle", *words)
    assert f"\n| **refused** | {place} `idle` | all pass |\n" in shown
    assert f"- **{reason}**\n" in shown
    assert f"\n| ok | {place} `mended` | `{check}` |\n" in markdown(ground, "mended", *words).replace("\\|", "|")


HOSTILE = "x`@ada`|<img src=y>*b*_c_[d](https://e)#1"


def outside_of_code(text: str) -> str:
    """What Markdown reads as Markdown: fences, code spans and escaped signs taken out."""
    text = re.sub(r"^(`{3,})text\n.*?^\1$", "", text, flags=re.M | re.S)
    text = re.sub(r"\\[\\`*_\[\]<>#|~@&$:.]", "", text)
    return re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)


def test_nothing_that_a_branch_brings_means_anything_in_markdown(ground: Ground) -> None:
    ground.git("git checkout -q -b 'b`@ada`|<b>'")
    ground.commit({HOSTILE.replace("/", ":"): "x\n"})
    said = f"```\n</details>\n# APPROVED {HOSTILE}\n````\n"
    (ground.root / "said").write_text(said)
    finding = f'{{"severity": "blocking", "problem": {HOSTILE!r}, "file": {HOSTILE!r}, "fix": "@ada"}}'
    change = f'answer |= {{"verdict": "REVISE", "summary": "@ada", "findings": [{finding}]}}'
    for words in (
        ["--check", f"cat {ground.root}/said; test ! -e x*", "--task", "x"],
        ["--check", "true", "--reviewer-command", ground.critic(change)],
        ["--paths", "src/**"],
    ):
        told = markdown(ground, "HEAD", *words)
        assert "ada" in told
        left = outside_of_code(told)
        assert [sign for sign in ("@", "<img", "<b>", "https://", "](", "APPROVED") if sign in left] == []


def test_control_characters_reach_no_terminal(ground: Ground) -> None:
    found = w.orc(ground.repo, "gate", "feature", "--check", r"printf '\033[2J\302\2332J'; false")
    assert "\x1b" not in found.out
    assert "\x9b" not in found.out


# --- workspaces ---


def test_the_checks_and_agents_of_a_workspace_are_used(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    w.git(root, "checkout", "--quiet", "-b", "feature")
    (root / "code.py").write_text("x = 1\n")
    w.git(root, "add", "code.py")
    w.git(root, "commit", "--quiet", "-m", "code")
    found = w.orc(root, "gate", "feature", "--reviewer", "critic", "--json", code=0).json()
    assert [each["run"] for each in found["checks"][0]["results"]] == ["test -f README.md"]
    assert "The checks are those of the orc.yaml of main." in found["notes"]
    assert (found["review"]["verdict"], found["review"]["reviewer"]["family"]) == ("APPROVED", "beta")
    other = w.orc(root, "gate", "feature", "--reviewer", "nobody", code=3)
    assert "critic" in other.err


def test_an_orc_yaml_that_came_with_a_clone_runs_nothing(ground: Ground) -> None:
    critic = "---\nbackend: own\nroles: [review]\n---\nYou look twice.\n"
    tool = f"#!/bin/sh\ntouch {ground.root}/ran\n"
    config = f"version: 1\nprojects:\n  main:\n    checks: ['touch {ground.root}/ran']\n"
    config += "backends:\n  own:\n    argv: [/bin/sh, tool.sh]\n"
    ground.commit({"orc.yaml": config, "souls/critic.md": critic, "tool.sh": tool})
    assert w.orc(ground.repo, "gate", "feature", "--json", code=1).json()["checks"] == []
    assert "came with a clone" in w.orc(ground.repo, "gate", "feature", "--reviewer", "critic", code=3).err
    assert not (ground.root / "ran").exists()


def test_a_configuration_above_that_is_in_no_repository_is_none(ground: Ground) -> None:
    (ground.root / "orc.yaml").write_text("version: 1\n")
    assert w.orc(ground.repo, "gate", "feature", "--check", "true", code=0).out.startswith("PASS")


def judging_itself(root: Path) -> Path:
    """A workspace whose `main` judges strictly, by a program of its own; checked out is a branch that does not."""
    w.new_workspace(root)
    strict = w.CONFIG.format(merge="ask") + "  own:\n    argv: [python3, tools/review.py]\n"
    strict += "  later:\n    argv: [python3, tools/later.py]\n"
    critic = w.CRITIC.replace("backend: player", "backend: own")
    review = f"{CRITIC}answer['verdict'] = 'REJECT'\nprint(json.dumps(answer))\n"
    for words, config, text in (
        ("strict", strict.replace("test -f README.md", "test ! -f evil.py"), review),
        ("lax", strict.replace("test -f README.md", "true"), review.replace("REJECT", "APPROVED")),
    ):
        (root / "tools").mkdir(exist_ok=True)
        (root / "orc.yaml").write_text(config)
        (root / "tools" / "review.py").write_text(text)
        (root / "souls" / "critic.md").write_text(critic + words)
        (root / "souls" / "later.md").write_text(critic.replace("backend: own", "backend: later"))
        if words == "lax":
            w.git(root, "checkout", "--quiet", "-b", "feature")
            (root / "tools" / "later.py").write_text(text)
            (root / "evil.py").write_text("x = 1\n")
            (root / "souls" / "mine.md").write_text(critic)
        w.git(root, "add", "-A")
        w.git(root, "commit", "--quiet", "-m", words)
    return root


def test_a_branch_that_is_checked_out_does_not_choose_what_it_is_judged_by(tmp_path: Path) -> None:
    root = judging_itself(tmp_path / "work")
    assert w.git(root, "branch", "--show-current") == "feature"
    found = w.orc(root, "gate", "feature", "--json", code=1).json()
    assert (found["verdict"], found["checks"][0]["results"][0]["run"]) == ("CHECKS_FAILED", "test ! -f evil.py")
    assert "The checks are those of the orc.yaml of main." in found["notes"]
    reviewed = w.orc(root, "gate", "feature", "--check", "true", "--reviewer", "critic", "--json", code=4).json()
    assert (reviewed["verdict"], reviewed["review"]["verdict"]) == ("REFUSED", "REJECT")
    assert "souls/ of main" in w.orc(root, "gate", "feature", "--reviewer", "mine", code=3).err
    assert "main has no such file" in w.orc(root, "gate", "feature", "--reviewer", "later", code=1).err
    (root / "orc.yaml").write_text("nonsense: 1\n")
    assert w.orc(root, "gate", "feature", "--json", code=1).json()["verdict"] == "CHECKS_FAILED"
    w.git(root, "commit", "--quiet", "--all", "-m", "nonsense")
    assert "orc.yaml of feature:1: " in w.orc(root, "gate", "main", "--base", "feature", code=6).err


def test_a_configuration_that_git_does_not_keep_is_the_persons_own(tmp_path: Path) -> None:
    root = w.new_repository(tmp_path / "work")
    w.git(root, "checkout", "--quiet", "-b", "feature")
    (root / "code.py").write_text("x = 1\n")
    w.git(root, "add", "code.py")
    w.git(root, "commit", "--quiet", "-m", "code")
    w.git(root, "checkout", "--quiet", "main")
    (root / "orc.yaml").write_text(w.CONFIG.format(merge="ask").replace("test -f README.md", "test -d ."))
    (root / "plays.yaml").write_text(w.GREET)
    (root / "souls").mkdir()
    (root / "souls" / "critic.md").write_text(w.CRITIC)
    (root / ".git" / "orc").mkdir()
    found = w.orc(root, "gate", "feature", "--reviewer", "critic", "--json", code=0).json()
    assert "The checks are those of the orc.yaml of the workspace." in found["notes"]
    assert found["review"]["verdict"] == "APPROVED"


def test_a_file_that_a_reviewers_command_names_is_the_one_of_the_folder_where_you_stand(ground: Ground) -> None:
    ground.branch("other", {"tools/review.py": "print('APPROVED')\n"})
    (ground.repo / "tools").mkdir()
    (ground.repo / "tools" / "review.py").write_text(f"{CRITIC}print(json.dumps(answer))\n")
    found = w.orc(
        ground.repo, "gate", "other", "--reviewer-command", "python3 tools/review.py", "--json", code=0
    ).json()
    assert found["review"]["verdict"] == "APPROVED"


# --- the end of it ---


def waiting_gate(ground: Ground) -> subprocess.Popen[bytes]:
    """A gate whose check has begun and does not end by itself."""
    check = f"echo $$ > {ground.root}/pid; until test -e {ground.root}/go; do sleep 0.1; done"
    argv = w.orc_argv("gate", "feature", "--check", check)
    with w.hearing_signals():
        gate = subprocess.Popen(argv, cwd=ground.repo, env=w.environment(), stderr=subprocess.PIPE)
    w.wait_until(lambda: (ground.root / "pid").is_file() and (ground.root / "pid").read_text().strip())
    return gate


def is_gone(ground: Ground) -> bool:
    try:
        os.kill(int((ground.root / "pid").read_text()), 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_checks_and_leaves_nothing(ground: Ground, number: signal.Signals) -> None:
    gate = waiting_gate(ground)
    gate.send_signal(number)
    assert gate.communicate(timeout=30)[1].splitlines()[-1] == b"interrupted"
    assert gate.returncode == 130
    w.wait_until(lambda: is_gone(ground))
    # Removed in the background: a second Ctrl-C would stop whoever did it in front.
    w.wait_until(lambda: left_overs(ground.root) == [])


def test_after_a_kill_the_repository_is_untouched_and_the_next_gate_clears_up(ground: Ground) -> None:
    before = ground.everything()
    gate = waiting_gate(ground)
    gate.kill()
    gate.communicate(timeout=30)
    assert ground.everything() == before
    # Its run lives on, so its folder stays as long.
    w.orc(ground.repo, "gate", "feature", code=1)
    w.wait_until(lambda: len(left_overs(ground.root)) == 1)
    (killed,) = left_overs(ground.root)
    assert not is_gone(ground)
    (ground.root / "go").touch()

    def is_clear() -> bool:
        w.orc(ground.repo, "gate", "feature", code=1)
        return killed not in left_overs(ground.root)

    w.wait_until(is_clear)
    # Each gate's own folder is removed in the background.
    w.wait_until(lambda: left_overs(ground.root) == [])


def test_json_is_one_object_whatever_the_names_are(ground: Ground) -> None:
    ground.git("git checkout -q -b odd; printf x > \"$(printf 'caf\\351')\"; git add -A; git commit -q -m odd")
    (line,) = w.orc(ground.repo, "gate", "odd", "--json", code=4).out.splitlines()
    assert json.loads(line)["verdict"] == "REFUSED"
