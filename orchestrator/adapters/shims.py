"""Starting the small processes that supervise runs: one by one, or as copies of one that has loaded everything.

Loading Python and orc takes longer than all else at the start of a run. So an engine keeps a nursery: a process of one
thread, with everything imported, that forks once for each run and knows nothing of jobs. It ends with its engine; the
shims do not. What can be done before a run is asked for is done then: what reads the answers of agents is imported, and
the next shim is forked and waits.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.adapters.effects import Effect, effect
from orchestrator.errors import OrcError

if TYPE_CHECKING:
    import socket


LEASE_FD = "ORC_LEASE_FD"
"""Name of the environment variable that tells a shim the number of the lease it inherited."""
ANSWER_S = 20.0
_REQUEST_BYTES = 16384

# No garbage is collected while modules are loaded: that is a tenth of the start.
_BEGIN = "import gc, sys; gc.disable(); sys.path.insert(0, sys.argv[1]); "
SHIM_CODE = _BEGIN + "from orchestrator.engine.run import main; gc.enable(); sys.exit(main(sys.argv[2:]))"
_NURSERY_CODE = (
    _BEGIN + "from orchestrator.adapters.shims import serve; from orchestrator.engine.run import main; "
    "gc.freeze(); gc.enable(); serve(int(sys.argv[2]), main, sys.argv[3:])"
)


def spawn_shim(folder: Path, lease_fd: int) -> int:
    """Start the supervising process of a run, detached, with the lease. The caller closes its own copy of `lease_fd`.

    Returns the process id; its zombie stays as long as we live. Raises OSError when no process can be started.
    """
    shim_log = _open_log(folder)
    try:
        shim = _start(SHIM_CODE, str(folder), inherit=[lease_fd], output=shim_log, extra={LEASE_FD: str(lease_fd)})
    finally:
        os.close(shim_log)
    shim.returncode = 0  # It outlives us on purpose and is reaped by its id: `subprocess` must not warn or wait.
    return shim.pid


def _start(
    code: str, *args: str, inherit: Sequence[int], output: int, extra: dict[str, str]
) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    # Isolated and without `site`: nothing in the environment decides what is imported, and it starts fast.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-X", "utf8", "-c", code, str(root), *args],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env=os.environ | extra,
        pass_fds=inherit,
        start_new_session=True,
    )


def _open_log(folder: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(folder / "shim.log", flags, 0o600)


class Nursery:
    """Where an engine's shims come from. Used by one thread; close it at the end, which ends no shim.

    `backends` are those that runs may need, by name.
    """

    def __init__(self, backends: Sequence[str] = ()) -> None:
        self._backends = tuple(backends)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def warm(self) -> None:
        """Begin to load, without waiting for it. Without a nursery, shims are started one by one."""
        import socket

        if self._process is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            number = theirs.fileno()
            try:
                with effect(Effect.NURSERY_START):
                    args = (str(number), *self._backends)
                    self._process = _start(_NURSERY_CODE, *args, inherit=[number], output=subprocess.DEVNULL, extra={})
            except OSError:
                ours.close()
                return
        ours.settimeout(ANSWER_S)
        self._socket = ours

    def spawn(self, folder: Path, lease_fd: int) -> int:
        """As `spawn_shim`, by a fork of what is loaded. Raises OSError when no process can be started."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self.warm()
        shim_log = _open_log(folder)
        try:
            sent = self._socket is not None and self._send(folder, lease_fd, shim_log)
        finally:
            os.close(shim_log)
        return self._answer() if sent else spawn_shim(folder, lease_fd)

    def _send(self, folder: Path, lease_fd: int, shim_log: int) -> bool:
        """False if nothing was sent, so that the run can be started in another way."""
        import socket

        assert self._socket is not None
        request = json.dumps(os.fsdecode(folder)).encode() + b"\n"
        if len(request) > _REQUEST_BYTES:
            return False
        try:
            socket.send_fds(self._socket, [request], [lease_fd, shim_log])
        except OSError:
            self.close()
            return False
        return True

    def _answer(self) -> int:
        # From here on the run may have begun, whatever comes back: its lease tells, and nobody starts it a second time.
        assert self._socket is not None
        try:
            said = self._socket.recv(64)
        except OSError:
            said = b""
        if not said:
            self.close()
            return 0
        pid = int(said)
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return pid

    def close(self) -> None:
        """End the process; shims live on."""
        if self._socket is not None:
            self._socket.close()
        if self._process is not None:
            # It has nothing to finish: each request was answered, and the shims are no part of it. It may still load.
            with effect(Effect.NURSERY_END):
                self._process.kill()
                self._process.wait()
        self._process = self._socket = None


