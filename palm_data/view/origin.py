"""Only the viewer's own pages may talk to it: another site that is open in the same browser may not.

A browser lets any page open a websocket to a server of its machine, and viser asks no questions. So a request that names
another origin than the address it came to is refused; and, on loopback, one that came to another name (which a site can
point at this machine).
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

_REFUSED = "This page may not talk to the viewer. Open the address that palm view printed.\n"
Answer = Callable[["ServerConnection", "Request"], Any]


@contextmanager
def same_origin_only(host: str) -> Iterator[None]:
    """Have servers that viser starts in this block refuse what other sites ask."""
    from websockets.asyncio import server

    serve = server.serve

    def guarded_serve(*args: Any, process_request: Answer | None = None, **options: Any) -> Any:
        return serve(*args, process_request=_guarded(process_request, host), **options)

    with patch.object(server, "serve", guarded_serve):
        yield


def allowed(origin: str | None, asked: str, host: str) -> bool:
    """Whether a request may be answered.

    Args:
        origin: the `Origin` header; browsers send it with every websocket.
        asked: the `Host` header: the address that the request came to, as the page knows it.
        host: what the server listens on.
    """
    if origin is not None and urlsplit(origin).netloc != asked:
        return False
    name = urlsplit(f"//{asked}").hostname or ""
    return not _is_loopback(host) or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _guarded(answer: Answer | None, host: str) -> Callable[["ServerConnection", "Request"], Awaitable[Any]]:
    async def guarded(connection: "ServerConnection", request: "Request") -> "Response | None":
        headers = request.headers
        if not allowed(headers.get("Origin"), headers.get("Host", ""), host):
            return connection.respond(HTTPStatus.FORBIDDEN, _REFUSED)
        found = None if answer is None else answer(connection, request)
        return await found if inspect.isawaitable(found) else found

    return guarded
