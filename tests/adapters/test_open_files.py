"""Somebody who has a file open to write into it is seen, and is not hindered."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.adapters.open_files import is_open_for_writing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has a file open")
WRITER = """
import os, sys
for _ in range(3000):
    os.close(os.open(sys.argv[1], os.O_WRONLY))
"""


def test_a_file_counts_as_open_until_the_last_who_can_write_has_closed_it(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    with path.open("w") as first, path.open("a"):
        assert is_open_for_writing(path)
        first.close()
        assert is_open_for_writing(path)
    assert not is_open_for_writing(path)


def test_who_only_reads_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("prompt: x\n")
    with path.open():
        assert not is_open_for_writing(path)


def test_it_follows_the_file_and_not_its_name(tmp_path: Path) -> None:
    path, moved = tmp_path / "job.yaml", tmp_path / ".accept"
    with path.open("w"):
        path.rename(moved)
        assert is_open_for_writing(moved)
    assert not is_open_for_writing(moved)


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("link").symlink_to("there")
    Path("there").write_text("x")
    Path("folder").mkdir()
    with socket.socket(socket.AF_UNIX) as bound, Path("there").open("w"):
        bound.bind("socket")
        for name in ("pipe", "link", "folder", "socket", "missing", "/dev/full"):
            assert not is_open_for_writing(Path(name))


def test_programs_that_open_it_meanwhile_neither_fail_nor_end_us(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("x")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stderr=subprocess.PIPE)
    looked = 0
    while writer.poll() is None:
        is_open_for_writing(path)
        looked += 1
    assert (writer.returncode, writer.communicate()[1]) == (0, b"")
    assert looked > 10
    assert threading.active_count() >= 1
