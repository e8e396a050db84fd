"""One posed hand in numpy, for those who want to draw it and not to differentiate it: no torch is loaded.

The same formulas as `palm_data.hand.layer`, which a test holds it to.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.hand.model import JOINTS, HandModel
from schemas.hand import HandRow


def posed_vertices(model: HandModel, row: HandRow) -> Float[ndarray, "vertices 3"]:
    """The surface of a fitted hand: blend shapes, kinematic chain, linear blend skinning; metres, world."""
    shaped = model.v_template.astype(np.float64) + model.shapedirs.astype(np.float64) @ np.asarray(row.betas)
    rest = model.joint_regressor.astype(np.float64) @ shaped
    turns = [rotation(one) for one in _pose(model, row)]
    features = np.concatenate([(turn - np.eye(3)).ravel() for turn in turns[1:]])
    shaped = shaped + model.posedirs.astype(np.float64) @ features
    orientations, places = [turns[0]], [rest[0]]
    for joint in range(1, JOINTS):
        parent = int(model.parents[joint])
        orientations.append(orientations[parent] @ turns[joint])
        places.append(places[parent] + orientations[parent] @ (rest[joint] - rest[parent]))
    offsets = [place - turn @ start for place, turn, start in zip(places, orientations, rest, strict=True)]
    weights = model.weights.astype(np.float64)
    blended = np.tensordot(weights, np.stack(orientations), axes=1)
    return np.einsum("vij,vj->vi", blended, shaped) + weights @ np.stack(offsets) + np.asarray(row.transl)


def rotation(axis_angle: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """The rotation about an axis by its length in radians (Rodrigues)."""
    angle = float(np.linalg.norm(axis_angle))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def _pose(model: HandModel, row: HandRow) -> Float[ndarray, "joints 3"]:
    return np.concatenate([row.global_orient, np.asarray(row.hand_pose) + model.hands_mean]).reshape(JOINTS, 3)
