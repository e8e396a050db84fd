"""The best that fitting the hand model can do on a captured surface: the floor for every registration.

Each model vertex knows its true place. Shape (shared by a person's captures), pose, orientation and position minimise
the distance to those places, mostly along the surface's normal, because sliding along the surface costs a registration
nothing. Gauss–Newton on all captures of a person at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.hand.layer import HandLayer
from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.hand import CapturedHand
from palm_data.simulate.reach import far_from_rim, normal_metric
from palm_data.simulate.subject import SimulatedSubject
from palm_data.simulate.template import capture_template

_ITERATIONS = 8
_TOLERANCE_M = 1e-6
_STEP = 1e-6
_SHAPE_SIZE, _ORIENT_SIZE, _POSE_SIZE = 10, 3, 45
_CAPTURE_SIZE = _ORIENT_SIZE + _POSE_SIZE + 3


@dataclass(frozen=True, eq=False)
class OracleFit:
    """The hand model, fitted to one capture as well as it can be."""

    betas: Float[ndarray, "10"]
    global_orient: Float[ndarray, "3"]
    hand_pose: Float[ndarray, "45"]
    """flat_hand_mean=False."""
    transl: Float[ndarray, "3"]
    vertices: Float[ndarray, "model 3"]
    """World, metres."""
    model_to_surface_mm: Float[ndarray, "measured"]
    """Distance to the clean surface from each vertex that is far enough from the wrist rim."""

    @property
    def model_to_surface_mm_mean(self) -> float:
        """The mean of those distances: `oracle_model_to_surface_mm_mean` is this over a session's captures."""
        return float(self.model_to_surface_mm.mean())


@dataclass(frozen=True, eq=False)
class _Target:
    """What one capture asks of the fit."""

    places: Float[ndarray, "measured 3"]
    metric: Float[ndarray, "measured 3 3"]


@dataclass(frozen=True, eq=False)
class _Parameters:
    betas: Float[ndarray, "10"]
    own: Float[ndarray, "captures 51"]
    """Orientation, pose and position of each capture."""

    def moved(self, step: ndarray) -> "_Parameters":
        return _Parameters(self.betas + step[:_SHAPE_SIZE], self.own + step[_SHAPE_SIZE:].reshape(self.own.shape))


def fit_oracle(subject: SimulatedSubject, captures: Sequence[CapturedHand]) -> list[OracleFit]:
    """The best fit of the hand model to each of a person's captures, one shape for all of them."""
    template = capture_template()
    layer = HandLayer(template.model, dtype=torch.float64)
    measured = far_from_rim()
    targets = [_target(capture, measured) for capture in captures]
    parameters = _start(layer, subject, captures)
    for _ in range(_ITERATIONS):
        step = _gauss_newton_step(layer, parameters, targets, measured)
        parameters = parameters.moved(step)
        if np.abs(step).max() < _TOLERANCE_M:
            break
    return [
        _measured_fit(layer, parameters.betas, own, capture, measured)
        for own, capture in zip(parameters.own, captures, strict=True)
    ]


def distance_to_surface_mm(points: Float[ndarray, "n 3"], capture: CapturedHand) -> Float[ndarray, "n"]:
    """Distance from points to a capture's clean surface, millimetres."""
    return SurfaceQuery(capture.vertices, capture.faces).distance(points) * 1e3


def _start(layer: HandLayer, subject: SimulatedSubject, captures: Sequence[CapturedHand]) -> _Parameters:
    """The asked-for shape and pose, laid rigidly onto each capture."""
    own = np.zeros((len(captures), _CAPTURE_SIZE))
    for row, capture in enumerate(captures):
        own[row, _ORIENT_SIZE : _ORIENT_SIZE + _POSE_SIZE] = capture.hand_pose
        model = _vertices(layer, subject.betas[None], own[row : row + 1])[0]
        true = capture.model_correspondence()
        turn, _ = Rotation.align_vectors(true - true.mean(axis=0), model - model.mean(axis=0))
        own[row, :_ORIENT_SIZE] = turn.as_rotvec()
        own[row, -3:] = true.mean(axis=0) - _vertices(layer, subject.betas[None], own[row : row + 1])[0].mean(axis=0)
    return _Parameters(subject.betas.copy(), own)


def _target(capture: CapturedHand, measured: ndarray) -> _Target:
    normals = capture.normals[: capture.model_vertex_count][measured]
    metric = normal_metric(normals)
    return _Target(capture.model_correspondence()[measured], metric)


def _gauss_newton_step(
    layer: HandLayer, parameters: _Parameters, targets: Sequence[_Target], measured: ndarray
) -> ndarray:
    """The step that would end a linear problem; derivatives by forward differences in double precision."""
    size = _SHAPE_SIZE + _CAPTURE_SIZE * len(targets)
    normal, gradient = np.zeros((size, size)), np.zeros(size)
    nudges = _STEP * np.eye(_SHAPE_SIZE + _CAPTURE_SIZE - 3)
    for row, target in enumerate(targets):
        betas = np.concatenate([parameters.betas[None], parameters.betas + nudges[:, :_SHAPE_SIZE]])
        own = np.repeat(parameters.own[row : row + 1], len(betas), axis=0)
        own[1:, :-3] += nudges[:, _SHAPE_SIZE:]
        posed = _vertices(layer, betas, own)[:, measured]
        derivative = np.einsum("nij,pnj->nip", target.metric, (posed[1:] - posed[0]) / _STEP)
        jacobian = np.concatenate([derivative, target.metric], axis=2).reshape(-1, _SHAPE_SIZE + _CAPTURE_SIZE)
        residual = np.einsum("nij,nj->ni", target.metric, target.places - posed[0]).ravel()
        columns = np.concatenate([np.arange(_SHAPE_SIZE), _SHAPE_SIZE + row * _CAPTURE_SIZE + np.arange(_CAPTURE_SIZE)])
        normal[np.ix_(columns, columns)] += jacobian.T @ jacobian
        gradient[columns] += jacobian.T @ residual
    normal[np.diag_indices(size)] += 1e-9 * normal.diagonal().max()
    return np.linalg.solve(normal, gradient)


def _measured_fit(
    layer: HandLayer, betas: ndarray, own: ndarray, capture: CapturedHand, measured: ndarray
) -> OracleFit:
    vertices = _vertices(layer, betas[None], own[None])[0]
    return OracleFit(
        betas=betas,
        global_orient=own[:_ORIENT_SIZE],
        hand_pose=own[_ORIENT_SIZE:-3],
        transl=own[-3:],
        vertices=vertices,
        model_to_surface_mm=distance_to_surface_mm(vertices[measured], capture),
    )


def _vertices(
    layer: HandLayer, betas: Float[ndarray, "batch 10"], own: Float[ndarray, "batch 51"]
) -> Float[ndarray, "batch model 3"]:
    with torch.no_grad():
        shape, free = torch.from_numpy(betas), torch.from_numpy(np.ascontiguousarray(own))
        posed = layer(free[:, :_ORIENT_SIZE], free[:, _ORIENT_SIZE:-3], shape, free[:, -3:])
    return posed.vertices.numpy()
