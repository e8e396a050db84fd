"""Fingers that meet: thumbs that reach what they touch, and fingers that do not sink into the palm.

The same joint angles bring long and short fingers to different places, so a gesture's angles are adjusted to each hand.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.optimize import least_squares

from palm_data.simulate.anatomy import FINGERS
from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.gestures import GestureSpec, joint_rotations, within_limits
from palm_data.simulate.kinematics import RestHand, forward_kinematics, skin
from palm_data.simulate.template import CaptureTemplate, capture_template, vertex_normals

ALLOWED_DEPTH_M = 0.0015
"""Flesh gives way this much where a finger presses."""
_GAP_UNIT_M = 0.002
_FACING_UNIT = 0.25
_ANGLE_UNIT_DEG = 14.0
_OPEN_DEG_PER_M = 1400.0
_MAX_OPEN_DEG = 8.0
_ROUNDS = 5
_TOUCH_ROUNDS = 3
_LIFTS = 8
_LIFT_DEG = 3.0
_THUMB, _INDEX = FINGERS.index("thumb"), FINGERS.index("index")


@dataclass(frozen=True, eq=False)
class OuterFinger:
    """A finger beyond its middle joint, as a closed mesh over the base vertices and one more."""

    faces: Int[ndarray, "faces 3"]
    """The added vertex, the mean of `loop`, has the row after the last base vertex."""
    loop: Int[ndarray, "loop"]
    others: Int[ndarray, "others"]
    """Hand vertices that are not this finger's."""


def settled_angles(rest: RestHand, spec: GestureSpec, angles: Float[ndarray, "5 5"]) -> Float[ndarray, "5 5"]:
    """A gesture's angles, adjusted so that this hand's fingers touch where they should and pass through nothing."""
    opened = _opened(rest, angles)
    return opened if spec.touch is None else _reaching(rest, spec.touch, opened)


def pressed_depths(
    template: CaptureTemplate, vertices: Float[ndarray, "base 3"], *, without_thumb: bool = False
) -> Float[ndarray, "5"]:
    """How deep the rest of the hand reaches into each finger's outer part, metres; 0 where they do not meet.

    Args:
        vertices: posed; only the hand's rows are used.
        without_thumb: leave the thumb's own surface out of what is met.
    """
    depths = np.zeros(len(FINGERS))
    thumb = _finger_vertices(template, "thumb")
    for row, finger in enumerate(outer_fingers()):
        points = np.concatenate([vertices, vertices[finger.loop].mean(axis=0, keepdims=True)])
        others = finger.others[~thumb[finger.others]] if without_thumb else finger.others
        signed = SurfaceQuery(points, finger.faces).signed_distance(vertices[others])
        depths[row] = max(0.0, -float(signed.min()))
    return depths


@lru_cache(maxsize=1)
def outer_fingers() -> tuple[OuterFinger, ...]:
    """Each finger's outer part, thumb to pinky."""
    template = capture_template()
    count = len(template.base_vertices)
    hand_faces = template.model.faces
    parts = []
    for name in FINGERS:
        outer = list(template.anatomy.fingers[name].joint_ids[1:])
        chosen = template.base_weights[:, outer].sum(axis=1) > 0.5
        faces = hand_faces[chosen[hand_faces].all(axis=1)]
        edges = set(zip(faces.ravel().tolist(), np.roll(faces, -1, axis=1).ravel().tolist(), strict=True))
        border = np.array(sorted((end, start) for start, end in edges if (end, start) not in edges))
        closing = np.column_stack([border, np.full(len(border), count)])
        others = np.flatnonzero(~_finger_vertices(template, name)[: template.hand_vertex_count])
        parts.append(OuterFinger(np.concatenate([faces, closing]), border[:, 0], others))
    return tuple(parts)


def _finger_vertices(template: CaptureTemplate, name: str) -> Bool[ndarray, "base"]:
    return template.base_weights[:, list(template.anatomy.fingers[name].joint_ids)].sum(axis=1) > 0.05


def _opened(rest: RestHand, angles: ndarray) -> ndarray:
    """Fingers opened until they press no deeper than flesh gives way; the thumb is left out of it."""
    template = capture_template()
    angles = angles.copy()
    for _ in range(_ROUNDS):
        posed = skin(rest.base, rest.weights, *_bones(rest, angles))
        depths = pressed_depths(template, posed, without_thumb=True)
        depths[_THUMB] = 0.0
        excess = depths - ALLOWED_DEPTH_M
        if (excess <= 0).all():
            break
        opening = np.clip(_OPEN_DEG_PER_M * (np.maximum(excess, 0.0) + 0.0002 * (excess > 0)), 0.0, _MAX_OPEN_DEG)
        angles[:, 0] -= opening
        angles[:, 2] -= 0.5 * opening
    return within_limits(angles)


