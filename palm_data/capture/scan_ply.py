"""Stanford PLY: ASCII and binary of either byte order, with texture coordinates per vertex or per face.

Counts in the header are believed only as far as the file has bytes for them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from palm_data.capture.scan_parts import FileMesh, fan_corners, malformed
from palm_data.capture.scan_ply_body import AsciiBody, BinaryBody, Element, Property, Table

_MAX_HEADER_BYTES = 1 << 16
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
_INDEX_NAMES = ("vertex_indices", "vertex_index")


@dataclass
class _Header:
    byte_order: str | None = None
    texture: str | None = None


def parse_ply(content: bytes, source: Path) -> FileMesh:
    """The mesh of a PLY file: polygons as fans, `comment TextureFile` honoured, other elements passed over.

    Raises:
        BadInputError: if the header does not parse or the body is not exactly what it announces; what the mesh
            means is not checked here.
    """
    header, elements, body_start = _parse_header(content, source)
    body = (
        BinaryBody(content, body_start, header.byte_order, source)
        if header.byte_order
        else AsciiBody(content[body_start:], source)
    )
    tables: dict[str, Table] = {}
    for element in elements:
        tables[element.name] = body.read(element)
    body.finish()
    if "vertex" not in tables or "face" not in tables:
        raise malformed(source, "header", "elements vertex and face", ", ".join(tables) or "none")
    vertices, vertex_uv = _vertices(tables["vertex"], source)
    return _mesh(vertices, vertex_uv, tables["face"], source, header.texture)


def _parse_header(content: bytes, source: Path) -> tuple[_Header, list[Element], int]:
    end = content.find(b"end_header", 0, _MAX_HEADER_BYTES)
    line_end = content.find(b"\n", end) if end >= 0 else -1
    if line_end < 0 or content[end + len(b"end_header") : line_end].strip(b"\r "):
        raise malformed(source, "header", f"end_header within {_MAX_HEADER_BYTES} bytes", "none")
    header, elements = _Header(), list[Element]()
    for number, raw in enumerate(content[:end].split(b"\n"), 1):
        line = raw.decode("utf-8", errors="replace").strip()
        words = line.split()
        try:
            _header_line(words, line, header, elements)
        except (ValueError, KeyError, IndexError):
            raise malformed(source, f"line {number}", "a PLY header statement", repr(line[:80])) from None
    if header.byte_order is None:
        raise malformed(source, "format", ", ".join(_FORMATS), "none")
    return header, elements, line_end + 1


def _header_line(words: list[str], line: str, header: _Header, elements: list[Element]) -> None:
    """Take in one line of the header; ValueError, KeyError or IndexError if it is none."""
    match words:
        case [] | ["ply"] | ["obj_info", *_]:
            return
        case ["comment", "TextureFile", _, *_]:
            header.texture = header.texture or line.split(maxsplit=2)[2]
        case ["comment", *_]:
            return
        case ["format", kind, "1.0"]:
            header.byte_order = _FORMATS[kind]
        case ["element", name, count]:
            if int(count) < 0 or any(element.name == name for element in elements):
                raise ValueError(count)
            elements.append(Element(name, int(count), []))
        case ["property", "list", count_type, item_type, name]:
            if _TYPES[count_type].startswith("f"):
                raise ValueError(count_type)
            _add(elements[-1], Property(name, _TYPES[item_type], _TYPES[count_type]))
        case ["property", item_type, name]:
            _add(elements[-1], Property(name, _TYPES[item_type], None))
        case _:
            raise ValueError(line)


def _add(element: Element, item: Property) -> None:
    if any(other.name == item.name for other in element.properties):
        raise ValueError(item.name)
    element.properties.append(item)


def _vertices(table: Table, source: Path) -> tuple[Float[ndarray, "v 3"], Float[ndarray, "v 2"] | None]:
    try:
        vertices = np.stack([table.scalars[axis] for axis in "xyz"], axis=1).astype(np.float64)
    except KeyError as missing:
        raise malformed(source, "element vertex", "properties x, y, z", f"no {missing}") from None
    for u, v in _UV_NAMES:
        if u in table.scalars and v in table.scalars:
            return vertices, np.stack([table.scalars[u], table.scalars[v]], axis=1).astype(np.float64)
    return vertices, None


def _mesh(vertices: ndarray, vertex_uv: ndarray | None, table: Table, source: Path, texture: str | None) -> FileMesh:
    name = next((name for name in _INDEX_NAMES if name in table.lists), None)
    if name is None:
        raise malformed(source, "element face", f"a list {' or '.join(_INDEX_NAMES)}", ", ".join(table.lists) or "none")
    counts, flat = table.lists[name]
    if len(counts) and counts.min() < 3:
        raise malformed(source, f"face {int(np.argmin(counts))}", "three corners or more", int(counts.min()))
    indices = _whole(flat, source)
    triangles = fan_corners(counts)
    faces = indices[triangles]
    if "texcoord" in table.lists:
        uv_counts, uv = table.lists["texcoord"]
        if (uv_counts == 2 * counts).all():
            return FileMesh(vertices, faces, uv.astype(np.float64).reshape(-1, 2), triangles, texture=texture)
        if uv_counts.any():
            if (uv_counts[uv_counts > 0] != 2 * counts[uv_counts > 0]).any():
                raise malformed(source, "texcoord", "two numbers for each corner", "another count")
            return FileMesh(vertices, faces, None, None, texture=texture, partly_textured=True)
    if vertex_uv is not None:
        return FileMesh(vertices, faces, vertex_uv, faces, texture=texture)
    return FileMesh(vertices, faces, None, None, texture=texture)


def _whole(values: ndarray, source: Path) -> Int[ndarray, "n"]:
    """The values as int64; ASCII files give them as decimal numbers."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    if not (np.isfinite(values).all() and (values == np.rint(values)).all() and (np.abs(values) < 2**53).all()):
        raise malformed(source, "face", "whole vertex indices", "something else")
    return values.astype(np.int64)
