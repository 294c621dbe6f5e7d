"""Reading and changing files: real files, real processes and real signals."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from run_helpers import wait_until
from warm_python import run_warm

from orchestrator.adapters import files, reading
from orchestrator.adapters.reading import Signature
from orchestrator.errors import HostileFileError

ROOT = Path(files.__file__).parents[2]
IS_ROOT = os.geteuid() == 0
NOBODY = 65_534


def _run(script: str, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return run_warm(script, ["-c", *map(str, arguments)], cwd=ROOT, env=os.environ, timeout=timeout)


_ORDINARY = f"""
import os, sys
from pathlib import Path
from orchestrator.adapters import files, reading
from orchestrator.errors import HostileFileError
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid({NOBODY})
    os.setuid({NOBODY})
folder = Path(sys.argv[1])
"""


def _run_as_ordinary_user(script: str) -> str:
    """What `script` prints; it has no rights of root, and a `folder` of its own."""
    with tempfile.TemporaryDirectory() as name:
        if IS_ROOT:
            os.chown(name, NOBODY, NOBODY)
        done = _run(_ORDINARY + script, name)
        assert done.returncode == 0, done.stderr
        return done.stdout


# --- reading ---


def test_a_plain_file_is_read_with_its_signature(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(b"title: x\n")
    read = reading.safe_read(path)
    status = path.stat()
    assert read.data == b"title: x\n"
    assert read.signature == Signature(status.st_dev, status.st_ino, 9, status.st_mtime_ns)
    assert read.signature == reading.signature(path)


def test_a_file_of_exactly_the_limit_is_read_and_one_more_byte_is_not(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 262_144)
    assert len(reading.safe_read(path).data) == 262_144
    path.write_bytes(b"x" * 262_145)
    with pytest.raises(HostileFileError, match="at most 256 KiB is read"):
        reading.safe_read(path)


def _plain(path: Path) -> Path:
    path.write_text("a: 1\n")
    return path


def _make_link(path: Path) -> None:
    path.symlink_to(_plain(path.with_name("target")))


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


HOSTILE: list[tuple[Callable[[Path], object], str]] = [
    (_make_link, "is a symbolic link"),
    (lambda path: path.symlink_to("nowhere"), "is a symbolic link"),
    (lambda path: path.symlink_to(path), "is a symbolic link"),
    (lambda path: path.symlink_to("/dev/zero"), "is a symbolic link"),
    (os.mkfifo, "is a named pipe"),
    (_make_socket, "is a socket"),
    (Path.mkdir, "is a folder"),
    (_make_sparse, "is 1 TiB; at most 256 KiB is read"),
    (lambda path: path.write_bytes(b"x" * 3 * 2**20), "is 3 MiB; at most 256 KiB is read"),
    (lambda path: _plain(path).chmod(0o666), "can be changed by every user of this machine (mode 0666)"),
    (lambda path: os.link(_plain(path.with_name("other")), path), "is a hard link"),
]


@pytest.mark.timeout(10)
@pytest.mark.parametrize(("make", "words"), HOSTILE)
def test_what_is_no_plain_file_is_refused_in_words_and_at_once(
    tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "job.yaml"
    make(path)
    before = os.lstat(path)
    started = time.monotonic()
    with pytest.raises(HostileFileError) as caught:
        reading.safe_read(path)
    assert time.monotonic() - started < 1.0
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert caught.value.hint
    assert os.lstat(path) == before


def test_a_device_is_refused() -> None:
    with pytest.raises(HostileFileError, match="is a device"):
        reading.safe_read(Path("/dev/null"))


def test_names_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(HostileFileError, match="too long"):
        reading.safe_read(tmp_path / ("x" * 300))
    with pytest.raises(HostileFileError, match="NUL"):
        reading.safe_read(tmp_path / "a\0b")


def test_a_name_that_is_not_utf8_can_be_told(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    path.mkdir()
    with pytest.raises(HostileFileError, match="is a folder") as caught:
        reading.safe_read(path)
    assert str(caught.value).encode()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    _plain(tmp_path / "file")
    for path in (tmp_path / "no", tmp_path / "no" / "no", tmp_path / "file" / "no"):
        with pytest.raises(FileNotFoundError):
            reading.safe_read(path)
        assert reading.signature(path) is None


_UNREADABLE = """
path = folder / "f"
path.touch(mode=0)
try:
    reading.safe_read(path)
except HostileFileError as error:
    print(error.reason)
