"""The space of adult hands: six hundred people, each a hand of the size ANSUR II measured on somebody."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from palm_data.hand.standin.cut import HandMesh
from palm_data.hand.standin.frame import HandPoints, HandSource
from palm_data.hand.standin.measures import Tape, lay_tape
from schemas.errors import GeometryError

FINGER_LENGTH_SD = 0.025
FINGER_GIRTH_SD = 0.030
DIAMETER_SD = 0.10
"""Of MakeHuman's finger diameter target: about 3 % of girth, shared by all fingers."""
DISTANCE_SD = 0.15
_FINGERS = 5
_SOLVER_STEPS = 30
_SOLVED_MM = 1e-3
_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Traits:
    """What distinguishes two hands of equal ANSUR II dimensions."""

    lengths: Float[np.ndarray, "5"]
    """Relative change of each finger's length; fingers in MANO's order."""
    girths: Float[np.ndarray, "5"]
    diameter: float
    distance: float


@dataclass(frozen=True, eq=False)
class ShapeSpace:
    """A mean hand and the directions in which hands differ."""

    mean: Float[np.ndarray, "vertices 3"]
    directions: Float[np.ndarray, "vertices 3 components"]
    """Per standard deviation; a positive coefficient makes the hand larger."""
    mean_joints: Float[np.ndarray, "16 3"]
    joint_directions: Float[np.ndarray, "16 3 components"]
    """How the true joints follow, by least squares."""
    mean_tips: Float[np.ndarray, "5 3"]
    explained: float
    """Share of the surface's variance that the components hold."""


def sample_hands(
    source: HandSource, mesh: HandMesh, people_mm: Float[np.ndarray, "people 5"], rng: np.random.Generator
) -> list[HandPoints]:
    """One hand for each person, of exactly the person's dimensions, with traits drawn at random.

    Raises:
        GeometryError: if a person's dimensions cannot be met.
    """
    tape = lay_tape(source.base, mesh)
    return [fit_hand(source, mesh, tape, person, _draw_traits(rng)) for person in people_mm]


def _draw_traits(rng: np.random.Generator) -> Traits:
    return Traits(
        lengths=rng.normal(0.0, FINGER_LENGTH_SD, _FINGERS),
        girths=rng.normal(0.0, FINGER_GIRTH_SD, _FINGERS),
        diameter=float(rng.normal(0.0, DIAMETER_SD)),
        distance=float(rng.normal(0.0, DISTANCE_SD)),
    )


def fit_hand(
    source: HandSource, mesh: HandMesh, tape: Tape, person_mm: Float[np.ndarray, "5"], traits: Traits
) -> HandPoints:
    """The hand with these traits whose five dimensions are the person's, by Newton's method.

    Raises:
        GeometryError: if no such hand is found.
    """
    sizes = np.zeros(len(person_mm))
    for _ in range(_SOLVER_STEPS):
        hand = shape_hand(source, mesh, sizes, traits)
        missing = person_mm - tape.measure(hand)
        if np.abs(missing).max() < _SOLVED_MM:
            return hand
        slopes = [
            (tape.measure(shape_hand(source, mesh, sizes + step, traits)) - person_mm + missing) / _STEP
            for step in np.eye(len(sizes)) * _STEP
        ]
        sizes = sizes + np.linalg.solve(np.stack(slopes, axis=1), missing)
    raise GeometryError(f"stand-in hand: expected a hand of {person_mm.tolist()} mm, {missing.round(2)} mm are left.")


def shape_hand(source: HandSource, mesh: HandMesh, sizes: Float[np.ndarray, "5"], traits: Traits) -> HandPoints:
    """The base hand, reshaped.

    Args:
        sizes: weights of the targets scale, finger length and wrist girth, then the relative change of the
            hand across (Z) and through (Y).
    """
    scale, finger_length, wrist, across, through = sizes.tolist()
    hand = source.base
    for name, weight in (
        ("scale", scale),
        ("finger_length", finger_length),
        ("wrist", wrist),
        ("finger_diameter", traits.diameter),
        ("finger_distance", traits.distance),
    ):
        low, high = source.targets[name]
        hand = hand.plus(high if weight > 0 else low, abs(weight))
    hand = _vary_fingers(hand.centred(), mesh.weights, traits)
    stretch = np.array([1.0, 1.0 + through, 1.0 + across])
    return HandPoints(hand.vertices * stretch, hand.joints * stretch, hand.tips * stretch)


def _vary_fingers(hand: HandPoints, weights: np.ndarray, traits: Traits) -> HandPoints:
    """Lengthen and thicken single fingers, bone by bone, blended as the skin follows the bones."""
    starts, ends = hand.joints[1:], hand.bone_ends()
    bones = ends - starts
    directions = bones / np.linalg.norm(bones, axis=1, keepdims=True)
    longer = np.repeat(traits.lengths, 3)
    # A finger's later bones are carried along by what the earlier ones grew.
    growth = (bones * longer[:, None]).reshape(_FINGERS, 3, 3)
    carried = (growth.cumsum(axis=1) - growth).reshape(-1, 3)
    outer = directions[:, :, None] * directions[:, None, :]
    thicker = np.repeat(traits.girths, 3)[:, None, None]
    stretch = longer[:, None, None] * outer + thicker * (np.eye(3) - outer)
    shift = carried - (stretch @ starts[:, :, None])[:, :, 0]
    skin = weights[:, 1:]
    blended = (skin @ stretch.reshape(-1, 9)).reshape(-1, 3, 3)
    grown_ends = ends + carried + bones * longer[:, None]
    return HandPoints(
        vertices=hand.vertices + (blended @ hand.vertices[:, :, None])[:, :, 0] + skin @ shift,
        joints=np.vstack([hand.joints[:1], starts + carried]),
        tips=grown_ends[[14, 2, 5, 11, 8]],
    )


def shape_space(hands: list[HandPoints], components: int) -> ShapeSpace:
    """Principal components of the sampled surfaces, each scaled to one standard deviation."""
    vertices = np.stack([hand.vertices for hand in hands])
    joints = np.stack([hand.joints for hand in hands])
    mean, mean_joints = vertices.mean(axis=0), joints.mean(axis=0)
    centred = (vertices - mean).reshape(len(hands), -1)
    # The Gram matrix of a few hundred people is far smaller than the surface's covariance.
    variances, scores = np.linalg.eigh(centred @ centred.T)
    order = np.argsort(variances)[::-1][:components]
    unit_scores = scores[:, order] * np.sqrt(len(hands) - 1)
    directions = unit_scores.T @ centred / (len(hands) - 1)
    sign = np.where(directions @ mean.ravel() < 0, -1.0, 1.0)
    joint_directions = (unit_scores * sign).T @ (joints - mean_joints).reshape(len(hands), -1) / (len(hands) - 1)
    return ShapeSpace(
        mean=mean,
        directions=(directions * sign[:, None]).T.reshape(*mean.shape, components),
        mean_joints=mean_joints,
        joint_directions=joint_directions.T.reshape(*mean_joints.shape, components),
        mean_tips=np.mean([hand.tips for hand in hands], axis=0),
        explained=float(variances[order].sum() / variances.sum()),
    )
