"""The identity of a version: one digest over the path, size and digest of every file.

A binary hash tree in the manner of RFC 6962, section 2.1, over the files sorted by the bytes of their path:

    leaf(f)    = SHA-256(0x00 ‖ length(path) ‖ path ‖ bytes ‖ sha256)      lengths and sizes as 8 bytes, big-endian
    node(l, r) = SHA-256(0x01 ‖ l ‖ r)                                     a last node without a partner moves up
    empty      = SHA-256("")

The first byte keeps leaves and nodes apart, so that no list of files has the root of another one.
"""

import hashlib
from collections.abc import Iterable
from itertools import pairwise

from schemas.errors import StoreError
from schemas.ids import Sha256
from schemas.release import FileRow

_LEAF, _NODE = b"\x00", b"\x01"


def merkle_root(files: Iterable[FileRow]) -> Sha256:
    """The root over the files, whatever order they come in.

    Raises:
        StoreError: if two files have one path.
    """
    ordered = sorted(files, key=lambda row: row.path.encode())
    for before, after in pairwise(ordered):
        if before.path == after.path:
            raise StoreError(f"{after.path}: expected each path once in a version, found it twice.")
    level = [_leaf(row) for row in ordered]
    if not level:
        return hashlib.sha256(b"").hexdigest()
    while len(level) > 1:
        paired = [_node(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0].hex()


def _leaf(row: FileRow) -> bytes:
    path = row.path.encode()
    parts = (_LEAF, len(path).to_bytes(8), path, row.bytes.to_bytes(8), bytes.fromhex(row.sha256))
    return hashlib.sha256(b"".join(parts)).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
