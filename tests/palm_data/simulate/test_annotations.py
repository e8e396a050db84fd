import json
from pathlib import Path

import numpy as np

from palm_data.simulate.annotations import (
    COLOUR_SHARE,
    Label,
    human_label,
    is_labelled,
    with_wrong_labels,
    write_coco,
)
from schemas.hand import JOINT_NAMES

SIZE = (300, 250)
JOINTS = np.random.default_rng(1).uniform(60.0, 190.0, (21, 2))
OUTLINE = np.array([[50.0, 40.0], [200.0, 240.0]])


def label(rng: np.random.Generator, hidden: float = 0.0, joints: np.ndarray = JOINTS, name: str = "a.png") -> Label:
    return human_label(joints, np.full(21, hidden), OUTLINE, rng, file_name=name, size_px=SIZE)


def marked(labels: list[Label]) -> np.ndarray:
    return np.array([[keypoint[:2] for keypoint in item.keypoints] for item in labels])


def test_labels_scatter_about_the_truth_in_coco_s_pixels() -> None:
    rng = np.random.default_rng(0)
    errors = marked([label(rng) for _ in range(400)]) + 0.5 - JOINTS
    assert np.abs(errors.mean(axis=0)).max() < 0.2
    assert abs(errors.std() / (0.005 * 200.0) - 1.0) < 0.05


def test_hidden_joints_are_marked_as_such_less_exactly_or_not_at_all() -> None:
    rng = np.random.default_rng(0)
    seen, near, deep = ([label(rng, hidden) for _ in range(100)] for hidden in (0.0, 0.05, 0.2))
    assert {flag for item in seen for *_, flag in item.keypoints} == {2}
    assert {flag for item in near for *_, flag in item.keypoints} <= {0, 1}
    flags = [flag for item in deep for *_, flag in item.keypoints]
    assert 0.4 < np.mean(np.array(flags) == 0) < 0.6
    assert all(keypoint == (0.0, 0.0, 0) for item in deep for keypoint in item.keypoints if keypoint[2] == 0)


def test_joints_outside_the_image_are_not_labelled() -> None:
    joints = JOINTS.copy()
    joints[3] = (-5.0, 100.0)
    assert label(np.random.default_rng(0), joints=joints).keypoints[3] == (0.0, 0.0, 0)


def test_one_label_in_twenty_is_wrong_and_named() -> None:
    rng = np.random.default_rng(0)
    labels = [label(rng, name=f"{number}.png") for number in range(200)]
    spoilt, wrong = with_wrong_labels(labels, seed=3)
    changed = {new.file_name for old, new in zip(labels, spoilt, strict=True) if old != new}
    assert len(wrong) == 10
    assert changed == {item.file_name for item in wrong}
    assert {item.kind for item in wrong} == {"swapped_fingers", "gross"}
    gross = next(item for item in wrong if item.kind == "gross")
    row = int(gross.file_name.split(".")[0])
    joint = JOINT_NAMES.index(gross.joints[0])
    moved = np.linalg.norm(marked(spoilt)[row, joint] - marked(labels)[row, joint])
    assert moved > 20.0


def test_two_swapped_fingers_keep_their_places() -> None:
    labels = [label(np.random.default_rng(number), name=f"{number}.png") for number in range(10)]
    spoilt, (wrong,) = with_wrong_labels(labels, seed=1)
    row = int(wrong.file_name.split(".")[0])
    assert wrong.kind == "swapped_fingers"
    assert sorted(spoilt[row].keypoints) == sorted(labels[row].keypoints)
    assert spoilt[row].keypoints != labels[row].keypoints


def test_about_half_of_the_colour_images_are_labelled() -> None:
    chosen = [is_labelled(7, (1, gesture, camera), colour=True) for gesture in range(20) for camera in range(20)]
    assert abs(np.mean(chosen) - COLOUR_SHARE) < 0.08


def test_the_file_is_coco_and_says_where_its_pixels_start(tmp_path: Path) -> None:
    write_coco(tmp_path / "labels.json", [label(np.random.default_rng(0), name="0001/flat/x.png")], "marked by people")
    document = json.loads((tmp_path / "labels.json").read_bytes())
    assert document["info"]["pixel_origin"].startswith("centre")
    assert document["categories"][0]["keypoints"] == list(JOINT_NAMES)
    assert len(document["categories"][0]["skeleton"]) == 20
    (image,), (annotation,) = document["images"], document["annotations"]
    assert image == {"id": 1, "file_name": "0001/flat/x.png", "width": 300, "height": 250}
    assert annotation["image_id"] == 1
    assert len(annotation["keypoints"]) == 63
    assert annotation["num_keypoints"] == 21
