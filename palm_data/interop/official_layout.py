"""Names and sizes of the official release: what its loader and its training code expect, in one place."""

from collections.abc import Iterator
from typing import NamedTuple

CAMERA_IDS = tuple(f"MCU_{number:02d}" for number in range(1, 8))
"""All of them, for every frame: the choice list of the official code is fixed."""
KINDS = ("images", "masks", "mano", "normals")
"""A subject's folders of pictures."""
FOLDERS = "folders"
QUALITY_FILE = "quality_dict_feb_27.npy"
CAMERAS_FILE = "cameras.npy"
POSES_FILE = "poses.npy"
MAX_FRAMES = 60
"""Rows of the official pose correction table."""
CROP_PX = 128
"""Side of the largest patch that the official sampler cuts."""
CROP_MARGIN_PX = 32
"""How far about the mask a patch may lie."""
VALIDATION_FRAMES = 12
"""The official validation asks for frame 12 of each of its subjects."""
POSE_WIDTHS = {"betas": 10, "hand_pose": 45, "global_orient": 3, "transl": 3}


class Picture(NamedTuple):
    """One picture of a subject; `frame` counts from 1 without gaps."""

    kind: str
    camera_id: str
    frame: int

    @property
    def file(self) -> str:
        """Where it lies, relative to the subject's folder."""
        return f"{self.kind}/{self.camera_id}/{frame_name(self.frame)}"


def frame_name(frame: int, suffix: str = ".png") -> str:
    """The file of a frame."""
    return f"{frame:06d}{suffix}"


def quality_key(subject_id: str, frame: int) -> str:
    """The entry of a frame in the dict of errors; the official keys end in .jpg, though the files are PNGs."""
    return f"{subject_id}/{frame_name(frame, '.jpg')}"


def pictures(frames: int) -> Iterator[Picture]:
    """Every picture of a subject with so many frames."""
    for frame in range(1, frames + 1):
        for camera_id in CAMERA_IDS:
            for kind in KINDS:
                yield Picture(kind, camera_id, frame)
