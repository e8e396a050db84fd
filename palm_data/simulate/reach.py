"""What the hand model can imitate: its small motions about the rest pose, and what they leave of a displacement."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.hand.layer import HandLayer
from palm_data.simulate.template import capture_template, vertex_normals

RIM_DISTANCE_M = 0.008
"""Model vertices nearer than this to the wrist rim are neither fitted nor measured: a registration masks them too."""
TANGENTIAL_WEIGHT = 0.15
"""What sliding along the surface counts for, beside moving off it: a registration hardly sees it."""
_STEP = 1e-6
_PARAMETERS = 10 + 3 + 45 + 3


def far_from_rim() -> Bool[ndarray, "model"]:
    """Which of the hand model's vertices count."""
    model = capture_template().model
    template = np.asarray(model.v_template, np.float64)
    gaps = np.linalg.norm(template[:, None] - template[model.rim_vertices()][None], axis=2)
    return gaps.min(axis=1) > RIM_DISTANCE_M


def normal_metric(normals: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3 3"]:
    """Root of the weight of each point's offset: 1 along the normal, `TANGENTIAL_WEIGHT` across it."""
    along = np.einsum("ni,nj->nij", normals, normals)
    return along + TANGENTIAL_WEIGHT * (np.eye(3) - along)


def beyond_reach(displacement: Float[ndarray, "model 3"]) -> Float[ndarray, "measured 3"]:
    """What the model's shape, pose and position leave of a displacement of its rest surface (linear), metric applied."""
    measured, metric, basis = _reach()
    weighted = np.einsum("nij,nj->ni", metric, displacement[measured]).ravel()
    return (weighted - basis @ (basis.T @ weighted)).reshape(-1, 3)


@lru_cache(maxsize=1)
def _reach() -> tuple[ndarray, ndarray, ndarray]:
    """Measured vertices, their metric, and an orthonormal basis of what the parameters do to them at rest."""
    model = capture_template().model
    nudges = np.concatenate([np.zeros((1, _PARAMETERS)), _STEP * np.eye(_PARAMETERS)])
    nudges[:, 13:58] -= model.hands_mean
    with torch.no_grad():
        parameters = torch.from_numpy(nudges)
        layer = HandLayer(model, dtype=torch.float64)
        posed = layer(
            parameters[:, 10:13], parameters[:, 13:58], parameters[:, :10], parameters[:, 58:]
        ).vertices.numpy()
    measured = far_from_rim()
    metric = normal_metric(vertex_normals(np.asarray(model.v_template, np.float64), model.faces)[measured])
    motions = (posed[1:] - posed[0])[:, measured] / _STEP
    basis, _ = np.linalg.qr(np.einsum("nij,pnj->nip", metric, motions).reshape(-1, _PARAMETERS))
    return measured, metric, basis
