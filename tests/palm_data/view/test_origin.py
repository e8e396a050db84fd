"""Who may talk to the viewer."""

import http.client
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

import palm_data
from palm_data.testing.tiny import Tiny
from palm_data.view.origin import allowed
from palm_data.view.server import serve

ANYWHERE = "0.0.0.0"  # noqa: S104


@pytest.mark.parametrize(
    ("origin", "asked", "host", "expected"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1", True),
        ("http://localhost:8080", "localhost:8080", "127.0.0.1", True),
        (None, "127.0.0.1:8080", "127.0.0.1", True),
        ("http://[::1]:8080", "[::1]:8080", "::1", True),
        ("https://evil.example", "127.0.0.1:8080", "127.0.0.1", False),
        ("http://127.0.0.1:9090", "127.0.0.1:8080", "127.0.0.1", False),
        ("null", "127.0.0.1:8080", "127.0.0.1", False),
        ("http://evil.example:8080", "evil.example:8080", "127.0.0.1", False),
        (None, "evil.example:8080", "127.0.0.1", False),
        ("http://lab-server:8080", "lab-server:8080", ANYWHERE, True),
        ("https://evil.example", "lab-server:8080", ANYWHERE, False),
    ],
)
def test_only_the_viewers_own_pages_may(origin: str | None, asked: str, host: str, expected: bool) -> None:
    assert allowed(origin, asked, host) is expected


@pytest.fixture
def address(hands: Tiny) -> Iterator[str]:
    with serve(palm_data.open_release(hands.settings.releases), port=0) as address:
        yield address


def test_another_sites_websocket_is_refused(address: str) -> None:
    place = address.replace("http://", "ws://")
    with pytest.raises(InvalidStatus, match="403"):
        connect(place, origin="https://evil.example")  # type: ignore[arg-type]
    with connect(place, origin=address):  # type: ignore[arg-type]
        pass


def test_a_name_that_somebody_points_here_is_refused(address: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=20)
    connection.request("GET", "/", headers={"Host": "evil.example"})
    assert connection.getresponse().status == 403
    connection.close()
