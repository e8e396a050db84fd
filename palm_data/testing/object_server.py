"""A real object store on loopback: SeaweedFS, started for the tests in a folder of theirs, with one bucket and one key."""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from schemas.errors import StoreError

BUCKET, KEY, SECRET = "palm", "testkey", "testsecret-never-to-be-shown"
READER_KEY, READER_SECRET = "readerkey", "readersecret-never-to-be-shown"
_SOCKETS = Path("/tmp")  # noqa: S108 - where the server puts its sockets, whatever TMPDIR says


@dataclass(frozen=True)
class Server:
    """Where it answers."""

    endpoint: str

    def environment(self, endpoint: str | None = None, *, reader: bool = False) -> dict[str, str]:
        """The variables that a client finds it by; perhaps through another door, or as somebody who may only read."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": READER_KEY if reader else KEY,
            "AWS_SECRET_ACCESS_KEY": READER_SECRET if reader else SECRET,
        }


def fresh_url() -> str:
    """A prefix in the bucket that nobody used before."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """A server that ends with the block.

    Raises:
        StoreError: if none answers after three tries: a free port may be taken by somebody else before it is ours.
    """
    with ExitStack() as stack:
        yield _started(folder, stack, tries=3)


def _started(folder: Path, stack: ExitStack, tries: int) -> Server:
    place = folder / f"{tries}"
    place.mkdir()
    try:
        return stack.enter_context(_one(place))
    except StoreError:
        if tries == 1:
            raise
    return _started(folder, stack, tries - 1)


@contextmanager
def _one(folder: Path) -> Iterator[Server]:
    ports = _free_ports(8)
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(json.dumps(_identities()))
    master, volume, filer, s3 = ports[0], ports[1], ports[2], ports[3]
    command = [
        str(Path(sys.executable).with_name("weed")), "-logtostderr=true", "server", f"-dir={folder / 'data'}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}", f"-master.port.grpc={ports[4]}",
        "-master.volumeSizeLimitMB=64", f"-volume.port={volume}", f"-volume.port.grpc={ports[5]}", "-volume.max=20",
        "-filer", f"-filer.port={filer}", f"-filer.port.grpc={ports[6]}",
        f"-filer.localSocket={folder / 'f.sock'}", "-s3", f"-s3.port={s3}", f"-s3.port.grpc={ports[7]}",
        f"-s3.config={folder / 's3.json'}", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            server = Server(f"http://127.0.0.1:{s3}")
            _wait(server, process, folder / "log")
            yield server
        finally:
            process.kill()  # asked politely it takes ten seconds
            process.wait()
            for port in ports:
                for left in _SOCKETS.glob(f"seaweedfs-*-{port}.sock"):
                    left.unlink(missing_ok=True)


def _identities() -> dict[str, object]:
    def one(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
        return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}

    return {
        "identities": [
            one("owner", KEY, SECRET, ["Admin", "Read", "Write", "List", "Tagging"]),
            one("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
        ]
    }


def _wait(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once the bucket is there and takes objects."""
    from obstore import put
    from obstore.exceptions import BaseError
    from obstore.store import S3Store

    deadline = time.monotonic() + 60
    store = S3Store(
        BUCKET, endpoint=server.endpoint, access_key_id=KEY, secret_access_key=SECRET, region="us-east-1",
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise StoreError(f"weed: expected a server that answers, found: {log.read_text()[-3000:]}")
        try:
            urllib.request.urlopen(server.endpoint, timeout=1).close()  # noqa: S310 http, on loopback
        except urllib.error.HTTPError:
            with suppress(BaseError):  # whatever it says while it starts
                put(store, "ready", b"ready")
                if process.poll() is None:  # else it is another's, which took the port before
                    return
        except OSError:
            pass
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
