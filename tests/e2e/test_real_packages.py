"""The how-to about real packages is followed to the letter: its commands on a terminal, its files, its output."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import pwd
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.adapters.config_file import parse_config
from orchestrator.adapters.strict_yaml import load_mapping

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs/how-to/real-packages.md"
RECIPE = PAGE.with_suffix("")
JUDGE = RECIPE / "agents/judge"
PACKAGES = ("zope_event", "toolz", "docutils")

INSTALL_ORC = "~/.venvs/orc/bin/python -m pip install .\n"
"""The one line that is not run: orc is the one under test, and its dependencies are here already."""
PROMPT = "[y/N]: "
MARK = "== block "
PATIENCE_S = 420

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


def sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each section of the page: its heading, and its blocks as (language, text)."""
    parts = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.M)[1:]
    return [
        (part.partition("\n")[0], [(found["language"], found["text"]) for found in _FENCED.finditer(part)])
        for part in parts
    ]


@dataclass(frozen=True)
class Package:
    """A package that the page made a workspace of."""

    folder: Path

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def steps(self, job: str) -> str:
        """What the ledger says of a job, newest first."""
        return self.git("log", "--format=%s", f"--grep=^Job: {job}-[0-9a-f]*$", "orc/state")

    def modes(self, commit: str) -> dict[str, str]:
        """The mode of every file of a commit."""
        lines = self.git("ls-tree", "-r", "-z", commit).split("\0")[:-1]
        return {line.partition("\t")[2]: line.partition(" ")[0] for line in lines}


@dataclass
class Followed:
    """What the terminal showed, by section, and what is left on the disk."""

    code: int
    home: Path
    shown: dict[str, str] = field(default_factory=dict)
    questions: int = 0

    def package(self, name: str) -> Package:
        (folder,) = [each for each in (self.home / "orc-trial").glob(f"{name}-*") if each.is_dir()]
        return Package(folder)


def plain(text: str) -> str:
    """Without colours, and with what differs each time replaced: ids, times."""
    text = re.sub(r"(?<=[a-z])-[0-9a-f]{8}\b", "-ID", _ANSI.sub("", text))
    return re.sub(r"\b\d+\.\d+s\b", "TIME", text)


def script() -> str:
    """Every command of the page in one shell, as a newcomer types them, with marks between the sections."""
    lines = ["set -eu"]
    for heading, found in sections():
        lines.append(f"printf '%s\\n' {shlex.quote(MARK + heading)}")
        lines += [text for language, text in found if language == "sh"]
    text = "\n".join(lines)
    wrapper = f'#!/bin/sh\nPYTHONPATH="{PROJECT}" exec "{sys.executable}" -m orchestrator "$@"\n'
    place = f"cat > ~/.venvs/orc/bin/orc <<'END'\n{wrapper}END\nchmod +x ~/.venvs/orc/bin/orc\n"
    assert text.count(INSTALL_ORC) == 1
    return text.replace(INSTALL_ORC, place)


def environment(home: Path) -> dict[str, str]:
    """The person's own, with another home. pip keeps finding the index that it is set up for in the real one."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "ORC_", "PYTHON"))}
    env |= {"HOME": str(home), "TERM": "xterm", "GIT_CONFIG_NOSYSTEM": "1", "PIP_RETRIES": "1"}
    real = Path(pwd.getpwuid(os.getuid()).pw_dir)
    for place in (real / ".config/pip/pip.conf", real / ".pip/pip.conf"):
        if place.is_file():
            env.setdefault("PIP_CONFIG_FILE", str(place))
    return env


def require_index(followed: Followed) -> None:
    """Skip, loudly, where pip reached no index. A page that names a version that is not there fails nevertheless."""
    if followed.code and "(from versions: none)" in "".join(followed.shown.values()):
        pytest.skip(
            "THE HOW-TO ABOUT REAL PACKAGES WAS NOT FOLLOWED: pip reaches no package index here. To enable it set "
            "PIP_INDEX_URL (or a pip.conf) so that `python -m pip download --no-deps toolz` works, then run "
            "`pytest tests/e2e/test_real_packages.py`."
        )


def follow(home: Path) -> Followed:
    """Type the whole page into a shell on a terminal, and answer `y` whenever orc asks."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    shell = subprocess.Popen(
        ["sh", "-c", script()], cwd=PROJECT, env=environment(home),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        shown, questions = converse(ours)
    finally:
        if not ended(shell):
            os.killpg(shell.pid, signal.SIGKILL)
        code = shell.wait()
        os.close(ours)
    parts = (part.partition("\n") for part in plain(shown).split(MARK)[1:])
    return Followed(code, home, {heading: text for heading, _, text in parts}, questions)


