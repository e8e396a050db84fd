import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from palm_data.hand.layer import HandLayer
from palm_model.prior.bones import bone_transforms, rotation_matrices
from palm_model.prior.canonical import canonical_vertices
from palm_model.prior.poses import posed_hands
from tests.palm_model.prior.hands import MODEL, hand_layer, hands, shapes

UNCORRECTED = HandLayer(
    dataclasses.replace(MODEL, posedirs=np.zeros_like(MODEL.posedirs)), dtype=torch.float64
)  # smplx without pose correctives
ANGLES = st.tuples(*[st.floats(-4.0, 4.0)] * 3)


def parameters(count: int, seed: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    sizes = {"betas": (10, 1.5), "global_orient": (3, 1.5), "hand_pose": (45, 0.5), "transl": (3, 0.2)}
    return {name: torch.from_numpy(spread * rng.standard_normal((count, n))) for name, (n, spread) in sizes.items()}


@pytest.mark.parametrize("seed", range(3))
def test_skinning_with_the_bones_is_smplx_without_pose_correctives(seed: int) -> None:
    given = parameters(3, seed)
    bones = bone_transforms(MODEL, **given)
    flat = canonical_vertices(MODEL, given["betas"])
    weights = torch.from_numpy(MODEL.weights.astype(np.float64))
    blended = torch.einsum("vb,pbij->pvij", weights, bones)
    posed = torch.einsum("pvij,pvj->pvi", blended[..., :3, :3], flat) + blended[..., :3, 3]
    # smplx adds 1e-8 to every component of an angle before it normalises.
    torch.testing.assert_close(posed, UNCORRECTED(**given).vertices, rtol=0, atol=1e-7)


@given(ANGLES)
def test_rotations_equal_scipys(angle: tuple[float, ...]) -> None:
    found = rotation_matrices(torch.tensor(angle, dtype=torch.float64))
    np.testing.assert_allclose(found, Rotation.from_rotvec(angle).as_matrix(), atol=1e-12)


def test_bones_are_rigid() -> None:
    bones = bone_transforms(MODEL, **parameters(2, 5))
    turned = bones[..., :3, :3]
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3, dtype=torch.float64).expand_as(turned))
    torch.testing.assert_close(torch.linalg.det(turned), torch.ones(2, 16, dtype=torch.float64))
    assert (bones[..., 3, :] == torch.tensor([0.0, 0.0, 0.0, 1.0])).all()


def test_in_zero_pose_every_bone_stands_still() -> None:
    zero = torch.zeros(1, 3)
    bones = bone_transforms(MODEL, shapes(1), zero, -torch.tensor(MODEL.hands_mean)[None], zero)
    torch.testing.assert_close(bones, torch.eye(4).expand(1, 16, 4, 4))


@settings(max_examples=10)
@given(ANGLES, st.integers(0, 1000))
def test_turning_the_hand_carries_every_bone_along(angle: tuple[float, ...], seed: int) -> None:
    held = parameters(1, seed) | {"global_orient": torch.zeros(1, 3, dtype=torch.float64)}
    still = bone_transforms(MODEL, **held)
    turn = torch.tensor([angle], dtype=torch.float64)
    motion = bone_transforms(MODEL, **held | {"global_orient": turn})[:, 0] @ torch.linalg.inv(still[:, 0])
    moved = bone_transforms(MODEL, **held | {"global_orient": turn})
    torch.testing.assert_close(moved, motion[:, None] @ still, rtol=0, atol=1e-9)


@pytest.mark.parametrize("at_rest", [True, False])
def test_gradients_agree_with_finite_differences(at_rest: bool) -> None:
    """At zero too, where an angle has no direction."""
    given = parameters(1, 3)
    if at_rest:
        given["hand_pose"] = -torch.from_numpy(MODEL.hands_mean.astype(np.float64))[None]
        given["global_orient"] = torch.zeros(1, 3, dtype=torch.float64)
    inputs = tuple(value.requires_grad_() for value in given.values())

    def bones(*values: torch.Tensor) -> torch.Tensor:
        return bone_transforms(MODEL, **dict(zip(given, values, strict=True)))

    assert torch.autograd.gradcheck(bones, inputs, fast_mode=True)


def test_posed_hands_hold_the_registered_surface_and_the_absolute_pose() -> None:
    layer = hand_layer(torch.float64)
    given = parameters(2, 7)
    given["hand_pose"].requires_grad_()
    poses = posed_hands(layer, **given, subject=torch.tensor([4, 1]))
    torch.testing.assert_close(poses.vertices, layer(**given).vertices)
    assert not poses.vertices.requires_grad
    assert poses.bones.requires_grad
    torch.testing.assert_close(poses.full_pose[:, :3], given["global_orient"])
    torch.testing.assert_close(poses.full_pose[:, 3:] - torch.tensor(MODEL.hands_mean), given["hand_pose"])


def test_poses_are_chosen_by_row() -> None:
    poses = hands("flat", "fist", "pinch", betas=shapes(3))
    chosen = poses.select(torch.tensor([2, 0]))
    assert len(chosen) == 2
    assert chosen.subject.tolist() == [2, 0]
    torch.testing.assert_close(chosen.vertices[0], poses.vertices[2])
    torch.testing.assert_close(chosen.bones[1], poses.bones[0])


def test_a_fist_and_a_pinch_touch_themselves() -> None:
    """The test hands are what the root search is to be tried on: fingertips within 3 mm of another part of the hand."""
    thumb, index = MODEL.tip_vertex_ids[0], MODEL.tip_vertex_ids[1]
    flat, fist, pinch = hands("flat", "fist", "pinch").vertices
    finger = torch.from_numpy(MODEL.weights.argmax(axis=1))
    assert torch.cdist(pinch[finger == 15], pinch[finger == 3]).min() < 3e-3
    assert torch.cdist(fist[finger == 15], fist[(finger > 0) & (finger < 13)]).min() < 3e-3
    assert (flat[thumb] - flat[index]).norm() > 0.04
