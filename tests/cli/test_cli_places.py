"""Where `orc` can be started: no repository, an empty one, a bare one, a linked worktree, a clone, inside a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cli_world as w
import pytest

from orchestrator.errors import ExitCode


def test_outside_of_a_repository_init_says_what_to_do(tmp_path: Path) -> None:
    done = w.orc(tmp_path, "init", code=ExitCode.NOT_FOUND)
    assert "is not in a git repository" in done.err
    assert "git init" in done.err


def test_a_bare_repository_has_no_place_for_files(tmp_path: Path) -> None:
    w.git(tmp_path, "init", "--quiet", "--bare", "bare.git")
    done = w.orc(tmp_path / "bare.git", "init", code=ExitCode.NOT_FOUND)
    assert "bare repository" in done.err
    assert "git clone" in done.err
    assert "git init" not in done.err


def test_an_empty_repository_is_told_to_commit_first(tmp_path: Path) -> None:
    w.git(tmp_path, "init", "--quiet", "--initial-branch=trunk", "empty")
    root = tmp_path / "empty"
    assert "no commit yet" in w.orc(root, "init", code=0).out
    assert "target: trunk" in (root / "orc.yaml").read_text()
    found = {each["what"]: each for each in w.orc(root, "doctor", "--json", code=1).json()["findings"]}
    assert found["project main"]["health"] == "fail"
    assert "commit something" in found["project main"]["hint"]
    assert w.orc(root, "status", code=0).out.startswith("No open jobs.")


def test_init_is_idempotent_and_overwrites_nothing(tmp_path: Path) -> None:
    root = w.new_repository(tmp_path / "with space")
    (root / "orc.yaml").write_text("# mine\nversion: 1\nprojects: {main: {path: ., target: main}}\n")
    (root / "rules").mkdir()
    first = w.orc(root, "init", "--json", code=0).json()
    assert first["ledger"] == "new"
    assert "orc.yaml" not in first["files"]
    assert not any(name.startswith("rules/") for name in first["files"])
    assert (root / "orc.yaml").read_text().startswith("# mine\n")
    tip, before = w.git(root, "rev-parse", "orc/state"), w.git(root, "status", "--porcelain", "--ignored")
    again = w.orc(root, "init", "--json", code=0).json()
    assert (again["files"], again["ledger"]) == ([], "there")
    assert w.git(root, "rev-parse", "orc/state") == tip
    assert w.git(root, "status", "--porcelain", "--ignored") == before
    assert "nothing was changed" in w.orc(root, "init", code=0).out


def test_a_clone_takes_over_the_ledger_of_its_remote(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "origin")
    id_ = w.submit(root, "prompt: greet\n", name="greet")
    w.git(tmp_path, "clone", "--quiet", str(root), "clone")
    clone = tmp_path / "clone"
    assert w.orc(clone, "init", "--json", code=0).json()["ledger"] == "adopted"
    assert w.git(clone, "rev-parse", "orc/state") == w.git(root, "rev-parse", "orc/state")
    assert [job["id"] for job in w.orc(clone, "status", "--json").json()["jobs"]] == [id_]


def test_a_linked_worktree_sees_the_same_ledger(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "main")
    id_ = w.submit(root, "prompt: greet\n", name="greet")
    w.git(root, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    assert w.orc(tmp_path / "side" / "souls", "show", "greet", code=0).out.startswith(id_)


def test_dash_capital_c_works_as_if_started_there(tmp_path: Path) -> None:
    root = w.new_workspace(tmp_path / "work")
    (root / "job.yaml").write_text("prompt: greet\n")
    id_ = w.orc(tmp_path, "-C", str(root), "submit", "job.yaml", code=0).out.strip()
    assert id_.startswith("job-")
    assert w.orc(tmp_path, "-C", "work/queue", "show", id_, code=0).out.startswith(id_)
    assert w.orc(tmp_path, "-C", "nowhere", "status").code == ExitCode.USAGE


def test_a_folder_that_was_removed_under_the_shell_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = f"import os; os.chdir({str(gone)!r}); os.rmdir({str(gone)!r}); import sys; sys.argv = ['orc', 'status']\n"
    code += f"sys.path.insert(0, {str(w.SOURCE)!r}); from orchestrator.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=w.environment(), capture_output=True, text=True)
    assert done.returncode == ExitCode.FAILED
    assert "does not exist any more" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_repository_of_another_user_is_explained(tmp_path: Path) -> None:
    root = w.new_repository(tmp_path / "theirs")
    for path in (root, root / ".git"):
        os.chown(path, 12345, 12345)
    done = w.orc(root, "init", code=ExitCode.NOT_FOUND)
    assert "safe.directory" in done.err


@pytest.mark.parametrize(
    "args",
    [
        ("init",),
        ("demo",),
        ("run", "--once"),
        ("submit", "job.yaml"),
        ("approve", "greet"),
        ("reject", "greet", "-m", "x"),
        ("answer", "greet", "drop"),
        ("retry", "greet"),
        ("cancel", "greet"),
        ("revert", "greet"),
        ("rules", "build"),
        ("rules", "adopt", "CLAUDE.md"),
    ],
)
def test_inside_a_run_nothing_can_be_changed(tmp_path: Path, args: tuple[str, ...]) -> None:
    done = w.orc(tmp_path, *args, env={"ORC_RUN": "greet-00000000.attempt-1"}, code=ExitCode.REFUSED)
    assert "not possible inside a run (greet-00000000.attempt-1)" in done.err
