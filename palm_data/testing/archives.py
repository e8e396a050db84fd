"""Archives that want more than to be read: to write elsewhere, to be links, or to fill the disk."""

import io
import stat
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

_NAMES = (
    "../escaped", "../../escaped", "/var/palm-escaped", "a/../../escaped", "..\\escaped", "C:\\escaped", "C:escaped", "\\\\host\\share\\escaped",
    "a//../../escaped", "./../escaped", "a/..", "..", "/", "//etc/escaped", "a\0/../escaped", "\u2025/escaped", "\uff0e\uff0e/escaped",
    "a/\u202e../escaped", "con:escaped", "~/escaped", "$HOME/escaped", "a" * 5000, "a/" * 3000 + "b",
)  # fmt: skip
_KINDS = {
    "link": stat.S_IFLNK,
    "character device": stat.S_IFCHR,
    "block device": stat.S_IFBLK,
    "pipe": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
}


def hostile_zips(beside: Path, members: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Names and contents of zip archives that hold the honest members and something that nobody should unpack.

    Args:
        beside: where an escape would leave a file, for whoever reads the archives to look.
    """
    for name in (*_NAMES, str(beside / "escaped"), f"../{beside.name}/escaped"):
        yield f"a member called {name[:40]!r}", _zip(members, [(_info(name), b"escaped")])
    for kind, mode in _KINDS.items():
        for target in ("/etc/passwd", "../../escaped", str(beside)):
            info = _info("pictures/0.png")
            info.external_attr = (mode | 0o777) << 16
            yield (
                f"a {kind} to {target}",
                _zip(members, [(info, target.encode()), (_info("pictures/0.png/x"), b"escaped")]),
            )
    twice = next(iter(members))
    yield "two members of one name", _zip(members, [(_info(twice), b"other")])
    yield "names that differ in case", _zip(members, [(_info(twice.upper()), b"other")])
    yield "names that differ in composition", _zip(members, [(_info("e\u0301.npy"), b"1"), (_info("\u00e9.npy"), b"2")])
    yield "a folder that is a file", _zip(members, [(_info(f"{twice}/x"), b"escaped")])
    yield "a bomb", _zip(members, [(_info("bomb.npy"), bytes(96 << 20))])
    yield "a bomb in an honest member's name", _zip({**members, twice: bytes(96 << 20)}, [])
    whole = _zip(members, [])
    yield "a member that says it is short", _with_sizes(_zip({**members, twice: bytes(64 << 20)}, []), 10)
    yield "a member that says it is huge", _with_sizes(whole, 0xFFFFFFF0)
    yield "100,000 members", _many(members)
    yield "the directory cut off", whole[:-30]
    yield "half of it", whole[: len(whole) // 2]
    yield "an archive in front of another", whole + _zip({"x": b"1"}, [])
    yield "no archive", b"PK\x05\x06" + bytes(18)
    yield "a directory that points at itself", whole[:-6] + struct.pack("<I", 0) + b"\0\0"
    yield "encrypted", _flagged(whole, 0x1)
    yield "an unknown compression", _compressed_as(whole, 99)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("x", (2025, 1, 1, 0, 0, 0))
    info.filename = name  # past what its constructor mends
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _zip(members: dict[str, bytes], extra: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(_info(name), content)
        for info, content in extra:
            archive.NameToInfo.pop(info.filename, None)  # or the standard library warns of the second one
            archive.writestr(info, content)
    return stream.getvalue()


def _many(members: dict[str, bytes]) -> bytes:
    return _zip(members, [(_info(f"m/{number}"), b"") for number in range(100_000)])


def _central(content: bytes) -> int:
    """Where the first entry of the directory is."""
    return content.index(b"PK\x01\x02")


def _with_sizes(content: bytes, size: int) -> bytes:
    at = _central(content) + 24
    return content[:at] + struct.pack("<I", size) + content[at + 4 :]


def _flagged(content: bytes, flag: int) -> bytes:
    at = _central(content) + 8
    return content[:at] + struct.pack("<H", flag) + content[at + 2 :]


def _compressed_as(content: bytes, method: int) -> bytes:
    at = _central(content) + 10
    return content[:at] + struct.pack("<H", method) + content[at + 2 :]
