"""The hand model's arrays, read and checked. Posing them is `palm_data.hand.layer`.

A model file has MANO's keys and meaning, whatever its number of vertices. The one shipped here is a stand-in made
from CC0 assets; a user's own MANO file, converted to the same keys, takes its place without a change of code.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from palm_data.hand.npz import read_npz
from palm_data.store.atomic import file_sha256
from schemas.errors import BadInputError, GeometryError
from schemas.hand import HandConvention

SHIPPED_MODEL = Path(__file__).parent / "assets" / "hand_standin_right.npz"
JOINTS = 16
SHAPE_COMPONENTS = 10
POSE_SIZE = 3 * (JOINTS - 1)
POSE_FEATURES = 9 * (JOINTS - 1)
_MAX_BYTES = 256 << 20
_MAX_VERTICES = 200_000
_REQUIRED = (
    "v_template", "f", "weights", "shapedirs", "posedirs", "J_regressor", "kintree_table",
    "hands_mean", "hands_components", "tip_vertex_ids",
)  # fmt: skip
_KINDS = {"f": "real numbers", "iu": "whole numbers", "U": "text"}
_SUM_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class HandModel:
    """A right or left hand in MANO's parameterisation. Arrays are read-only; metres, in the model's rest pose."""

    v_template: Float[np.ndarray, "vertices 3"]
    faces: Int[np.ndarray, "faces 3"]
    weights: Float[np.ndarray, "vertices 16"]
    shapedirs: Float[np.ndarray, "vertices 3 10"]
    posedirs: Float[np.ndarray, "vertices 3 135"]
    joint_regressor: Float[np.ndarray, "16 vertices"]
    parents: Int[np.ndarray, "16"]
    """Parent of each joint; −1 for the wrist."""
    hands_mean: Float[np.ndarray, "45"]
    hands_components: Float[np.ndarray, "45 45"]
    vt: Float[np.ndarray, "uvs 2"] | None
    """Texture coordinates, or None where the file has none."""
    ft: Int[np.ndarray, "faces 3"] | None
    tip_vertex_ids: tuple[int, int, int, int, int]
    """Vertex at each finger tip, thumb → pinky."""
    model_id: str
    sha256: str
    side: Literal["right", "left"] = field(default="right", kw_only=True)

    def convention(self) -> HandConvention:
        """The flags that must travel with pose and shape parameters of this model."""
        return HandConvention(
            side=self.side,
            flat_hand_mean=False,
            model_id=self.model_id,
            model_sha256=self.sha256,
            tip_vertex_ids=self.tip_vertex_ids,
        )

    def rim_vertices(self) -> Int[np.ndarray, "rim"]:
        """The open wrist loop, in order: from its lowest vertex id, in the sense of the faces that border it.

        Raises:
            GeometryError: if the mesh is closed, or its border is not one simple loop.
        """
        following = _border_successors(self.faces)
        if not following:
            raise GeometryError(f"hand model {self.model_id}: expected an open wrist, found a closed mesh.")
        loop = [min(following)]
        while (vertex := following[loop[-1]]) != loop[0] and len(loop) < len(following):
            loop.append(vertex)
        if vertex != loop[0] or len(loop) != len(following):
            raise GeometryError(
                f"hand model {self.model_id}: expected one border loop of {len(following)} edges, found more than one."
            )
        return np.array(loop, dtype=np.int64)


def _border_successors(faces: np.ndarray) -> dict[int, int]:
    """Start → end of every half edge that no opposite one meets."""
    starts = faces.ravel()
    ends = np.roll(faces, -1, axis=1).ravel()
    edges = set(zip(starts.tolist(), ends.tolist(), strict=True))
    return {start: end for start, end in sorted(edges) if (end, start) not in edges}


def load_hand_model(path: Path | None = None) -> HandModel:
    """The hand model in a file, checked; the shipped stand-in when no file is named.

    Args:
        path: an `.npz` with MANO's keys plus `tip_vertex_ids`; `vt` and `ft` are optional.

    Raises:
        BadInputError: naming the key that is missing or wrong; no file content is ever executed.
    """
    source = SHIPPED_MODEL if path is None else path
    arrays = read_npz(source, (*_REQUIRED, "vt", "ft", "side"), max_bytes=_MAX_BYTES)
    check = _Checker(source, arrays)
    template = check.numbers("v_template", (None, 3))
    count = len(template)
    if not 4 <= count <= _MAX_VERTICES:
        raise BadInputError(source, field="v_template", expected=f"4 to {_MAX_VERTICES} vertices", found=count)
    faces = check.indices("f", (None, 3), count)
    vt, ft = check.texture(len(faces))
    tips = check.indices("tip_vertex_ids", (5,), count)
    model = HandModel(
        v_template=template,
        faces=faces,
        weights=check.weights(count),
        shapedirs=check.numbers("shapedirs", (count, 3, SHAPE_COMPONENTS)),
        posedirs=check.numbers("posedirs", (count, 3, POSE_FEATURES)),
        joint_regressor=check.numbers("J_regressor", (JOINTS, count)),
        parents=check.parents(),
        hands_mean=check.numbers("hands_mean", (POSE_SIZE,)),
        hands_components=check.numbers("hands_components", (POSE_SIZE, POSE_SIZE)),
        vt=vt,
        ft=ft,
        tip_vertex_ids=(int(tips[0]), int(tips[1]), int(tips[2]), int(tips[3]), int(tips[4])),
        model_id=source.stem,
        sha256=file_sha256(source),
        side=check.side(),
    )
    check.regressor(model.joint_regressor)
    return model


class _Checker:
    """Hands out the arrays of one file, each only if it is what MANO's format promises."""

    def __init__(self, source: Path, arrays: dict[str, np.ndarray]) -> None:
        self._source = source
        self._arrays = arrays

    def _refuse(self, name: str, expected: str, found: object) -> BadInputError:
        return BadInputError(self._source, field=name, expected=expected, found=found)

    def _array(self, name: str, shape: tuple[int | None, ...], kinds: str) -> np.ndarray:
        if name not in self._arrays:
            raise self._refuse(name, "the array to be in the file", "no such key")
        array = self._arrays[name]
        if array.dtype.kind not in kinds:
            raise self._refuse(name, _KINDS[kinds], f"dtype {array.dtype}")
        if array.ndim != len(shape) or any(b is not None and a != b for a, b in zip(array.shape, shape, strict=True)):
            wanted = " × ".join("any" if size is None else str(size) for size in shape)
            raise self._refuse(name, f"shape {wanted}", f"shape {' × '.join(map(str, array.shape))}")
        return array

    def numbers(self, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """A finite float32 array, read-only."""
        # Beyond float32's range a value turns infinite here, which is then refused.
        with np.errstate(over="ignore"):
            array = self._array(name, shape, "f").astype(np.float32)
        if not np.isfinite(array).all():
            raise self._refuse(name, "finite numbers", f"{int((~np.isfinite(array)).sum())} that are not")
        return _frozen(array)

    def indices(self, name: str, shape: tuple[int | None, ...], below: int) -> np.ndarray:
        """An int64 array of rows of a table with `below` rows, read-only."""
        array = self._array(name, shape, "iu")
        if array.size == 0 or array.min() < 0 or array.max() >= below:
            found = "none" if array.size == 0 else f"{array.min()} to {array.max()}"
            raise self._refuse(name, f"row numbers from 0 to {below - 1}", found)
        return _frozen(array.astype(np.int64))

    def weights(self, vertices: int) -> np.ndarray:
        """Skinning weights: not negative, each row summing to one."""
        weights = self.numbers("weights", (vertices, JOINTS))
        if weights.min() < 0:
            raise self._refuse("weights", "no negative weight", weights.min())
        self._sums_to_one("weights", weights)
        return weights

    def regressor(self, regressor: np.ndarray) -> None:
        """Joints must move with the mesh, so each row sums to one."""
        self._sums_to_one("J_regressor", regressor)

    def _sums_to_one(self, name: str, rows: np.ndarray) -> None:
        sums = rows.sum(axis=1, dtype=np.float64)
        worst = int(np.abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > _SUM_TOLERANCE:
            raise self._refuse(name, "rows that sum to 1", f"{sums[worst]:.6g} in row {worst}")

    def parents(self) -> np.ndarray:
        """The kinematic tree: the wrist first, every parent before its children."""
        table = self._array("kintree_table", (2, JOINTS), "iu").astype(np.int64)
        if not np.array_equal(table[1], np.arange(JOINTS)):
            raise self._refuse("kintree_table", f"second row 0 to {JOINTS - 1}", table[1].tolist())
        if table[0, 0] not in (-1, 2**32 - 1):
            raise self._refuse("kintree_table", "a first joint without parent (−1 or 2³²−1)", table[0, 0])
        table[0, 0] = -1
        if (table[0, 1:] < 0).any() or (table[0, 1:] >= np.arange(1, JOINTS)).any():
            raise self._refuse("kintree_table", "each parent before its child", table[0].tolist())
        return _frozen(table[0].copy())

    def texture(self, faces: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Texture coordinates and their faces: both or neither."""
        held = {"vt", "ft"} & set(self._arrays)
        if not held:
            return None, None
        vt = self.numbers("vt", (None, 2))
        return vt, self.indices("ft", (faces, 3), len(vt))

    def side(self) -> Literal["right", "left"]:
        """Which hand it is; MANO's files do not say, and are taken as right."""
        if "side" not in self._arrays:
            return "right"
        side = self._array("side", (), "U")
        if side == "right":
            return "right"
        if side == "left":
            return "left"
        raise self._refuse("side", "right or left", f"text of {side.dtype}")


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
