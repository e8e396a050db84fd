"""Images as the rig delivers them, decoded whole or refused."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.capture.image_headers import read_header
from palm_data.capture.raw_files import read_bounded
from schemas.errors import BadInputError
from schemas.ids import CameraId, is_colour_camera

_MAX_BYTES_PER_PIXEL = 4
_HEADER_BYTES = 1 << 20


def max_image_bytes(max_pixels: int) -> int:
    """No honest 8-bit image of that many pixels is longer."""
    return max_pixels * _MAX_BYTES_PER_PIXEL + _HEADER_BYTES


def decode_image(content: bytes, source: Path, *, max_pixels: int) -> UInt8[ndarray, "h w *channels"]:
    """The pixels of a PNG, JPEG, BMP or TIFF: RGB (H, W, 3), or (H, W) if the file is grey; always 8 bits.

    An EXIF orientation is ignored: the calibration speaks of the sensor's own grid. Images of 16 bits are refused,
    since nothing says how the rig encoded them.

    Raises:
        BadInputError: if the file is not such an image, is damaged or cut short, or has too many pixels; the
            header is checked before anything is allocated.
    """
    header = read_header(content, source)
    if header.width * header.height > max_pixels:
        raise BadInputError(
            source,
            field="size",
            expected=f"at most {max_pixels} pixels",
            found=f"{header.width}×{header.height}",
            hint="If the image is right, raise max_image_pixels in the ingest settings.",
        )
    flag = cv2.IMREAD_GRAYSCALE if header.grey else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # its text names places in OpenCV's own sources
        raise _undecodable(source, "damage") from None
    if image is None or image.dtype != np.uint8 or image.shape[:2] != (header.height, header.width):
        raise _undecodable(source, "nothing" if image is None else f"{image.dtype} {image.shape}")
    return image if header.grey else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_image(path: Path, *, max_pixels: int) -> UInt8[ndarray, "h w *channels"]:
    """The pixels of an image file, as `decode_image` gives them.

    Raises:
        BadInputError: if the file is missing, too large, or not a whole 8-bit image.
        StoreError: if the disk would not give it.
    """
    return decode_image(read_bounded(path, max_bytes=max_image_bytes(max_pixels)), path, max_pixels=max_pixels)


def as_camera_delivers(
    image: UInt8[ndarray, "h w ..."], camera_id: CameraId, source: Path
) -> UInt8[ndarray, "h w ..."]:
    """The image with its camera's channels: RGB from a colour camera, (H, W) from a mono one.

    A mono camera's image stored with three equal channels becomes (H, W).

    Raises:
        BadInputError: if a colour camera's image is grey, or a mono camera's has colours.
    """
    if is_colour_camera(camera_id):
        if image.ndim == 2:
            raise BadInputError(source, field="channels", expected="RGB, from a colour camera", found="grey")
        return image
    if image.ndim == 2:
        return image
    grey = image[..., 0]
    if not ((grey == image[..., 1]).all() and (grey == image[..., 2]).all()):
        raise BadInputError(source, field="channels", expected="grey, from a mono camera", found="colours")
    return np.ascontiguousarray(grey)


def _undecodable(source: Path, found: object) -> BadInputError:
    return BadInputError(
        source, field="pixels", expected="a whole image", found=found, hint="Copy the file from the rig again."
    )
