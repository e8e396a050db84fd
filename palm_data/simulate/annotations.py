"""Hand-annotated keypoints of a subset of the images, as good and as wrong as people's are: COCO keypoints, 21 joints.

Pixel coordinates are in the raw image, with integers at pixel **corners** (the file's info block says so); each
joint's visibility is COCO's: 0 not labelled, 1 labelled but hidden, 2 seen.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.camera.tsai import project_tsai
from palm_data.simulate.hand import CapturedHand
from palm_data.simulate.rig import is_colour
from schemas.camera import TsaiCamera
from schemas.hand import JOINT_NAMES

COLOUR_SHARE = 0.6
MONO_SHARE = 0.3
WRONG_SHARE = 0.05
_SEEN_NOISE = 0.005  # standard deviation as a share of the hand's size in the image
_HIDDEN_NOISE = 0.015
_GROSS = 0.25
_HIDDEN_DEPTH_M = 0.016  # a joint lies inside its finger: only what is deeper is hidden by another part
_FINGERS = {"index": 1, "middle": 4, "pinky": 7, "ring": 10, "thumb": 13}
_TIPS = {"thumb": 16, "index": 17, "middle": 18, "ring": 19, "pinky": 20}


@dataclass(frozen=True)
class Annotation:
    """One annotated image."""

    raw_name: str
    keypoints_px: Float[ndarray, "21 2"]
    visibility: ndarray
    wrong_joints: tuple[int, ...]
    """What the annotator mistook; known to the truth alone."""


def is_annotated(camera: TsaiCamera, rng: np.random.Generator) -> bool:
    """Whether somebody annotated this image."""
    return bool(rng.random() < (COLOUR_SHARE if is_colour(camera) else MONO_SHARE))


def annotate(
    hand: CapturedHand, camera: TsaiCamera, depth_before_m: Float[ndarray, "21"], rng: np.random.Generator
) -> Annotation:
    """What a person would click in the camera's image.

    Args:
        depth_before_m: how much hand lies before each joint, metres (`Studio.depth_before`).
    """
    true = project_tsai(camera, hand.joints)
    size = float(np.ptp(true, axis=0).max())
    hidden = depth_before_m > _HIDDEN_DEPTH_M
    spread = np.where(hidden, _HIDDEN_NOISE, _SEEN_NOISE) * size
    clicked = true + rng.normal(0.0, 1.0, true.shape) * spread[:, None]
    wrong = np.flatnonzero(rng.random(len(true)) < WRONG_SHARE)
    for joint in wrong:
        clicked[joint] = _mistaken(clicked, int(joint), size, rng)
    width, height = camera.image_size_px
    inside = ((clicked >= 0) & (clicked <= [width, height])).all(axis=1)
    visibility = np.where(inside, np.where(hidden, 1, 2), 0)
    return Annotation(
        camera.raw_name, np.where(inside[:, None], clicked, 0.0), visibility, tuple(int(joint) for joint in wrong)
    )


def _mistaken(
    clicked: Float[ndarray, "21 2"], joint: int, size: float, rng: np.random.Generator
) -> Float[ndarray, "2"]:
    """The same joint of another finger, or a slip of the mouse."""
    name = JOINT_NAMES[joint]
    others = [finger for finger in _FINGERS if not name.startswith(finger)]
    if name == "wrist" or rng.random() < 0.4:
        return clicked[joint] + rng.normal(0.0, _GROSS * size, 2)
    other = others[int(rng.integers(len(others)))]
    row = _TIPS[other] if name.endswith("tip") else _FINGERS[other] + int(name[-1]) - 1
    return clicked[row] + rng.normal(0.0, _SEEN_NOISE * size, 2)


def coco_document(images: list[dict[str, object]], annotations: list[dict[str, object]]) -> dict[str, object]:
    """The COCO file of a session."""
    return {
        "info": {
            "description": "Hand keypoints, annotated by people",
            "pixel_origin": "corner: integer coordinates lie at pixel corners, pixel centres at +0.5",
        },
        "categories": [
            {
                "id": 1,
                "name": "right_hand",
                "supercategory": "hand",
                "keypoints": list(JOINT_NAMES),
                "skeleton": _skeleton(),
            }
        ],
        "images": images,
        "annotations": annotations,
    }


def _skeleton() -> list[list[int]]:
    """Bones as pairs of joint numbers, counted from 1 as COCO does."""
    bones = []
    for finger, first in _FINGERS.items():
        chain = [0, first, first + 1, first + 2, _TIPS[finger]]
        bones += [[one + 1, other + 1] for one, other in zip(chain, chain[1:], strict=False)]
    return bones


def coco_entry(
    annotation: Annotation, file_name: str, camera: TsaiCamera, number: int
) -> tuple[dict[str, object], dict[str, object]]:
    """The image and annotation entries of one annotated image."""
    labelled: Bool[ndarray, 21] = annotation.visibility > 0
    flat = [
        [round(float(x), 2), round(float(y), 2), int(v)]
        for (x, y), v in zip(annotation.keypoints_px, annotation.visibility, strict=True)
    ]
    low = annotation.keypoints_px[labelled].min(axis=0) if labelled.any() else np.zeros(2)
    high = annotation.keypoints_px[labelled].max(axis=0) if labelled.any() else np.zeros(2)
    width, height = camera.image_size_px
    return (
        {"id": number, "file_name": file_name, "width": width, "height": height},
        {
            "id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "num_keypoints": int(labelled.sum()),
            "keypoints": [value for triple in flat for value in triple],
            "bbox": [round(float(value), 2) for value in (*low, *(high - low))], "area": round(float(np.prod(high - low)), 2),
        },
    )  # fmt: skip
