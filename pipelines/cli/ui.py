"""`palm ui`: Dagster's web page on this machine only, on the instance that `palm materialize` writes to."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.console import console
from pipelines.instance import dagster_home
from schemas.errors import ConflictError, StoreError
from schemas.settings import Settings, load_settings

HOST = "127.0.0.1"
_START_S = 120.0
_STOP_S = 30.0


def ui(
    *,
    raw: Annotated[Path | None, typer.Option(help="Raw sessions; read only.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="Where stages write.")] = None,
    releases: Annotated[str | None, typer.Option(help="Where releases are published: a folder or a URL.")] = None,
    port: Annotated[int, typer.Option(help="Port on this machine.", min=1, max=65535)] = 3000,
) -> None:
    """Start Dagster's web page and daemon on this machine (loopback only), until interrupted."""
    settings = load_settings(raw=raw, workspace=workspace, releases=releases)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the processes end with this one
    process = start(settings, port)
    try:
        wait_until_up(process, port)
        console.print(f"Dagster: http://{HOST}:{port}  (stop with Ctrl+C)", highlight=False)
        process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        stop(process)


def start(settings: Settings, port: int) -> subprocess.Popen[bytes]:
    """Web page, daemon and code server as one group of processes.

    Raises:
        ConflictError: if something listens on the port already.
    """
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise ConflictError(f"port {port}: expected it free, found a listener. Choose another with --port.")
    command = [
        sys.executable, "-m", "dagster", "dev", "--module-name", "pipelines.definitions",
        "--host", HOST, "--port", str(port), "--log-level", "error",
    ]  # fmt: skip
    return subprocess.Popen(command, env=environment(settings), start_new_session=True)


def environment(settings: Settings) -> Mapping[str, str]:
    """What Dagster's processes are told: the workspace's instance, the same places, one thread for kernels."""
    from pipelines.compute import ONE_THREAD

    return {
        **os.environ,
        **ONE_THREAD,
        "DAGSTER_HOME": str(dagster_home(settings.workspace)),
        "PALM_RAW": str(settings.raw.absolute()),
        "PALM_WORKSPACE": str(settings.workspace.absolute()),
        "PALM_RELEASES": settings.releases_place,
        # `dagster dev` recommends `dg dev` at every start, which needs a checkout of this project to run in.
        "PYTHONWARNINGS": "ignore",
    }


def wait_until_up(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once the page answers.

    Raises:
        StoreError: if the processes end first, or two minutes pass.
    """
    limit = time.monotonic() + _START_S
    while time.monotonic() < limit:
        if process.poll() is not None:
            raise StoreError(
                f"dagster: expected it to start, found exit code {process.returncode}. Its output is above."
            )
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}/server_info", timeout=5):  # loopback
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise StoreError(f"dagster: expected it to answer within {_START_S:.0f} s, found nothing on port {port}.")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the whole group: politely, and by force if that takes too long."""
    for sign, patience in ((signal.SIGINT, _STOP_S), (signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
        if process.poll() is not None:
            return
        os.killpg(process.pid, sign)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
