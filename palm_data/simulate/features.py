"""Where a point of the skin lies on the hand: which finger, how far along it, palm or back, nail, arm."""

from dataclasses import dataclass
from importlib import resources
from typing import cast

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.ndimage import map_coordinates

from palm_data.simulate.anatomy import FINGERS
from palm_data.simulate.template import CaptureTemplate
from schemas.errors import BadInputError

_NAIL_IMAGE = "assets/makehuman/mpfb_fingernails.jpg"
_MIN_FINGER_SHARE = 0.02
_THUMB_TO_PALM = 0.8


@dataclass(frozen=True, eq=False)
class SurfaceFeatures:
    """Places on the template's surface at rest, one row a point."""

    points: Float[ndarray, "n 3"]
    finger: Int[ndarray, "n"]
    """Row of `FINGERS`, or −1 on the palm, the back and the arm."""
    finger_share: Float[ndarray, "n"]
    """How much of the skinning weight is that finger's, 0 to 1."""
    along: Float[ndarray, "n"]
    """Along its finger: 0, 1, 2 at the joints, 3 at the tip."""
    along_m: Float[ndarray, "n"]
    lateral: Float[ndarray, "n"]
    """Across its finger, metres."""
    distal: Float[ndarray, "n"]
    """From the wrist towards the knuckles, metres; negative on the arm."""
    radial: Float[ndarray, "n"]
    """Towards the thumb's side, metres."""
    palmar_side: Float[ndarray, "n"]
    """Cosine between the normal and the direction out of the palm or the finger's pad."""
    glabrous: Float[ndarray, "n"]
    """1 on the hairless skin of the palm and the pads, 0 on the back and the arm."""
    nail: Float[ndarray, "n"]
    """1 on the nail's plate."""


def surface_features(
    template: CaptureTemplate,
    points: Float[ndarray, "n 3"],
    normals: Float[ndarray, "n 3"],
    weights: Float[ndarray, "n 17"],
    nail: Float[ndarray, "n"],
) -> SurfaceFeatures:
    """Places of points near the template's rest surface.

    Args:
        weights: skinning weights of the points.
        nail: the nail mask at the points.
    """
    anatomy = template.anatomy
    shares = np.stack([weights[:, list(anatomy.fingers[name].joint_ids)].sum(axis=1) for name in FINGERS], axis=1)
    finger = np.where(shares.max(axis=1) > _MIN_FINGER_SHARE, shares.argmax(axis=1), -1)
    share = shares.max(axis=1)
    palm = anatomy.palm_coordinates(points)
    along, along_m, lateral = (np.zeros(len(points)) for _ in range(3))
    facing = normals @ anatomy.palm_normal
    for row, name in enumerate(FINGERS):
        chosen = finger == row
        coordinates = anatomy.finger_coordinates(name, points[chosen])
        along[chosen], along_m[chosen] = coordinates.along, coordinates.along_m
        lateral[chosen] = coordinates.lateral
        mix, pad = smoothstep(0.1, 0.9, share[chosen]), anatomy.fingers[name].palmar
        if name == "thumb":
            # Its pad looks across the palm; the skin of its root, and of the side next to the palm, is the palm's.
            mix = smoothstep(0.6, 1.8, coordinates.along)
            pad = (pad + _THUMB_TO_PALM * anatomy.palm_normal) / np.hypot(1.0, _THUMB_TO_PALM)
        facing[chosen] = (1 - mix) * facing[chosen] + mix * (normals[chosen] @ pad)
    glabrous = smoothstep(-0.15, 0.3, facing) * smoothstep(-0.016, 0.010, palm[:, 0])
    return SurfaceFeatures(
        points, finger, share, along, along_m, lateral, palm[:, 0], palm[:, 1], facing, glabrous * (1 - nail), nail
    )  # fmt: skip


def nail_mask(model_uv: Float[ndarray, "n 2"]) -> Float[ndarray, "n"]:
    """The nail's share at texture coordinates of the hand model's own layout; 0 where they are NaN.

    Read from MakeHuman's fingernail image (CC0), whose rows run against v.

    Raises:
        BadInputError: if the shipped image cannot be decoded.
    """
    known: Bool[ndarray, n] = np.isfinite(model_uv).all(axis=1)
    image = _nail_image()
    size = np.array([image.shape[1], image.shape[0]])
    found = np.where(known[:, None], model_uv, 0.0) * [1, -1] + [0, 1]
    column, row = (found * size - 0.5).T
    value = map_coordinates(image, [row, column], output=np.float64, order=1, mode="nearest")
    return np.where(known, smoothstep(0.25, 0.75, value / 255.0), 0.0)


def _nail_image() -> ndarray:
    source = resources.files("palm_data.hand") / _NAIL_IMAGE
    image = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise BadInputError(_NAIL_IMAGE, field="image", expected="a JPEG image", found="bytes that do not decode")
    return cast(ndarray, image)


def smoothstep(low: float, high: float, value: Float[ndarray, "..."]) -> Float[ndarray, "..."]:
    """0 below `low`, 1 above `high`, a cubic between."""
    held = np.clip((value - low) / (high - low), 0.0, 1.0)
    return held * held * (3.0 - 2.0 * held)
