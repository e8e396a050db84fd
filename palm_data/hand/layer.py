"""The hand model as a torch module, posed by `smplx.MANO`."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import smplx
import torch
from jaxtyping import Float
from smplx.utils import Struct
from torch import Tensor, nn

from palm_data.hand.model import POSE_SIZE, SHAPE_COMPONENTS, HandModel


class PosedHand(NamedTuple):
    """A batch of posed hands, metres."""

    vertices: Float[Tensor, "batch vertices 3"]
    joints: Float[Tensor, "batch 21 3"]
    """In the order of `schemas.hand.JOINT_NAMES`."""


class HandLayer(nn.Module):
    """Poses a hand model exactly as `smplx.MANO` does, in the convention flat_hand_mean=False, axis-angle.

    Joints are the model's sixteen, then the five tip vertices that the model itself names. The rotation acts about
    the rest wrist joint, which is not the origin.
    """

    tips: Tensor

    def __init__(self, model: HandModel, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.model = model
        self.mano = _build_mano(model, dtype)
        self.register_buffer("tips", torch.tensor(model.tip_vertex_ids, dtype=torch.long), persistent=False)

    def forward(
        self,
        global_orient: Float[Tensor, "batch 3"],
        hand_pose: Float[Tensor, "batch 45"],
        betas: Float[Tensor, "batch 10"],
        transl: Float[Tensor, "batch 3"],
    ) -> PosedHand:
        """The posed surface and its 21 joints, differentiable in every argument.

        Args:
            global_orient: rotation of the whole hand, axis-angle, radians.
            hand_pose: axis-angle of joints 1 to 15, as an offset from the model's mean pose.
            betas: shape coefficients, in standard deviations.
            transl: added after posing, metres.
        """
        posed = self.mano(betas=betas, global_orient=global_orient, hand_pose=hand_pose, transl=transl)
        tips = posed.vertices.index_select(1, self.tips)
        return PosedHand(posed.vertices, torch.cat([posed.joints, tips], dim=1))


def _build_mano(model: HandModel, dtype: torch.dtype) -> smplx.MANO:
    """`smplx.MANO` over the model's own arrays, without parameters of its own."""
    arrays = Struct(
        v_template=model.v_template,
        f=model.faces,
        weights=model.weights,
        shapedirs=model.shapedirs,
        posedirs=model.posedirs,
        J_regressor=model.joint_regressor,
        kintree_table=np.stack([model.parents, np.arange(len(model.parents))]),
        hands_mean=model.hands_mean,
        hands_components=model.hands_components,
    )
    # smplx prints its advice about the number of shape coefficients on stdout.
    with contextlib.redirect_stdout(io.StringIO()):
        return smplx.MANO(
            "",
            data_struct=arrays,
            is_rhand=model.side == "right",
            use_pca=False,
            num_pca_comps=POSE_SIZE,
            flat_hand_mean=False,
            num_betas=SHAPE_COMPONENTS,
            create_betas=False,
            create_global_orient=False,
            create_body_pose=False,
            create_hand_pose=False,
            create_transl=False,
            dtype=dtype,
        )
