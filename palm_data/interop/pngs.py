"""PNG files that hold pixels and nothing else: no time, place, camera or software."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.images import read_image
from palm_data.store.atomic import write_bytes
from schemas.errors import StoreError

_LEVEL = 3
_MAX_PIXELS = 64 << 20


def png_bytes(image: UInt8[ndarray, "h w *c"]) -> bytes:
    """An image as a PNG: RGB (h, w, 3), or one channel (h, w).

    Raises:
        StoreError: if OpenCV cannot encode it.
    """
    in_file_order = np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image)
    written, encoded = cv2.imencode(".png", in_file_order, [cv2.IMWRITE_PNG_COMPRESSION, _LEVEL])
    if not written:
        raise StoreError(f"PNG: expected an image that can be encoded, found shape {image.shape}.")
    return encoded.tobytes()


def write_png(path: Path, image: UInt8[ndarray, "h w *c"]) -> None:
    """Write an image whole or not at all.

    Raises:
        StoreError: if OpenCV cannot encode it.
    """
    write_bytes(path, png_bytes(image))


def read_png(path: Path) -> UInt8[ndarray, "h w *c"]:
    """The pixels of an 8-bit PNG: RGB (h, w, 3), or (h, w) if it has one channel.

    Raises:
        BadInputError: if there is none, or it is damaged.
        StoreError: if the disk would not give it.
    """
    return read_image(path, max_pixels=_MAX_PIXELS)
