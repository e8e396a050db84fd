"""Small pictures that a person can judge: overlays, false colours and contact sheets.

Every function takes and returns plain arrays (RGB, uint8) and draws the same pixels for the same input. A grey image
(H, W) is accepted wherever a colour one is.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from numpy import ndarray

from palm_data.store.atomic import write_bytes
from schemas.errors import BadInputError

Colour = tuple[int, int, int]

GOOD: Colour = (60, 190, 110)
BAD: Colour = (230, 60, 50)
NEUTRAL: Colour = (70, 150, 250)

_LABEL_PX = 18
_GAP_PX = 4
_PAPER = 24
_INK: Colour = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TILE_PX = 320


def as_rgb(image: ndarray) -> UInt8[ndarray, "height width 3"]:
    """The image with three channels, as a copy that may be drawn on.

    Raises:
        BadInputError: if it is not an (H, W), (H, W, 1) or (H, W, 3) uint8 array with at least one pixel.
    """
    if image.dtype != np.uint8 or image.size == 0:
        raise BadInputError("picture", field="pixels", expected="a non-empty uint8 image", found=_describe(image))
    if image.ndim == 3 and image.shape[2] == 3:
        return np.array(image, order="C")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim != 2:
        raise BadInputError("picture", field="shape", expected="(H, W) or (H, W, 3)", found=_describe(image))
    return np.repeat(image[..., None], 3, axis=2)


def overlay_mask(
    image: UInt8[ndarray, "height width *channels"],
    mask: Shaped[ndarray, "height width"],
    colour: Colour = GOOD,
    *,
    opacity: float = 0.45,
) -> UInt8[ndarray, "height width 3"]:
    """The image with the mask's non-zero pixels tinted."""
    picture = as_rgb(image)
    inside = mask != 0
    tinted = (1.0 - opacity) * picture[inside] + opacity * np.array(colour, dtype=np.float64)
    picture[inside] = np.rint(tinted).astype(np.uint8)
    return picture


def draw_contours(
    image: UInt8[ndarray, "height width *channels"],
    mask: Shaped[ndarray, "height width"],
    colour: Colour = GOOD,
    *,
    thickness_px: int = 1,
) -> UInt8[ndarray, "height width 3"]:
    """The image with the outline of the mask's non-zero pixels drawn, holes included."""
    picture = as_rgb(image)
    contours, _ = cv2.findContours((mask != 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, thickness_px)
    return picture


def colourise(
    depth: Float[ndarray, "height width"], *, near: float | None = None, far: float | None = None
) -> UInt8[ndarray, "height width 3"]:
    """False colours from near (warm) to far (cold); zero and non-finite depths are black.

    Args:
        near: the depth drawn warmest; the nearest one by default.
        far: the depth drawn coldest; the farthest one by default.
    """
    seen = np.isfinite(depth) & (depth > 0)
    if not seen.any():
        return np.zeros((*depth.shape, 3), dtype=np.uint8)
    near = float(depth[seen].min()) if near is None else near
    far = float(depth[seen].max()) if far is None else far
    span = max(far - near, 1e-12)
    level = np.clip((far - np.where(seen, depth, far)) / span, 0.0, 1.0)
    coloured = cv2.applyColorMap(np.rint(level * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where(seen[..., None], coloured, 0).astype(np.uint8)


def normals_to_rgb(normals: Float[ndarray, "height width 3"]) -> UInt8[ndarray, "height width 3"]:
    """Normals in camera axes (x right, y down, z forward) in the usual colours; zero normals are black.

    Red grows to the right, green upwards, blue towards the camera.
    """
    seen = np.any(normals != 0, axis=-1, keepdims=True)
    towards_viewer = normals * np.array([1.0, -1.0, -1.0])
    coloured = np.rint(np.clip(0.5 + 0.5 * towards_viewer, 0.0, 1.0) * 255)
    return np.where(seen, coloured, 0).astype(np.uint8)


def fit_within(
    image: UInt8[ndarray, "height width *channels"], width: int, height: int
) -> UInt8[ndarray, "fitted_height fitted_width 3"]:
    """The image scaled to fit a box, keeping its proportions; it is not enlarged."""
    picture = as_rgb(image)
    scale = min(width / picture.shape[1], height / picture.shape[0], 1.0)
    if scale >= 1.0:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def framed(
    image: UInt8[ndarray, "height width *channels"], colour: Colour, *, border_px: int = 3
) -> UInt8[ndarray, "height width 3"]:
    """The image with a coloured border drawn over its outermost pixels."""
    picture = as_rgb(image)
    border = min(border_px, (min(picture.shape[:2]) + 1) // 2)
    inner = picture[border : picture.shape[0] - border, border : picture.shape[1] - border].copy()
    picture[:] = colour
    picture[border : picture.shape[0] - border, border : picture.shape[1] - border] = inner
    return picture


def contact_sheet(
    images: Sequence[UInt8[ndarray, "..."]], labels: Sequence[str], columns: int, *, tile_px: int = _TILE_PX
) -> UInt8[ndarray, "height width 3"]:
    """The images in rows of equal cells, each with its label above.

    Args:
        tile_px: larger images are scaled down to fit a cell of at most this side.

    Raises:
        BadInputError: if there is no image, no column, or not one label for each image.
    """
    if not images or columns < 1 or len(labels) != len(images):
        found = f"{len(images)} images, {len(labels)} labels, {columns} columns"
        raise BadInputError("contact sheet", field="images", expected="images and one label for each", found=found)
    fitted = [fit_within(image, tile_px, tile_px) for image in images]
    cell_height = max(tile.shape[0] for tile in fitted) + _LABEL_PX + _GAP_PX
    cell_width = max(tile.shape[1] for tile in fitted) + _GAP_PX
    rows = math.ceil(len(fitted) / columns)
    sheet = np.full((rows * cell_height + _GAP_PX, columns * cell_width + _GAP_PX, 3), _PAPER, dtype=np.uint8)
    for position, (tile, label) in enumerate(zip(fitted, labels, strict=True)):
        top = (position // columns) * cell_height + _GAP_PX
        left = (position % columns) * cell_width + _GAP_PX
        sheet[top : top + _LABEL_PX, left : left + cell_width - _GAP_PX] = _label(label, cell_width - _GAP_PX)
        below = top + _LABEL_PX
        sheet[below : below + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def write_png(path: Path, image: UInt8[ndarray, "height width *channels"]) -> None:
    """Write an RGB or grey image as PNG without any metadata, whole or not at all."""
    picture = as_rgb(image)
    _, encoded = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])
    write_bytes(path, encoded.tobytes())


def _label(text: str, width: int) -> UInt8[ndarray, "label_height width 3"]:
    """A strip with the text, shrunk to fit."""
    strip = np.full((_LABEL_PX, width, 3), _PAPER, dtype=np.uint8)
    size = 0.42
    (needed, _), _ = cv2.getTextSize(text, _FONT, size, 1)
    if needed > width - 4:
        size *= max(width - 4, 1) / needed
    cv2.putText(strip, text, (2, _LABEL_PX - 5), _FONT, size, _INK, 1, cv2.LINE_AA)
    return strip


def _describe(image: ndarray) -> str:
    return f"{image.dtype} {image.shape}"
