"""Faults of images give the reason that they record, in PNG and in JPEG."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from palm_data.capture.images import read_image
from palm_data.simulate.faults.images import (
    IMAGE_DOUBLED,
    IMAGE_MISSING,
    IMAGE_OF_WRONG_SIZE,
    IMAGE_ON_ITS_SIDE,
    IMAGE_TRUNCATED,
    VIEW_WITHOUT_HAND,
)
from palm_data.simulate.faults.record import CopiedCapture
from palm_data.simulate.faults.scene import Fault, Scene, write_image
from schemas.errors import BadInputError
from tests.palm_data.simulate.faults.sessions import nobody

LIMIT = 1 << 20


@pytest.fixture(params=["png", "jpg"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    image = np.random.default_rng(1).integers(0, 255, (40, 48, 3)).astype(np.uint8)
    for camera in ("01_C", "02_C"):
        write_image(tmp_path / "0005" / "flat" / f"flat.000011.{camera}.{request.param}", image)
    return Scene(
        raw=tmp_path, subject_id="0005", calibration_id="rig_a", capture=CopiedCapture(gesture="flat", raw_frame=11),
        camera="02_C", empty_view=nobody,
    )  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [IMAGE_MISSING, IMAGE_TRUNCATED, IMAGE_OF_WRONG_SIZE, IMAGE_ON_ITS_SIDE, IMAGE_DOUBLED, VIEW_WITHOUT_HAND],
    ids=lambda fault: fault.name,
)
def test_only_the_recorded_file_is_touched(scene: Scene, fault: Fault, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in scene.image.parent.iterdir()}
    recorded = fault.planted_in(scene)
    after = {path.name: path.read_bytes() for path in (tmp_path / "0005" / "flat").iterdir()}
    touched = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {f"0005/flat/{name}" for name in touched} == set(recorded.files)
    assert all(".02_C." in name for name in touched)
    assert (recorded.fault, recorded.camera, recorded.outcome) == (fault.name, "02_C", fault.outcome)


def test_a_truncated_image_does_not_read_for_the_reason_recorded(scene: Scene) -> None:
    reason = IMAGE_TRUNCATED.planted_in(scene).reason
    assert reason is not None
    with pytest.raises(BadInputError) as caught:
        read_image(scene.image, max_pixels=LIMIT)
    assert (caught.value.field, caught.value.expected) == (reason.field, reason.expected)
    assert reason.found in caught.value.found


def test_sizes_are_those_recorded(scene: Scene) -> None:
    side = scene.image.with_name("kept" + scene.image.suffix)
    shutil.copyfile(scene.image, side)
    half = IMAGE_OF_WRONG_SIZE.planted_in(scene).reason
    assert half is not None
    assert (half.expected, half.found) == ("48×40, as in its .tka file", "24×20")
    assert read_image(scene.image, max_pixels=LIMIT).shape == (20, 24, 3)
    side.replace(scene.image)
    turned = IMAGE_ON_ITS_SIDE.planted_in(scene).reason
    assert turned is not None
    assert turned.found == "40×48 (turned on its side)"
    assert read_image(scene.image, max_pixels=LIMIT).shape == (48, 40, 3)


def test_a_doubled_image_is_there_in_both_formats(scene: Scene) -> None:
    reason = IMAGE_DOUBLED.planted_in(scene).reason
    assert reason is not None
    assert reason.found == "flat.000011.02_C.jpg, flat.000011.02_C.png"
    (paths,) = (group for name, group in scene.files.images.items() if name == "MCU_02")
    assert [path.name for path in paths] == reason.found.split(", ")


def test_a_view_without_a_hand_shows_the_empty_studio(scene: Scene) -> None:
    VIEW_WITHOUT_HAND.planted_in(scene)
    assert np.abs(read_image(scene.image, max_pixels=LIMIT).astype(int) - 14).max() < 12
