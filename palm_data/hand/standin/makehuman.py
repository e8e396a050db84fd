"""MakeHuman's base mesh, shape targets and skinning weights, as they lie in its CC0 files.

The mesh is in decimetres there, metres here; its frame is kept (x to the body's left, y up, z forward).
"""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from schemas.errors import BadInputError

_METRES_PER_UNIT = 0.1
_BODY = "body"
_JOINT_PREFIX = "joint-"


@dataclass(frozen=True, eq=False)
class BaseMesh:
    """The body and the helper cubes that mark its joints."""

    vertices: Float[np.ndarray, "vertices 3"]
    """Of body and helpers alike, metres."""
    uvs: Float[np.ndarray, "uvs 2"]
    quads: Int[np.ndarray, "quads 4"]
    """Of the body alone, rows of `vertices`."""
    uv_quads: Int[np.ndarray, "quads 4"]
    cubes: dict[str, np.ndarray]
    """Name of each `joint-…` helper → its vertices; their centroid is the joint."""


def read_base_mesh(path: Path) -> BaseMesh:
    """The base mesh of an OBJ file whose faces are all quads with texture coordinates.

    Raises:
        BadInputError: if a line is not what MakeHuman writes, or the body is missing.
    """
    vertices: list[list[float]] = []
    uvs: list[list[float]] = []
    groups: dict[str, list[list[int]]] = {}
    members: list[list[int]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        keyword, *words = line.split() or [""]
        try:
            if keyword == "v":
                vertices.append(_numbers(words, 3))
            elif keyword == "vt":
                uvs.append(_numbers(words, 2))
            elif keyword == "g":
                members = groups.setdefault(words[0], [])
            elif keyword == "f":
                members.append(_quad(words))
        except (ValueError, IndexError):
            raise BadInputError(path, field=f"line {number}", expected="v, vt, g or a quad v/vt", found=line) from None
    if not groups.get(_BODY):
        raise BadInputError(path, field="groups", expected=f"a group {_BODY!r} with faces", found=sorted(groups)[:5])
    body = np.array(groups[_BODY])
    return BaseMesh(
        vertices=np.array(vertices) * _METRES_PER_UNIT,
        uvs=np.array(uvs),
        quads=body[:, :4],
        uv_quads=body[:, 4:],
        cubes={
            name: np.unique(np.array(quads)[:, :4])
            for name, quads in groups.items()
            if name.startswith(_JOINT_PREFIX) and quads
        },
    )


def _numbers(words: list[str], count: int) -> list[float]:
    if len(words) != count:
        raise ValueError(words)
    return [float(word) for word in words]


def _quad(words: list[str]) -> list[int]:
    """Four vertex rows, then four uv rows, from 0."""
    corners = [word.split("/") for word in words]
    if len(corners) != 4:
        raise ValueError(words)
    return [int(corner[0]) - 1 for corner in corners] + [int(corner[1]) - 1 for corner in corners]


def read_target(path: Path, vertices: int) -> Float[np.ndarray, "vertices 3"]:
    """How far a shape target at full strength moves each vertex of the base mesh, metres.

    Raises:
        BadInputError: if a line is not `row dx dy dz` of an existing row.
    """
    offsets = np.zeros((vertices, 3))
    for number, line in enumerate(gzip.decompress(path.read_bytes()).decode("utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            row, x, y, z = line.split()
            offsets[int(row)] = float(x), float(y), float(z)
        except (ValueError, IndexError):
            raise BadInputError(path, field=f"line {number}", expected="row dx dy dz", found=line) from None
    return offsets * _METRES_PER_UNIT


def read_bone_weights(path: Path, bones: Iterable[str], vertices: int) -> Float[np.ndarray, "vertices bones"]:
    """The skinning weight of each vertex for each of the named bones.

    Raises:
        BadInputError: if a bone is missing.
    """
    table = json.loads(path.read_text(encoding="utf-8"))["weights"]
    columns = []
    for bone in bones:
        if bone not in table:
            raise BadInputError(path, field="weights", expected=f"bone {bone!r}", found="no such bone")
        column = np.zeros(vertices)
        for row, weight in table[bone]:
            column[row] += weight
        columns.append(column)
    return np.stack(columns, axis=1)
