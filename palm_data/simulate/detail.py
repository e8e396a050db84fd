"""The fine relief that a hand model does not have: creases, knuckle wrinkles, tendons, veins, nail edges, pores.

Heights are along the normal and between 0.1 and 0.5 mm where they show. Bending a finger stretches the wrinkles over
its joint away and raises the knuckle; straightening it raises the tendon.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.simulate.anatomy import FINGERS
from palm_data.simulate.demographics import Person
from palm_data.simulate.features import SurfaceFeatures, nail_mask, smoothstep, surface_features
from palm_data.simulate.identity import lattice_field
from palm_data.simulate.landmarks import Landmarks, distance_to, draw_landmarks, position_on
from palm_data.simulate.template import CaptureTemplate, capture_template, vertex_normals

_AGE_RELIEF = {"21-30": 0.8, "31-40": 0.9, "41-50": 1.0, "51-60": 1.15, "61-70": 1.3}
_TENDON_M, _VEIN_M, _KNUCKLE_M = 0.42e-3, 0.28e-3, 0.5e-3
_CREASE_M, _PALM_LINE_M, _WRINKLE_M, _NAIL_M, _ROUGH_M = 0.38e-3, 0.36e-3, 0.24e-3, 0.2e-3, 0.05e-3
_WRINKLE_SPACING_M = 0.0027


@dataclass(frozen=True, eq=False)
class Relief:
    """One person's fine relief."""

    landmarks: Landmarks
    wrinkles: float
    """Strength of creases and wrinkles, 1 for middle age."""
    tendons: float
    veins: float
    seed: int
    """Of the irregularities that have no place of their own."""


def draw_relief(person: Person, rng: np.random.Generator) -> Relief:
    """A person's relief: deeper lines with age, clearer veins and tendons in men."""
    lean = 1.1 if person.subject.sex == "male" else 0.85
    return Relief(
        landmarks=draw_landmarks(capture_template().anatomy, rng),
        wrinkles=_AGE_RELIEF[person.subject.age_band] * rng.uniform(0.9, 1.1),
        tendons=lean * rng.uniform(0.8, 1.15),
        veins=lean * rng.uniform(0.7, 1.2),
        seed=int(rng.integers(2**31)),
    )


def detail_heights(
    template: CaptureTemplate, relief: Relief, hand_pose: Float[ndarray, "45"]
) -> Float[ndarray, "vertices"]:
    """Height of the relief over each dense vertex in a pose, metres."""
    places = _dense_features()
    bends = _flexions(template, hand_pose)
    wobble = lattice_field(places.points, np.random.default_rng([relief.seed, 1]), scale_mm=7.0)
    heights = _creases(places, relief, wobble) + _wrinkles(places, relief, bends, wobble)
    heights += _back_of_hand(places, relief, bends) + _nail_edges(places)
    rough = lattice_field(places.points, np.random.default_rng([relief.seed, 2]), scale_mm=2.2)
    return heights + _ROUGH_M * rough * (1.0 - places.nail)


@lru_cache(maxsize=1)
def _dense_features() -> SurfaceFeatures:
    template = capture_template()
    points = template.smooth(template.base_vertices)
    corner_nail = nail_mask(template.model_uv)
    base_nail = np.zeros(len(template.base_vertices))
    base_nail[template.base_faces.ravel()] = corner_nail[template.base_uv_faces.ravel()]
    return surface_features(
        template, points, vertex_normals(points, template.faces), template.refine @ template.base_weights,
        template.refine @ base_nail,
    )  # fmt: skip


def _flexions(template: CaptureTemplate, hand_pose: ndarray) -> Float[ndarray, "fingers 3"]:
    """Bend of each finger's three joints from rest, radians."""
    turns = np.concatenate([np.zeros((1, 3)), (hand_pose + template.model.hands_mean).reshape(15, 3)])
    rows = []
    for name in FINGERS:
        bones = template.anatomy.fingers[name]
        vectors = Rotation.from_rotvec(turns[list(bones.joint_ids)]).as_rotvec()
        rows.append(vectors @ bones.flexion)
    return np.array(rows)


