"""PNG files that hold pixels and nothing else: no time, place, camera or software."""

import struct
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.image_headers import png_header
from palm_data.capture.images import decode_image, read_image
from palm_data.store.atomic import write_bytes
from schemas.errors import BadInputError, StoreError

_LEVEL = 3
_PNG = b"\x89PNG\r\n\x1a\n"
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


def read_channels(content: bytes, source: Path, *, max_pixels: int) -> UInt8[ndarray, "h w *c"]:
    """The pixels of an 8-bit image with all its channels: (h, w), RGB, or RGBA (PNG only).

    Raises:
        BadInputError: if it is no such image, is damaged or cut short, or has too many pixels; the header is checked first.
    """
    if not content.startswith(_PNG):
        return decode_image(content, source, max_pixels=max_pixels)
    try:
        header = png_header(content, source, colours=(0, 2, 3, 4, 6))
    except (struct.error, IndexError):
        found = f"{len(content)} bytes: it is cut short"
        raise BadInputError(source, field="length", expected="a whole file", found=found) from None
    size = f"{header.width}×{header.height}"
    if not 0 < header.width * header.height <= max_pixels:
        raise BadInputError(source, field="size", expected=f"1 to {max_pixels} pixels", found=size)
    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None or image.dtype != np.uint8 or image.shape[:2] != (header.height, header.width):
        raise BadInputError(source, field="pixels", expected=f"a whole image of {size}", found="none")
    order = [2, 1, 0, 3] if image.ndim == 3 and image.shape[2] == 4 else [2, 1, 0]
    return image if image.ndim == 2 else np.ascontiguousarray(image[..., order])
