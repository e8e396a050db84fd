"""Image files as the rig writes them: pixels only, no other word about where they come from."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

_JPEG_QUALITY = 97
_PNG_LEVEL = 3


def write_png(path: Path, image: UInt8[ndarray, "h w *c"]) -> None:
    """Write a PNG; RGB or one channel."""
    _write(path, ".png", image, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL])


def write_jpeg(path: Path, image: UInt8[ndarray, "h w *c"]) -> None:
    """Write a JPEG of quality 97 with full colour resolution."""
    sampling = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    _write(path, ".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY, *sampling])


def _write(path: Path, suffix: str, image: ndarray, parameters: list[int]) -> None:
    in_file_order = np.ascontiguousarray(image[..., ::-1] if image.ndim == 3 else image)
    written, encoded = cv2.imencode(suffix, in_file_order, parameters)
    if not written:
        raise RuntimeError(f"{path}: OpenCV could not encode the image as {suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())
