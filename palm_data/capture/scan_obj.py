"""Wavefront OBJ, the part that scans use: `v`, `vt`, `f` and `mtllib`; other statements are passed over.

Lines are sorted by their keyword once and each kind is parsed as one block: scans have hundreds of thousands of
lines, and looking at each on its own takes longer than decoding its images.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from palm_data.capture.scan_parts import FileMesh, fan_corners, malformed, parse_numbers

_BLANKS = bytes.maketrans(b"\t\r\v\f", b"    ")
_CONTINUED = re.compile(rb"\\ *\n")
_SPACE, _NEWLINE, _SLASH = 32, 10, 47


@dataclass(frozen=True)
class _Block:
    """The lines of one keyword, without it, and where in the file they stand."""

    text: bytes
    lines: Int[ndarray, "n"]


def parse_obj(content: bytes, source: Path) -> FileMesh:
    """The mesh of an OBJ file: polygons as fans, negative indices resolved, normals and groups passed over.

    Raises:
        BadInputError: if a statement does not parse; what the mesh means is not checked here.
    """
    content = _plain(content)
    text = np.frombuffer(content, dtype=np.uint8).copy()
    starts = np.concatenate([[0], np.flatnonzero(text == _NEWLINE) + 1])[:-1]
    blocks = {key: _block(text, starts, key) for key in (b"v ", b"vt ", b"f ")}
    vertices = _coordinates(blocks[b"v "], source, "v", columns=3, allowed=(3, 4, 6, 7))
    uv = _coordinates(blocks[b"vt "], source, "vt", columns=2, allowed=(2, 3))
    corners, counts = _corners(blocks, source)
    triangles = fan_corners(counts)
    faces = corners[:, 0][triangles]
    textured = corners[:, 1] >= 0
    material = _material(content)
    if len(uv) and textured.all():
        return FileMesh(vertices, faces, uv, corners[:, 1][triangles], material=material)
    return FileMesh(vertices, faces, None, None, material=material, partly_textured=bool(textured.any()))


def _plain(content: bytes) -> bytes:
    """The file with single-byte line ends, blanks for tabs, continued lines joined, and nothing before keywords."""
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    content = content.translate(_BLANKS) + b"\n"
    if b"\\" in content:
        content = _CONTINUED.sub(b" ", content) + b"\n"  # one at the very end joins nothing to nothing
    if b"\n " in content or content.startswith(b" "):
        content = b"\n".join([line.lstrip() for line in content.split(b"\n")])
    return content


def _block(text: ndarray, starts: Int[ndarray, "lines"], key: bytes) -> _Block:
    """The lines that begin with the keyword. Scans group them, so that they are a few runs of the file."""
    chosen = np.ones(len(starts), dtype=bool)
    for offset, letter in enumerate(key):
        chosen &= text[np.minimum(starts + offset, len(text) - 1)] == letter
    for offset in range(len(key)):
        text[starts[chosen] + offset] = _SPACE
    ends = np.append(starts[1:], len(text))
    edges = np.flatnonzero(np.diff(chosen.astype(np.int8), prepend=0, append=0))
    runs = [text[starts[first] : ends[last - 1]].tobytes() for first, last in zip(edges[::2], edges[1::2], strict=True)]
    return _Block(b"".join(runs), np.flatnonzero(chosen))


def _material(content: bytes) -> str | None:
    """The file that the first `mtllib` names."""
    key = b"mtllib "
    start = 0 if content.startswith(key) else content.find(b"\n" + key) + 1
    if not content.startswith(key, start):
        return None
    name = content[start + len(key) : content.find(b"\n", start)]
    return _decoded(name.strip()) or None


def _decoded(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _token_starts(text: ndarray) -> Int[ndarray, "tokens"]:
    blank = (text == _SPACE) | (text == _NEWLINE)
    starts = ~blank
    starts[1:] &= blank[:-1]
    return np.flatnonzero(starts)


def _tokens_per_line(block: _Block, text: ndarray, starts: ndarray) -> Int[ndarray, "n"]:
    line_of_token = np.searchsorted(np.flatnonzero(text == _NEWLINE), starts)
    return np.bincount(line_of_token, minlength=len(block.lines))


def _coordinates(
    block: _Block, source: Path, keyword: str, *, columns: int, allowed: tuple[int, ...]
) -> Float[ndarray, "n columns"]:
    """The first columns of the lines' numbers; every line must hold equally many."""
    if not len(block.lines):
        return np.zeros((0, columns))
    text = np.frombuffer(block.text, dtype=np.uint8)
    per_line = _tokens_per_line(block, text, _token_starts(text))
    width = int(per_line[0])
    odd = np.flatnonzero(per_line != width) if width in allowed else np.array([0])
    if len(odd):
        expected = f"{' or '.join(map(str, allowed))} numbers, as many on every line"
        raise malformed(source, f"line {block.lines[odd[0]] + 1} ({keyword})", expected, int(per_line[odd[0]]))
    numbers = parse_numbers(block.text, np.float64, width * len(block.lines))
    if numbers is None:
        raise malformed(source, keyword, "numbers", "text")
    return np.ascontiguousarray(numbers.reshape(-1, width)[:, :columns])


