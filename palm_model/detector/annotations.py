"""Annotated joints: the COCO keypoint files below `<raw>/annotations`.

COCO counts pixels from the centre of the first one; a file whose `info.pixel_origin` begins with "corner" counts from
its corner, as we do. Coordinates are of the images as delivered: not turned, not undistorted.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from palm_data.capture.raw_files import read_bounded
from schemas.camera import PixelOrigin
from schemas.errors import BadInputError
from schemas.hand import JOINT_NAMES

FOLDER = "annotations"
_MAX_BYTES = 1 << 28
# COCO files carry what their tools like to add: only what we use is checked.
_COCO = ConfigDict(frozen=True, extra="ignore")


class _Image(BaseModel):
    model_config = _COCO
    id: int
    file_name: str


class _Category(BaseModel):
    model_config = _COCO
    id: int
    keypoints: tuple[str, ...] = ()


class _Annotation(BaseModel):
    model_config = _COCO
    image_id: int
    category_id: int
    keypoints: tuple[FiniteFloat, ...]


class _Info(BaseModel):
    model_config = _COCO
    pixel_origin: Annotated[str, Field(pattern="^(corner|centre)")] = PixelOrigin.CENTRE


class _Coco(BaseModel):
    model_config = _COCO
    info: Annotated[_Info, Field(default_factory=_Info)]
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


@dataclass(frozen=True)
class AnnotatedImage:
    """One image's joints as a person marked them."""

    path: str
    """Relative to the raw root."""
    points_px: Float[ndarray, "21 2"]
    """Pixels of the image as delivered, integers at pixel corners; any value where not labelled."""
    labelled: Bool[ndarray, "21"]


def read_annotations(raw: Path) -> tuple[AnnotatedImage, ...]:
    """Every annotated image of a raw session, sorted by path; the last file's word counts where two speak of one.

    Raises:
        BadInputError: if a file is not COCO keypoints of our 21 joints.
    """
    found: dict[str, AnnotatedImage] = {}
    for path in sorted((raw / FOLDER).glob("*.json")):
        for item in _read_file(path):
            found[item.path] = item
    return tuple(found[name] for name in sorted(found))


def _read_file(path: Path) -> list[AnnotatedImage]:
    try:
        coco = _Coco.model_validate_json(read_bounded(path, max_bytes=_MAX_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "file"
        raise BadInputError(path, field=field, expected="COCO keypoints", found=first["msg"]) from None
    names = {image.id: image.file_name for image in coco.images}
    orders = {category.id: _order(path, category) for category in coco.categories if category.keypoints}
    shift = 0.5 if coco.info.pixel_origin.startswith(PixelOrigin.CENTRE) else 0.0
    items = []
    for row, annotation in enumerate(coco.annotations):
        where = f"annotations[{row}]"
        name = _known(path, f"{where}.image_id", names, annotation.image_id)
        order = _known(path, f"{where}.category_id", orders, annotation.category_id)
        if len(annotation.keypoints) != 3 * len(JOINT_NAMES):
            raise BadInputError(
                path, field=f"{where}.keypoints", expected=f"{3 * len(JOINT_NAMES)} numbers (x, y, v for each joint)",
                found=len(annotation.keypoints),
            )  # fmt: skip
        values = np.array(annotation.keypoints).reshape(-1, 3)[order]
        items.append(AnnotatedImage(path=name, points_px=values[:, :2] + shift, labelled=values[:, 2] > 0))
    return items


def _order(path: Path, category: _Category) -> list[int]:
    """Row in the file of each of our joints."""
    if sorted(category.keypoints) != sorted(JOINT_NAMES):
        raise BadInputError(
            path, field=f"categories[{category.id}].keypoints", expected=f"the joints {', '.join(JOINT_NAMES)}",
            found=", ".join(category.keypoints),
        )  # fmt: skip
    return [category.keypoints.index(name) for name in JOINT_NAMES]


def _known(path: Path, field: str, known: dict[int, Any], key: int) -> Any:
    if key not in known:
        raise BadInputError(path, field=field, expected="the id of an image or hand category of this file", found=key)
    return known[key]