"""


def test_a_file_that_may_not_be_read_is_refused() -> None:
    assert _run_as_ordinary_user(_UNREADABLE) == "cannot be read: permission denied\n"


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = _plain(tmp_path / "f")
    os.chown(path, 12_345, 12_345)
    with pytest.raises(HostileFileError, match="another user"):
        reading.safe_read(path)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs a file whose size is not what it says")
def test_a_file_whose_size_is_not_what_it_says_is_refused() -> None:
    with pytest.raises(HostileFileError, match="changes while it is being read"):
        reading.safe_read(Path("/proc/self/status"))


_SWAP = """
import os, sys
from pathlib import Path
from orchestrator.adapters import reading
from orchestrator.errors import HostileFileError
path, kind = Path(sys.argv[1]), sys.argv[2]
def swap(event, arguments):
    if event == "open" and arguments[0] == str(path) and not swapped:
        swapped.append(1)
        os.unlink(path)
        os.mkfifo(path) if kind == "pipe" else os.symlink("/etc/hostname", path)
swapped = []
sys.addaudithook(swap)
try:
    print(reading.safe_read(path))
except HostileFileError as error:
    print(error.reason, bool(swapped))
"""


@pytest.mark.parametrize(("kind", "words"), [("pipe", "is a named pipe"), ("link", "is a symbolic link")])
def test_a_file_swapped_between_the_look_and_the_opening_is_refused(tmp_path: Path, kind: str, words: str) -> None:
    done = _run(_SWAP, _plain(tmp_path / "job.yaml"), kind, timeout=20)
    assert done.stdout == f"{words} True\n", done.stderr


# --- writing ---


def test_a_write_puts_the_content_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for data in (b"", b"one", b"x" * 1_000_000):
        files.write_atomic(path, data)
        assert path.read_bytes() == data
    files.write_atomic(tmp_path / "private", b"x", mode=0o600, sync=False)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o022 == 0
    assert sorted(os.listdir(tmp_path)) == ["f", "private"]


def test_a_write_replaces_a_link_and_not_its_target(tmp_path: Path) -> None:
    target = _plain(tmp_path / "target")
    (tmp_path / "link").symlink_to(target)
    files.write_atomic(tmp_path / "link", b"new")
    assert target.read_text() == "a: 1\n"
    assert not (tmp_path / "link").is_symlink()


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for name in ("n" * 255, "é" * 127, "😀" * 63):
        files.write_atomic(tmp_path / name, b"x")
        assert (tmp_path / name).read_bytes() == b"x"


def test_a_write_that_fails_at_the_rename_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.write_atomic(tmp_path / "folder", b"x")
    assert os.listdir(tmp_path) == ["folder"]


_FULL_DISK = """
import resource, sys
from pathlib import Path
from orchestrator.adapters import files
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    files.write_atomic(Path(sys.argv[1]), b"x" * 5000)
except OSError as error:
    print(error.errno)
"""


def test_a_write_that_finds_no_room_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    done = _run(_FULL_DISK, path)
    assert done.stdout == f"{errno.EFBIG}\n", done.stderr
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


# Kills itself at the n-th point: an audit event (open, rename, unlink, link) or a line of files.py.
_KILL_AT = """
import os, signal, sys
from pathlib import Path
from orchestrator.adapters import files
act, platform, n, arguments = sys.argv[1], sys.argv[2], int(sys.argv[3]), [Path(a) for a in sys.argv[4:]]
sys.platform = platform
count = 0
def point():
    global count
    count += 1
    if count == n:
        os.kill(os.getpid(), signal.SIGKILL)
def trace(frame, event, argument):
    if frame.f_code.co_filename != files.__file__:
        return None
    if event == "line":
        point()
    return trace
sys.addaudithook(lambda event, arguments: point() if event.startswith(("open", "os.")) else None)
sys.settrace(trace)
if act == "write":
    files.write_atomic(arguments[0], b"new" * 1000)
else:
    files.move_no_replace(*arguments)
