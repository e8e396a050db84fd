"""What makes a person's hand more than a point in the hand model's shape space.

Three departures, each drawn from the seed: a smooth random displacement of the whole surface, joint centres that are
not where the model's regressor puts them, and skinning weights that spread differently.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import sparse
from scipy.ndimage import map_coordinates

from palm_data.simulate.reach import beyond_reach
from palm_data.simulate.template import CaptureTemplate, vertex_normals

FIELD_MEAN_M = (2.05e-3, 2.45e-3)
"""Range of the mean displacement over the hand."""
JOINT_SHIFT_M = (2.0e-3, 3.0e-3)
"""Range of every joint centre's shift."""
FIELD_SCALE_MM = 30.0
"""Length over which neighbouring displacements agree (Gaussian correlation)."""
SWELLING_SCALE_MM = 26.0
"""The same for the part along the normal, which no pose can imitate."""
BEYOND_REACH_M = (0.68e-3, 0.82e-3)
"""Range of what the hand model cannot imitate of the displacement: mean over its surface."""
_FINGER_THINNESS = 0.5
_ARM_SMOOTHNESS = 0.8
_SHARES = np.linspace(0.0, 4.0, 161)
_WAVES = 256
_SPLINE_SPREAD = 0.33
"""Standard deviation of a cubic B-spline sum of unit noise in three dimensions."""
_WEIGHT_SCALE_MM = 25.0
_WEIGHT_STRENGTH = 0.45
_WEIGHT_BLUR_STEPS = (0, 3)
"""Fewest and most rounds of averaging with the neighbours."""


@dataclass(frozen=True, eq=False)
class Identity:
    """One person's departures from the hand model, on the template's base mesh."""

    displacement: Float[ndarray, "base 3"]
    """Added to the shaped surface at rest, metres."""
    joint_shift: Float[ndarray, "16 3"]
    """Added to the model's joints at rest, metres."""
    weights: Float[ndarray, "base 17"]
    """Skinning weights, rows summing to one."""


def draw_identity(template: CaptureTemplate, rng: np.random.Generator) -> Identity:
    """A person's departures."""
    points = template.base_vertices
    bending = smooth_field(points, rng, scale_mm=FIELD_SCALE_MM, channels=3)
    swelling = smooth_field(points, rng, scale_mm=SWELLING_SCALE_MM, channels=1)
    # A finger is thinner than a palm, and swells and shrinks the less for it; an arm is smooth.
    thickness = 1.0 - _FINGER_THINNESS * template.base_weights[:, 1:16].sum(axis=1, keepdims=True)
    thickness -= _ARM_SMOOTHNESS * template.base_weights[:, 16:]
    swelling = swelling * thickness * vertex_normals(points, template.base_faces)
    displacement = _mixed(bending, swelling, template.hand_vertex_count, rng)
    directions = rng.standard_normal((16, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    shift = directions * rng.uniform(*JOINT_SHIFT_M, size=(16, 1))
    return Identity(displacement, shift, _perturbed_weights(template, rng))


def _mixed(bending: ndarray, swelling: ndarray, hand: int, rng: np.random.Generator) -> Float[ndarray, "base 3"]:
    """The two together: at the wanted size, with the wanted part of it beyond the hand model's reach.

    A free displacement is mostly what shape and pose imitate; by chance more or less of it is, so the share of the
    swelling is chosen for each person.
    """
    size, beyond = rng.uniform(*FIELD_MEAN_M), rng.uniform(*BEYOND_REACH_M)
    left = beyond_reach(bending[:hand]), beyond_reach(swelling[:hand])
    scales = np.array([size / np.linalg.norm((bending + share * swelling)[:hand], axis=1).mean() for share in _SHARES])
    means = np.array([np.linalg.norm(left[0] + share * left[1], axis=1).mean() for share in _SHARES])
    chosen = np.abs(scales * means - beyond).argmin()
    return scales[chosen] * (bending + _SHARES[chosen] * swelling)


def smooth_field(
    points: Float[ndarray, "n 3"], rng: np.random.Generator, *, scale_mm: float, channels: int
) -> Float[ndarray, "n channels"]:
    """A stationary Gaussian field with unit variance, evaluated at points in metres.

    Random Fourier features of the Gaussian kernel (Rahimi and Recht, NIPS 2007): the same draws give the same field
    wherever it is evaluated.
    """
    waves = rng.standard_normal((_WAVES, 3)) / (scale_mm * 1e-3)
    phases = rng.uniform(0.0, 2.0 * np.pi, _WAVES)
    gains = rng.standard_normal((_WAVES, channels)) * np.sqrt(2.0 / _WAVES)
    # Not by BLAS: its sums depend on the number of threads.
    turns = np.einsum("ni,wi->nw", points, waves) + phases
    return np.einsum("nw,wc->nc", np.cos(turns), gains)


def lattice_field(points: Float[ndarray, "n 3"], rng: np.random.Generator, *, scale_mm: float) -> Float[ndarray, "n"]:
    """A smooth random field with unit variance (on average), cheap at a million points: B-splines on a random lattice."""
    low, high = points.min(axis=0), points.max(axis=0)
    spacing = scale_mm * 1e-3
    nodes = rng.standard_normal(tuple(np.ceil((high - low) / spacing).astype(int) + 4)).astype(np.float32)
    places = ((points - low) / spacing + 1.5).T.astype(np.float32)
    values = map_coordinates(nodes, places, output=np.float32, order=3, mode="nearest", prefilter=False)
    return values.astype(np.float64) / _SPLINE_SPREAD


def _perturbed_weights(template: CaptureTemplate, rng: np.random.Generator) -> ndarray:
    """The template's weights, blurred over the surface and leaning to one joint or another."""
    weights = template.base_weights
    averaging = _neighbour_mean(template)
    for _ in range(int(rng.integers(_WEIGHT_BLUR_STEPS[0], _WEIGHT_BLUR_STEPS[1] + 1))):
        weights = 0.5 * (weights + averaging @ weights)
    leaning = smooth_field(template.base_vertices, rng, scale_mm=_WEIGHT_SCALE_MM, channels=weights.shape[1])
    weights = weights * np.exp(_WEIGHT_STRENGTH * leaning)
    return weights / weights.sum(axis=1, keepdims=True)


def _neighbour_mean(template: CaptureTemplate) -> sparse.csr_matrix:
    faces = template.base_faces
    count = len(template.base_vertices)
    links = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    links = np.concatenate([links, links[:, ::-1]])
    graph = sparse.csr_matrix((np.ones(len(links)), links.T), shape=(count, count))
    graph.data[:] = 1.0
    return sparse.csr_matrix(sparse.diags(1.0 / np.asarray(graph.sum(axis=1)).ravel()) @ graph)
