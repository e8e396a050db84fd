"""Pictures inside Dagster's pages: small copies, embedded, so that the page needs no file server.

Belongs here: scaling and embedding. Does not belong here: drawing (see `palm_data.report`).
"""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from schemas.errors import IntegrityError

if TYPE_CHECKING:
    from numpy import ndarray

_LONGEST_PX = 1150
_JPEG_QUALITY = 80
_COLUMNS = 3
_TILE_PX = 400


def embedded(picture: Path, title: str) -> dg.MetadataValue:
    """The picture, at most 1150 px long, as Markdown that holds its own bytes.

    Raises:
        IntegrityError: if the file is not an image.
    """
    return _markdown(_read(picture), title)


def embedded_sheet(pictures: Mapping[str, Path], title: str) -> dg.MetadataValue:
    """Several pictures with their names, as one.

    Raises:
        IntegrityError: if a file is not an image.
    """
    from palm_data.report.pictures import contact_sheet

    tiles = [_read(path) for path in pictures.values()]
    return _markdown(contact_sheet(tiles, list(pictures), _COLUMNS, tile_px=_TILE_PX), title)


def embedded_pixels(pixels: "ndarray", title: str) -> dg.MetadataValue:
    """A picture that lies nowhere, (H, W, 3) uint8, red first."""
    return _markdown(pixels[..., ::-1], title)


def _read(picture: Path) -> "ndarray":
    """The pixels, (H, W, 3) in OpenCV's channel order: nothing here looks at colours."""
    import cv2

    pixels = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if pixels is None:
        raise IntegrityError(f"{picture}: expected an image, found something else. Materialize the stage again.")
    return pixels


def _markdown(pixels: "ndarray", title: str) -> dg.MetadataValue:
    import cv2

    height, width = pixels.shape[:2]
    scale = _LONGEST_PX / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    text = base64.b64encode(encoded.tobytes()).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/jpeg;base64,{text})")
