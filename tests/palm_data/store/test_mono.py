"""The mono cameras' images: in the shard, in a version, and as a consumer sees them."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.calibration.cameras import load_cameras, mono_cameras
from palm_data.camera.area import image_at
from palm_data.camera.pinhole import undistort_image, undistorted
from palm_data.camera.tier import camera_at
from palm_data.camera.turn import turn_image
from palm_data.capture.images import read_image
from palm_data.capture.index import load_index
from palm_data.loader.release import Release
from palm_data.maps.captured import read_surface
from palm_data.maps.render import project_mask
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.store.reduced import table_counts
from palm_data.store.release import publish_release
from palm_data.store.shard import build_subject_shard
from palm_data.store.side import published_side
from palm_data.store.verify import verify_release
from schemas.camera import Camera
from schemas.errors import BadInputError, StoreError
from schemas.settings import Settings, ShardSettings, without_labels
from tests.palm_data.calibration.sessions import Ingested, ingested

MONO = ("MCU_01_A", "MCU_01_B", "MCU_02_A", "MCU_02_B")
MISSING = "MCU_02_A"
SIZE = (99, 80)
"""Width and height; half of the width is not whole."""


def settings_of(made: Ingested, **changes: object) -> Settings:
    shard = ShardSettings.model_validate({"tile_px": 32, "mono": True, **changes})
    return without_labels(made.settings.model_copy(update={"shard": shard}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    """A subject with one capture by two pods, the second on its side, one mono image missing; released as 1.0.0."""
    root = tmp_path_factory.mktemp("mono")
    session = ingested(root, gestures=1, pods=2, portrait_pod=2, image_size=SIZE)
    session.rewrite_index(
        "0001",
        lambda index: index.model_copy(
            update={
                "captures": tuple(
                    c.model_copy(update={"images": tuple(i for i in c.images if i.camera_id != MISSING)})
                    for c in index.captures
                )
            }
        ),
    )
    session.calibrate()
    settings = settings_of(session)
    make_scan_maps("0001", session.workspace, settings)
    build_subject_shard("0001", session.workspace, settings)
    publish_release("1.0.0", session.workspace, settings)
    return session


@pytest.fixture
def release(made: Ingested) -> Release:
    return palm_data.open_release(made.settings.releases)


def undistorted_grey(made: Ingested, camera: Camera) -> np.ndarray:
    (capture,) = load_index(made.workspace, "0001").captures
    record = capture.image(camera.camera_id)
    assert record is not None
    raw = read_image(made.settings.raw / record.raw.path, max_pixels=10**6)
    return undistort_image(turn_image(raw if raw.ndim == 2 else raw[..., 0], camera.turn_deg), camera)


def cameras(made: Ingested) -> tuple[Camera, ...]:
    return mono_cameras(load_cameras(made.workspace, made.calibration_id))


def test_grey_images_are_the_raw_ones_turned_and_undistorted(made: Ingested, release: Release) -> None:
    sample = release[0]
    assert (sample.mono.shape, sample.mono.dtype) == ((4, SIZE[1], SIZE[0]), np.uint8)
    assert [camera.camera_id for camera in cameras(made)] == [view.camera_id for view in sample.mono_views] == [*MONO]
    for position, camera in enumerate(cameras(made)):
        view = sample.mono_view(camera.camera_id)
        assert view.camera == undistorted(camera)
        np.testing.assert_array_equal(view.grey, sample.mono[position])
        if camera.camera_id != MISSING:
            np.testing.assert_array_equal(view.grey, undistorted_grey(made, camera))
    assert [view.present for view in sample.mono_views] == [True, True, False, True]
    assert not sample.mono_view(MISSING).grey.any()


def test_they_come_at_smaller_tiers_and_in_windows(made: Ingested, release: Release) -> None:
    full, half = release[0].mono_view("MCU_01_B"), release.at_tier("half")[0].mono_view("MCU_01_B")
    assert half.camera == camera_at(full.camera, "half")
    assert half.grey.shape == (40, 50)
    np.testing.assert_array_equal(half.grey, image_at(full.grey, "half"))
    part = half.window(3, 4, 20, 10)
    np.testing.assert_array_equal(part.grey, half.grey[4:14, 3:23])
    assert part.camera.cx == half.camera.cx - 3


def test_a_version_says_where_they_come_from_and_its_colour_tables_are_as_ever(
    made: Ingested, release: Release
) -> None:
    assert release.has_mono
    assert release.manifest.counts["mono_images"] == 3
    rows = release.tables["mono_images"].to_pylist()
    assert [(row["camera_id"], row["view_index"]) for row in rows] == list(zip(MONO, range(4), strict=True))
    assert [row["raw_file"] is None for row in rows] == [False, False, True, False]
    assert release.tables["mono_cameras"]["camera_id"].to_pylist() == [*MONO]
    for table in ("cameras", "images"):
        assert release.tables[table]["camera_id"].to_pylist() == ["MCU_01", "MCU_02"]
    assert release[0].rgb.shape == (2, SIZE[1], SIZE[0], 3)
    files = {row["path"]: (row["modality"], row["tier"]) for row in release.tables._files.to_pylist()}
    assert files["shards/0001.zarr/mono/half/c/0/0/0/0"] == ("mono", "half")
    folder = made.settings.releases / "1.0.0"
    assert verify_release(folder).passed
    assert "mono/<tier>" in (folder / "README.md").read_text()


def test_they_are_counted_anew_when_somebody_is_taken_out(release: Release) -> None:
    side = published_side(release.tables.files)
    tables = {name: side.table(name) for name in side.tables}
    counts = table_counts(tables)
    assert counts["mono_images"] == 3
    assert counts.items() <= release.manifest.counts.items()
    assert table_counts({**tables, "mono_images": tables["mono_images"][:2]})["mono_images"] == 2


def test_a_camera_that_is_none_of_the_mono_ones_is_refused(release: Release) -> None:
    with pytest.raises(StoreError, match="expected one of MCU_01_A, MCU_01_B, MCU_02_A, MCU_02_B, found 'MCU_01'"):
        release[0].mono_view("MCU_01")


def test_the_background_is_zeroed_by_the_scan_that_they_see(made: Ingested, tmp_path: Path) -> None:
    own = Ingested(made.session, made.workspace, settings_of(made, background="zero"))
    shutil.copytree(made.settings.workspace, tmp_path / "workspace")
    settings = own.settings.model_copy(
        update={"workspace": tmp_path / "workspace", "releases": tmp_path / "releases"}
    )  # fmt: skip
    workspace = type(made.workspace)(tmp_path / "workspace")
    build_subject_shard("0001", workspace, settings)
    publish_release("1.0.0", workspace, settings)
    (capture,) = load_index(workspace, "0001").captures
    surface = read_surface(capture, settings)
    for tier in settings.shard.tiers:
        kept = palm_data.open_release(made.settings.releases, tier=tier)[0]
        zeroed = palm_data.open_release(settings.releases, tier=tier)[0]
        for view in zeroed.mono_views:
            seen = project_mask(surface, view.camera)
            assert 0.05 < seen.mean() < 0.95
            whole = kept.mono_view(view.camera_id).grey
            np.testing.assert_array_equal(view.grey, np.where(seen, whole, 0))
            assert view.camera_id == MISSING or whole[~seen].any()


def test_a_version_without_them_says_so(made: Ingested, tmp_path: Path) -> None:
    settings = settings_of(made, mono=False).model_copy(update={"releases": tmp_path / "releases"})
    build_subject_shard("0001", made.workspace, settings)
    publish_release("1.0.0", made.workspace, settings)
    release = palm_data.open_release(tmp_path / "releases")
    build_subject_shard("0001", made.workspace, settings_of(made))
    assert not release.has_mono
    for ask in (lambda: release[0].mono, lambda: release[0].mono_views, lambda: release.tables["mono_images"]):
        with pytest.raises(StoreError, match=r"expected a version with the mono cameras' images.*shard\.mono = true"):
            ask()


def test_a_rig_without_mono_cameras_is_refused_if_they_are_wanted(tmp_path: Path) -> None:
    session = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None, image_size=SIZE)
    session.calibrate()
    settings = settings_of(session)
    make_scan_maps("0001", session.workspace, settings)
    with pytest.raises(
        BadInputError, match="expected one size for all mono cameras, once turned, found no mono camera"
    ):
        build_subject_shard("0001", session.workspace, settings)
