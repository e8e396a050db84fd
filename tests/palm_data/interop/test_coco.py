"""COCO keypoints: what other readers find in our files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from palm_data.interop import coco
from palm_data.interop.coco import coco_box, coco_keypoints, export_coco, skeleton
from palm_data.interop.pngs import read_png, write_png
from palm_data.interop.unfinished import partial_folder
from palm_data.loader.release import Release
from schemas.errors import SettingsError, StoreError
from schemas.hand import JOINT_NAMES
from tests.palm_data.interop.conftest import HEIGHT, WIDTH

READS = """
import sys
from pycocotools.coco import COCO
found = COCO(sys.argv[1])
(category,) = found.loadCats(found.getCatIds(catNms=["hand"]))
assert len(category["keypoints"]) == 21 and len(category["skeleton"]) == 20
keypoints = 0
for image in found.loadImgs(found.getImgIds()):
    for one in found.loadAnns(found.getAnnIds(imgIds=image["id"])):
        assert len(one["keypoints"]) == 63
        keypoints += one["num_keypoints"]
assert found.loadRes([{"image_id": one["image_id"], "category_id": 1, "keypoints": one["keypoints"], "score": 1.0}
                      for one in found.loadAnns(found.getAnnIds())])
print(len(found.getImgIds()), len(found.getAnnIds()), keypoints)
"""


def documents(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((out / "annotations").glob("*.json"))]


def test_pixel_centres_move_by_half_and_what_was_not_detected_is_zero() -> None:
    points, sure = np.full((21, 2), np.nan), np.zeros(21)
    points[0], sure[0] = (0.5, 0.5), 0.9  # the centre of the first pixel
    points[1], sure[1] = (10.25, 3.0), 0.1
    flat = coco_keypoints(points, sure, 0.2)
    assert flat[:9] == [0.0, 0.0, 2, 9.75, 2.5, 1, 0.0, 0.0, 0]
    assert len(flat) == 63


def test_a_box_counts_from_the_outer_corners() -> None:
    mask = np.zeros((8, 9), dtype=bool)
    mask[2:5, 3:7] = True
    assert coco_box(mask) == [3, 2, 4, 3]
    assert coco_box(np.zeros((3, 3), dtype=bool)) == [0, 0, 0, 0]


def test_bones_run_from_the_wrist_along_each_finger_to_its_tip() -> None:
    bones = [(JOINT_NAMES[start - 1], JOINT_NAMES[end - 1]) for start, end in skeleton()]
    assert len(bones) == 20
    assert sum(start == "wrist" for start, _ in bones) == 5
    assert ("ring3", "ring_tip") in bones


def test_files_follow_cocos_format(release: Release, tmp_path: Path) -> None:
    counts = export_coco(release, tmp_path / "coco")
    found = documents(tmp_path / "coco")
    assert counts == (41, 41)
    present = sum(view.present for sample in release for view in sample.views)
    assert sum(len(one["images"]) for one in found) == present == 41
    names = {path.name for path in (tmp_path / "coco/annotations").iterdir()}
    assert names == {f"keypoints_{split}.json" for split, subjects in release.manifest.splits.items() if subjects}
    ids = [image["id"] for one in found for image in one["images"]]
    assert sorted(ids) == list(range(1, present + 1))
    for document in found:
        assert document["categories"][0]["keypoints"] == list(JOINT_NAMES)
        known = {image["id"] for image in document["images"]}
        for image in document["images"]:
            assert read_png(tmp_path / "coco/images" / image["file_name"]).shape == (image["height"], image["width"], 3)
            assert (image["height"], image["width"]) == (HEIGHT, WIDTH)
        for one in document["annotations"]:
            assert one["image_id"] in known
            assert (one["category_id"], one["iscrowd"]) == (1, 0)
            assert one["num_keypoints"] == sum(flag > 0 for flag in one["keypoints"][2::3]) > 0
            x, y, width, height = one["bbox"]
            assert min(x, y) >= 0
            assert x + width <= WIDTH
            assert y + height <= HEIGHT
            assert 0 < one["area"] <= width * height


def test_images_and_joints_are_those_of_the_release(release: Release, tmp_path: Path) -> None:
    export_coco(release.subject("0003"), tmp_path / "coco")
    (document,) = documents(tmp_path / "coco")
    image = document["images"][8]
    (annotation,) = [one for one in document["annotations"] if one["image_id"] == image["id"]]
    view = release.capture("0003", image["frame"]).view(image["camera_id"])
    assert np.array_equal(read_png(tmp_path / "coco/images" / image["file_name"]), view.rgb)
    ours = np.reshape(annotation["keypoints"], (21, 3))[:, :2] + 0.5
    np.testing.assert_allclose(ours, view.keypoints_px, atol=1e-3)


def test_an_image_without_a_hand_has_no_annotation(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = release.filtered(subjects=["0002"], views=["MCU_04"])
    monkeypatch.setattr("palm_data.loader.sample.View.keypoint_confidence", np.zeros(21))
    assert export_coco(chosen, tmp_path / "coco") == (2, 0)


def test_an_interrupted_export_goes_on(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def dies(path: Path, image: np.ndarray) -> None:
        if len(written) == 15:
            raise KeyboardInterrupt
        written.append(path)
        write_png(path, image)

    out = tmp_path / "coco"
    with monkeypatch.context() as patch:
        patch.setattr(coco, "write_png", dies)
        with pytest.raises(KeyboardInterrupt):
            export_coco(release, out)
    assert not out.exists()
    whole = written[0]
    before = whole.stat().st_mtime_ns
    export_coco(release, out)
    export_coco(release, tmp_path / "other")
    assert documents(out) == documents(tmp_path / "other")
    assert (out / whole.relative_to(partial_folder(out))).stat().st_mtime_ns == before


def test_what_cannot_be_exported_is_refused(release: Release, bare: Release, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected a version with labels"):
        export_coco(bare, tmp_path / "coco")
    with pytest.raises(SettingsError, match="visible_from"):
        export_coco(release, tmp_path / "coco", visible_from=0.0)


def test_images_are_plain_pngs_of_pixels_alone(release: Release, tmp_path: Path) -> None:
    export_coco(release.subject("0003"), tmp_path / "coco")
    (path,) = (tmp_path / "coco/annotations").iterdir()
    (document,) = documents(tmp_path / "coco")
    assert path.name == f"keypoints_{release.split_of('0003')}.json"
    for image in document["images"]:
        with Image.open(tmp_path / "coco/images" / image["file_name"]) as opened:
            assert opened.size == (image["width"], image["height"])
            assert not opened.info


@pytest.mark.slow
def test_pycocotools_reads_it(release: Release, tmp_path: Path) -> None:
    export_coco(release.subject("0003"), tmp_path / "coco")
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True)
    inside = str(tmp_path / "env/bin/python")
    installed = subprocess.run(
        [inside, "-m", "pip", "install", "-q", "--only-binary=:all:", "pycocotools"], capture_output=True, text=True, check=False
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"pycocotools cannot be installed here: {installed.stderr.strip()[-200:]}")
    (path,) = (tmp_path / "coco/annotations").iterdir()
    read = subprocess.run([inside, "-c", READS, str(path)], capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    images, hands, keypoints = map(int, read.stdout.split()[-3:])
    assert (images, hands) == (14, 14)
    assert keypoints == 14 * 21
    shutil.rmtree(tmp_path / "env")
