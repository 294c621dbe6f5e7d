"""The how-to about a real package is followed to the letter: its commands on a terminal, its files, its output."""

from __future__ import annotations

import fcntl
import os
import pty
import pwd
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PAGE = PROJECT / "docs/how-to/real-package.md"
RECIPE = PAGE.with_suffix("")

INSTALL_ORC = "~/.venvs/orc/bin/python -m pip install .\n"
"""The one line that is not run: orc is the one under test, and its dependencies are here already."""
PROMPT = "[y/N]: "
MARK = "== block "
PATIENCE_S = 150

_FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\r")


def sections() -> list[tuple[str, list[tuple[str, str]]]]:
    """Each section of the page: its heading, and its blocks as (language, text)."""
    parts = re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.M)[1:]
    return [
        (part.partition("\n")[0], [(found["language"], found["text"]) for found in _FENCED.finditer(part)])
        for part in parts
    ]


@dataclass
class Followed:
    """What the terminal showed, by section, and what is left on the disk."""

    code: int
    home: Path
    shown: dict[str, str] = field(default_factory=dict)
    questions: int = 0

    @property
    def folder(self) -> Path:
        return self.home / "orc-trial/toolz-1.1.0"

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def plain(text: str) -> str:
    """Without colours, and with what differs each time replaced: ids, times."""
    text = re.sub(r"(?<=[a-z])-[0-9a-f]{8}\b", "-ID", _ANSI.sub("", text))
    return re.sub(r"\b\d+\.\d+s\b", "TIME", text)


def script() -> str:
    """Every command of the page in one shell, as a newcomer types them, with marks between the sections."""
    lines = ["set -eu"]
    for heading, found in sections():
        lines.append(f"printf '%s\\n' '{MARK}{heading}'")
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
            "THE HOW-TO ABOUT A REAL PACKAGE WAS NOT FOLLOWED: pip reaches no package index here. To enable it set "
            "PIP_INDEX_URL (or a pip.conf) so that `python -m pip download --no-deps toolz` works, then run "
            "`pytest tests/e2e/test_real_package.py`."
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


# --- the page itself ---


def test_the_page_shows_the_files_that_come_with_it() -> None:
    page = PAGE.read_text("utf-8")
    for name in ("orc.yaml", "criteria/code.yaml", "agents/same-meaning"):
        assert f"\n{(RECIPE / name).read_text('utf-8')}```\n" in page, name
    assert os.access(RECIPE / "agents/same-meaning", os.X_OK)


@pytest.mark.parametrize(
    ("after", "verdict"),
    [
        ('x = "a"\n', "APPROVED"),
        ("x = 'b'\n", "REVISE"),
        ("x = (\n", "REVISE"),
    ],
)
def test_the_reviewer_tells_layout_from_meaning(tmp_path: Path, after: str, verdict: str) -> None:
    judged = review(tmp_path, "x = 'a'\n", after)
    assert f'"verdict": "{verdict}"' in judged.stdout, judged.stderr


def test_the_reviewer_gives_no_answer_when_the_patch_does_not_fit(tmp_path: Path) -> None:
    judged = review(tmp_path, "x = 'a'\n", "x = 'b'\n", patch="")
    assert judged.stdout == ""
    assert judged.returncode != 0


def review(folder: Path, before: str, after: str, *, patch: str | None = None) -> subprocess.CompletedProcess[str]:
    """The reviewer's judgement of one file that was changed."""
    for place, text in (("old", before), ("new", after)):
        (folder / place).mkdir()
        (folder / place / "a.py").write_text(text)
    made = subprocess.run(
        ["git", "diff", "--no-index", "old/a.py", "new/a.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    diff = made.stdout.replace("a/old/", "a/").replace("b/new/", "b/") if patch is None else patch
    (folder / "diff").write_text(diff)
    facts = f'{{"nonce": "n", "job": "j", "commit": "c", "files": ["a.py"], "items": [], "diff": "{folder}/diff"}}'
    (folder / "facts.json").write_text(facts)
    return subprocess.run(
        [sys.executable, str(RECIPE / "agents/same-meaning")], cwd=folder / "new", capture_output=True, text=True,
        env={**os.environ, "ORC_FACTS": str(folder / "facts.json"), "TMPDIR": str(folder)}, check=False,
    )  # fmt: skip


# --- followed to the letter ---


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_page_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    home = tmp_path / "newcomer"
    home.mkdir()
    (home / ".gitconfig").write_text("[user]\n\tname = Ada Lovelace\n\temail = ada@example.invalid\n")
    followed = follow(home)
    require_index(followed)
    assert followed.code == 0, "\n".join(followed.shown.values())[-6000:]
    assert followed.questions == 2
    assert not_printed(followed) == []
    assert_doctor_is_content(followed)
    assert_merged_and_taken_back(followed)
    assert_refused_by_its_own_tests(followed)


def not_printed(followed: Followed) -> list[str]:
    """Lines that the page says are printed and that no command of their section printed."""
    told = [
        (heading, line)
        for heading, found in sections()
        for language, text in found
        if language == "text"
        for line in plain(text).splitlines()
    ]
    assert len(told) >= 10
    return [line for heading, line in told if line not in followed.shown[heading]]


def assert_doctor_is_content(followed: Followed) -> None:
    lines = followed.shown["3. Make it a workspace"].splitlines()
    assert any(line.startswith("ok ") for line in lines)
    assert [line for line in lines if re.match(r"(warn|fail)\b", line)] == []


def assert_merged_and_taken_back(followed: Followed) -> None:
    subjects = followed.git("log", "--first-parent", "--format=%s", "main").splitlines()
    assert subjects == [
        "Revert 'Format the library with ruff'",
        "Format the library with ruff",
        "A workspace for orc",
        "toolz 1.1.0",
    ]
    merge = followed.git("log", "-1", "--format=%B", "main~1")
    assert "Orc-Tests: passed" in merge
    assert "Orc-Approved-By: human:Ada Lovelace" in merge
    assert "12 files changed" in followed.git("diff", "--shortstat", "main~2", "main~1")
    assert followed.git("diff", "main~2", "main") == ""
    assert followed.git("status", "--porcelain") == ""


def assert_refused_by_its_own_tests(followed: Followed) -> None:
    (job,) = (followed.folder / "queue/failed").glob("drop-unused-imports-*.yaml")
    events = followed.git("log", "--format=%s", f"--grep=^Job: {job.stem}$", "orc/state")
    assert "tests: failed (python -m pytest -q)" in events
    assert not re.search("^(review|verdict|merge): ", events, re.M)
    kept = followed.git("diff", "--shortstat", "main~1", f"refs/orc/attempts/{job.stem}/1")
    assert "6 files changed, 37 deletions(-)" in kept