def _corners(blocks: dict[bytes, _Block], source: Path) -> tuple[Int[ndarray, "c 2"], Int[ndarray, "polygons"]]:
    """Vertex and texture index (from 0; −1: none) of every corner, and the number of corners of every polygon."""
    block = blocks[b"f "]
    if not len(block.lines):
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64)
    # An empty normal or texture slot becomes 0, which OBJ never uses; then a corner is numbers between slashes.
    filled = block.text.replace(b"//", b"/0/")
    text = np.frombuffer(filled, dtype=np.uint8)
    starts = _token_starts(text)
    counts = _tokens_per_line(block, text, starts)
    if counts.min() < 3:
        short = int(np.argmin(counts))
        raise malformed(source, f"line {block.lines[short] + 1} (f)", "three corners or more", int(counts[short]))
    token_of_slash = np.searchsorted(starts, np.flatnonzero(text == _SLASH), side="right") - 1
    slashes = np.bincount(token_of_slash, minlength=len(starts))
    line_of_corner = np.repeat(np.arange(len(counts)), counts)
    slashes_of_line = slashes[np.cumsum(counts) - counts]
    if slashes.max() > 2 or (slashes != slashes_of_line[line_of_corner]).any():
        raise malformed(source, "f", "corners v, v/vt, v//vn or v/vt/vn, alike within a line", "something else")
    corners = np.zeros((len(starts), 2), dtype=np.int64)
    for kind in np.flatnonzero(np.bincount(slashes_of_line)):
        chosen = np.flatnonzero(slashes_of_line == kind)
        part = filled if len(chosen) == len(counts) else _some_lines(filled, chosen)
        width = int(kind) + 1
        numbers = parse_numbers(part.replace(b"/", b" "), np.int64, width * int(counts[chosen].sum()))
        if numbers is None:
            raise malformed(source, "f", "whole numbers between slashes", "something else")
        here = np.flatnonzero(slashes == kind)
        corners[here, : min(width, 2)] = numbers.reshape(-1, width)[:, :2]
    line_numbers = block.lines[line_of_corner]
    if (corners[:, 0] == 0).any():
        line = line_numbers[np.argmax(corners[:, 0] == 0)] + 1
        raise malformed(source, f"line {line} (f)", "vertex indices from 1, or negative", 0)
    corners[:, 0] = _resolved(corners[:, 0], line_numbers, blocks[b"v "])
    corners[:, 1] = np.where(corners[:, 1] == 0, -1, _resolved(corners[:, 1], line_numbers, blocks[b"vt "]))
    return corners, counts


def _some_lines(text: bytes, chosen: Int[ndarray, "n"]) -> bytes:
    lines = text.split(b"\n")
    return b"\n".join([lines[index] for index in chosen.tolist()])


def _resolved(indices: Int[ndarray, "c"], line_numbers: Int[ndarray, "c"], block: _Block) -> Int[ndarray, "c"]:
    """Indices from 0; a negative one counts back from the last of its kind above its line."""
    negative = indices < 0
    resolved = indices - 1
    if negative.any():
        above = np.searchsorted(block.lines, line_numbers[negative])
        resolved[negative] = above + indices[negative]
        # One that reaches above the file's start must stay out of range, not turn into "none".
        resolved[negative & (resolved < 0)] = np.iinfo(np.int64).max
    return resolved
