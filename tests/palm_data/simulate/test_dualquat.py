import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy import ndarray
from scipy.spatial.transform import Rotation

from palm_data.simulate import dualquat

seeds = st.integers(0, 2**32 - 1)


def transforms(seed: int, count: int) -> tuple[ndarray, ndarray]:
    rng = np.random.default_rng(seed)
    return Rotation.random(count, random_state=rng).as_matrix(), rng.uniform(-2, 2, (count, 3))


def weights(seed: int, points: int, count: int) -> ndarray:
    drawn = np.random.default_rng(seed + 1).uniform(0, 1, (points, count))
    return drawn / drawn.sum(axis=1, keepdims=True)


@given(seeds)
def test_a_single_bone_moves_points_rigidly(seed: int) -> None:
    rotation, translation = transforms(seed, 1)
    points = np.random.default_rng(seed).uniform(-1, 1, (20, 3))
    quaternions = dualquat.blend(np.ones((20, 1)), dualquat.from_rigid(rotation, translation))
    np.testing.assert_allclose(dualquat.apply(quaternions, points), points @ rotation[0].T + translation[0], atol=1e-12)


@given(seeds)
def test_blends_of_one_transform_are_that_transform(seed: int) -> None:
    rotation, translation = transforms(seed, 1)
    same = dualquat.from_rigid(np.repeat(rotation, 3, axis=0), np.repeat(translation, 3, axis=0))
    same[1] *= -1.0  # the same rotation, written the other way
    points = np.random.default_rng(seed).uniform(-1, 1, (20, 3))
    moved = dualquat.apply(dualquat.blend(weights(seed, 20, 3), same), points)
    np.testing.assert_allclose(moved, points @ rotation[0].T + translation[0], atol=1e-12)


@given(seeds)
def test_blends_are_unit_rotations(seed: int) -> None:
    mixed = dualquat.blend(weights(seed, 30, 4), dualquat.from_rigid(*transforms(seed, 4)))
    np.testing.assert_allclose(np.linalg.norm(mixed[:, :4], axis=1), 1.0, atol=1e-12)
    origin, axes = np.zeros((30, 3)), np.repeat(np.eye(3)[None], 30, axis=0)
    at_origin = dualquat.apply(mixed, origin)
    frame = np.stack([dualquat.apply(mixed, axes[:, column]) - at_origin for column in range(3)], axis=2)
    np.testing.assert_allclose(np.einsum("nia,nib->nab", frame, frame), axes, atol=1e-12)


@given(seeds, st.floats(0.0, 1.0))
def test_two_turns_about_one_axis_blend_to_the_turn_between(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    angle = rng.uniform(0.1, 2.5)
    centre = rng.uniform(-1, 1, 3)
    ends = Rotation.from_rotvec(np.outer([-angle / 2, angle / 2], axis)).as_matrix()
    quaternions = dualquat.from_rigid(ends, centre - ends @ centre)
    moved = dualquat.apply(
        dualquat.blend(np.array([[1 - share, share]]), quaternions), centre[None] + axis + [[1, 0, 0]]
    )
    # Normalised blending of q and its inverse keeps w and scales the vector part.
    half = np.arctan2((2 * share - 1) * np.sin(angle / 4), np.cos(angle / 4))
    expected = centre + Rotation.from_rotvec(2 * half * axis).apply(axis + np.eye(3)[0])
    np.testing.assert_allclose(moved[0], expected, atol=1e-12)


@given(seeds)
def test_products_are_compositions(seed: int) -> None:
    first, second = Rotation.random(2, random_state=np.random.default_rng(seed))
    product = dualquat.multiply(np.roll(first.as_quat(), 1), np.roll(second.as_quat(), 1))
    turned = Rotation.from_quat(np.roll(product, -1))
    np.testing.assert_allclose(turned.as_matrix(), (first * second).as_matrix(), atol=1e-12)
