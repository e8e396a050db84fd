"""A user's own photograph: read from its files, put into a level world, and refused where they do not belong together."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from palm_data.hand.layer import HandLayer
from palm_model.avatar.photo import PhotoFiles, from_mean_pose, in_world, read_photo
from schemas.avatar import HandFit, PhotoCamera
from schemas.errors import BadInputError
from tests.palm_model.avatar.scene import FIT, PORTRAIT
from tests.palm_model.prior.hands import MODEL

CAMERA = {"width": 36, "height": 48, "fx": 80.0, "fy": 80.0, "cx": 18.0, "cy": 24.0}
IN_CAMERA = {**FIT.model_dump(mode="json"), "transl": [0.0, 0.0, 0.5]}


def vertices(fit: HandFit) -> np.ndarray:
    rows = (torch.tensor([getattr(fit, name)]) for name in ("global_orient", "hand_pose", "betas", "transl"))
    return HandLayer(MODEL)(*rows).vertices[0].numpy()


@pytest.fixture
def files(tmp_path: Path) -> PhotoFiles:
    found = PhotoFiles(*(tmp_path / name for name in ("photo.png", "mask.png", "hand.json", "camera.json")))
    mask = np.zeros((48, 36), np.uint8)
    mask[10:40, 8:30] = 255
    cv2.imwrite(str(found.photo), np.arange(48 * 36 * 3, dtype=np.uint8).reshape(48, 36, 3))
    cv2.imwrite(str(found.mask), mask)
    found.hand.write_text(json.dumps(IN_CAMERA))
    found.camera.write_text(json.dumps(CAMERA))
    return found


def test_a_portrait_photograph_is_read_as_it_lies(files: PhotoFiles) -> None:
    photo = read_photo(files, MODEL)
    assert photo.rgb.shape == (48, 36, 3)
    assert photo.rgb[0, 0].tolist() == [2, 1, 0]
    assert photo.mask[10:40, 8:30].all()
    assert photo.mask.sum() == 30 * 22
    told = photo.describe().model_dump_json()
    assert len(told) < 5000
    assert photo.describe().image_sha256 in told


def test_a_fit_in_camera_axes_is_put_into_a_level_world(files: PhotoFiles) -> None:
    photo = read_photo(files, MODEL)
    seen = vertices(HandFit.model_validate(IN_CAMERA))
    world_to_camera = photo.camera.world_to_camera()
    found = vertices(photo.fit) @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    np.testing.assert_allclose(found, seen, atol=1e-5)
    up_in_camera = world_to_camera[:3, :3] @ [0.0, 0.0, 1.0]
    np.testing.assert_allclose(up_in_camera, [0.0, -1.0, 0.0], atol=1e-9)


def test_any_camera_takes_a_fit_to_the_world() -> None:
    turn = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    camera = PORTRAIT.model_copy(update={"rotation": tuple(map(tuple, turn.tolist())), "translation": (0.1, -0.2, 0.3)})
    fit = HandFit.model_validate(IN_CAMERA)
    back = vertices(in_world(fit, camera, MODEL)) @ turn.T + [0.1, -0.2, 0.3]
    np.testing.assert_allclose(back, vertices(fit), atol=1e-5)


def test_a_pose_that_is_counted_from_the_flat_hand_is_the_same_hand() -> None:
    flat = FIT.model_copy(
        update={"hand_pose": tuple((np.asarray(FIT.hand_pose) + MODEL.hands_mean).tolist()), "flat_hand_mean": True}
    )
    np.testing.assert_allclose(from_mean_pose(flat, MODEL).hand_pose, FIT.hand_pose, atol=1e-12)


def test_a_grey_photograph_counts_as_colour(files: PhotoFiles) -> None:
    cv2.imwrite(str(files.photo), np.full((48, 36), 77, np.uint8))
    assert (read_photo(files, MODEL).rgb == 77).all()


def _json(name: str, **changes: object) -> Callable[[PhotoFiles], object]:
    def spoil(files: PhotoFiles) -> None:
        path: Path = getattr(files, name)
        values = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in values.items() if value != "gone"}))

    return spoil


def _image(name: str, pixels: np.ndarray) -> Callable[[PhotoFiles], object]:
    return lambda files: cv2.imwrite(str(getattr(files, name)), pixels)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_image("photo", np.zeros((36, 48, 3), np.uint8)), r"photo\.png: size: expected 36×48.*found 48×36.*EXIF"),
        (_image("mask", np.full((24, 18), 255, np.uint8)), r"mask\.png: size: expected 36×48.*found 18×24"),
        (_image("mask", np.zeros((48, 36), np.uint8)), r"mask\.png: pixels: expected some of the hand"),
        (lambda files: files.photo.write_bytes(b"no picture"), r"photo\.png"),
        (lambda files: files.camera.unlink(), r"camera\.json: file"),
        (lambda files: files.hand.write_text("{"), r"hand\.json: content: expected a HandFit"),
        (_json("hand", betas="gone"), r"hand\.json: betas: expected a HandFit \(field required\)"),
        (_json("hand", hand_pose=[0.0] * 44), r"hand\.json: hand_pose: .*at least 45"),
        (_json("hand", scale=2.0), r"hand\.json: scale: .*extra inputs"),
        (_json("hand", model_sha256="f" * 64), r"hand\.json: model_sha256: expected .*the prior's hand model"),
        (_json("hand", transl=[0.0, 0.0, -0.5]), r"hand\.json: transl: expected a hand in front of the camera"),
        (_json("hand", transl=[3.0, 0.0, 0.5]), r"hand\.json: transl: expected a wrist near the image"),
        (_json("camera", fx=-1.0), r"camera\.json: fx: .*greater than 0"),
        (_json("camera", rotation=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]), r"camera\.json: .*rotation and translation"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_file_and_field(
    files: PhotoFiles, spoil: Callable[[PhotoFiles], object], told: str
) -> None:
    spoil(files)
    with pytest.raises(BadInputError, match=told):
        read_photo(files, MODEL)


@pytest.mark.parametrize("kind", [HandFit, PhotoCamera])
def test_the_examples_of_the_formats_are_valid(kind: type[HandFit] | type[PhotoCamera]) -> None:
    for example in kind.model_json_schema()["examples"]:
        kind.model_validate_json(json.dumps(example))
