"""Mutations of valid files: what transfer, disks, hands and malice do to them. The same generator gives the same bytes."""

import json
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

Mutator = Callable[[bytes, np.random.Generator], bytes]

_NUMBER = re.compile(rb"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_NUMBERS = (
    b"nan", b"inf", b"-inf", b"0", b"-0", b"-1", b"1e999", b"1e308", b"-1e308", b"5e-324", b"1e-400", b"255", b"256", b"65536",
    b"2147483647", b"2147483648", b"-2147483649", b"4294967295", b"4294967296", b"9223372036854775807", b"9" * 25,
    b"9" * 5000, b"0x10", b"1_000", b"1,5", b"1.5.2", b"", b"\xd9\xa3", b"1e", b"--1", b"+",
)  # fmt: skip
"""What a number is replaced by."""
_JUNK = (
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b"/",
    b"//",
    b"\\\n",
    b"\xff\xff\xff\xff",
    b"\0" * 16,
    b"\xef\xbb\xbf",
    b"#",
    b'"',
    b"{",
    b"[",
    b"..",
)
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 2**31, 2**63, 2**64, 10**40, 1e308, float("nan"), float("inf"), float("-inf"), "", "0",
    "nan", "../..", "/etc/passwd", "a" * 10_000, "\u0000", "\ud800", "١٢", "9" * 5000 + ".0.0", [], {}, [[]], {"": None}, [None] * 1000,
)  # fmt: skip
"""What a value of JSON is replaced by."""
_MAX_EDITS = 4
_MAX_SPAN = 64
_MAX_REPEATS = 2000
_MAX_BYTES = 1 << 20
_DEPTHS = (10, 500, 100_000)


def mutate_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four edits anywhere: bits flipped, bytes set, spans lost, doubled, swapped, cut off, junk put in."""
    for _ in range(int(rng.integers(1, _MAX_EDITS + 1))):
        content = _EDITS[int(rng.integers(len(_EDITS)))](content, rng)
    return content[:_MAX_BYTES]


def mutate_text(content: bytes, rng: np.random.Generator) -> bytes:
    """One to four edits of numbers, words and lines; now and then of bytes."""
    for _ in range(int(rng.integers(1, _MAX_EDITS + 1))):
        edits = _TEXT_EDITS if rng.random() < 0.8 else _EDITS
        content = edits[int(rng.integers(len(edits)))](content, rng)
    return content[:_MAX_BYTES]


def mutate_json(content: bytes, rng: np.random.Generator) -> bytes:
    """A value replaced, removed, doubled or buried in brackets; one time in three the text itself is edited."""
    if rng.random() < 1 / 3:
        return mutate_text(content, rng)
    try:
        document = json.loads(content)
    except ValueError:
        return mutate_text(content, rng)
    for _ in range(int(rng.integers(1, _MAX_EDITS))):
        document = _edited(document, rng)
    text = json.dumps(document, indent=1 if rng.random() < 0.5 else None)
    if rng.random() < 0.05:
        depth = _DEPTHS[int(rng.integers(len(_DEPTHS)))]
        text = text.replace(":", ":" + "[" * depth + "]" * depth + ',"x":', 1)
    return text.encode("utf-8", errors="surrogatepass")


def mutate_png(content: bytes, rng: np.random.Generator) -> bytes:
    """Bytes edited; mostly the chunks' checksums and lengths are then made to fit, so that what is in them is looked at."""
    if rng.random() < 0.3:
        return mutate_bytes(content, rng)
    chunks = png_chunks(content)
    at = int(rng.integers(len(chunks)))
    kind, body = chunks[at]
    choice = rng.random()
    if choice < 0.5 and body:
        chunks[at] = (kind, mutate_bytes(body, rng))
    elif choice < 0.7:
        header = bytearray(chunks[0][1])
        field, value = (
            (0, 4, 8, 9, 10, 11, 12)[int(rng.integers(7))],
            int(rng.choice([0, 1, 2, 3, 4, 6, 16, 255, 2**16, 2**31 - 1, 2**32 - 1])),
        )
        header[field : field + 4 if field < 8 else field + 1] = (
            struct.pack(">I", value) if field < 8 else bytes([value & 255])
        )
        chunks[0] = (b"IHDR", bytes(header))
    elif choice < 0.8:
        chunks.insert(at, chunks[int(rng.integers(len(chunks)))])
    elif choice < 0.9:
        del chunks[at]
    else:
        bomb = zlib.compress(bytes(int(rng.integers(1, 1 << 24))))
        chunks.insert(
            at,
            (
                (b"IDAT", b"zTXt", b"iCCP", b"tEXt")[int(rng.integers(4))],
                b"a\0\0" + bomb if rng.random() < 0.5 else bomb,
            ),
        )
    return content[:8] + b"".join(_chunk(*one) for one in chunks)