@dataclass(frozen=True, eq=False)
class _Meeting:
    """Two places on a hand that are to meet, and the angles that may change for it."""

    rest: RestHand
    places: tuple[int, int]
    normals: Float[ndarray, "2 3"]
    """At rest."""
    carriers: Int[ndarray, "2"]
    """The bone that turns each normal."""
    free: Bool[ndarray, "5 5"]

    def solved(self, angles: Float[ndarray, "5 5"], gap_m: float) -> Float[ndarray, "5 5"]:
        """Angles near the given ones at which the places face each other across a gap."""

        def residuals(values: ndarray) -> ndarray:
            tried = angles.copy()
            tried[self.free] = values
            held = within_limits(tried)
            points, facing = self._posed(held)
            missing = (points[0] - points[1] - gap_m * facing[1]) / _GAP_UNIT_M
            turned = (facing[0] @ facing[1] + 1.0) / _FACING_UNIT
            return np.concatenate(
                [missing, [turned], (values - angles[self.free]) / _ANGLE_UNIT_DEG, (tried - held)[self.free]]
            )

        result = angles.copy()
        start = angles[self.free]
        result[self.free] = least_squares(
            residuals, start, diff_step=np.full(start.shape, 1e-3), max_nfev=12, x_scale=10.0
        ).x
        return within_limits(result)

    def _posed(self, angles: ndarray) -> tuple[ndarray, ndarray]:
        turned, moved = _bones(self.rest, angles)
        chosen = list(self.places)
        points = skin(self.rest.base[chosen], self.rest.weights[chosen], turned, moved)
        return points, np.einsum("nij,nj->ni", turned[self.carriers], self.normals)


def _reaching(rest: RestHand, touch: tuple[str, str], angles: ndarray) -> ndarray:
    """Thumb (and the index finger, when it is pads that meet) moved until the two places meet, face to face."""
    template = capture_template()
    places = (_place("thumb", "pad"), _place(*touch))
    free = np.zeros((5, 5), bool)
    free[_THUMB] = True
    if touch[1] == "pad":
        free[_INDEX, [0, 2, 3]] = True
    meeting = _Meeting(
        rest=rest,
        places=places,
        normals=vertex_normals(rest.base, template.base_faces)[list(places)],
        carriers=rest.weights[list(places)].argmax(axis=1),
        free=free,
    )
    gap = 0.0
    for _ in range(_TOUCH_ROUNDS):
        angles = meeting.solved(angles, gap)
        depth = pressed_depths(template, skin(rest.base, rest.weights, *_bones(rest, angles)))[_THUMB]
        if depth <= 2 * ALLOWED_DEPTH_M:
            break
        gap += depth - ALLOWED_DEPTH_M
    return _lifted_thumb(rest, angles)


def _lifted_thumb(rest: RestHand, angles: ndarray) -> ndarray:
    """The thumb moved off what it still presses too deep into, for want of length or room."""
    template = capture_template()
    for _ in range(_LIFTS):
        depth = pressed_depths(template, skin(rest.base, rest.weights, *_bones(rest, angles)))[_THUMB]
        if depth <= 2 * ALLOWED_DEPTH_M:
            break
        angles = within_limits(angles + _LIFT_DEG * np.eye(5)[_THUMB][:, None] * np.array([-0.5, 1.0, -0.7, 0.0, 0.0]))
    return angles


def _bones(rest: RestHand, angles: ndarray) -> tuple[ndarray, ndarray]:
    turns = np.zeros((len(rest.joints), 3))
    turns[1:16] = joint_rotations(capture_template().anatomy, angles)
    return forward_kinematics(turns, rest.joints, rest.parents)


@lru_cache(maxsize=16)
def _place(name: str, side: str) -> int:
    """The base vertex in the middle of a finger's pad, or on the back of its middle bone."""
    template = capture_template()
    bones = template.anatomy.fingers[name]
    hand = template.base_vertices[: template.hand_vertex_count]
    own = _finger_vertices(template, name)[: len(hand)]
    along, sign = (2.55, 1.0) if side == "pad" else (1.45, -1.0)
    found = template.anatomy.finger_coordinates(name, hand)
    facing = vertex_normals(hand, template.model.faces) @ bones.palmar * sign
    cost = np.abs(found.along - along) + np.abs(found.lateral) / 0.004 + 2.0 * (1.0 - facing)
    return int(np.where(own, cost, np.inf).argmin())
