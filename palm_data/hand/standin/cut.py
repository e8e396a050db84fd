"""The right hand's mesh, cut out of the body just behind the wrist."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from palm_data.hand.standin.makehuman import BaseMesh

WRIST_CUBE = "joint-r-hand"
ELBOW_CUBE = "joint-r-elbow"
FINGERS = (2, 3, 5, 4, 1)
"""MakeHuman's finger numbers in MANO's order: index, middle, pinky, ring, thumb."""
JOINT_CUBES = (WRIST_CUBE, *(f"joint-r-finger-{finger}-{joint}" for finger in FINGERS for joint in (1, 2, 3)))
TIP_CUBES = tuple(f"joint-r-finger-{finger}-4" for finger in (1, 2, 3, 4, 5))
WRIST_BONES = ("wrist.R", *(f"metacarpal{k}.R" for k in (1, 2, 3, 4)), "lowerarm01.R", "lowerarm02.R")
FINGER_BONES = tuple(f"finger{finger}-{joint}.R" for finger in FINGERS for joint in (1, 2, 3))
BONES = (*WRIST_BONES, *FINGER_BONES)
_TIP_ROWS = (2680, 1927, 2145, 2311, 2503)
_CUT_BEHIND_WRIST = 0.030
_MIN_HAND_WEIGHT = 0.5
_EDGES_OF_EAR = 2


@dataclass(frozen=True, eq=False)
class HandMesh:
    """Topology and skinning of the cut-out hand; rows are in the base mesh's order."""

    base_rows: Int[np.ndarray, "vertices"]
    """Row of each vertex in the base mesh."""
    faces: Int[np.ndarray, "faces 3"]
    uvs: Float[np.ndarray, "uvs 2"]
    uv_faces: Int[np.ndarray, "faces 3"]
    weights: Float[np.ndarray, "vertices 16"]
    tips: Int[np.ndarray, "5"]


def cut_hand(mesh: BaseMesh, bone_weights: Float[np.ndarray, "all bones"]) -> HandMesh:
    """Cut the right hand out of the body, leaving one clean open loop about 20 mm behind the wrist.

    Args:
        bone_weights: columns in the order of `BONES`.
    """
    chosen = _hand_quads(mesh, bone_weights.sum(axis=1))
    quads, uv_quads = mesh.quads[chosen], mesh.uv_quads[chosen]
    rows, uv_rows = np.unique(quads), np.unique(uv_quads)
    weights = np.column_stack(
        [bone_weights[rows, : len(WRIST_BONES)].sum(axis=1), bone_weights[rows, len(WRIST_BONES) :]]
    )
    return HandMesh(
        base_rows=rows,
        faces=_triangles(np.searchsorted(rows, quads)),
        uvs=mesh.uvs[uv_rows],
        uv_faces=_triangles(np.searchsorted(uv_rows, uv_quads)),
        weights=weights / weights.sum(axis=1, keepdims=True),
        tips=np.searchsorted(rows, _TIP_ROWS),
    )


def _hand_quads(mesh: BaseMesh, hand_weight: np.ndarray) -> Bool[np.ndarray, "quads"]:
    """Quads that move with the hand, lie before the cut, and leave no ear on the border."""
    wrist, elbow = (mesh.vertices[mesh.cubes[name]].mean(axis=0) for name in (WRIST_CUBE, ELBOW_CUBE))
    forward = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    inside = (hand_weight > _MIN_HAND_WEIGHT) & ((mesh.vertices - wrist) @ forward > -_CUT_BEHIND_WRIST)
    chosen = inside[mesh.quads].all(axis=1)
    while (ears := _ears(mesh.quads[chosen])).any():
        chosen[np.flatnonzero(chosen)[ears]] = False
    return chosen


def _ears(quads: np.ndarray) -> Bool[np.ndarray, "quads"]:
    """Quads with two or more edges on the border."""
    edges = np.sort(np.stack([quads, np.roll(quads, -1, axis=1)], axis=-1), axis=-1)
    uses = Counter(map(tuple, edges.reshape(-1, 2).tolist()))
    on_border = np.array([[uses[(low, high)] == 1 for low, high in quad] for quad in edges.tolist()])
    return on_border.sum(axis=1) >= _EDGES_OF_EAR


def _triangles(quads: np.ndarray) -> Int[np.ndarray, "triangles 3"]:
    """All first halves of the quads, then all second halves."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
