"""What all tests share."""

import signal

import pytest
from hypothesis import settings

settings.register_profile("palm", deadline=None)  # a busy machine is not a failing test
settings.load_profile("palm")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background: what tests start and interrupt inherits it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that one worker does not end with them while the others have nothing to do."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
