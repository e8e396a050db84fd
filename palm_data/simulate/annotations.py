"""Hand-made labels of a part of the images, as people make them: a little off, and now and then plainly wrong.

COCO keypoints. Coordinates follow COCO: keypoints are pixel indices (the centre of the first pixel is 0, half a pixel
less than ours), boxes are edges (the image's corner is 0).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from palm_data.simulate.seeds import Stream, generator
from palm_data.store.atomic import write_bytes
from schemas.hand import JOINT_NAMES

WRONG_SHARE = 0.05
COLOUR_SHARE = 0.5
MONO_SHARE = 0.15
_NOISE_SHARE = 0.005
"""Standard deviation of a visible joint's label, as a share of the hand's size in the image."""
_OCCLUDED_FACTOR = 2.5
_UNLABELLED_DEPTH_M = 0.03
_UNLABELLED_CHANCE = 0.5
_GROSS_SHARE = (0.2, 0.45)
_BOX_NOISE_SHARE = 0.01
_COCO_SHIFT = 0.5
_FLESH_M = np.array([0.036] + [0.020, 0.014, 0.013] * 4 + [0.024, 0.018, 0.016] + [0.013] * 5)
"""How much flesh lies before a joint's centre at most when nothing hides it; joints in our order."""
_FINGERS = ("index", "middle", "pinky", "ring", "thumb")

WrongKind = Literal["swapped_fingers", "gross"]


class Label(BaseModel):
    """What one person marked in one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: Annotated[str, Field(description="Image, relative to the raw root.")]
    width: int
    height: int
    keypoints: Annotated[tuple[tuple[float, float, int], ...], Field(description="x, y, v of 21 joints, COCO's px.")]
    bbox: Annotated[tuple[float, float, float, float], Field(description="x, y, width, height, px.")]


class WrongLabel(BaseModel):
    """A label that was made wrong on purpose, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file_name: str
    kind: WrongKind
    joints: tuple[str, ...]


def is_labelled(seed: int, place: tuple[int, int, int], *, colour: bool) -> bool:
    """Whether somebody labelled the image of (subject, gesture, camera)."""
    chance = float(generator(seed, Stream.LABEL_CHOICE, *place).random())
    return chance < (COLOUR_SHARE if colour else MONO_SHARE)


def visible_joints(hidden_m: Float[ndarray, "21"]) -> Bool[ndarray, "21"]:
    """Which joints a person can see, from how far before each the surface stands (see `Studio.depth_before`)."""
    return hidden_m <= _FLESH_M


def human_label(
    joints_px: Float[ndarray, "21 2"],
    hidden_m: Float[ndarray, "21"],
    outline_px: Float[ndarray, "n 2"],
    rng: np.random.Generator,
    *,
    file_name: str,
    size_px: tuple[int, int],
) -> Label:
    """What a careful person marks, given where the joints truly are in the image (px, integers at corners).

    Visible joints get v = 2, hidden ones v = 1 and more noise, or none where much hides them; v = 0 is outside the
    image or left out.

    Args:
        outline_px: points of the hand's surface, to draw the box around.
    """
    inside = ((joints_px >= 0) & (joints_px < np.array(size_px))).all(axis=1)
    visible = visible_joints(hidden_m)
    size = float(np.ptp(outline_px, axis=0).max())
    spread = _NOISE_SHARE * size * np.where(visible, 1.0, _OCCLUDED_FACTOR)
    marked = joints_px + spread[:, None] * rng.standard_normal((21, 2)) - _COCO_SHIFT
    left_out = ~visible & (hidden_m > _FLESH_M + _UNLABELLED_DEPTH_M) & (rng.random(21) < _UNLABELLED_CHANCE)
    flags = np.where(~inside | left_out, 0, np.where(visible, 2, 1))
    low = outline_px.min(axis=0) + _BOX_NOISE_SHARE * size * rng.standard_normal(2)
    high = outline_px.max(axis=0) + _BOX_NOISE_SHARE * size * rng.standard_normal(2)
    low, high = np.clip(low, 0, size_px), np.clip(high, 0, size_px)
    return Label(
        file_name=file_name,
        width=size_px[0],
        height=size_px[1],
        keypoints=tuple(_keypoint(*row) for row in zip(marked.tolist(), flags.tolist(), strict=True)),
        bbox=(_rounded(low[0]), _rounded(low[1]), _rounded(high[0] - low[0]), _rounded(high[1] - low[1])),
    )