def converse(terminal: int) -> tuple[str, int]:
    """All that the terminal shows until nobody holds it any more, and how many questions were answered."""
    seen, answered, until = b"", 0, time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # How Linux says that the other end is closed.
            break
        if not data:
            break
        seen += data
        if seen.count(PROMPT.encode()) > answered:
            answered += 1
            os.write(terminal, b"y\n")
    return seen.decode("utf-8", "replace"), answered


def ended(shell: subprocess.Popen[bytes]) -> bool:
    """Whether the shell is gone; it has a moment left after it let go of the terminal."""
    try:
        shell.wait(timeout=10)
    except subprocess.TimeoutExpired:
        return False
    return True


# --- the recipe itself ---


def test_the_page_shows_what_comes_with_it() -> None:
    page = PAGE.read_text("utf-8")
    for name in ("zope_event/orc.yaml", "docutils/criteria/code.yaml"):
        assert f"\n{(RECIPE / name).read_text('utf-8')}```\n" in page, name
    shown = [text for _, found in sections() for language, text in found if not language]
    for name, start in (("toolz", "backends:\n"), ("docutils", "review:\n")):
        config = (RECIPE / name / "orc.yaml").read_text("utf-8")
        assert any(text.startswith(start) and text in config for text in shown), name
    assert str(asked("toolz")["question"]) in " ".join(page.split())
    assert os.access(JUDGE, os.X_OK)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_agent_of_the_recipe_has_its_program(name: str) -> None:
    config = parse_config((RECIPE / name / "orc.yaml").read_bytes())
    named = [re.search(r"^backend: (.+)$", soul.read_text("utf-8"), re.M) for soul in (RECIPE / name).glob("souls/*")]
    assert {found and found[1] for found in named} == set(config.backends)


MODULE = b"import os\n\n\ndef one(a, *, b=1):\n    assert a\n    return os.sep\n"


@pytest.mark.parametrize(
    ("package", "before", "after", "verdict"),
    [
        ("docutils", b"x = 'a'\n", b'x = "a"\n', "APPROVED"),
        ("docutils", b"x = 'a'\n", b"x = 'b'\n", "REVISE"),
        ("docutils", b"x = 'a'\n", b"x = (\n", "REVISE"),
        ("docutils", b"x='a'\r\ny=1\r\n", b"x = 'a'\r\ny = 1\r\n", "APPROVED"),
        ("docutils", b"# coding: latin-1\n# \xe9\nx='a'\n", b"# coding: latin-1\n# \xe9\nx = 'a'\n", "APPROVED"),
        ("toolz", MODULE, MODULE.replace(b"return os.sep", b"return os.curdir"), "APPROVED"),
        ("toolz", MODULE, MODULE.replace(b"    assert a\n", b""), "REVISE"),
        ("toolz", MODULE, MODULE.replace(b"b=1", b"b=2"), "REVISE"),
        ("toolz", MODULE, MODULE.replace(b"import os", b"import os, sys"), "REVISE"),
        ("zope_event", MODULE, MODULE.replace(b"b=1", b"b=2"), "REVISE"),
    ],
)
def test_the_judge_answers_from_both_sides(
    tmp_path: Path, package: str, before: bytes, after: bytes, verdict: str
) -> None:
    judged = review(tmp_path, package, {"a.py": before}, {"a.py": after})
    assert f'"verdict": "{verdict}"' in judged.stdout, judged.stderr


@pytest.mark.parametrize(
    ("stub", "verdict"),
    [
        (b"def one(a: int, *, b: int = 1) -> str: ...\n", "APPROVED"),
        (b"def one(a: int) -> str: ...\n", "REVISE"),
        (b"def two(a: int, *, b: int = 1) -> str: ...\n", "REVISE"),
    ],
)
def test_the_judge_holds_a_stub_against_its_module(tmp_path: Path, stub: bytes, verdict: str) -> None:
    judged = review(tmp_path, "zope_event", {"a.py": MODULE}, {"a.py": MODULE, "a.pyi": stub})
    assert f'"verdict": "{verdict}"' in judged.stdout, judged.stderr


def test_the_judge_gives_no_answer_when_the_patch_does_not_fit(tmp_path: Path) -> None:
    judged = review(tmp_path, "docutils", {"a.py": b"x = 'a'\n"}, {"a.py": b"x = 'b'\n"}, patch=b"")
    assert judged.stdout == ""
    assert judged.returncode != 0


def asked(package: str) -> dict[str, object]:
    """The one question of a package's criteria."""
    (item,) = load_mapping((RECIPE / package / "criteria/code.yaml").read_bytes()).value["items"]
    return dict(item)


