"""A user's own MANO file → the checked `.npz` that the rest of the project reads.

MANO's files are theirs to license and are never shipped, fetched or committed here.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from palm_data.hand.model import load_hand_model
from palm_data.hand.npz import read_npz
from palm_data.hand.pickle_reader import read_pickled_arrays
from palm_data.store.atomic import replacing
from schemas.errors import BadInputError

MANO_TIP_VERTICES = (744, 320, 443, 554, 671)
"""Thumb → pinky, as smplx and HOT3D number them in MANO's own topology. Other sets differ by a few millimetres."""
_COPIED = (
    "v_template",
    "f",
    "weights",
    "shapedirs",
    "posedirs",
    "J_regressor",
    "kintree_table",
    "hands_mean",
    "hands_components",
)
_FLOATS = frozenset(_COPIED) - {"f", "kintree_table"}
_MAX_NPZ_BYTES = 256 << 20


class ImportedModel(BaseModel):
    """What an import found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    side: Literal["right", "left"]
    vertices: int
    faces: int
    sha256: str
    mended_shape_sign: bool = Field(description="The left hand's known shapedirs sign defect was found and mended.")


def import_mano(
    source: Path,
    target: Path,
    *,
    side: Literal["right", "left"],
    tip_vertex_ids: tuple[int, int, int, int, int] | None = None,
) -> ImportedModel:
    """Convert a MANO file (`.pkl`, old chumpy pickles included, or `.npz`) into our checked `.npz`.

    The side is never guessed from a file name. Left-hand files whose shape directions carry the right hand's sign
    along x (a known defect of a published MANO_LEFT.pkl) are mended, and the report says so.

    Raises:
        BadInputError: if a key is missing or wrong; nothing in the file is ever executed.
    """
    arrays = (
        read_npz(source, _COPIED, max_bytes=_MAX_NPZ_BYTES) if source.suffix == ".npz" else read_pickled_arrays(source)
    )
    content: dict[str, np.ndarray] = {}
    for name in _COPIED:
        array = arrays.get(name)
        if not isinstance(array, np.ndarray):
            raise BadInputError(source, field=name, expected="an array", found="none" if array is None else "text")
        content[name] = array.astype(np.float64 if name in _FLOATS else np.int64)
    if content["shapedirs"].ndim == 3:
        content["shapedirs"] = content["shapedirs"][:, :, :10]
    content["tip_vertex_ids"] = np.array(tip_vertex_ids or _default_tips(source, content["v_template"]))
    mended = side == "left" and has_shape_sign_defect(content["v_template"], content["shapedirs"])
    if mended:
        content["shapedirs"][:, 0, :] *= -1.0
    with replacing(target) as partial:
        with partial.open("wb") as stream:
            np.savez_compressed(stream, allow_pickle=False, **content, side=np.array(side))
        load_hand_model(partial)
    model = load_hand_model(target)
    return ImportedModel(
        path=target,
        side=side,
        vertices=len(model.v_template),
        faces=len(model.faces),
        sha256=model.sha256,
        mended_shape_sign=mended,
    )


def _default_tips(source: Path, template: np.ndarray) -> tuple[int, ...]:
    if len(template) <= max(MANO_TIP_VERTICES):
        raise BadInputError(
            source, field="tip_vertex_ids", expected="a mesh with MANO's vertices", found=f"{len(template)} vertices",
            hint="Name the tip vertices, thumb to pinky, with --tips.",
        )  # fmt: skip
    return MANO_TIP_VERTICES


def has_shape_sign_defect(template: np.ndarray, shapedirs: np.ndarray) -> bool:
    """Whether the shape directions are mirrored along x against the template they belong to.

    The first shape directions scale the hand, so along each axis they correlate with the template's own
    coordinates with one sign. Where x alone has the opposite sign of y and z, the directions are of the other hand.

    Args:
        template: (vertices, 3), metres.
        shapedirs: (vertices, 3, components).
    """
    centred = template - template.mean(axis=0)
    moved = shapedirs - shapedirs.mean(axis=0)
    slopes = np.einsum("va,vac->ac", centred, moved) / (centred**2).sum(axis=0)[:, None]
    # Only a component that scales all three axes can tell: the one whose weakest axis is strongest.
    even = np.where(slopes[1] * slopes[2] > 0, np.abs(slopes).min(axis=0), 0.0)
    scaling = int(even.argmax())
    return bool(slopes[0, scaling] * slopes[1, scaling] < 0)
