"""What real packages hold beside plain text: other encodings and line ends, modes, links, names with spaces."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from engine_world import World, attempt, git

from orchestrator.adapters.audit import audit
from orchestrator.core.job import State
from orchestrator.core.review_record import Verdict

AUTHOR = """\
printf 'caf\\351\\r\\nnoir\\r\\n' > 'my menu.txt'
chmod +x tool.sh
ln -sfn 'my menu.txt' menu
mkdir 'größer "1"'
mv plain.txt 'größer "1"/a\\b.txt'
rm folder/old
rmdir folder
ln -s README.md folder
"""
REVIEWER = """\
import json, os, subprocess, sys, tempfile
facts = json.load(open(os.environ["ORC_FACTS"]))
before = tempfile.mkdtemp()
subprocess.run(["cp", "-a", ".", before], check=True)
subprocess.run(["chmod", "-R", "u+w", before], check=True)
subprocess.run(["git", "apply", "--reverse", facts["diff"]], cwd=before, check=True,
               env={**os.environ, "GIT_CEILING_DIRECTORIES": os.path.dirname(before)})
was = open(os.path.join(before, "my menu.txt"), "rb").read()
verdict = {key: facts[key] for key in ("nonce", "job", "commit", "files")}
verdict["verdict"], verdict["findings"] = ("APPROVED", []) if was == b"caf\\xe9\\r\\n" else ("REJECT", [])
verdict["items"] = [{"id": i["id"], "pass": True, "evidence": "taken back"} for i in facts["items"]]
print(json.dumps(verdict))
"""


def made_of_odd_files(repo: Path) -> World:
    """A repository with such files, an author that changes them all, and a reviewer that takes its patch back."""
    (repo / "my menu.txt").write_bytes(b"caf\xe9\r\n")
    (repo / "tool.sh").write_text("#!/bin/sh\n")
    (repo / "menu").symlink_to("README.md")
    (repo / "plain.txt").write_text("plain\n" * 9)
    (repo / "folder").mkdir()
    (repo / "folder/old").write_text("old\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "odd files")
    world = World(repo, souls={})
    backends = {
        "author": {"argv": ["sh", "-ec", AUTHOR], "family": "shell"},
        "reviewer": {"argv": ["python3", "-c", REVIEWER], "family": "python"},
    }
    world.config = {"backends": backends}
    (repo / "souls").mkdir()
    (repo / "souls/author.md").write_text("---\nbackend: author\nroles: [work]\n---\nYou change.\n")
    (repo / "souls/reviewer.md").write_text("---\nbackend: reviewer\nroles: [review]\n---\nYou take back.\n")
    return world.set_up()


@pytest.mark.timeout(120)
def test_odd_files_go_the_whole_way_byte_for_byte_and_a_reviewer_can_take_the_patch_back(repo: Path) -> None:
    world = made_of_odd_files(repo)
    world.drop("odd.yaml", "prompt: change\nkind: ops\n")
    world.run(timeout_s=100)
    assert world.records("odd")["review-1"].verdict is Verdict.APPROVED
    assert world.state("odd") is State.DONE
    shown = subprocess.run(["git", "-C", str(repo), "show", "main:my menu.txt"], check=True, capture_output=True)
    assert shown.stdout == b"caf\xe9\r\nnoir\r\n"
    listed = git(repo, "-c", "core.quotePath=false", "ls-tree", "-r", "-z", "main").split("\0")
    modes = {line.partition("\t")[2]: line[:6] for line in listed if line}
    assert [modes[name] for name in ("tool.sh", "menu", "folder")] == ["100755", "120000", "120000"]
    assert 'größer "1"/a\\b.txt' in modes
    assert (repo / "my menu.txt").read_bytes() == b"caf\xe9\r\nnoir\r\n"
    assert git(repo, "status", "--porcelain", "--untracked-files=no") == ""
    assert audit(repo / ".git", {"main": repo / ".git"}).lies == ()


def test_refs_that_a_person_keeps_from_others_are_not_kept_from_orc(world: World) -> None:
    world.plays = [attempt(write={"code.py": "print('new')\n"})]
    world.set_up()
    for key in ("transfer.hideRefs", "uploadpack.hideRefs", "receive.hideRefs"):
        git(world.root, "config", key, "refs")
    world.drop("greet.yaml", "prompt: greet\n")
    world.run()
    assert world.state("greet") is State.DONE
    assert world.show("code.py") == "print('new')"
