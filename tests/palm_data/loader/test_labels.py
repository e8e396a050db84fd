"""Labels as a consumer reads them, against what was written; and versions that have none."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

import palm_data
from palm_data.hand.layer import HandLayer
from palm_data.hand.model import load_hand_model
from palm_data.loader.labels import Hand
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, tiny_workspace
from palm_data.testing.tiny_labels import CAMERAS, MISSING_JOINT, UNFITTED, convention
from schemas.errors import IntegrityError, StoreError
from schemas.hand import HandConvention
from schemas.settings import without_labels
from tests.palm_data.maps.hands import hand_row

SUBJECTS = ("0001", "0002", "0003")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """0.1.0 holds captures only, 0.2.0 labels too."""
    made = tiny_workspace(tmp_path_factory.mktemp("labelled"), SUBJECTS)
    publish_release("0.1.0", made.workspace, without_labels(made.settings))
    publish_release("0.2.0", made.workspace, made.settings)
    return made


@pytest.fixture
def release(tiny: Tiny) -> Release:
    return palm_data.open_release(tiny.settings.releases, "0.2.0")


@pytest.fixture
def bare(tiny: Tiny) -> Release:
    return palm_data.open_release(tiny.settings.releases, "0.1.0")


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the version with labels that may be damaged."""
    shutil.copytree(tiny.settings.releases / "0.2.0", tmp_path / "0.2.0")
    for path in (tmp_path / "0.2.0").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "0.2.0"


def test_joints_are_those_that_were_triangulated(tiny: Tiny, release: Release) -> None:
    for sample in release:
        rows = [row for row in tiny.labels[sample.subject_id].keypoints_3d if row.frame == sample.frame]
        found = sample.keypoints
        assert found.points.shape == (21, 3)
        for row in rows:
            if row.x is None:
                assert row.joint == MISSING_JOINT
                assert np.isnan(found.points[row.joint]).all()
                assert np.isnan(found.covariance[row.joint]).all()
                assert np.isnan(found.reprojection_px[row.joint])
            else:
                assert tuple(found.points[row.joint]) == (row.x, row.y, row.z)
                assert found.covariance[row.joint, 0, 2] == found.covariance[row.joint, 2, 0] == row.cov_xz
                assert tuple(np.diag(found.covariance[row.joint])) == (row.cov_xx, row.cov_yy, row.cov_zz)
                assert found.covariance[row.joint, 1, 2] == row.cov_yz
                assert found.covariance[row.joint, 0, 1] == row.cov_xy
                assert found.reprojection_px[row.joint] == row.reprojection_px
            assert found.views[row.joint] == row.views
            assert found.ray_angle_deg[row.joint] == row.ray_angle_deg


def test_detections_are_those_of_the_view(tiny: Tiny, release: Release) -> None:
    for sample in release:
        for view in sample.views:
            rows = [
                row for row in tiny.labels[sample.subject_id].keypoints_2d
                if (row.frame, row.camera_id) == (sample.frame, view.camera_id)
            ]  # fmt: skip
            if not view.present:
                assert rows == []
                assert np.isnan(view.keypoints_px).all()
                assert not view.keypoint_confidence.any()
                continue
            np.testing.assert_array_equal(view.keypoints_px, [(row.x_px, row.y_px) for row in rows])
            np.testing.assert_array_equal(view.keypoint_confidence, [row.confidence for row in rows])


def test_hands_are_those_that_were_fitted_with_their_convention(tiny: Tiny, release: Release) -> None:
    hands = {(row.subject_id, row.frame): row for made in tiny.labels.values() for row in made.hands}
    assert len(hands) == len(release) - 1
    for sample in release:
        if (sample.subject_id, sample.frame) == UNFITTED:
            assert sample.hand is None
            continue
        assert sample.hand is not None
        row = hands[sample.subject_id, sample.frame]
        assert sample.hand.fit == row
        for name, size in (("global_orient", 3), ("hand_pose", 45), ("betas", 10), ("transl", 3)):
            values = getattr(sample.hand, name)
            assert values.shape == (size,)
            assert tuple(values) == getattr(row, name)
        assert sample.hand.convention == release.hand_convention == convention()


def test_quality_is_a_row_of_each_capture_and_says_why_not(tiny: Tiny, release: Release) -> None:
    assert [sample.quality for sample in release] == [row for one in SUBJECTS for row in tiny.labels[one].quality]
    quality = release.capture(*UNFITTED).quality
    assert not quality.quality_ok
    assert quality.reasons.startswith("joints: expected at least 3")


def test_masks_are_those_that_were_drawn(tiny: Tiny, release: Release) -> None:
    for sample in release:
        for name in ("hand_mask", "training_mask"):
            written = getattr(tiny.labels[sample.subject_id], name)[sample.capture.array_index] > 0
            assert getattr(sample, name).dtype == bool
            np.testing.assert_array_equal(getattr(sample, name), written)
            for position, view in enumerate(sample.views):
                np.testing.assert_array_equal(getattr(view, name), written[position])
            assert written.any() == ((sample.subject_id, sample.frame) != UNFITTED)


def test_captures_are_filtered_by_their_quality(release: Release, tiny: Tiny) -> None:
    good = release.filtered(where={"quality_ok": True})
    assert len(good) == len(release) - 1
    assert all(sample.quality.quality_ok for sample in good)
    found = palm_data.open_release(
        tiny.settings.releases, where=(pc.field("fit_mm") < 2.5) & (pc.field("gesture") != "")
    )  # fmt: skip
    assert {sample.frame for sample in found} == {1}
    assert [(s.subject_id, s.frame) for s in release.filtered(where=pc.field("fit_mm").is_null())] == [UNFITTED]
    assert len(release.filtered(where={"score": [0.0]})) == 1


