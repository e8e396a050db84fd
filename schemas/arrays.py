"""The arrays of a subject's group: what each holds, in which unit and frame.

What stands here is written beside each array (Zarr attributes `description`, `unit`, `frame`) and into
`docs/schemas/arrays.md`.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from schemas.column import WORLD

DType = Literal["uint8", "uint16", "int16", "int32", "int64", "float32"]


class ArraySchema(BaseModel):
    """One array."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    dtype: DType
    axes: tuple[str, ...]
    channels: tuple[int, ...] = ()
    """Lengths of the axes after the pixel's or row's."""
    unit: str
    frame: str
    description: str

    def attributes(self) -> dict[str, str]:
        """What is written beside the array."""
        return {"description": self.description, "unit": self.unit, "frame": self.frame}


_IMAGE = ("capture", "view", "y", "x")
_STORED = "undistorted image of the tier, common orientation: x right, y down"


def _image(dtype: DType, unit: str, description: str, *, frame: str = _STORED, channels: int = 0) -> ArraySchema:
    return ArraySchema(
        dtype=dtype, axes=(*_IMAGE, "channel") if channels else _IMAGE, channels=(channels,) if channels else (),
        unit=unit, frame=frame, description=description,
    )  # fmt: skip


def _rows(dtype: DType, columns: int, unit: str, frame: str, description: str) -> ArraySchema:
    return ArraySchema(
        dtype=dtype, axes=("row", "column") if columns else ("row",), channels=(columns,) if columns else (),
        unit=unit, frame=frame, description=description,
    )  # fmt: skip


def _offsets(of: str) -> ArraySchema:
    text = f"Rows [offsets[i], offsets[i + 1]) of {of} are those of capture i."
    return _rows("int64", 0, "1", f"rows of {of}", text)


TIERED: Mapping[str, ArraySchema] = {
    "rgb": _image("uint8", "1", "sRGB, 0 to 255; zero where the rig delivered no image and where undistortion has no "
                  "source, and with the background set to zero, outside the mask too.", channels=3),
    "mask": _image("uint8", "1", "255 where the scan is seen, else 0."),
    "depth": _image("uint16", "mm × unit_mm", "Distance to the scan along the camera's z, in steps of the attribute unit_mm "
                    "(millimetres); 0 = none."),
    "normal": _image("int16", "1/32767", "Unit normal of the scan; 0, 0, 0 = none.", channels=3,
                     frame="camera: x right, y down, z forward"),
    "hand_mask": _image("uint8", "1", "255 where the fitted hand is seen, else 0; zero where none could be fitted."),
    "training_mask": _image("uint8", "1", "255 where the scan is near the fitted hand, and in the hand's core, else 0; zero "
                            "where no hand could be fitted."),
    "mono": _image("uint8", "1", "Grey values of the mono cameras, 0 to 255, as the cameras encode them; zero where the rig "
                   "delivered no image and where undistortion has no source."),
}  # fmt: skip
"""Those that lie in resolution tiers: `<name>/<tier>`."""

SCAN: Mapping[str, ArraySchema] = {
    "scan/vertices": _rows("float32", 3, "m", WORLD.name, "Corners of the scans' triangles, one capture after the other."),
    "scan/vertex_offsets": _offsets("scan/vertices"),
    "scan/faces": _rows("int32", 3, "1", "rows of the capture's vertices", "Triangles."),
    "scan/face_offsets": _offsets("scan/faces"),
    "scan/uv": _rows("float32", 2, "1", "texture: u right, v up, (0, 0) = its lower left corner", "Texture coordinates."),
    "scan/uv_offsets": _offsets("scan/uv"),
    "scan/uv_faces": _rows("int32", 3, "1", "rows of the capture's uv", "Triangles' texture coordinates; a scan without "
                           "any has no rows."),
    "scan/uv_face_offsets": _offsets("scan/uv_faces"),
    "scan/texture": ArraySchema(
        dtype="uint8", axes=(*_IMAGE, "channel"), channels=(3,), unit="1", frame="texture image: x right, y down",
        description="sRGB, 0 to 255, top left aligned in the size of the largest texture; texture_sizes says how much of it "
        "is the capture's. Absent if no scan has a texture.",
    ),
    "scan/texture_sizes": _rows("int32", 2, "px", "texture image", "Height and width of each capture's texture; 0, 0 = "
                                "none."),
}  # fmt: skip
ARRAYS: Mapping[str, ArraySchema] = {**TIERED, **SCAN}
OFFSETS: Mapping[str, str] = {
    "scan/vertices": "scan/vertex_offsets",
    "scan/faces": "scan/face_offsets",
    "scan/uv": "scan/uv_offsets",
    "scan/uv_faces": "scan/uv_face_offsets",
}
"""Rows of all captures, one after the other → where each capture's begin."""