sys.settrace(None)
print("done")
"""


def _kill_at_every_point(prepare: Callable[[], tuple[Path, ...]], act: str, platform: str) -> Iterator[int]:
    """Yield the number of the point after each kill, until the act completes."""
    for number in range(1, 500):
        done = _run(_KILL_AT, act, platform, number, *prepare())
        if done.stdout == "done\n":
            assert number > 8
            return
        assert done.returncode == -signal.SIGKILL, done.stderr
        yield number
    pytest.fail("it never completed")


def test_a_write_killed_at_any_point_leaves_the_old_content_or_the_new(tmp_path: Path) -> None:
    path = tmp_path / "f"
    seen = set()

    def prepare() -> tuple[Path, ...]:
        path.write_bytes(b"old")
        return (path,)

    for number in _kill_at_every_point(prepare, "write", sys.platform):
        content = path.read_bytes()
        assert content in (b"old", b"new" * 1000), number
        seen.add(content)
        assert all(name == "f" or name.startswith(".tmp-") for name in os.listdir(tmp_path))
    assert len(seen) == 2
    assert path.read_bytes() == b"new" * 1000


@pytest.mark.parametrize("platform", [sys.platform, "other"])
def test_a_move_killed_at_any_point_loses_nothing_and_tears_nothing(tmp_path: Path, platform: str) -> None:
    src, dst = tmp_path / "src", tmp_path / "dst"

    def prepare() -> tuple[Path, ...]:
        files.remove(dst)
        files.remove(src)
        src.write_bytes(b"content")
        return src, dst

    ends = set()
    for number in _kill_at_every_point(prepare, "move", platform):
        names = sorted(os.listdir(tmp_path))
        ends.add(tuple(names))
        assert names, number
        assert all((tmp_path / name).read_bytes() == b"content" for name in names), number
        assert len({(tmp_path / name).stat().st_ino for name in names}) == 1, number
    assert os.listdir(tmp_path) == ["dst"]
    if platform == "linux":
        assert ends <= {("src",), ("dst",)}  # one system call: never two names


def test_a_reader_never_sees_a_part_of_a_write(tmp_path: Path) -> None:
    path = tmp_path / "f"
    contents = [bytes([letter]) * 50_000 for letter in b"ab"]
    files.write_atomic(path, contents[0], sync=False)
    stop = threading.Event()

    def write() -> None:
        for number in range(10**9):
            if stop.is_set():
                return
            files.write_atomic(path, contents[number % 2], sync=False)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            assert path.read_bytes() in contents
        wait_until(lambda: path.read_bytes() == contents[1])
    finally:
        stop.set()
        writer.join()
    assert os.listdir(tmp_path) == ["f"]


def test_a_bell_is_rung_again_and_again(tmp_path: Path) -> None:
    folder = tmp_path / "orc" / "bell"
    files.ring(folder, "fix-login-7f3a09c2.attempt-1")
    path = folder / "fix-login-7f3a09c2.attempt-1"
    os.utime(path, (1, 1))
    files.ring(folder, path.name)
    assert path.stat().st_mtime > 1_000_000
    assert path.read_bytes() == b""


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\0b"])
def test_a_bell_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a file name"):
        files.ring(tmp_path / "bell", name)
    assert os.listdir(tmp_path) == []


@pytest.mark.timeout(10)
def test_a_bell_follows_no_link_and_waits_for_no_pipe(tmp_path: Path) -> None:
    target = _plain(tmp_path / "target")
    os.utime(target, (1, 1))
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"."):
            files.ring(tmp_path, name)
    assert target.stat().st_mtime == 1


def test_flushing_works_and_what_is_missing_cannot_be_flushed(tmp_path: Path) -> None:
    files.sync_folder(tmp_path)
    files.sync_filesystem(tmp_path)
    with pytest.raises(FileNotFoundError):
        files.sync_folder(tmp_path / "no")
    with pytest.raises(NotADirectoryError):
        files.sync_folder(_plain(tmp_path / "file"))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere everything is flushed, whatever the path")
def test_the_file_system_of_a_missing_path_cannot_be_flushed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.sync_filesystem(tmp_path / "no")


# --- moving and removing ---

_MOVE_ELSEWHERE = """
import sys
from pathlib import Path
from orchestrator.adapters import files
sys.platform = "other"  # neither renameat2 nor syncfs
try:
    files.move_no_replace(Path(sys.argv[1]), Path(sys.argv[2]))
except OSError as error:
    print(type(error).__name__)
else:
    print("moved")
