"""A server on loopback that takes what is sent to it by POST."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer


@dataclass(frozen=True)
class Posted:
    """A request."""

    path: str
    headers: Message
    body: bytes


@contextmanager
def taking_posts(
    take: Callable[[Posted], None], code: int = 200, headers: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The address of a server that hands each request to `take` and answers with this code and headers, empty."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            take(Posted(self.path, self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(code)
            for name, value in {**(headers or {}), "Content-Length": "0"}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    # The server looks this often whether it is to end.
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