def _creases(places: SurfaceFeatures, relief: Relief, wobble: ndarray) -> ndarray:
    """Valleys across the fingers under their joints, and the palm's lines."""
    bent = places.along_m + 0.0006 * wobble
    depth = np.zeros(len(bent))
    template = capture_template()
    for row, name in enumerate(FINGERS):
        chosen = places.finger == row
        lengths = np.linalg.norm(np.diff(template.anatomy.fingers[name].points, axis=0), axis=1)
        starts = np.concatenate([[0.0], np.cumsum(lengths)])
        spots: tuple[tuple[float, float], ...] = (
            (starts[1], 1.0),
            (starts[1] - 0.003, 0.6),
            (starts[2], 0.8),
            (0.52 * starts[1], 0.8),
        )
        if name == "thumb":
            spots = ((starts[2], 1.0), (starts[1], 0.8))
        valley = sum(gain * _bump(bent[chosen] - spot, 0.0009) for spot, gain in spots)
        depth[chosen] = np.minimum(valley, 1.0) * smoothstep(0.2, 0.8, places.finger_share[chosen])
    plane = np.stack([places.distal, places.radial], axis=1)
    lines = _bump(distance_to(relief.landmarks.palm_lines, plane), 0.0014)
    off_finger = 1.0 - smoothstep(0.2, 0.7, places.finger_share)
    palm = _PALM_LINE_M * lines * np.maximum(off_finger, (places.finger == 0) * 0.8)
    return -relief.wrinkles * places.glabrous * (_CREASE_M * depth + palm)


def _wrinkles(places: SurfaceFeatures, relief: Relief, bends: ndarray, wobble: ndarray) -> ndarray:
    """Fine folds on the back of the middle and end joints, stretched out as they bend."""
    back = smoothstep(0.1, 0.7, -places.palmar_side) * (1.0 - places.nail)
    folds = np.zeros(len(back))
    for row in range(len(FINGERS)):
        chosen = places.finger == row
        wave = np.cos(2 * np.pi * (places.along_m[chosen] + 0.0008 * wobble[chosen]) / _WRINKLE_SPACING_M)
        for joint, gain, width in ((1, 1.0, 0.16), (2, 0.7, 0.20)):
            slack = np.clip(1.0 - bends[row, joint] / np.radians(65.0), 0.1, 1.0)
            near = _bump(places.along[chosen] - joint, width) * smoothstep(0.6, 0.95, places.finger_share[chosen])
            folds[chosen] += gain * slack * wave * near
    return relief.wrinkles * _WRINKLE_M * back * folds


def _back_of_hand(places: SurfaceFeatures, relief: Relief, bends: ndarray) -> ndarray:
    """Tendons that stand out on straight fingers, knuckles on bent ones, and veins."""
    back = smoothstep(0.25, 0.75, -places.palmar_side)
    plane = np.stack([places.distal, places.radial], axis=1)
    heights = np.zeros(len(back))
    for row, line in enumerate(relief.landmarks.tendons, start=1):
        distance, share = position_on(line, plane)
        taut = np.clip(1.0 - bends[row, 0] / np.radians(50.0), 0.15, 1.15)
        ends = smoothstep(0.15, 0.45, share) * (1.0 - 0.6 * smoothstep(0.9, 1.0, share))
        heights += relief.tendons * _TENDON_M * taut * ends * _bump(distance, 0.0021)
        knuckle = np.clip(bends[row, 0] / np.radians(70.0), 0.0, 1.0)
        heights += _KNUCKLE_M * knuckle * _bump(np.linalg.norm(plane - line[-1], axis=1), 0.0055)
    veins = _bump(distance_to(relief.landmarks.veins, plane), 0.0016)
    return back * (heights + relief.veins * _VEIN_M * veins * (1.0 - places.finger_share))


def _nail_edges(places: SurfaceFeatures) -> ndarray:
    """The plate a little raised, with a groove round it."""
    edge = 4.0 * places.nail * (1.0 - places.nail)
    return _NAIL_M * (0.5 * places.nail - edge)


def _bump(distance: Float[ndarray, "n"], width: float) -> Float[ndarray, "n"]:
    return np.exp(-0.5 * (distance / width) ** 2)