files.sync_filesystem(Path("."))
"""


def _move_here(src: Path, dst: Path) -> str:
    try:
        files.move_no_replace(src, dst)
    except OSError as error:
        return type(error).__name__
    return "moved"


def _move_elsewhere(src: Path, dst: Path) -> str:
    return _run(_MOVE_ELSEWHERE, src, dst).stdout.strip()


@pytest.mark.parametrize("move", [_move_here, _move_elsewhere])
def test_a_move_moves_files_links_and_folders_and_replaces_nothing(
    tmp_path: Path, move: Callable[[Path, Path], str]
) -> None:
    file, folder, link = _plain(tmp_path / "file"), tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to("nowhere")
    for src in (file, folder, link):
        inode = os.lstat(src).st_ino
        dst = tmp_path / f"{src.name}-moved"
        for taken in {file, folder, link} - {src}:
            if os.path.lexists(taken):
                assert move(src, taken) == "FileExistsError"
        assert move(src, dst) == "moved"
        assert os.lstat(dst).st_ino == inode
        assert not os.path.lexists(src)
    assert move(tmp_path / "no", tmp_path / "x") == "FileNotFoundError"
    assert sorted(os.listdir(tmp_path)) == ["file-moved", "folder-moved", "link-moved"]
    assert os.lstat(tmp_path / "file-moved").st_nlink == 1


def test_of_many_who_move_to_one_name_one_wins(tmp_path: Path) -> None:
    for number in range(16):
        (tmp_path / f"src{number}").write_text(str(number))
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda n=number: answers.append(_move_here(tmp_path / f"src{n}", tmp_path / "dst")))
        for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["FileExistsError"] * 15 + ["moved"]
    assert len(os.listdir(tmp_path)) == 16


def test_a_file_is_taken_away_only_if_nobody_changed_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one")
    first = reading.safe_read(path).signature
    path.write_bytes(b"other")
    assert not files.remove_if_unchanged(path, first)
    second = reading.safe_read(path).signature
    (tmp_path / "g").write_bytes(b"other")
    os.utime(tmp_path / "g", ns=(second.mtime_ns, second.mtime_ns))
    os.replace(tmp_path / "g", path)
    assert not files.remove_if_unchanged(path, second)
    assert path.read_bytes() == b"other"
    assert files.remove_if_unchanged(path, reading.safe_read(path).signature)
    assert not files.remove_if_unchanged(path, second)
    assert os.listdir(tmp_path) == []


def test_removing_removes_links_and_not_their_targets(tmp_path: Path) -> None:
    target = _plain(tmp_path / "target")
    (tmp_path / "link").symlink_to(target)
    files.remove(tmp_path / "link")
    files.remove(tmp_path / "link")
    files.remove(target / "no")
    assert os.listdir(tmp_path) == ["target"]


def test_a_tree_is_removed_and_what_its_links_name_is_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    _plain(outside / "kept")
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    _plain(tree / "a" / "file")
    (tree / "a" / "link").symlink_to(outside)
    (tree / "a" / "b" / "up").symlink_to("../..")
    os.mkfifo(tree / "pipe")
    (Path(os.fsdecode(os.fsencode(tree) + b"/\xff\n"))).mkdir()
    (tmp_path / "way").symlink_to(outside)
    files.remove_tree(tree)
    files.remove_tree(tree)
    files.remove_tree(tmp_path / "way")
    files.remove_tree(_plain(tmp_path / "file"))
    files.remove_tree(outside / "kept" / "no")
    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


@pytest.mark.timeout(60)
def test_a_tree_too_deep_for_any_path_is_removed(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    fd = os.open(tree, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("folder", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        below = os.open("folder", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    files.remove_tree(tree)
    assert os.listdir(tmp_path) == []


_READ_ONLY_TREE = """
tree = folder / "tree"
for mode in (0o500, 0o400, 0o000):
    below = tree / str(mode) / "below"
    below.mkdir(parents=True)
    (below / "file").touch(mode=0o400)
    below.chmod(mode)
    below.parent.chmod(mode)
tree.chmod(0o500)
files.remove_tree(tree)
print(os.listdir(folder))
"""


def test_a_tree_of_read_only_folders_is_removed() -> None:
    assert _run_as_ordinary_user(_READ_ONLY_TREE) == "[]\n"


# --- folders ---


def test_a_folder_is_listed_by_name_without_following_links(tmp_path: Path) -> None:
    _plain(tmp_path / "b")
    (tmp_path / "a").mkdir()
    (tmp_path / "c").symlink_to("b")
    (tmp_path / "d").symlink_to("nowhere")
    os.mkfifo(tmp_path / "e")
    found = reading.scan(tmp_path)
    assert [(entry.name, entry.is_file) for entry in found] == [
        ("a", False), ("b", True), ("c", False), ("d", False), ("e", False),
    ]  # fmt: skip
    assert all(entry.signature == reading.signature(tmp_path / entry.name) for entry in found)


def test_a_missing_folder_is_empty_and_a_file_is_no_folder(tmp_path: Path) -> None:
    assert reading.scan(tmp_path / "no") == []
    with pytest.raises(NotADirectoryError):
        reading.scan(_plain(tmp_path / "file"))


def test_what_vanishes_while_a_folder_is_listed_does_no_harm(tmp_path: Path) -> None:
    _plain(tmp_path / "stays")
    stop = threading.Event()

    def flicker() -> None:
        while not stop.is_set():
            for number in range(50):
                (tmp_path / f"n{number}").touch()
            for number in range(50):
                files.remove(tmp_path / f"n{number}")

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        for _ in range(200):
            assert "stays" in {entry.name for entry in reading.scan(tmp_path)}
    finally:
        stop.set()
        thread.join()


def test_a_folder_is_made_with_its_parents_and_again(tmp_path: Path) -> None:
    files.ensure_folder(tmp_path / "a" / "b")
    files.ensure_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    with pytest.raises(FileExistsError):
        files.ensure_folder(_plain(tmp_path / "file"))
