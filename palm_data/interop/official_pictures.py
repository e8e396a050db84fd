"""What the official code expects of the pictures of one camera at one frame."""

from pathlib import Path

import numpy as np

from palm_data.interop.official_encoding import crop_fits, crop_room
from palm_data.interop.official_layout import CROP_PX, KINDS, Picture
from palm_data.interop.official_numbers import Size
from palm_data.interop.official_problems import Problem, Problems
from palm_data.interop.pngs import read_png
from schemas.errors import PalmError

_COLOUR = ("images", "normals")
_SILHOUETTES = ("masks", "mano")


def check_pictures(folder: Path, home: str, camera_id: str, frame: int, size: Size | None) -> Problems:
    """Damage, size, channels and values of the four pictures, and whether a patch can be cut.

    A missing picture is no matter of this check.

    Args:
        home: the subject's folder, relative to `folder`.
        size: what the cameras say; None if they do not.
    """
    read: dict[str, np.ndarray] = {}
    for kind in KINDS:
        path = f"{home}/{Picture(kind, camera_id, frame).file}"
        if not (folder / path).is_file():
            continue
        try:
            image = read_png(folder / path)
        except PalmError as error:
            yield Problem(path, "file", "a whole 8-bit PNG", str(error))
            continue
        problems = list(_shape(path, kind, image, size)) or list(_values(path, kind, image))
        yield from problems
        if not problems:
            read[kind] = image
    if all(kind in read for kind in _SILHOUETTES):
        path = f"{home}/{Picture('masks', camera_id, frame).file}"
        yield from _patch(path, *(read[kind] == 255 for kind in _SILHOUETTES))


def _shape(path: str, kind: str, image: np.ndarray, size: Size | None) -> Problems:
    found = Size(image.shape[1], image.shape[0])
    if size is not None and found != size:
        yield Problem(path, "size", f"{size.width}×{size.height}", f"{found.width}×{found.height}")
    channels = 1 if image.ndim == 2 else image.shape[2]
    expected = 3 if kind in _COLOUR else 1
    if channels != expected:
        yield Problem(path, "channels", str(expected), str(channels))


def _values(path: str, kind: str, image: np.ndarray) -> Problems:
    if kind in _SILHOUETTES:
        between = int(((image != 0) & (image != 255)).sum())
        if between:
            yield Problem(path, "values", "0 and 255 only", f"{between} pixels of others")
    if kind == "normals":
        zero = image == 0
        half = int((zero.any(axis=-1) & ~zero.all(axis=-1)).sum())
        if half:
            yield Problem(path, "values", "no channel of 0 where there is a normal", f"{half} pixels with one")
        if zero.any(axis=-1).all():
            yield Problem(path, "values", "a normal somewhere", "none")


def _patch(path: str, scan: np.ndarray, hand: np.ndarray) -> Problems:
    if scan.shape == hand.shape and not crop_fits(room := crop_room(scan, hand)):
        expected = f"room for a patch of {CROP_PX} px about the fused mask"
        yield Problem(path, "mask", expected, f"{room[0]}×{room[1]} px")
