"""What the rules of the diff look at, read from real objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from run_helpers import git as run_git

from orchestrator.adapters.gate_facts import find_twins, read_contents, read_diff_facts
from orchestrator.adapters.git import Git
from orchestrator.adapters.git_objects import diff_stat
from orchestrator.adapters.git_refs import tree_of
from orchestrator.core.gate import DiffFacts


def commit(root: Path, files: Mapping[str, str | bytes | None]) -> str:
    """One more commit with these files (None: removed)."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.unlink()
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    run_git("add", "-A", cwd=root)
    run_git("commit", "-q", "-m", "more", cwd=root)
    return run_git("rev-parse", "HEAD", cwd=root)


def facts_of(root: Path, base: str, tip: str, previous: str = "") -> DiffFacts:
    door = Git(root / ".git")
    changes = diff_stat(door, base, tip).changes
    contents = read_contents(door, changes)
    return read_diff_facts(door, base, tip, changes, contents, report="", previous=previous)


def test_what_is_blank_marked_or_hidden_is_seen(repo: Path) -> None:
    base = commit(repo, {"old.js": b"// \0\nx()\n", "wide.cs": "x\n".encode("utf-16")})
    marks = "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"
    tip = commit(
        repo,
        {
            "blank.md": " \n\n",
            "empty.py": "",
            "marked.py": marks,
            "new.js": b"// \0\nalert()\n",
            "old.js": b"// \0\ny()\n",
            "wide.cs": "y\n".encode("utf-16"),
            "logo.png": b"\x89PNG\0",
        },
    )
    found = facts_of(repo, base, tip)
    assert found.empty_files == {"blank.md", "empty.py"}
    assert found.whitespace_only == {"blank.md", "empty.py"}
    assert (set(found.marked), set(found.hidden)) == ({"marked.py"}, {"new.js"})
    assert found.tree == tree_of(Git(repo / ".git"), tip)


@pytest.mark.parametrize(("second", "is_same"), [("x = 1\n\n", True), ("x = 2\n", False), ("x  =  1\n", True)])
def test_work_that_differs_from_the_last_in_white_space_only_is_the_last(
    repo: Path, second: str, is_same: bool
) -> None:
    base = commit(repo, {"a.py": "x = 0\n"})
    first = commit(repo, {"a.py": "x = 1\n"})
    previous = tree_of(Git(repo / ".git"), first)
    assert facts_of(repo, base, commit(repo, {"a.py": second}), previous).is_previous_but_for_space is is_same


def test_a_mode_means_something_where_a_file_can_be_started(repo: Path) -> None:
    files = {"a.py": "x\ny\n", "b.py": "#!/bin/x\ny\n", "c.sh": "x\n", "d": "x\n", "e.py": "x\n", "f.py": "x\n"}
    base = commit(repo, files)
    for name in files:
        (repo / name).chmod(0o755)
    tip = commit(repo, {"a.py": "x\n\ny \n", "f.py": "z\n"})
    assert facts_of(repo, base, tip).whitespace_only == {"a.py", "e.py"}
    assert facts_of(repo, tip, base).whitespace_only == set()


def test_from_where_links_go_up_again_is_looked_at_in_the_tree(repo: Path) -> None:
    base = commit(repo, {"src/deep/a.py": "x\n", "file": "x\n"})
    (repo / "door").symlink_to("src/deep")
    links = ("src/deep/../../file", "door/../../file", "file/../file", "gone/../file", "new/../file", "../outside")
    for number, target in enumerate(links):
        (repo / f"link-{number}").symlink_to(target)
    tip = commit(repo, {"new/b.py": "x\n"})
    assert facts_of(repo, base, tip).folders == {"src/deep", "src", "new"}
    assert facts_of(repo, base, commit(repo, {"file": "y\n", "door": None})).folders == {"src/deep", "src", "new"}


def test_a_new_text_of_sentences_at_the_top_is_a_note(repo: Path) -> None:
    prose = "First I will look at the sum. Then I will round it.\n"
    base = commit(repo, {"old.txt": "One two three.\n"})
    names = ("notes", "plan.txt", "texts/greeting.txt", "notes.py", "notes.json")
    tip = commit(repo, {**dict.fromkeys(names, prose), "old.txt": prose, "words.txt": "one\ntwo\n"})
    assert facts_of(repo, base, tip).notes == {"notes", "plan.txt"}


def test_what_nothing_keeps_any_more_is_not_compared(repo: Path) -> None:
    base = commit(repo, {"a.py": "x = 0\n"})
    assert not facts_of(repo, base, commit(repo, {"a.py": "x = 1\n"}), "f" * 40).is_previous_but_for_space


def test_names_that_differ_in_capitals_only_are_twins_unless_they_were_there(repo: Path) -> None:
    base = commit(repo, {"src/app.py": "x\n", "Docs/a.md": "a\n", "docs/b.md": "b\n", "caf\u00e9.md": "c\n"})
    door = Git(repo / ".git")
    assert find_twins(door, base, ["src/App.py", "src/other.py"]) == {"src/App.py"}
    assert find_twins(door, base, ["SRC/new.py"]) == {"SRC/new.py"}
    assert find_twins(door, base, ["docs/c.md", "Docs/d.md"]) == set()
    assert find_twins(door, base, ["one/a.py", "one/A.py"]) == {"one/a.py", "one/A.py"}
    assert find_twins(door, base, ["cafe\u0301.md"]) == {"cafe\u0301.md"}
    assert find_twins(door, base, []) == set()
