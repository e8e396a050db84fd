"""Environments that an avatar is put into: a picture of a user's, or one of two made here for looking at avatars."""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from palm_data.capture.raw_files import read_bounded
from palm_model.prior.lat_long import LatLong, read_exr
from palm_model.prior.map_layout import LAYOUTS, RIG, pixel_directions
from schemas.errors import BadInputError, SettingsError

_MAX_BYTES = 1 << 30
_MAX_PIXELS = 1 << 27
_HDR_MAGIC = (b"#?RADIANCE", b"#?RGBE")
_ROWS = 32


def read_environment(path: Path, *, layout: str = RIG.name, turn_deg: float = 0.0, exposure: float = 1.0) -> LatLong:
    """The light of a latitude–longitude picture, OpenEXR (`.exr`) or Radiance (`.hdr`).

    Args:
        layout: how the picture is laid out, a name of `map_layout.LAYOUTS`.
        turn_deg: its world is turned by this about the zenith, from +x towards +y.
        exposure: what its radiance is multiplied by.

    Raises:
        BadInputError: if the file is not such a picture with finite values.
        SettingsError: if there is no such layout, or the exposure is not above 0.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"layout: expected one of {', '.join(sorted(LAYOUTS))}, found {layout!r}.")
    if not (math.isfinite(exposure) and exposure > 0 and math.isfinite(turn_deg)):
        raise SettingsError(f"exposure, turn: expected above 0, and finite, found {exposure}, {turn_deg}.")
    if path.suffix.lower() not in (".exr", ".hdr"):
        raise BadInputError(
            path, field="name", expected="a picture that ends in .exr or .hdr", found=path.suffix or "none"
        )
    image = read_exr(path) if path.suffix.lower() == ".exr" else _read_hdr(path)
    height, width = image.shape[:2]
    if width != 2 * height:
        raise BadInputError(
            path, field="size", expected="twice as wide as high: the whole sphere", found=f"{width}×{height}"
        )
    chosen = LAYOUTS[layout]
    turned = chosen.turned(math.radians(turn_deg)) if turn_deg else chosen
    return LatLong.of_picture(torch.from_numpy(image) * exposure, turned)


def evening_window() -> LatLong:
    """A dim room with one warm window to the side (+x, a little above the horizon)."""
    return _soft({(0.9, 0.3, 0.3): (14.0, (9.0, 5.5, 2.6))}, (0.12, 0.14, 0.2))


def northern_sky() -> LatLong:
    """A cool overcast sky above a dark ground."""
    return _soft({(0.0, 0.0, 1.0): (1.5, (1.1, 1.4, 1.9))}, (0.08, 0.08, 0.07))


NAMED = {"evening_window": evening_window, "northern_sky": northern_sky}
"""By what they are called in pictures."""


def _soft(
    lobes: dict[tuple[float, float, float], tuple[float, tuple[float, float, float]]],
    ambient: tuple[float, float, float],
) -> LatLong:
    """Spherical Gaussians (axis → sharpness, RGB) over even light."""
    directions = pixel_directions(RIG, _ROWS, 2 * _ROWS, torch.zeros(1))
    image = torch.tensor(ambient).expand(_ROWS, 2 * _ROWS, 3).clone()
    for axis, (sharpness, colour) in lobes.items():
        towards = directions @ torch.nn.functional.normalize(torch.tensor(axis), dim=0)
        image += torch.exp(sharpness * (towards - 1.0))[..., None] * torch.tensor(colour)
    return LatLong(image)


def _read_hdr(path: Path) -> Float[ndarray, "height width 3"]:
    """The radiance of a Radiance picture; its size is read before anything is allocated."""
    content = read_bounded(path, max_bytes=_MAX_BYTES)
    header = content[: 1 << 12].split(b"\n\n", 1)
    size = header[1].split(b"\n", 1)[0].split() if len(header) == 2 else []
    known = content.startswith(_HDR_MAGIC) and len(size) == 4 and size[1].isdigit() and size[3].isdigit()
    if not known or not 0 < int(size[1]) * int(size[3]) <= _MAX_PIXELS:
        found = b" ".join(size)[:40].decode("ascii", "replace") or "none"
        raise BadInputError(path, field="header", expected=f"Radiance RGBE of 1 to {_MAX_PIXELS} pixels", found=found)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        image = None
    if image is None or image.dtype != np.float32 or not np.isfinite(image).all():
        raise BadInputError(path, field="pixels", expected="finite radiance", found="damage")
    return np.ascontiguousarray(np.maximum(image[..., ::-1], 0.0))
