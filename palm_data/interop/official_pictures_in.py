"""The pictures of one subject of somebody's official release, each read, checked and encoded as ours or set aside."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from palm_data.capture.images import max_image_bytes
from palm_data.interop.official_encoding import decode_normals
from palm_data.interop.official_layout import CAMERAS_FILE, KINDS, POSES_FILE
from palm_data.interop.pngs import read_channels
from palm_data.store.files import Files
from schemas.camera import Camera
from schemas.errors import BadInputError, StoreError
from schemas.ids import Sha256

ARRAYS = {"images": "rgb", "masks": "mask", "mano": "hand_mask", "normals": "normal"}
"""Official folder → our array."""
MAX_PIXELS = 40_000_000
_FILE = re.compile(r"(images|masks|mano|normals)/([^/]+)/([0-9]{1,9})\.(png|jpg|jpeg|bmp|tif|tiff)", re.IGNORECASE)
_STEPS = 32767


class Read(NamedTuple):
    """A picture as we store it, and the file that it was."""

    pixels: ndarray
    path: str
    sha256: Sha256


@dataclass(frozen=True)
class Pictures:
    """Which file is whose picture; what is set aside on the way is noted in `met`."""

    files: Files
    places: dict[tuple[str, str, int], str]
    """Official folder, camera, file number → path."""
    met: list[str]

    def numbers(self, cameras: Sequence[Camera]) -> list[int]:
        """The file numbers of the cameras' images, ascending."""
        names = {camera.camera_id for camera in cameras}
        return sorted({number for kind, name, number in self.places if kind == KINDS[0] and name in names})

    def view(self, camera: Camera, number: int) -> dict[str, Read]:
        """The usable pictures of a camera and file number, by our arrays' names."""
        found = {}
        for kind, name in ARRAYS.items():
            if not self.has(kind):
                continue
            path = self.places.get((kind, camera.camera_id, number))
            if path is None:
                self.met.append(f"{kind}/{camera.camera_id}/{number:06d}: missing")
                continue
            try:
                found[name] = self._read(kind, path, camera)
            except BadInputError as error:
                self.met.append(f"{path}: {error.field}: expected {error.expected}, found {error.found}; set aside")
        return found

    def has(self, kind: str) -> bool:
        """Whether there is any picture of a kind."""
        return any(one == kind for one, _, _ in self.places)

    def _read(self, kind: str, path: str, camera: Camera) -> Read:
        size = self.files.size(path)
        if size is None or not 0 < size <= max_image_bytes(MAX_PIXELS):
            raise BadInputError(path, field="file", expected="a plain file of an image's size", found=f"{size} bytes")
        try:
            content = self.files.read(path)
        except OSError as error:
            raise StoreError(f"{self.files.name}/{path}: expected to read it, found {error.strerror}.") from error
        pixels = _encoded(kind, read_channels(content, Path(path), max_pixels=MAX_PIXELS))
        if pixels.shape[:2] != (camera.height, camera.width):
            expected = f"{camera.width}×{camera.height}, as {CAMERAS_FILE} says"
            raise BadInputError(path, field="size", expected=expected, found=f"{pixels.shape[1]}×{pixels.shape[0]}")
        return Read(pixels, path, hashlib.sha256(content).hexdigest())


def find_pictures(files: Files, met: list[str]) -> Pictures:
    """Look through the files; nothing is read.

    Args:
        met: files that are not known are noted here, and so is a kind of which there is none.
    """
    places: dict[tuple[str, str, int], str] = {}
    for path in sorted(files.paths()):
        match = _FILE.fullmatch(path)
        if match is None:
            if path not in (CAMERAS_FILE, POSES_FILE):
                met.append(f"{path}: not known, not read")
            continue
        key = (match[1].lower(), match[2], int(match[3]))
        if key[2] < 1 or places.setdefault(key, path) != path:
            met.append(f"{path}: not read: {'another file of this number' if key[2] else 'files count from 1'}")
    pictures = Pictures(files, places, met)
    met.extend(f"{kind}: none at all" for kind in KINDS if not pictures.has(kind))
    return pictures


def _encoded(kind: str, image: ndarray) -> ndarray:
    """What the official code would make of a picture, as we store it."""
    if kind in ("masks", "mano"):
        plane = image if image.ndim == 2 else image[..., 3 if image.shape[2] == 4 else 0]
        return (plane == 255) * np.uint8(255)
    colour = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image[..., :3]
    return colour if kind == "images" else _unit_normals(colour)


def _unit_normals(stored: ndarray) -> ndarray:
    """int16 of unit length in our axes; 0 where there is none."""
    normals = decode_normals(stored)
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    return np.rint(normals / np.where(length > 0, length, 1.0) * _STEPS).astype(np.int16)