def png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of the chunks of a whole PNG."""
    chunks, position = [], 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        chunks.append((content[position + 4 : position + 8], content[position + 8 : position + 8 + length]))
        position += 12 + length
    return chunks


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _span(content: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = int(rng.integers(len(content) + 1))
    return start, min(len(content), start + int(rng.integers(1, _MAX_SPAN)))


def _flip(content: bytes, rng: np.random.Generator) -> bytes:
    if not content:
        return content
    edited = bytearray(content)
    edited[int(rng.integers(len(edited)))] ^= 1 << int(rng.integers(8))
    return bytes(edited)


def _set(content: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(content, rng)
    return content[:start] + rng.bytes(stop - start) + content[stop:]


def _lose(content: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(content, rng)
    return content[:start] + content[stop:]


def _double(content: bytes, rng: np.random.Generator) -> bytes:
    start, stop = _span(content, rng)
    times = int(rng.integers(2, _MAX_REPEATS)) if rng.random() < 0.05 else 2
    return content[:start] + content[start:stop] * times + content[stop:]


def _swap(content: bytes, rng: np.random.Generator) -> bytes:
    (a, b), (c, d) = sorted([_span(content, rng), _span(content, rng)])
    c = max(b, c)
    d = max(c, d)
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _junk(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content) + 1))
    return content[:at] + _JUNK[int(rng.integers(len(_JUNK)))] + content[at:]


def _number(content: bytes, rng: np.random.Generator) -> bytes:
    found = list(_NUMBER.finditer(content[:_MAX_BYTES]))
    if not found:
        return _junk(content, rng)
    match = found[int(rng.integers(len(found)))]
    return content[: match.start()] + _NUMBERS[int(rng.integers(len(_NUMBERS)))] + content[match.end() :]


def _parts(separator: bytes) -> Mutator:
    def edit(content: bytes, rng: np.random.Generator) -> bytes:
        """Two parts swapped, one lost, or one repeated."""
        parts = content.split(separator)
        one, other = int(rng.integers(len(parts))), int(rng.integers(len(parts)))
        choice = rng.random()
        if choice < 0.4:
            parts[one], parts[other] = parts[other], parts[one]
        elif choice < 0.7:
            del parts[one]
        else:
            times = int(rng.integers(2, _MAX_REPEATS)) if rng.random() < 0.05 else 1
            parts[other:other] = [parts[one]] * times
        return separator.join(parts)

    return edit


_EDITS: tuple[Mutator, ...] = (_flip, _flip, _set, _lose, _double, _swap, _cut, _junk)
_TEXT_EDITS: tuple[Mutator, ...] = (_number, _number, _number, _parts(b" "), _parts(b"\n"), _parts(b"\n"))


def _edited(document: Any, rng: np.random.Generator) -> Any:
    """The document with one of its values, keys or items edited."""
    if not isinstance(document, dict | list) or not document or rng.random() < 0.1:
        return _VALUES[int(rng.integers(len(_VALUES)))]
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = keys[int(rng.integers(len(keys)))]
    choice = rng.random()
    edited = document.copy()
    if choice < 0.7:
        edited[key] = _edited(document[key], rng)
    elif choice < 0.8:
        del edited[key]
    elif choice < 0.9:
        other = keys[int(rng.integers(len(keys)))]
        edited[key], edited[other] = document[other], document[key]
    elif isinstance(edited, dict):
        edited[f"{key}x"] = edited[key]
    else:
        edited.extend(document)
    return edited