def serve(number: int, main: Callable[[Sequence[str]], int], backends: Sequence[str] = ()) -> None:
    """The nursery itself: fork a shim for each folder that comes in with its lease and its log, until the engine ends.

    `number` is the file descriptor of the socket; `main` what a shim does; `backends` are loaded while nobody asks.
    """
    import socket

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for a shim: the kernel takes its zombie away.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    rest, next_ = deque(backends), None
    with socket.socket(fileno=number) as engine:
        while True:
            _load(rest, engine)
            with contextlib.suppress(OSError):  # Without it the shim is forked once it is asked for.
                next_ = next_ or _fork_shim(engine, main)
            try:
                request, handles, _, _ = socket.recv_fds(engine, _REQUEST_BYTES, 2)
            except ConnectionError:
                return
            if not request:
                return
            try:
                pid = _send_shim(next_, request, handles)
                pid = pid or _send_shim(_fork_shim(engine, main, handles), request, handles)
            except OSError as error:
                pid = -(error.errno or 1)
            next_ = None
            for handle in handles:
                os.close(handle)
            with contextlib.suppress(ConnectionError):
                engine.sendall(str(pid).encode())


def _fork_shim(
    engine: socket.socket, main: Callable[[Sequence[str]], int], handles: Sequence[int] = ()
) -> tuple[int, socket.socket]:
    """A shim that waits to be told of its run, and ends with the nursery if it never is. Raises OSError.

    `handles` are those of a run that are open here: it gets its own.
    """
    import socket

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            code = 1
            try:
                engine.close()
                ours.close()
                for handle in handles:
                    os.close(handle)
                code = _wait_for_run(theirs, main)
            finally:  # Whatever went wrong must not go back into the nursery's loop.
                os._exit(code)
    return pid, ours


def _send_shim(shim: tuple[int, socket.socket] | None, request: bytes, handles: Sequence[int]) -> int:
    """Tell a shim that waits of its run; its process id, 0 if there is none or it was killed meanwhile."""
    import socket

    if shim is None:
        return 0
    pid, ours = shim
    with ours, contextlib.suppress(ConnectionError):
        socket.send_fds(ours, [request], handles)
        return pid
    return 0


def _wait_for_run(nursery: socket.socket, main: Callable[[Sequence[str]], int]) -> int:
    import socket

    with nursery:
        os.setsid()
        request, handles, _, _ = socket.recv_fds(nursery, _REQUEST_BYTES, 2)
    if not request:
        return 0  # The nursery has ended.
    lease, shim_log = handles
    return _become_shim(json.loads(request), lease, shim_log, main)


def _load(backends: deque[str], engine: socket.socket) -> None:
    """Import what reads the answers of these backends, until the engine asks for a run."""
    from orchestrator.adapters.backends.registry import find_backend

    while backends and not select.select([engine], [], [], 0)[0]:
        with contextlib.suppress(OrcError):  # Whoever needs one that is broken is told by the run.
            find_backend(backends.popleft())
        gc.freeze()  # What is never collected is never written to, and so shared with all shims.


def _become_shim(folder: str, lease: int, shim_log: int, main: Callable[[Sequence[str]], int]) -> int:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        for output in (1, 2):
            os.dup2(shim_log, output)
        os.close(shim_log)
        os.environ[LEASE_FD] = str(lease)
        code = main([folder])
    except BaseException:  # The border of the process: the log of the run tells what went wrong.
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    return code
