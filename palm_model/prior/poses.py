"""The hands of a batch: who, in which pose, and where their registered surface is.

Points and rays say by a row number which of them they belong to.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_data.hand.layer import HandLayer
from palm_model.prior.bones import bone_transforms, full_pose


@dataclass(frozen=True, eq=False)
class Poses:
    """p posed hands, all tensors on one device."""

    bones: Float[Tensor, "p 16 4 4"]
    """Canonical space to world, metres."""
    full_pose: Float[Tensor, "p 48"]
    """Absolute axis-angle of the sixteen joints, radians: zero is the flat hand."""
    betas: Float[Tensor, "p 10"]
    """Shape, in standard deviations."""
    subject: Int[Tensor, "p"]
    """Row of the person in the code book, int64."""
    vertices: Float[Tensor, "p vertices 3"]
    """The registered surface with its pose correctives, world, metres; carries no gradient."""

    def __len__(self) -> int:
        return len(self.bones)

    def to(self, device: torch.device | str) -> "Poses":
        """The same hands on a device."""
        return Poses(**{one.name: getattr(self, one.name).to(device) for one in fields(self)})

    def select(self, rows: Int[Tensor, "q"]) -> "Poses":
        """Some of the hands, in that order."""
        return Poses(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def posed_hands(
    layer: HandLayer,
    betas: Float[Tensor, "p 10"],
    global_orient: Float[Tensor, "p 3"],
    hand_pose: Float[Tensor, "p 45"],
    transl: Float[Tensor, "p 3"],
    *,
    subject: Int[Tensor, "p"],
) -> Poses:
    """Hands from the parameters of a release; bones and pose carry gradients to whichever of them asks for them.

    Args:
        layer: the hand model, in the parameters' type and on their device.
        hand_pose: axis-angle, radians, as an offset from the model's mean pose.
        transl: metres, world.
        subject: rows of the code book.
    """
    with torch.no_grad():
        vertices = layer(global_orient, hand_pose, betas, transl).vertices
    return Poses(
        bones=bone_transforms(layer.model, betas, global_orient, hand_pose, transl),
        full_pose=full_pose(layer.model, global_orient, hand_pose),
        betas=betas,
        subject=subject,
        vertices=vertices,
    )
