"""The bones' transforms from canonical space to the world: the B_i of eq. 3.

Forward kinematics as in Romero et al., "Embodied Hands" (2017): each joint turns about where the shape puts it, and
what hangs on it goes along. Pose correctives are no part of it: they are the geometry network's to learn.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from palm_data.hand.model import JOINTS, HandModel
from palm_model.prior.canonical import canonical_joints


def rotation_matrices(axis_angle: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3 3"]:
    """Rotations about axes by their lengths in radians (Rodrigues), with right gradients at zero too.

    R = I + sin θ/θ K + (1 − cos θ)/θ² K², both factors by the sinc function, which is smooth where θ is zero.
    """
    angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
    x, y, z = axis_angle.unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    straight = torch.sinc(angle / torch.pi)
    bent = 0.5 * torch.sinc(angle / (2.0 * torch.pi)) ** 2
    return torch.eye(3, dtype=x.dtype, device=x.device) + straight * cross + bent * (cross @ cross)


def full_pose(
    model: HandModel, global_orient: Float[Tensor, "p 3"], hand_pose: Float[Tensor, "p 45"]
) -> Float[Tensor, "p 48"]:
    """All sixteen joints' turns, axis-angle, radians, from zero pose: the model's mean pose added to `hand_pose`."""
    mean = torch.tensor(model.hands_mean, dtype=hand_pose.dtype, device=hand_pose.device)
    return torch.cat([global_orient, hand_pose + mean], dim=-1)


def bone_transforms(
    model: HandModel,
    betas: Float[Tensor, "p 10"],
    global_orient: Float[Tensor, "p 3"],
    hand_pose: Float[Tensor, "p 45"],
    transl: Float[Tensor, "p 3"],
) -> Float[Tensor, "p 16 4 4"]:
    """Each bone's rigid motion from canonical space to the world, differentiable in every argument.

    Linear blend skinning of canonical points with them and the model's weights is the posed hand model without its
    pose correctives.

    Args:
        betas: shape coefficients, in standard deviations.
        global_orient: axis-angle about the rest wrist joint, radians.
        hand_pose: axis-angle of joints 1 to 15, as an offset from the model's mean pose, as releases have it.
        transl: added after posing, metres.
    """
    joints = canonical_joints(model, betas)
    turns = rotation_matrices(full_pose(model, global_orient, hand_pose).unflatten(-1, (JOINTS, 3)))
    orientations, places = [turns[:, 0]], [joints[:, 0] + transl]
    for joint in range(1, JOINTS):
        parent = int(model.parents[joint])
        arm = joints[:, joint] - joints[:, parent]
        orientations.append(orientations[parent] @ turns[:, joint])
        places.append(places[parent] + torch.einsum("pij,pj->pi", orientations[parent], arm))
    turned = torch.stack(orientations, dim=1)
    moved = torch.stack(places, dim=1) - torch.einsum("pbij,pbj->pbi", turned, joints)
    last = turned.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*moved.shape[:2], 1, 4)
    return torch.cat([torch.cat([turned, moved[..., None]], dim=-1), last], dim=-2)
