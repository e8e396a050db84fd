"""What the hand model must compute, written a second time from the formulas, and models to compute it on."""

from pathlib import Path

import numpy as np

from palm_data.hand.model import HandModel, load_hand_model
from palm_data.hand.standin.build import write_model

MANO_VERTICES, MANO_FACES, MANO_RIM = 778, 1538, 16


def rodrigues(axis_angle: np.ndarray) -> np.ndarray:
    """exp of the cross-product matrix, by its closed form."""
    angle = np.linalg.norm(axis_angle)
    if angle == 0:
        return np.eye(3)
    x, y, z = axis_angle / angle
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def pose_by_formula(
    model: HandModel, global_orient: np.ndarray, hand_pose: np.ndarray, betas: np.ndarray, transl: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and 21 joints of one hand: blend shapes, kinematic chain, linear blend skinning, in float64."""
    shaped = model.v_template.astype(float) + model.shapedirs.astype(float) @ betas
    rest = model.joint_regressor.astype(float) @ shaped
    pose = np.concatenate([global_orient, hand_pose + model.hands_mean]).reshape(16, 3)
    rotations = [rodrigues(axis_angle) for axis_angle in pose]
    features = np.concatenate([(rotation - np.eye(3)).ravel() for rotation in rotations[1:]])
    shaped = shaped + model.posedirs.astype(float) @ features
    turns, places = [rotations[0]], [rest[0]]
    for joint in range(1, 16):
        parent = model.parents[joint]
        turns.append(turns[parent] @ rotations[joint])
        places.append(places[parent] + turns[parent] @ (rest[joint] - rest[parent]))
    vertices = np.zeros_like(shaped)
    for joint in range(16):
        moved = (shaped - rest[joint]) @ turns[joint].T + places[joint]
        vertices += model.weights[:, joint, None].astype(float) * moved
    vertices += transl
    return vertices, np.vstack([np.array(places) + transl, vertices[list(model.tip_vertex_ids)]])


def mano_sized_faces() -> np.ndarray:
    """A disk of MANO's size: a tube of 48 rings of 16, closed at one end by a fan of 34 triangles."""
    faces = []
    for ring in range(47):
        for k in range(MANO_RIM):
            a, b = MANO_RIM * ring + k, MANO_RIM * ring + (k + 1) % MANO_RIM
            faces += [[a, b, a + MANO_RIM], [b, b + MANO_RIM, a + MANO_RIM]]
    last, centre = 47 * MANO_RIM, 48 * MANO_RIM
    faces += [[last + k, last + (k + 1) % MANO_RIM, centre] for k in range(MANO_RIM)]
    for vertex in range(centre + 1, MANO_VERTICES):
        a, b, c = faces.pop()
        faces += [[a, b, vertex], [b, c, vertex], [c, a, vertex]]
    return np.array(faces)


def mano_sized_arrays() -> dict[str, np.ndarray]:
    """Made-up numbers with exactly MANO's keys and sizes, and no texture coordinates."""
    rng = np.random.default_rng(0)
    weights = rng.random((MANO_VERTICES, 16))
    regressor = rng.random((16, MANO_VERTICES))
    parents = [2**32 - 1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14]
    return {
        "v_template": rng.normal(0, 0.05, (MANO_VERTICES, 3)),
        "f": mano_sized_faces().astype(np.uint32),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "shapedirs": rng.normal(0, 0.002, (MANO_VERTICES, 3, 10)),
        "posedirs": rng.normal(0, 0.001, (MANO_VERTICES, 3, 135)),
        "J_regressor": regressor / regressor.sum(axis=1, keepdims=True),
        "kintree_table": np.array([parents, range(16)]),
        "hands_mean": rng.normal(0, 0.2, 45),
        "hands_components": np.eye(45),
        "tip_vertex_ids": np.array([744, 320, 443, 554, 671]),
    }


def mano_sized_model(folder: Path) -> HandModel:
    """A hand model read from a file of MANO's sizes."""
    path = folder / "mano_like.npz"
    write_model(path, mano_sized_arrays())
    return load_hand_model(path)


def random_parameters(seed: int) -> dict[str, np.ndarray]:
    """A moderate pose and shape of one hand."""
    rng = np.random.default_rng(seed)
    return {
        "global_orient": rng.normal(0, 1.0, 3),
        "hand_pose": rng.normal(0, 0.4, 45),
        "betas": rng.normal(0, 1.0, 10),
        "transl": rng.normal(0, 0.3, 3),
    }
