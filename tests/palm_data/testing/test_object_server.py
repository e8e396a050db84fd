"""The object store that tests start: what it leaves behind."""

from pathlib import Path

import pytest

from palm_data.testing import object_server


def test_a_stopped_server_leaves_no_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = object_server._free_ports(8)
    monkeypatch.setattr(object_server, "_free_ports", lambda _count: ports)

    def sockets() -> list[Path]:
        return [path for port in ports for path in object_server._SOCKETS.glob(f"seaweedfs-*-{port}.sock")]

    with object_server.running(tmp_path):
        assert sockets()
    assert not sockets()