def test_a_posed_hand_is_the_model_posed(release: Release) -> None:
    model, row = load_hand_model(), hand_row("0001", 1, transl=(0.1, 0.2, 0.3))
    values = {name: np.array(getattr(row, name)) for name in ("global_orient", "hand_pose", "betas", "transl")}
    hand = Hand(**values, convention=model.convention(), fit=row)
    with torch.no_grad():
        expected = HandLayer(model, dtype=torch.float64)(*(torch.from_numpy(value)[None] for value in values.values()))
    np.testing.assert_array_equal(hand.vertices(model), expected.vertices[0].numpy())
    np.testing.assert_array_equal(hand.joints(model), expected.joints[0].numpy())
    other = release[0].hand
    assert other is not None
    with pytest.raises(StoreError, match=r"hand model: expected tiny \([0-9a-f]{64}\), found hand_standin_right"):
        other.vertices(model)


ASKED: dict[str, Callable[[Release], object]] = {
    "hand": lambda release: release[0].hand,
    "keypoints_3d": lambda release: release[0].keypoints,
    "quality": lambda release: release[0].quality,
    "hand_mask": lambda release: release[0].hand_mask,
    "training_mask": lambda release: release[0].view("MCU_01").training_mask,
    "keypoints_2d": lambda release: release[0].view("MCU_01").keypoints_px,
    "hand_convention": lambda release: release.hand_convention,
    "hands": lambda release: release.tables["hands"],
    "where: quality_ok": lambda release: release.filtered(where={"quality_ok": True}),
    "where: fit_mm": lambda release: release.filtered(where=pc.field("fit_mm") < 3),
}


@pytest.mark.parametrize("name", list(ASKED))
def test_a_version_of_captures_only_says_so_and_how_to_open_one_with_labels(bare: Release, name: str) -> None:
    words = (
        rf'0\.1\.0: {name}s?: expected a version with labels, found 0\.1\.0.*open_release\(".*", version="0\.2\.0"\)'
    )
    with pytest.raises(StoreError, match=words):
        ASKED[name](bare)
    assert not bare.labelled
    assert bare[0].mask.any()


def test_without_a_version_with_labels_the_way_to_one_is_told(tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny.settings.releases / "0.1.0", tmp_path / "0.1.0")
    with pytest.raises(StoreError, match=r"none has labels\. Publish one with release\.labels = true"):
        _ = palm_data.open_release(tmp_path)[0].hand


def read_all(sample: Sample) -> None:
    _ = sample.hand, sample.keypoints, sample.quality, sample.hand_mask, sample.training_mask
    _ = [view.keypoints_px for view in sample.views]


@pytest.mark.parametrize(
    "name",
    [
        "tables/keypoints_2d.parquet",
        "tables/keypoints_3d.parquet",
        "tables/hands.parquet",
        "tables/quality.parquet",
        "tables/hand_convention.json",
        "shards/0001.zarr/hand_mask/full/c/0/0/0/0",
        "shards/0001.zarr/training_mask/full/c/0/0/0/0",
        "shards/0001.zarr/hand_mask/zarr.json",
        "shards/0001.zarr/training_mask/full/zarr.json",
    ],
)
def test_a_flipped_bit_in_a_file_of_labels_is_found_when_it_is_read_and_by_verify(folder: Path, name: str) -> None:
    path = folder / name
    whole = path.read_bytes()
    read_all(palm_data.open_release(folder)[0])
    for at in (3, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=name):
            read_all(palm_data.open_release(folder)[0])
        assert [problem.path for problem in verify_release(folder).problems] == [name]
    path.unlink()
    with pytest.raises(IntegrityError, match=name):
        read_all(palm_data.open_release(folder)[0])


def test_damaged_labels_keep_nobody_from_the_images(folder: Path) -> None:
    (folder / "tables/keypoints_2d.parquet").write_bytes(b"")
    sample = palm_data.open_release(folder)[0]
    assert sample.rgb.any()
    assert sample.quality.quality_ok


def test_labels_travel_between_processes_without_their_tables(release: Release) -> None:
    sample = release[0]
    read_all(sample)
    assert len(pickle.dumps(release)) < 60_000
    there = pickle.loads(pickle.dumps(release))[0]
    np.testing.assert_array_equal(there.keypoints.points, sample.keypoints.points)
    assert pickle.loads(pickle.dumps(sample)).hand.fit == sample.hand.fit  # type: ignore[union-attr]


def test_a_copied_table_of_hands_still_says_how_to_read_it(tiny: Tiny, release: Release) -> None:
    metadata = pq.read_schema(tiny.settings.releases / "0.2.0/tables/hands.parquet").metadata
    assert HandConvention.model_validate_json(metadata[b"hand_convention"]) == release.hand_convention
    assert metadata[b"description"].startswith(b"The fitted hand")
    stored = json.loads((tiny.settings.releases / "0.2.0/tables/hand_convention.json").read_bytes())
    assert stored["flat_hand_mean"] is False


def test_reading_labels_needs_none_of_the_factory(tiny: Tiny) -> None:
    factory = ("torch", "dagster", "cv2", "open3d", "numba", "scipy", "jaxtyping", "smplx", "matplotlib", "mitsuba")
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({factory})); import palm_data; "
        f"sample = palm_data.open_release({str(tiny.settings.releases)!r})[0]; "
        "print(sample.hand.betas.shape, sample.keypoints.points.shape, sample.quality.score, "
        f"sample.view({CAMERAS[0]!r}).training_mask.dtype)"
    )
    found = subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "(10,) (21, 3) 0.9 bool"
