"""One store for all tests here, each with a prefix of its own."""

from collections.abc import Iterator

import pytest

from palm_data.testing import fault_proxy as proxy
from palm_data.testing import object_server as server


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    with server.running(tmp_path_factory.mktemp("seaweed")) as running:
        yield running


@pytest.fixture
def url(store: server.Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh prefix of the store, whose credentials are in the environment."""
    for name, value in store.environment().items():
        monkeypatch.setenv(name, value)
    return server.fresh_url()


@pytest.fixture
def door(store: server.Server, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[proxy.Proxy]:
    """The way to the store leads through this door."""
    with proxy.before(store.endpoint) as open_door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", open_door.endpoint)
        yield open_door
