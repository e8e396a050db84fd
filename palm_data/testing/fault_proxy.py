"""A door before a server that counts what passes, and that misbehaves as told."""

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = {"connection", "transfer-encoding", "keep-alive", "te", "trailer", "upgrade"}


@dataclass
class Proxy:
    """What passed, and how the door behaves. Each fault is told the method and path, and says whether it strikes."""

    endpoint: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    body_bytes: int = 0
    """Of answers."""
    refuse: Callable[[str, str], bool] = lambda _method, _path: False
    """Answer 503 instead of asking the server."""
    lose: Callable[[str, str], bool] = lambda _method, _path: False
    """Ask the server, and hang up instead of passing its answer on."""
    cut: Callable[[str, str], bool] = lambda _method, _path: False
    """Pass half of the answer's body on, and hang up."""
    delay_s: float = 0
    struck: int = 0

    def forget(self) -> None:
        """Count from nothing."""
        self.requests.clear()
        self.body_bytes = self.struck = 0


def some(share: float, seed: int = 0, *, most: int = 10**9) -> Callable[[str, str], bool]:
    """A fault that strikes a share of the requests, the same ones each time, and so many at most."""
    drawn, left = random.Random(seed), [most]  # noqa: S311 no secret

    def strikes(_method: str, _path: str) -> bool:
        hit = left[0] > 0 and drawn.random() < share
        left[0] -= hit
        return hit

    return strikes


@contextmanager
def before(endpoint: str) -> Iterator[Proxy]:
    """A door before a server, open until the block ends."""
    proxy, target = Proxy(), urlsplit(endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _pass(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            proxy.requests.append((self.command, self.path))
            time.sleep(proxy.delay_s)
            if proxy.refuse(self.command, self.path):
                proxy.struck += 1
                self.send_response(503)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            connection = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in _HOP:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            proxy.body_bytes += len(content)
            self._answer(answer, content)

        def _answer(self, answer: http.client.HTTPResponse, content: bytes) -> None:
            if proxy.lose(self.command, self.path):
                proxy.struck += 1
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {*_HOP, "content-length", "date", "server"}:
                    self.send_header(name, value)
            length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
            if answer.status != 204:
                self.send_header("Content-Length", length)
            self.end_headers()
            if len(content) > 1 and proxy.cut(self.command, self.path):
                proxy.struck += 1
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 the names that the server looks for

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
