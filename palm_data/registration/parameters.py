"""What a fit solves for: the layout of a frame's parameters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.hand.model import POSE_SIZE, SHAPE_COMPONENTS
from schemas.hand import HandRow

ORIENT = slice(0, 3)
POSE = slice(3, 3 + POSE_SIZE)
TRANSL = slice(POSE.stop, POSE.stop + 3)
FRAME_SIZE = TRANSL.stop
SHAPE = slice(FRAME_SIZE, FRAME_SIZE + SHAPE_COMPONENTS)
TOTAL_SIZE = SHAPE.stop


@dataclass(frozen=True)
class HandFit:
    """A subject's shape and the pose of each of some frames."""

    betas: Float[ndarray, "10"]
    frames: Float[ndarray, "frames 51"]
    """global_orient (3), hand_pose (45) and transl (3), radians and metres; flat_hand_mean = False."""
    objective: Float[ndarray, " frames"]
    """Value of the last phase's objective per frame, mm²."""

    @property
    def global_orient(self) -> Float[ndarray, "frames 3"]:
        """Axis-angle about the rest wrist joint, radians."""
        return self.frames[:, ORIENT]

    @property
    def hand_pose(self) -> Float[ndarray, "frames 45"]:
        """Axis-angle offsets from the model's mean pose, radians."""
        return self.frames[:, POSE]

    @property
    def transl(self) -> Float[ndarray, "frames 3"]:
        """Metres, added after posing."""
        return self.frames[:, TRANSL]


def frame_parameters(row: HandRow) -> Float[ndarray, "51"]:
    """The pose of a stored hand, in the order of a fit's frames."""
    return np.array([*row.global_orient, *row.hand_pose, *row.transl], dtype=np.float64)
