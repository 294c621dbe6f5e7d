"""The tools that a model works with: what they do, and what they refuse however they are called."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from run_helpers import is_alive, wait_until

from orchestrator.adapters.backends import tree_tools
from orchestrator.adapters.backends.tree_tool_list import READ_BYTES
from orchestrator.adapters.backends.tree_tools import TreeTools

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with two files and a .git, in a folder with a secret."""
    (tmp_path / "secret.txt").write_text("nobody may see this\n")
    tree = tmp_path / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / ".git" / "hooks").mkdir(parents=True)
    (tree / ".git" / "config").write_text("[core] needle\n")
    (tree / "README").write_text("one\ntwo\nthree\n")
    (tree / "src" / "main.py").write_text("x = 1\ny = 2\nneedle = 3\n")
    return tree


@pytest.fixture
def tools(tree: Path) -> TreeTools:
    return TreeTools(tree, {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"})


def good(tools: TreeTools, name: str, **arguments: Any) -> str:
    """The text of a call that must succeed."""
    result = tools.run(name, arguments)
    assert not result.is_error, result.text
    return result.text


def bad(tools: TreeTools, name: str, arguments: object = None, **more: Any) -> str:
    """The text of a call that must fail."""
    result = tools.run(name, more if arguments is None else arguments)
    assert result.is_error, result.text
    return result.text


# --- read ---


def test_read_numbers_the_lines(tools: TreeTools, tree: Path) -> None:
    assert good(tools, "read", path="README") == "1\tone\n2\ttwo\n3\tthree"
    assert (
        good(tools, "read", path=str(tree / "README"), offset=2, limit=1) == "2\ttwo\n[the file goes on: use offset 3]"
    )


def test_what_read_leaves_out_can_be_read_on(tools: TreeTools, tree: Path) -> None:
    (tree / "long").write_text("".join(f"line {number} {'x' * 100}\n" for number in range(1, 3001)))
    seen, offset = [], 1
    for _ in range(100):
        text = good(tools, "read", path="long", offset=offset)
        assert len(text) < READ_BYTES * 1.2
        *lines, last = text.split("\n")
        if not last.startswith("[the file goes on: use offset "):
            seen += [*lines, last]
            break
        seen += lines
        offset = int(last.split()[-1].rstrip("]"))
    assert [int(line.split("\t")[0]) for line in seen] == list(range(1, 3001))


def test_a_line_without_end_is_cut(tools: TreeTools, tree: Path) -> None:
    (tree / "wide").write_text("a" * 1_000_000 + "\nlast\n")
    text = good(tools, "read", path="wide")
    assert len(text) < 3000
    assert text.endswith("[line cut]\n2\tlast")


def test_read_says_what_is_not_text(tools: TreeTools, tree: Path) -> None:
    (tree / "empty").write_bytes(b"")
    (tree / "image").write_bytes(b"\x89PNG\0\0")
    (tree / "latin").write_bytes(b"caf\xe9\n")
    assert good(tools, "read", path="empty") == "[empty is empty]"
    assert "only 3 lines" in good(tools, "read", path="README", offset=9)
    assert "binary" in bad(tools, "read", path="image")
    assert "folder" in bad(tools, "read", path="src")
    assert "does not exist" in bad(tools, "read", path="src/none.py")
    assert good(tools, "read", path="latin") == "1\tcaf\ufffd"


# --- where paths may lead ---


def test_files_of_skills_are_read_by_their_whole_path_and_nothing_is_written_there(tree: Path) -> None:
    skills = tree.parent / "run" / "skills"
    (skills / "tidy").mkdir(parents=True)
    (skills / "tidy" / "SKILL.md").write_text("Sweep.\n")
    (skills / "tidy" / "out").symlink_to(tree.parent / "secret.txt")
    tools = TreeTools(tree, {"PATH": os.environ["PATH"]}, skills=skills)
    assert good(tools, "read", path=str(skills / "tidy" / "SKILL.md")) == "1\tSweep."
    assert good(tools, "read", path="README").startswith("1\tone")
    for path in (skills / "tidy" / "out", skills / ".." / ".." / "secret.txt", tree.parent / "secret.txt"):
        assert "nobody" not in bad(tools, "read", path=str(path))
    assert "outside" in bad(tools, "write", path=str(skills / "tidy" / "SKILL.md"), content="x")


@pytest.mark.parametrize(
    "path", ["../secret.txt", "src/../../secret.txt", "/etc/passwd", "/dev/zero", "", "a\0b", "x" * 5000, "\ud800"]
)
def test_a_path_outside_is_refused(tools: TreeTools, path: str) -> None:
    for name, more in (("read", {}), ("write", {"content": "x"}), ("edit", {"old": "a", "new": "b"})):
        assert "nobody may see" not in bad(tools, name, {"path": path, **more})


def test_a_folder_beside_the_tree_with_its_name_in_front_is_outside(tools: TreeTools, tree: Path) -> None:
    beside = tree.parent / "tree-2"
    beside.mkdir()
    assert "outside" in bad(tools, "write", path=str(beside / "x"), content="x")
    assert list(beside.iterdir()) == []


def test_no_link_leads_out(tools: TreeTools, tree: Path) -> None:
    (tree / "file").symlink_to(tree.parent / "secret.txt")
    (tree / "folder").symlink_to(tree.parent)
    (tree / "new").symlink_to(tree.parent / "new.txt")
    for path in ("file", "folder/secret.txt"):
        assert "outside" in bad(tools, "read", path=path)
        assert "outside" in bad(tools, "write", path=path, content="x")
        assert "outside" in bad(tools, "edit", path=path, old="nobody", new="all")
    assert "outside" in bad(tools, "write", path="new", content="x")
    assert "outside" in bad(tools, "glob", pattern="*", path="folder")
    assert "outside" in bad(tools, "grep", pattern="nobody", path="folder")
    assert good(tools, "grep", pattern="nobody may") == "Nothing matches."
    assert "secret" not in good(tools, "glob", pattern="**")
    assert (tree.parent / "secret.txt").read_text() == "nobody may see this\n"
    assert not (tree.parent / "new.txt").exists()


def test_a_link_inside_the_tree_is_followed_and_stays_one(tools: TreeTools, tree: Path) -> None:
    (tree / "inner").symlink_to("src")
    assert "needle" in good(tools, "read", path="inner/main.py")
    good(tools, "write", path="inner/main.py", content="z\n")
    assert (tree / "src" / "main.py").read_text() == "z\n"
    assert (tree / "inner").is_symlink()


def test_what_is_no_plain_file_is_not_touched(tools: TreeTools, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    (tree / "device").symlink_to("/dev/zero")
    for path in ("pipe", "device"):
        bad(tools, "read", path=path)
        bad(tools, "write", path=path, content="x")
        bad(tools, "grep", pattern="x", path=path)
    assert good(tools, "grep", pattern="^one$") == "README:1:one"


@pytest.mark.parametrize("path", [".git/config", ".git", ".GIT/hooks/pre-commit", "src/.git/hooks/x", "link/hooks/x"])
def test_nothing_is_written_into_git(tools: TreeTools, tree: Path, path: str) -> None:
    (tree / "link").symlink_to(".git")
    assert "belongs to Git" in bad(tools, "write", path=path, content="x")
    assert (tree / ".git" / "config").read_text() == "[core] needle\n"
    assert list((tree / ".git" / "hooks").iterdir()) == []


# --- write and edit ---


def test_write_makes_folders_and_keeps_the_mode_of_what_it_replaces(tools: TreeTools, tree: Path) -> None:
    assert "Created" in good(tools, "write", path="a/b/c.txt", content="für alle\n")
    assert (tree / "a" / "b" / "c.txt").read_bytes() == "für alle\n".encode()
    (tree / "run.sh").write_text("old")
    (tree / "run.sh").chmod(0o755)
    assert "Replaced" in good(tools, "write", path="run.sh", content="new")
    assert (tree / "run.sh").read_text() == "new"
    assert os.stat(tree / "run.sh").st_mode & 0o777 == 0o755
    assert "folder" in bad(tools, "write", path="src", content="x")
    assert bad(tools, "write", path="README/x", content="x")
    assert "surrogate" in bad(tools, "write", path="x", content="\ud800")
    assert {entry.name for entry in tree.iterdir()} == {".git", "README", "a", "run.sh", "src"}


def test_a_hard_link_is_cut_and_not_written_through(tools: TreeTools, tree: Path) -> None:
    os.link(tree.parent / "secret.txt", tree / "twin")
    good(tools, "write", path="twin", content="mine\n")
    assert (tree.parent / "secret.txt").read_text() == "nobody may see this\n"


def test_edit_replaces_what_is_there_exactly_once(tools: TreeTools, tree: Path) -> None:
    assert good(tools, "edit", path="src/main.py", old="y = 2", new="y = 20") == "Changed src/main.py at line 2."
    assert (tree / "src" / "main.py").read_text() == "x = 1\ny = 20\nneedle = 3\n"
    assert "more than once" in bad(tools, "edit", path="src/main.py", old=" = ", new="=")
    assert "not in" in bad(tools, "edit", path="src/main.py", old="z = 9", new="")
    assert "empty" in bad(tools, "edit", path="src/main.py", old="", new="x")
    assert "the same" in bad(tools, "edit", path="src/main.py", old="x", new="x")
    assert "does not exist" in bad(tools, "edit", path="none", old="x", new="y")
    assert (tree / "src" / "main.py").read_text() == "x = 1\ny = 20\nneedle = 3\n"


def test_an_overlapping_match_is_not_unique(tools: TreeTools, tree: Path) -> None:
    (tree / "a").write_text("aaa")
    assert "more than once" in bad(tools, "edit", path="a", old="aa", new="b")


def test_edit_keeps_carriage_returns_and_bytes_that_are_no_text(tools: TreeTools, tree: Path) -> None:
    (tree / "dos").write_bytes(b"caf\xe9\r\none\r\ntwo\r\n")
    good(tools, "edit", path="dos", old="one\ntwo", new="1\n2")
    assert (tree / "dos").read_bytes() == b"caf\xe9\r\n1\r\n2\r\n"


def test_without_leave_to_write_there_is_nothing_that_writes(tree: Path) -> None:
    tools = TreeTools(tree, dict(os.environ), read_only=True)
    assert [tool.name for tool in tools.tools()] == ["read", "glob", "grep", "bash"]
    assert "no tool 'write'" in bad(tools, "write", path="x", content="x")
    assert "no tool 'edit'" in bad(tools, "edit", path="README", old="one", new="1")
    assert "one" in good(tools, "bash", command="cat README")
    assert (tree / "README").read_text() == "one\ntwo\nthree\n"


# --- glob and grep ---


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*", ["README"]),
        ("**", ["README", "src/.hidden/deep.py", "src/main.py"]),
        ("**/*.py", ["src/.hidden/deep.py", "src/main.py"]),
        ("src/*.py", ["src/main.py"]),
        ("src/**/*.py", ["src/.hidden/deep.py", "src/main.py"]),
        ("./src/m?in.[pq]y", ["src/main.py"]),
        ("**/**/**/main.py", ["src/main.py"]),
        ("*.txt", ["No file matches."]),
    ],
)
def test_glob_finds_files(tools: TreeTools, tree: Path, pattern: str, found: list[str]) -> None:
    (tree / "src" / ".hidden").mkdir()
    (tree / "src" / ".hidden" / "deep.py").write_text("")
    assert good(tools, "glob", pattern=pattern).split("\n") == found


def test_glob_below_a_folder_gives_paths_that_can_be_read(tools: TreeTools) -> None:
    assert good(tools, "glob", pattern="*.py", path="src") == "src/main.py"


def test_glob_is_bounded(tools: TreeTools, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(tree_tools.GLOB_RESULTS + 20):
        (tree / "src" / f"f{number}").touch()
    lines = good(tools, "glob", pattern="**").split("\n")
    assert len(lines) == tree_tools.GLOB_RESULTS + 1
    assert "narrower" in lines[-1]
    monkeypatch.setattr(tree_tools, "LOOK_SECONDS", -1)
    assert "stopped after" in good(tools, "glob", pattern="**")


def test_a_pattern_made_to_be_slow_is_not(tools: TreeTools, tree: Path) -> None:
    (tree / ("a" * 250)).touch()
    began = time.monotonic()
    assert good(tools, "glob", pattern="a*" * 40 + "b") == "No file matches."
    assert good(tools, "glob", pattern="**/" * 100 + "b") == "No file matches."
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("pattern", ["", "/etc/*", "../*", "a\0", "x" * 2000])
def test_a_pattern_that_leads_out_is_refused(tools: TreeTools, pattern: str) -> None:
    assert "`pattern`" in bad(tools, "glob", pattern=pattern)


def test_grep_finds_lines_and_leaves_git_out(tools: TreeTools) -> None:
    assert good(tools, "grep", pattern="needle|two") == "README:2:two\nsrc/main.py:3:needle = 3"
    assert good(tools, "grep", pattern="needle|two", include="*.py") == "src/main.py:3:needle = 3"
    assert good(tools, "grep", pattern="^x", path="src/main.py") == "src/main.py:1:x = 1"
    assert good(tools, "grep", pattern="-e") == "Nothing matches."
    assert good(tools, "grep", pattern="nowhere") == "Nothing matches."
    assert "regular expression" in bad(tools, "grep", pattern="(")
    assert "does not exist" in bad(tools, "grep", pattern="x", path="none")


def test_grep_is_bounded(tools: TreeTools, tree: Path) -> None:
    (tree / "many").write_text("needle\n" * 100_000)
    (tree / "wide").write_text("pin" + "x" * 100_000 + "\n")
    lines = good(tools, "grep", pattern="needle").split("\n")
    assert len(lines) == tree_tools.GREP_LINES + 1
    assert "narrower" in lines[-1]
    assert len(good(tools, "grep", pattern="pin")) == tree_tools.GREP_LINE_CHARS


# --- bash ---


def test_bash_tells_the_exit_code_and_both_outputs(tools: TreeTools, tree: Path) -> None:
    text = good(tools, "bash", command="pwd -P; echo wrong >&2; exit 3")
    assert text.startswith("[exit code 3, ")
    assert text.split("\n")[1:] == [os.path.realpath(tree), "wrong", ""]
    assert good(tools, "bash", command="kill -9 $$").startswith("[signal 9, ")
    assert "reads nothing" in good(tools, "bash", command="cat; echo reads nothing")


def test_the_middle_of_a_long_output_is_left_out(tools: TreeTools) -> None:
    text = good(tools, "bash", command="echo first; yes | head -c 5000000; echo last")
    assert len(text) < tree_tools.OUTPUT_BYTES + 300
    assert "\nfirst\n" in text
    assert text.endswith("last\n")
    assert f"[{5_000_000 + len('firstlast') + 2 - tree_tools.OUTPUT_BYTES} bytes are left out here" in text


def test_output_of_just_the_size_that_is_kept_is_whole(tools: TreeTools) -> None:
    text = good(tools, "bash", command=f"head -c {tree_tools.OUTPUT_BYTES} /dev/zero | tr '\\0' x; ")
    assert text.count("x") == tree_tools.OUTPUT_BYTES + text.split("\n")[0].count("x")
    assert "left out" not in text


@linux_only
def test_a_command_that_runs_too_long_is_ended_with_all_it_started(tools: TreeTools, tree: Path) -> None:
    began = time.monotonic()
    text = bad(
        tools,
        "bash",
        command="setsid sleep 100 & echo $! > pid; sleep 100 & echo $! >> pid; echo begun; wait",
        timeout_s=1,
    )
    assert time.monotonic() - began < 15
    assert "longer than 1 s" in text
    assert "begun" in text
    pids = [int(line) for line in (tree / "pid").read_text().split()]
    assert len(pids) == 2
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def test_what_goes_on_in_the_background_is_not_waited_for(tools: TreeTools, tree: Path) -> None:
    began = time.monotonic()
    assert "done" in good(tools, "bash", command="sleep 30 & echo $! > pid; echo done", timeout_s=20)
    assert time.monotonic() - began < 10
    os.kill(int((tree / "pid").read_text()), 9)


def test_a_flood_from_the_background_does_not_hide_that_the_command_ended(tools: TreeTools, tree: Path) -> None:
    assert good(tools, "bash", command="yes & echo $! > pid; exit 4", timeout_s=20).startswith("[exit code 4,")
    pid = int((tree / "pid").read_text())
    wait_until(lambda: not is_alive(pid))  # Its pipe is closed.


def test_a_run_that_waits_for_a_command_can_say_so(tree: Path) -> None:
    said: list[int] = []
    tools = TreeTools(tree, dict(os.environ), wait=lambda: said.append(1))
    good(tools, "bash", command="sleep 0.5")
    assert len(said) >= 3


@pytest.mark.parametrize("timeout", [0, -1, 601, float("inf")])
def test_a_time_out_is_bounded(tools: TreeTools, timeout: float) -> None:
    assert "`timeout_s`" in bad(tools, "bash", command="true", timeout_s=timeout)


# --- calls that a model gets wrong ---


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("delete", {}, "There is no tool 'delete' here. There are: read, write, edit, glob, grep, bash."),
        ("read", {}, "needs the argument `path`"),
        ("read", {"path": None}, "needs the argument `path`"),
        ("read", {"path": 3}, "`path` of read must be a text"),
        ("read", {"path": ["README"]}, "must be a text"),
        ("read", {"path": "README", "offset": "1"}, "must be a whole number"),
        ("read", {"path": "README", "offset": True}, "must be a whole number"),
        ("read", {"path": "README", "limit": 0}, "from 1"),
        ("read", {"file_path": "README"}, "no argument 'file_path'. It takes: path, offset, limit"),
        ("read", "README", "must be an object"),
        ("read", None, "must be an object"),
        ("bash", {"command": " "}, "line of shell"),
        ("bash", {"command": "true", "timeout_s": float("nan")}, "must be a number"),
        ("__init__", {}, "There is no tool"),
    ],
)
def test_a_wrong_call_says_how_to_put_it_right(
    tools: TreeTools, name: str, arguments: Mapping[str, Any] | str | None, told: str
) -> None:
    result = tools.run(name, arguments)
    assert result.is_error
    assert told in result.text


def test_an_argument_that_is_null_counts_as_left_out(tools: TreeTools) -> None:
    assert good(tools, "read", path="README", offset=None).startswith("1\tone")


def test_names_that_are_no_text_can_be_told(tools: TreeTools, tree: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tree) + b"/b\xff"))).write_text("pin\n")
    assert good(tools, "glob", pattern="b*").encode()
    assert good(tools, "grep", pattern="pin").encode()