def review(
    folder: Path, package: str, before: dict[str, bytes], after: dict[str, bytes], *, patch: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    """The judge's verdict on a change, with the question that is asked about a package."""
    for place, files in (("old", before), ("new", after)):
        (folder / place).mkdir()
        for name, data in files.items():
            (folder / place / name).write_bytes(data)
    made = subprocess.run(
        ["git", "diff", "--no-index", "--text", "old", "new"], cwd=folder, capture_output=True, check=False
    )
    diff = made.stdout.replace(b"a/old/", b"a/").replace(b"b/new/", b"b/").replace(b"a/new/", b"a/")
    (folder / "diff").write_bytes(diff if patch is None else patch)
    changed = [name for name, data in after.items() if before.get(name) != data]
    told = {"nonce": "n", "job": "j", "commit": "c", "files": changed, "items": [asked(package)]}
    (folder / "facts.json").write_text(json.dumps({**told, "diff": str(folder / "diff")}))
    return subprocess.run(
        [sys.executable, str(JUDGE)], cwd=folder / "new", capture_output=True, text=True,
        env={**os.environ, "ORC_FACTS": str(folder / "facts.json"), "TMPDIR": str(folder)}, check=False,
    )  # fmt: skip


# --- followed to the letter ---


@pytest.mark.slow
@pytest.mark.timeout(PATIENCE_S + 30)
def test_the_page_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    home = tmp_path / "newcomer"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada Lovelace\n\temail = ada@example.invalid\n")
    followed = follow(home)
    require_index(followed)
    assert followed.code == 0, "\n".join(followed.shown.values())[-6000:]
    assert followed.questions == 4
    assert not_printed(followed) == []
    assert_doctor_is_content(followed)
    assert_merged_and_taken_back(followed.package("zope_event"), "Write stubs for zope.event", "2 files changed")
    assert_merged_and_taken_back(followed.package("toolz"), "Take what the linter can mend", "7 files changed")
    assert_merged_and_taken_back(followed.package("docutils"), "Format docutils with ruff", "340 files changed")
    assert_refused_by_its_own_tests(followed.package("toolz"))
    assert_odd_files_came_through(followed.package("docutils"))


def not_printed(followed: Followed) -> list[str]:
    """Lines that the page says are printed and that no command of their section printed."""
    told = [
        (heading, line)
        for heading, found in sections()
        for language, text in found
        if language == "text"
        for line in plain(text).splitlines()
    ]
    assert len(told) >= 15
    return [line for heading, line in told if line not in followed.shown[heading]]


def assert_doctor_is_content(followed: Followed) -> None:
    lines = "\n".join(followed.shown.values()).splitlines()
    assert len([line for line in lines if line.startswith("ok    project main")]) == len(PACKAGES)
    assert [line for line in lines if re.match(r"(warn|fail)\b", line)] == []


def assert_merged_and_taken_back(package: Package, title: str, size: str) -> None:
    subjects = package.git("log", "--first-parent", "--format=%s", "main").splitlines()
    assert subjects[:3] == [f"Revert '{title}'", title, "A workspace for orc"]
    merge = package.git("log", "-1", "--format=%B", "main~1")
    assert "Orc-Tests: passed" in merge
    assert "Orc-Approved-By: human:Ada Lovelace" in merge
    assert size in package.git("diff", "--shortstat", "main~2", "main~1")
    assert package.git("diff", "main~2", "main") == ""
    assert package.git("status", "--porcelain") == ""


def assert_refused_by_its_own_tests(package: Package) -> None:
    (job,) = (package.folder / "queue/failed").glob("unsafe-fixes-*.yaml")
    steps = package.steps("unsafe-fixes")
    assert "tests: failed (python -m pytest -q)" in steps
    assert not re.search("^(review|verdict|merge): ", steps, re.M)
    kept = package.git("diff", "--shortstat", "main~1", f"refs/orc/attempts/{job.stem}/1")
    assert re.search(r"\d+ files changed", kept)


def assert_odd_files_came_through(package: Package) -> None:
    """Modes, links and line ends are after the merge what they were before, and no other file has changed."""
    before, after = package.modes("main~2"), package.modes("main~1")
    assert before == after
    kinds = list(before.values())
    assert kinds.count("100755") > 150
    assert kinds.count("120000") >= 5
    changed = package.git("diff", "--name-only", "-z", "main~2", "main~1").split("\0")[:-1]
    assert "docutils/utils/_typing.py" in changed
    assert {Path(name).suffix for name in changed} == {".py"}
    windows = subprocess.run(
        ["git", "-C", str(package.folder), "show", "main~1:docutils/utils/_typing.py"], capture_output=True, check=True
    )
    assert windows.stdout.count(b"\n") == windows.stdout.count(b"\r\n") > 0
