import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr

import palm_data
from palm_data.calibration.cameras import colour_cameras, load_cameras
from palm_data.calibration.verify import verify_calibration
from palm_data.camera.area import image_at
from palm_data.camera.pinhole import undistort_image
from palm_data.camera.turn import turn_image
from palm_data.capture.images import read_image
from palm_data.capture.index import load_index
from palm_data.capture.ingest import ingest_subject
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.store.arrays import open_array, open_group
from palm_data.store.release import publish_release
from palm_data.store.shard import SHARD, build_subject_shard, out_of_date
from palm_data.store.tables import read_rows
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.testing.raw_session import RawSession, write_raw_session
from schemas.arrays import ARRAYS, SCAN
from schemas.errors import BadInputError, ConsentError, IntegrityError, StoreError
from schemas.release import CameraRow, CaptureRow, ImageRow
from schemas.settings import Settings, ShardSettings, without_labels

PODS = 4
MISSING = ("0002", "fist", "MCU_02")


@dataclass(frozen=True)
class Made:
    """A raw session taken as far as the scan maps."""

    session: RawSession
    settings: Settings

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.settings.workspace)

    def shard(self, subject_id: str = "0001") -> zarr.Group:
        return open_group(self.workspace.output("subject_shard", subject_id) / SHARD)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two subjects, one with scans in millimetres, the last pod on its side, one image missing."""
    root = tmp_path_factory.mktemp("session")
    (root / "raw").mkdir()
    raw = write_raw_session(root / "raw", subjects=2, gestures=2, pods=PODS, portrait_pod=PODS, mono=False)
    raw.image_path(*MISSING).unlink()
    settings = Settings(
        raw=root / "raw", workspace=root / "workspace", releases=root / "releases", shard=ShardSettings(tile_px=32)
    )
    workspace = Workspace(settings.workspace)
    for subject_id in raw.subject_ids:
        ingest_subject(subject_id, workspace, settings)
    verify_calibration(raw.calibration_id, workspace, settings)
    for subject_id in raw.subject_ids:
        make_scan_maps(subject_id, workspace, settings)
    return Made(raw, settings)


@pytest.fixture(scope="module")
def made(session: Made) -> Made:
    """The session with its shards; not to be changed."""
    for subject_id in session.session.subject_ids:
        build_subject_shard(subject_id, session.workspace, session.settings)
    return session


@pytest.fixture
def own(session: Made, tmp_path: Path) -> Made:
    """A copy of the session, without shards, that a test may change."""
    shutil.copytree(session.settings.raw, tmp_path / "raw")
    shutil.copytree(session.settings.workspace, tmp_path / "workspace")
    shutil.rmtree(tmp_path / "workspace" / "stages" / "subject_shard", ignore_errors=True)
    places = {name: tmp_path / name for name in ("raw", "workspace", "releases")}
    return Made(session.session, session.settings.model_copy(update=places))


def test_images_are_the_raw_ones_turned_and_undistorted(made: Made) -> None:
    cameras = colour_cameras(load_cameras(made.workspace, made.session.calibration_id))
    stored = open_array(made.shard(), "rgb/full")
    assert cameras[-1].turn_deg in (90, 270)
    for row, capture in enumerate(load_index(made.workspace, "0001").captures):
        for view, camera in enumerate(cameras):
            raw = read_image(
                made.session.image_path("0001", capture.gesture, camera.camera_id), max_pixels=10**6
            )  # fmt: skip
            expected = undistort_image(turn_image(raw, camera.turn_deg), camera)
            assert (stored[row, view] == expected).all()


def test_the_mask_lies_on_the_hand_in_the_undistorted_image(made: Made) -> None:
    shard = made.shard()
    rgb, mask = open_array(shard, "rgb/full")[...], open_array(shard, "mask/full")[...] > 0
    lit = rgb.max(axis=-1) > 40
    assert (lit & mask).sum() / (lit | mask).sum() > 0.93
    pairs = zip(lit.reshape(-1, 80, 96), mask.reshape(-1, 80, 96), strict=True)
    offsets_px = [np.argwhere(seen).mean(axis=0) - np.argwhere(drawn).mean(axis=0) for seen, drawn in pairs]
    assert np.abs(np.mean(offsets_px, axis=0)).max() < 0.2  # half a pixel lost at a border would show


def test_a_missing_image_is_black_and_said_to_be_missing(made: Made) -> None:
    tables = made.workspace.output("subject_shard", "0002") / "tables"
    rows = read_rows(tables / "images.parquet", ImageRow)
    (missing,) = [row for row in rows if not row.present]
    assert (missing.camera_id, missing.raw_file, missing.raw_sha256) == ("MCU_02", None, None)
    (capture,) = [row for row in read_rows(tables / "captures.parquet", CaptureRow) if row.frame == missing.frame]
    assert capture.gesture == "fist"
    pixels = open_array(made.shard("0002"), "rgb/full")[capture.array_index]
    assert [bool(view.any()) for view in pixels] == [True, False, True, True]
    assert open_array(made.shard("0002"), "mask/full")[capture.array_index, missing.view_index].any()


def test_scans_are_in_metres_whatever_the_file_says(made: Made) -> None:
    for subject_id in ("0001", "0002"):
        shard = made.shard(subject_id)
        bounds = open_array(shard, "scan/vertex_offsets")[...]
        vertices = open_array(shard, "scan/vertices")[...]
        for row, capture in enumerate(load_index(made.workspace, subject_id).captures):
            expected = made.session.surfaces[subject_id, capture.gesture].vertices
            np.testing.assert_allclose(vertices[bounds[row] : bounds[row + 1]], expected, atol=2e-6)


def test_textures_are_pixel_for_pixel_those_of_the_scan(made: Made) -> None:
    sizes = open_array(made.shard(), "scan/texture_sizes")[...]
    for row, capture in enumerate(load_index(made.workspace, "0001").captures):
        assert capture.scan.texture is not None
        expected = cv2.imread(str(made.settings.raw / capture.scan.texture.path))[..., ::-1]
        assert tuple(sizes[row]) == expected.shape[:2]
        stored = open_array(made.shard(), "scan/texture")[row, 0, : sizes[row, 0], : sizes[row, 1]]
        assert (stored == expected).all()


def test_maps_share_the_files_of_the_maps_stage(made: Made) -> None:
    maps = made.workspace.output("scan_maps", "0001") / "maps.zarr"
    shard = made.workspace.output("subject_shard", "0001") / SHARD
    for name in ("mask/full/c/0/0/0/0", "depth/full/zarr.json", "normal/full/c/1/0/0/0/0"):
        assert (maps / name).samefile(shard / name)


def test_the_camera_table_has_the_undistorted_camera_and_the_raw_one_beside_it(made: Made) -> None:
    tables = made.workspace.output("subject_shard", "0001") / "tables"
    rows = {row.camera_id: row for row in read_rows(tables / "cameras.parquet", CameraRow)}
    for camera in load_cameras(made.workspace, made.session.calibration_id):
        row = rows[camera.camera_id]
        assert row.intrinsics == row.raw_intrinsics == tuple(camera.intrinsics().ravel())
        assert row.world_to_camera == tuple(camera.world_to_camera().ravel())
        assert row.raw_distortion == tuple(camera.distortion.opencv())
        assert any(row.raw_distortion)
        assert row.turn_deg == camera.turn_deg


def test_the_group_explains_itself(made: Made) -> None:
    attributes = made.shard().attrs
    assert attributes["camera_ids"] == ["MCU_01", "MCU_02", "MCU_03", "MCU_04"]
    assert attributes["frames"] == [1, 2]
    assert "metres" in attributes["world"]
    assert open_array(made.shard(), "depth/full").attrs["unit_mm"] == 0.05
    for name in ("rgb/full", "rgb/half", "mask/half", "depth/half", "normal/full", *SCAN):
        about = ARRAYS[name] if name in SCAN else ARRAYS[name.split("/")[0]]
        assert about.attributes().items() <= dict(open_array(made.shard(), name).attrs).items()
        assert open_array(made.shard(), name).dtype == about.dtype


def test_figures_and_a_picture_are_left_for_a_person(made: Made) -> None:
    report = build_subject_shard("0002", made.workspace, made.settings)
    assert not report.ran
    assert report.picture is not None
    figures = {name: report.figures[name] for name in ("captures", "views", "images", "images_missing")}
    assert figures == {"captures": 2, "views": 4, "images": 7, "images_missing": 1}


def test_the_same_inputs_give_the_same_bytes(made: Made, own: Made) -> None:
    build_subject_shard("0002", own.workspace, own.settings)
    records = [one.workspace.require("subject_shard", "0002") for one in (made, own)]
    assert records[0].outputs == records[1].outputs


def test_the_background_is_zeroed_when_the_settings_say_so(made: Made, own: Made) -> None:
    settings = own.settings.model_copy(update={"shard": ShardSettings(tile_px=32, background="zero")})
    build_subject_shard("0001", own.workspace, settings)
    kept, zeroed = (open_array(one.shard(), "rgb/full")[...] for one in (made, own))
    mask = open_array(own.shard(), "mask/full")[...] > 0
    assert not zeroed[~mask].any()
    assert (zeroed[mask] == kept[mask]).all()
    assert kept[~mask].any()
    assert open_array(own.shard(), "rgb/full").attrs["background"] == "zero"
    half = open_array(own.shard(), "mask/half")[...] > 0
    kept, zeroed = (open_array(one.shard(), "rgb/half")[...] for one in (made, own))
    assert not zeroed[~half].any()
    assert (zeroed[half] == kept[half]).all()  # no black fringe from the background that was removed
    assert kept[~half].any()


def test_smaller_tiers_are_the_full_images_averaged(made: Made) -> None:
    full, half = (open_array(made.shard("0002"), f"rgb/{tier}")[...] for tier in ("full", "half"))
    assert half.shape == (2, PODS, 40, 48, 3)
    for capture in range(2):
        for view in range(PODS):
            assert (half[capture, view] == image_at(full[capture, view], "half")).all()


def test_other_tiers_in_the_settings_make_maps_and_shard_out_of_date(made: Made, own: Made) -> None:
    settings = own.settings.model_copy(update={"shard": ShardSettings(tile_px=32, tiers=("full", "quarter"))})
    with pytest.raises(
        StoreError, match=r"mask: tiers: expected full, quarter, found full, half\. Materialize scan_maps"
    ):
        build_subject_shard("0001", own.workspace, settings)
    assert "settings" in str(out_of_date(load_index(made.workspace, "0001"), made.workspace, settings))
    assert make_scan_maps("0001", own.workspace, settings).ran
    assert build_subject_shard("0001", own.workspace, settings).ran
    assert sorted(own.shard()["rgb"]) == ["full", "quarter"]
    assert open_array(own.shard(), "depth/quarter").shape == (2, PODS, 20, 24)


@pytest.mark.parametrize("kind", ["image", "scan", "texture"])
def test_a_raw_file_that_changed_after_ingest_is_refused(own: Made, kind: str) -> None:
    capture = load_index(own.workspace, "0001").captures[0]
    assert capture.scan.texture is not None
    record = {"image": capture.images[0].raw, "scan": capture.scan.mesh, "texture": capture.scan.texture}[kind]
    path = own.settings.raw / record.path
    changed = bytearray(path.read_bytes())
    changed[-20] ^= 1
    path.write_bytes(changed)
    with pytest.raises(BadInputError, match=rf"{record.path}: sha256: expected .* changed after ingest"):
        build_subject_shard("0001", own.workspace, own.settings)
    assert own.workspace.record("subject_shard", "0001") is None


def test_damaged_maps_do_not_enter_a_shard(own: Made) -> None:
    path = own.workspace.output("scan_maps", "0001") / "maps.zarr/mask/full/c/0/0/0/0"
    damaged = bytearray(path.read_bytes())
    damaged[5] ^= 1
    path.write_bytes(damaged)
    with pytest.raises((IntegrityError, ValueError)):
        build_subject_shard("0001", own.workspace, own.settings)
    assert own.workspace.record("subject_shard", "0001") is None


def test_maps_of_another_depth_unit_are_refused(own: Made) -> None:
    maps = own.settings.maps.model_copy(update={"depth_unit_mm": 0.1})
    with pytest.raises(StoreError, match=r"unit_mm: expected 0\.1, as the settings say, found 0\.05"):
        build_subject_shard("0001", own.workspace, own.settings.model_copy(update={"maps": maps}))


def test_a_stage_that_has_not_finished_is_named(own: Made) -> None:
    own.workspace.forget("scan_maps", "0001")
    with pytest.raises(StoreError, match="stage 'scan_maps' for '0001', found none"):
        build_subject_shard("0001", own.workspace, own.settings)


def test_nothing_is_made_of_a_person_who_withdrew(own: Made) -> None:
    index = load_index(own.workspace, "0001")
    index = index.model_copy(update={"subject": index.subject.model_copy(update={"consent": "withdrawn"})})
    own.workspace.run_stage(
        "capture_index", "0001", code_version="x", settings={}, inputs={},
        work=lambda folder: (folder / "index.json").write_text(index.model_dump_json(warnings=False)),
    )  # fmt: skip
    with pytest.raises(ConsentError, match="consent: expected granted, found withdrawn"):
        build_subject_shard("0001", own.workspace, own.settings)


def test_a_new_verification_of_the_same_cameras_leaves_shards_up_to_date(own: Made) -> None:
    build_subject_shard("0001", own.workspace, own.settings)
    folder = own.workspace.output("calibration", own.session.calibration_id)
    cameras = (folder / "cameras.json").read_bytes()
    own.workspace.run_stage(
        "calibration", own.session.calibration_id, code_version="verified anew", settings={}, inputs={},
        work=lambda new: (new / "cameras.json").write_bytes(cameras),
    )  # fmt: skip
    assert out_of_date(load_index(own.workspace, "0001"), own.workspace, own.settings) is None
    assert not build_subject_shard("0001", own.workspace, own.settings).ran


def test_from_raw_to_a_sample_in_three_lines(made: Made) -> None:
    manifest = publish_release("0.1.0", made.workspace, without_labels(made.settings))
    assert verify_release(made.settings.releases / "0.1.0").passed
    assert manifest.counts["images"] == 2 * 2 * PODS - 1
    release = palm_data.open_release(made.settings.releases, version="0.1.0", split="train")
    sample = release[0]
    assert sample.rgb.shape == (PODS, 80, 96, 3)
    assert 0.5 < sample.depth[sample.mask].mean() < 0.9  # the rig stands 0.7 m away
    facing = sample.normal[sample.mask]
    np.testing.assert_allclose(np.linalg.norm(facing, axis=-1), 1.0, atol=1e-4)
    assert np.median(facing[:, 2]) < -0.5  # towards the camera
    corners = sample.scan.vertices[sample.scan.faces]
    assert corners.shape[1:] == (3, 3)
    assert not sample.cameras[0].distortion.opencv().any()