def with_wrong_labels(labels: Sequence[Label], seed: int) -> tuple[list[Label], list[WrongLabel]]:
    """The labels, 5 % of them spoilt (at least one of ten or more): two fingers swapped, or one finger far off."""
    rng = generator(seed, Stream.WRONG_LABELS)
    count = max(round(WRONG_SHARE * len(labels)), int(len(labels) >= 10))
    chosen = np.sort(rng.choice(len(labels), size=count, replace=False)) if count else np.array([], dtype=int)
    result, wrong = list(labels), []
    for position, row in enumerate(chosen.tolist()):
        kind: WrongKind = "swapped_fingers" if position % 2 == 0 else "gross"
        result[row], joints = _spoilt(labels[row], kind, rng)
        wrong.append(WrongLabel(file_name=labels[row].file_name, kind=kind, joints=joints))
    return result, wrong


def write_coco(path: Path, labels: Sequence[Label], description: str) -> None:
    """Write the labels as one COCO keypoints file."""
    images = [
        {"id": number, "file_name": label.file_name, "width": label.width, "height": label.height}
        for number, label in enumerate(labels, 1)
    ]
    annotations = [
        {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "keypoints": [value for keypoint in label.keypoints for value in keypoint],
            "num_keypoints": sum(flag > 0 for _, _, flag in label.keypoints),
            "bbox": list(label.bbox),
            "area": round(label.bbox[2] * label.bbox[3], 2),
            "iscrowd": 0,
        }
        for number, label in enumerate(labels, 1)
    ]
    info = {
        "description": description,
        "pixel_origin": "centre: keypoints count pixels, the centre of the first one is (0, 0)",
        "bbox_convention": "edges: the image's top left corner is (0, 0)",
    }
    skeleton = [[1 if step == 0 else chain[step - 1], chain[step]] for chain in _chains() for step in range(4)]
    category = {"id": 1, "name": "right_hand", "keypoints": list(JOINT_NAMES), "skeleton": skeleton}
    document = {"info": info, "images": images, "annotations": annotations, "categories": [category]}
    write_bytes(path, (json.dumps(document, indent=1) + "\n").encode())


def _spoilt(label: Label, kind: WrongKind, rng: np.random.Generator) -> tuple[Label, tuple[str, ...]]:
    first, second = rng.choice(len(_FINGERS), size=2, replace=False).tolist()
    keypoints = list(label.keypoints)
    ones, others = _finger(_FINGERS[first]), _finger(_FINGERS[second])
    if kind == "swapped_fingers":
        for one, other in zip(ones, others, strict=True):
            keypoints[one], keypoints[other] = keypoints[other], keypoints[one]
        changed = [*ones, *others]
    else:
        angle = rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(*_GROSS_SHARE) * max(label.bbox[2:])
        limit = (label.width - 1.0, label.height - 1.0)
        for one in ones:
            x, y, flag = keypoints[one]
            moved = np.clip([x + reach * np.cos(angle), y + reach * np.sin(angle)], 0.0, limit)
            keypoints[one] = _keypoint(moved.tolist(), flag)
        changed = ones
    return label.model_copy(update={"keypoints": tuple(keypoints)}), tuple(JOINT_NAMES[row] for row in changed)


def _finger(name: str) -> list[int]:
    """Rows of a finger's joints, root to tip."""
    return [JOINT_NAMES.index(f"{name}{number}") for number in (1, 2, 3)] + [JOINT_NAMES.index(f"{name}_tip")]


def _chains() -> list[list[int]]:
    """COCO's numbers (from 1) of each finger's joints."""
    return [[row + 1 for row in _finger(name)] for name in _FINGERS]


def _keypoint(place: Sequence[float], flag: int) -> tuple[float, float, int]:
    """COCO wants unlabelled joints at (0, 0)."""
    return (_rounded(place[0]), _rounded(place[1]), flag) if flag else (0.0, 0.0, 0)


def _rounded(value: float) -> float:
    return round(float(value), 2)
