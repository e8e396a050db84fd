"""A small InterHand2.6M made here: known cameras, joints and fits, images with a dot on each joint."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from palm_data.hand.conventions import mirrored_model
from palm_data.hand.joints import JointOrder, to_order
from palm_data.hand.layer import HandLayer
from palm_data.hand.model import load_hand_model

CAMERAS = {"400262": (64, 96), "400263": (96, 64), "400270": (64, 96)}
"""Name → width, height: two are upright."""
FRAMES = {"ROM03_RT_No_Occlusion": [12, 18, 24], "ROM04_LT_Fist": [40, 46]}
LEFT = "ROM04_LT_Fist"
INVALID = ("ROM03_RT_No_Occlusion", 18, 4)
"""In this frame the joint of this number (the dataset's order) is not valid."""
UNFITTED = ("ROM03_RT_No_Occlusion", 24)
MISSING = ("ROM03_RT_No_Occlusion", 12, "400270")
"""This image's file is not there."""
CAPTURE = 2
MODELS = {"right": load_hand_model(), "left": mirrored_model(load_hand_model())}


def write_interhand(root: Path) -> None:
    """Write split `test`."""
    rng = np.random.default_rng(5)
    rig = {name: _camera(at) for at, name in enumerate(CAMERAS)}
    documents: dict[str, Any] = {
        "data": {"images": [], "annotations": []},
        "camera": {
            str(CAPTURE): {part: {name: one[part].tolist() for name, one in rig.items()} for part in rig["400262"]}
        },
        "joint_3d": {str(CAPTURE): {}},
        "MANO_NeuralAnnot": {str(CAPTURE): {}},
    }
    for sequence, numbers in FRAMES.items():
        for number in numbers:
            side = "left" if sequence == LEFT else "right"
            joints, fit = _hand(rng, side)
            _describe(documents, sequence, number, side, joints, fit)
            for name in CAMERAS:
                _picture(root, documents["data"], rig[name], (sequence, number, name, side), joints)
    _interacting(documents["data"])
    folder = root / "annotations" / "test"
    folder.mkdir(parents=True)
    for name, content in documents.items():
        (folder / f"InterHand2.6M_test_{name}.json").write_text(json.dumps(content))


def _camera(at: int) -> dict[str, np.ndarray]:
    """A camera 0.5 m from the origin that looks at it, as the dataset writes it."""
    turn = Rotation.from_euler("y", 35.0 * (at - 1), degrees=True).as_matrix()
    width, height = list(CAMERAS.values())[at]
    return {
        "campos": turn.T @ np.array([10.0, 5.0, -500.0]),
        "camrot": turn,
        "focal": np.array([130.0, 135.0]),
        "princpt": np.array([width / 2 + 1.3, height / 2 - 0.7]),
    }


def project_their_way(camera: dict[str, Any], points_mm: np.ndarray) -> np.ndarray:
    """Pixels counted from the centre of the first one, by the dataset's own formula."""
    points = (points_mm - np.array(camera["campos"])) @ np.array(camera["camrot"]).T
    return points[:, :2] / points[:, 2:] * np.array(camera["focal"]) + np.array(camera["princpt"])


def _hand(rng: np.random.Generator, side: str) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Joints in millimetres, in the dataset's order, and the fit they are of."""
    fit = {"pose": rng.normal(0, 0.2, 48), "shape": rng.normal(0, 0.5, 10), "trans": rng.normal(0, 0.01, 3)}
    values = (fit["pose"][:3], fit["pose"][3:], fit["shape"], fit["trans"])
    with torch.no_grad():
        posed = HandLayer(MODELS[side], dtype=torch.float64)(*(torch.from_numpy(value)[None] for value in values))
    centre = posed.joints[0].mean(dim=0)
    fit["trans"] = fit["trans"] - centre.numpy()
    joints = to_order((posed.joints[0] - centre).numpy(), JointOrder.INTERHAND)
    return joints * 1000.0, {name: value.tolist() for name, value in fit.items()}


def _describe(
    documents: dict[str, Any], sequence: str, number: int, side: str, joints: np.ndarray, fit: dict[str, list[float]]
) -> None:
    both, valid = np.full((42, 3), 1.0), np.zeros((42, 1))
    half = slice(0, 21) if side == "right" else slice(21, 42)
    both[half], valid[half] = joints, 1
    if (sequence, number) == INVALID[:2]:
        valid[INVALID[2]] = 0
    documents["joint_3d"][str(CAPTURE)][str(number)] = {
        "world_coord": both.tolist(), "joint_valid": valid.tolist(), "hand_type": side, "hand_type_valid": [1],
    }  # fmt: skip
    fits = {"right": None, "left": None} | {side: None if (sequence, number) == UNFITTED else fit}
    documents["MANO_NeuralAnnot"][str(CAPTURE)][str(number)] = fits


def _picture(
    root: Path, data: dict[str, Any], camera: dict[str, Any], key: tuple[str, int, str, str], joints: np.ndarray
) -> None:
    sequence, number, name, side = key
    width, height = CAMERAS[name]
    file = f"Capture{CAPTURE}/{sequence}/cam{name}/image{number}.png"
    identity = len(data["images"])
    data["images"].append(
        {"id": identity, "file_name": file, "width": width, "height": height, "capture": CAPTURE, "subject": 7,
         "seq_name": sequence, "camera": name, "frame_idx": number}
    )  # fmt: skip
    data["annotations"].append({"id": identity, "image_id": identity, "hand_type": side, "hand_type_valid": 1})
    if (sequence, number, name) == MISSING:
        return
    image = np.full((height, width, 3), 30, np.uint8)
    image[:, : width // 4] = (0, 0, 200)  # so that a mirror image is told from the other; BGR
    for x, y in np.rint(project_their_way(camera, joints)).astype(int):
        image[y, x] = 255
    (root / "images" / "test" / file).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(root / "images" / "test" / file), image)


def _interacting(data: dict[str, Any]) -> None:
    """An image of two hands, which is not taken."""
    identity = len(data["images"])
    data["images"].append({**data["images"][0], "id": identity, "frame_idx": 99})
    data["annotations"].append({"id": identity, "image_id": identity, "hand_type": "interacting", "hand_type_valid": 1})
