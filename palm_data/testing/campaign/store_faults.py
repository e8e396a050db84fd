"""An object store that fails, forgets to answer, or is slow."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from palm_data.store.places import place_at
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.fault_proxy import Proxy, before, some
from palm_data.testing.object_server import Server, fresh_url, running
from palm_data.testing.reading import read_everything
from palm_data.testing.tiny import tiny_workspace
from schemas.errors import StoreError
from schemas.release import Manifest
from schemas.settings import Settings

_VERSION = "1.0.0"
_FAULTS = ("refuses a tenth of the calls", "loses a tenth of the answers to writes", "takes 50 ms longer")
_SHARE = 0.1
_DELAY_S = 0.05


def store_faults(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Publish into a store and read from it while it misbehaves; see whether the result is the same or a clean error."""
    made = tiny_workspace(root, ["0001"])
    expected = publish_release(_VERSION, made.workspace, made.settings).merkle_root
    contents = read_everything(made.settings.releases, _VERSION)
    home = root / "server"
    home.mkdir()
    with running(home) as server, before(server.endpoint) as proxy:

        def attempt(case: int) -> None:
            url, fault = fresh_url(), case % len(_FAULTS)
            settings = made.settings.model_copy(update={"releases": url})
            with _environment(server, proxy.endpoint):
                _misbehave(proxy, fault, cases.rng(case))
                said = _published(settings, expected)
                read = _read(url, contents) if said == "the same result" else "not read"
                cases.counts[f"{_FAULTS[fault]}: struck"] += proxy.struck
                _behave(proxy)
            cases.counts[f"{_FAULTS[fault]}: published: {said}"] += 1
            cases.counts[f"{_FAULTS[fault]}: read: {read}"] += 1
            with _environment(server, server.endpoint):
                _check_whole(settings, url, expected, contents)

        return tried(
            cases, attempt, progress,
            promise="the same result or a clean error; afterwards publishing finishes, and all of it reads the same",
            how="a real S3 server on loopback behind a door that misbehaves: in turn answers 503 to a tenth of all calls, hangs "
            "up after a tenth of the successful writes, takes 50 ms longer for each call. Publishing and reading go through it; "
            "then it behaves, the version is published again, verified deeply and read whole.",
        )  # fmt: skip


def _misbehave(proxy: Proxy, fault: int, rng: np.random.Generator) -> None:
    _behave(proxy)
    strikes = some(_SHARE, int(rng.integers(1 << 31)))
    if fault == 0:
        proxy.refuse = strikes
    elif fault == 1:
        proxy.lose = lambda method, path: method == "PUT" and strikes(method, path)
    else:
        proxy.delay_s = _DELAY_S


def _behave(proxy: Proxy) -> None:
    proxy.forget()
    proxy.refuse = proxy.lose = proxy.cut = some(0)
    proxy.delay_s = 0


def _publish(settings: Settings) -> Manifest:
    return publish_release(_VERSION, Workspace(settings.workspace), settings)


def _published(settings: Settings, expected: str) -> str:
    try:
        found = _publish(settings).merkle_root
    except StoreError:
        return "a clean error"
    except Exception as error:
        raise BrokenPromise(f"publishing: {type(error).__name__}: {error}") from error
    if found != expected:
        raise BrokenPromise(f"publishing: merkle root {found}, expected {expected}")
    return "the same result"


def _read(url: str, contents: str) -> str:
    try:
        found = read_everything(url, _VERSION)
    except StoreError:
        return "a clean error"
    except Exception as error:
        raise BrokenPromise(f"reading: {type(error).__name__}: {error}") from error
    if found != contents:
        raise BrokenPromise("read without an error, with other contents")
    return "the same result"


def _check_whole(settings: Settings, url: str, expected: str, contents: str) -> None:
    """With a store that behaves, everything is or becomes right.

    Raises:
        BrokenPromise: if it does not.
    """
    try:
        found = _publish(settings).merkle_root
        report = verify_release(place_at(url).files(_VERSION))
        read = read_everything(url, _VERSION)
    except StoreError as error:
        raise BrokenPromise(f"afterwards: {error}") from error
    if found != expected or not report.passed or read != contents:
        raise BrokenPromise(
            f"afterwards: merkle root {found}, problems {report.problems[:3]}, same contents {read == contents}"
        )


@contextmanager
def _environment(server: Server, endpoint: str) -> Iterator[None]:
    """The variables by which a client finds the store, until the block ends."""
    wanted = server.environment(endpoint)
    before_it = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before_it.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
