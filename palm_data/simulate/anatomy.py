"""Where things are on the hand model's rest pose: bones, axes, and coordinates along fingers and across the palm."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.hand.model import HandModel
from schemas.hand import JOINT_NAMES

FINGERS: tuple[str, ...] = ("thumb", "index", "middle", "ring", "pinky")
"""Thumb → pinky, the order of the tips."""


@dataclass(frozen=True, eq=False)
class FingerBones:
    """One finger's joints at rest and the axes it turns about."""

    name: str
    joint_ids: tuple[int, int, int]
    """Rows of the model's joints, base → end."""
    points: Float[ndarray, "4 3"]
    """The three joints and the tip, metres."""
    flexion: Float[ndarray, "3"]
    """Turning about it bends the finger towards the palm (the thumb: across it)."""
    abduction: Float[ndarray, "3"]
    """Turning about it moves the finger to the thumb's side (the thumb: away from the palm)."""
    palmar: Float[ndarray, "3"]
    """Perpendicular to the finger, out of its pad."""


@dataclass(frozen=True, eq=False)
class FingerCoordinates:
    """Points as one finger sees them."""

    along: Float[ndarray, "points"]
    """0 at the base joint, 1, 2 at the next ones, 3 at the tip; linear between, and beyond both ends."""
    along_m: Float[ndarray, "points"]
    """Arc length from the base joint, metres."""
    radius: Float[ndarray, "points"]
    """Distance from the bones, metres."""
    palmar: Float[ndarray, "points"]
    """Component out of the finger's pad, metres (negative on the nail's side)."""
    lateral: Float[ndarray, "points"]
    """Component along the flexion axis, metres."""


@dataclass(frozen=True, eq=False)
class Anatomy:
    """The rest skeleton of a hand model."""

    joints: Float[ndarray, "21 3"]
    palm_normal: Float[ndarray, "3"]
    """Out of the palm."""
    fingers: dict[str, FingerBones]
    distal: Float[ndarray, "3"]
    """From the wrist to the middle knuckle."""
    radial: Float[ndarray, "3"]
    """Across the palm, to the thumb's side."""

    def palm_coordinates(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """Distal, radial and palmar components from the wrist, metres."""
        return (points - self.joints[0]) @ np.stack([self.distal, self.radial, self.palm_normal], axis=1)

    def finger_coordinates(self, name: str, points: Float[ndarray, "n 3"]) -> FingerCoordinates:
        """The points in the coordinates of one finger, each by the bone nearest to it."""
        finger = self.fingers[name]
        starts, ends = finger.points[:-1], finger.points[1:]
        lengths = np.linalg.norm(ends - starts, axis=1)
        axes = (ends - starts) / lengths[:, None]
        offsets = points[:, None, :] - starts
        shares = np.einsum("nbi,bi->nb", offsets, axes) / lengths
        low = np.array([-np.inf, 0.0, 0.0])
        high = np.array([1.0, 1.0, np.inf])
        held = np.clip(shares, low, high)
        gaps = offsets - (held * lengths)[..., None] * axes
        distances = np.linalg.norm(gaps, axis=-1)
        rows, bone = np.arange(len(points)), distances.argmin(axis=1)
        share, gap = held[rows, bone], gaps[rows, bone]
        before = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        return FingerCoordinates(
            along=bone + share,
            along_m=before[bone] + share * lengths[bone],
            radius=distances[rows, bone],
            palmar=gap @ finger.palmar,
            lateral=gap @ finger.flexion,
        )


def hand_anatomy(model: HandModel) -> Anatomy:
    """The rest skeleton of a model's mean shape."""
    template = np.asarray(model.v_template, np.float64)
    joints = np.concatenate([model.joint_regressor @ template, template[list(model.tip_vertex_ids)]])
    named = dict(zip(JOINT_NAMES, joints, strict=True))
    distal = _unit(named["middle1"] - named["wrist"])
    across = named["index1"] - named["pinky1"]
    radial = _unit(across - distal * (across @ distal))
    # On a right hand with the fingers away and the thumb to the side, radial × distal comes out of the palm.
    palm_normal = np.cross(radial, distal) * (1.0 if model.side == "right" else -1.0)
    fingers = {name: _finger_bones(name, named, palm_normal) for name in FINGERS}
    return Anatomy(joints, palm_normal, fingers, distal, radial)


def _finger_bones(name: str, named: dict[str, np.ndarray], palm_normal: np.ndarray) -> FingerBones:
    points = np.stack([named[f"{name}{part}"] for part in (1, 2, 3)] + [named[f"{name}_tip"]])
    base = JOINT_NAMES.index(f"{name}1")
    bones = np.diff(points, axis=0)
    if name == "thumb":
        # The thumb's own bend at rest shows which way it flexes.
        flexion = _unit(np.cross(bones[1], bones[2]))
        palmar = _unit(np.cross(flexion, _unit(bones[1] + bones[2])))
        abduction = _unit(np.cross(_unit(bones[0]), palm_normal))
        return FingerBones(name, (base, base + 1, base + 2), points, flexion, abduction, palmar)
    along = _unit(points[3] - points[0])
    flexion = _unit(np.cross(_unit(bones[0]), palm_normal))
    palmar = _unit(np.cross(flexion, along))
    abduction = _unit(np.cross(flexion, _unit(bones[0]))) * -1.0
    return FingerBones(name, (base, base + 1, base + 2), points, flexion, abduction, palmar)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)
