import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import zarr

from palm_data.calibration.cameras import colour_cameras, load_cameras
from palm_data.calibration.verify import verify_calibration
from palm_data.camera.pinhole import undistort_image, undistorted
from palm_data.camera.tier import camera_at
from palm_data.capture.index import load_index
from palm_data.capture.ingest import ingest_subject
from palm_data.maps.captured import read_surface, read_view_image
from palm_data.maps.encoding import decode_depth, decode_normals
from palm_data.maps.render import project_mask
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.maps.surface import Surface, build_surface
from palm_data.maps.views import load_views
from palm_data.maps.zbuffer import Roi
from palm_data.store.arrays import open_group
from palm_data.testing.scan_files import write_ply_scan
from palm_data.testing.shapes import Surface as LobedSurface
from schemas.camera import Camera
from schemas.capture import CaptureRecord
from schemas.errors import BadInputError, ConsentError, GeometryError, IntegrityError, StoreError
from schemas.tier import Tier
from tests.palm_data.calibration.sessions import SIZE, Ingested, ingested, withdraw
from tests.palm_data.maps.scenes import Scene, cast_rays


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    session = ingested(tmp_path_factory.mktemp("maps"), subjects=2, gestures=2, mono=False)
    session.calibrate()
    for subject_id in session.session.subject_ids:
        make_scan_maps(subject_id, session.workspace, session.settings)
    return session


def maps(made: Ingested, subject_id: str = "0001") -> zarr.Group:
    return open_group(made.workspace.output("scan_maps", subject_id) / "maps.zarr")


def pixels(made: Ingested, name: str, subject_id: str = "0001", *, tier: Tier = "full") -> np.ndarray:
    return np.asarray(maps(made, subject_id)[f"{name}/{tier}"])


def cameras(made: Ingested) -> tuple[Camera, ...]:
    return colour_cameras(load_cameras(made.workspace, made.calibration_id))


def true_surface(made: Ingested, gesture: str, subject_id: str = "0001") -> Surface:
    shape = made.session.surfaces[subject_id, gesture]
    return build_surface(shape.vertices, shape.faces)


def test_the_arrays_have_the_agreed_names_shapes_and_types(made: Ingested) -> None:
    shape = (2, 7, SIZE[1], SIZE[0])
    found = {name: (pixels(made, name).shape, pixels(made, name).dtype) for name in ("mask", "depth", "normal")}
    assert found == {
        "mask": (shape, np.uint8),
        "depth": (shape, np.uint16),
        "normal": ((*shape, 3), np.int16),
    }
    assert maps(made)["depth/full"].attrs["unit_mm"] == 0.05
    assert set(np.unique(pixels(made, "mask"))) == {0, 255}


@pytest.mark.parametrize("tier", ["full", "half"])
def test_mask_depth_and_normals_are_of_the_same_pixels(made: Ingested, tier: Tier) -> None:
    seen = pixels(made, "mask", tier=tier) == 255
    assert seen.shape == (2, 7, *((170, 204) if tier == "full" else (85, 102)))
    np.testing.assert_array_equal(pixels(made, "depth", tier=tier) > 0, seen)
    np.testing.assert_array_equal((pixels(made, "normal", tier=tier) != 0).any(axis=-1), seen)
    length = np.linalg.norm(decode_normals(pixels(made, "normal", tier=tier))[seen], axis=-1)
    np.testing.assert_allclose(length, 1.0, atol=1e-4)


@pytest.mark.parametrize("tier", ["full", "half"])
def test_the_maps_are_what_ray_casting_sees_of_the_true_surface(made: Ingested, tier: Tier) -> None:
    """Portrait pods, millimetre scans, both file formats: all of it has to fit."""
    for subject_id in made.session.subject_ids:
        mask, depth, normal = (pixels(made, name, subject_id, tier=tier) for name in ("mask", "depth", "normal"))
        for row, capture in enumerate(load(made, subject_id)):
            surface = true_surface(made, capture.gesture, subject_id)
            for view, full in enumerate(cameras(made)):
                camera = camera_at(full, tier)
                pose = camera.world_to_camera()
                in_camera = surface.vertices @ pose[:3, :3].T + pose[:3, 3]
                size = (camera.width, camera.height)
                rays = cast_rays(Scene(in_camera, surface.faces, camera.intrinsics(), *size), Roi(0, 0, *size))
                seen = mask[row, view] == 255
                assert (seen == rays.hit).mean() > 0.9996
                both = seen & rays.hit
                metres = decode_depth(depth[row, view], 0.05)
                assert np.median(np.abs(metres - rays.depth)[both]) < 0.05e-3
                cosine = (decode_normals(normal[row, view]) * rays.normal).sum(axis=-1)
                assert np.median(cosine[both]) > 0.99999


def test_a_pixel_of_half_size_lies_amid_four_of_the_full_maps(made: Ingested) -> None:
    """Half a pixel lost between tiers would move the depth of every slope."""
    full = decode_depth(pixels(made, "depth"), 0.05)
    four = full.reshape(2, 7, 85, 2, 102, 2).transpose(0, 1, 2, 4, 3, 5).reshape(2, 7, 85, 102, 4)
    inside = (four > 0).all(axis=-1) & (pixels(made, "mask", tier="half") == 255)
    assert inside.sum() > 10_000
    half = decode_depth(pixels(made, "depth", tier="half"), 0.05)
    gap_mm = (half - four.mean(axis=-1))[inside] * 1000
    assert np.median(np.abs(gap_mm)) < 0.06
    right, left = four[..., [1, 3]].mean(axis=-1), four[..., [0, 2]].mean(axis=-1)
    slope_mm = (right - left)[inside] * 1000
    assert abs((gap_mm * slope_mm).sum() / (slope_mm**2).sum()) < 0.05


def test_the_maps_lie_on_the_undistorted_images(made: Ingested) -> None:
    rows = load_views(made.workspace, "0001")
    assert len(rows) == 14
    assert [(row.frame, row.camera_id) for row in rows] == sorted((row.frame, row.camera_id) for row in rows)
    assert min(row.silhouette_iou or 0.0 for row in rows) > 0.95
    assert max(row.contour_offset_px or 9.0 for row in rows) < 0.75
    masks = pixels(made, "mask")
    assert [row.mask_px for row in rows] == (masks == 255).sum(axis=(2, 3)).ravel().tolist()


def test_the_distorted_mask_undistorts_to_the_map(made: Ingested) -> None:
    surface = true_surface(made, load(made)[0].gesture)
    for view, camera in enumerate(cameras(made)):
        distorted = project_mask(surface, camera)
        straight = undistort_image(distorted.astype(np.uint8) * 255, camera) > 127
        mask = pixels(made, "mask")[0, view] == 255
        assert np.count_nonzero(straight != mask) < 0.02 * np.count_nonzero(mask)
        np.testing.assert_array_equal(project_mask(surface, undistorted(camera)), mask)


def test_figures_and_picture_are_there(made: Ingested) -> None:
    folder = made.workspace.output("scan_maps", "0001")
    figures = json.loads((folder / "figures.json").read_bytes())
    assert (figures["captures"], figures["views"], figures["views_measured"]) == (2, 14, 14)
    assert figures["silhouette_iou_mean"] > 0.97
    picture = cv2.imread(str(folder / "picture.png"))
    assert picture.shape[1] > 7 * SIZE[0]


def test_a_second_run_has_nothing_to_do_and_a_fresh_one_gives_the_same_bytes(made: Ingested) -> None:
    first = made.workspace.require("scan_maps", "0001")
    assert not make_scan_maps("0001", made.workspace, made.settings).ran
    made.workspace.forget("scan_maps", "0001")
    again = make_scan_maps("0001", made.workspace, made.settings)
    assert again.ran
    assert again.digest == first.digest


def test_how_a_calibration_was_verified_does_not_draw_maps_again(made: Ingested) -> None:
    stricter = made.settings.calibration.model_copy(update={"min_silhouette_iou": 0.5})
    settings = made.settings.model_copy(update={"calibration": stricter})
    assert verify_calibration(made.calibration_id, made.workspace, settings).ran
    assert not make_scan_maps("0001", made.workspace, settings).ran


def test_a_view_without_an_image_has_maps_but_no_agreement(tmp_path: Path) -> None:
    session = ingested(tmp_path, gestures=1, pods=3, mono=False, portrait_pod=None)
    session.rewrite_index(
        "0001",
        lambda index: index.model_copy(
            update={"captures": tuple(c.model_copy(update={"images": c.images[1:]}) for c in index.captures)}
        ),
    )
    session.calibrate()
    make_scan_maps("0001", session.workspace, session.settings)
    rows = load_views(session.workspace, "0001")
    assert [row.silhouette_iou is None for row in rows] == [True, False, False]
    assert all(row.mask_px > 1000 for row in rows)


def test_floating_fragments_of_a_scan_are_not_drawn(tmp_path: Path) -> None:
    session = ingested(tmp_path, gestures=2, pods=2, mono=False, portrait_pod=None)
    (capture,) = (c for c in load(session) if c.scan.mesh.path.endswith(".ply"))
    shape = session.session.surfaces["0001", capture.gesture]
    fragment = np.array([[0.07, 0.07, 0.0], [0.075, 0.07, 0.0], [0.07, 0.075, 0.0]])
    dirty = LobedSurface(
        np.concatenate([shape.vertices, fragment]),
        np.concatenate([shape.faces, [np.arange(3) + len(shape.vertices)]]).astype(np.int32),
        shape.uv,
        np.concatenate([shape.uv_faces, shape.uv_faces[:1]]),
    )
    path = session.session.scan_path("0001", capture.gesture)
    write_ply_scan(path, dirty, np.zeros((4, 4, 3), np.uint8), units_per_metre=1.0)
    ingest_subject("0001", session.workspace, session.settings)
    (again,) = (c for c in load(session) if c.gesture == capture.gesture)
    surface = read_surface(again, session.settings)
    assert surface.dropped_pieces == 1
    assert len(surface.faces) == len(shape.faces)
    np.testing.assert_allclose(surface.vertices.max(axis=0), dirty.vertices.max(axis=0), atol=1e-6)


def load(session: Ingested, subject_id: str = "0001") -> tuple[CaptureRecord, ...]:
    return load_index(session.workspace, subject_id).captures


def test_an_image_of_another_size_than_its_camera_is_refused(made: Ingested) -> None:
    (camera, *_) = cameras(made)
    record = load(made)[0].image(camera.camera_id)
    assert record is not None
    with pytest.raises(BadInputError, match="size"):
        read_view_image(record, camera.model_copy(update={"width": camera.width + 1}), made.settings)


def test_depth_that_does_not_fit_its_unit_is_an_error(made: Ingested) -> None:
    tiny = made.settings.maps.model_copy(update={"depth_unit_mm": 0.005})
    with pytest.raises(GeometryError, match="depth_unit_mm"):
        make_scan_maps("0001", made.workspace, made.settings.model_copy(update={"maps": tiny}))


def test_a_withdrawn_subject_is_not_drawn(tmp_path: Path) -> None:
    session = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None, image_size=(96, 80))
    session.calibrate()
    session.rewrite_index("0001", withdraw)
    with pytest.raises(ConsentError, match="0001"):
        make_scan_maps("0001", session.workspace, session.settings)


def test_maps_need_a_calibration_and_a_capture(tmp_path: Path) -> None:
    session = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None, image_size=(96, 80))
    with pytest.raises(StoreError, match="calibration"):
        make_scan_maps("0001", session.workspace, session.settings)
    session.calibrate()
    session.rewrite_index("0001", lambda index: index.model_copy(update={"captures": ()}))
    with pytest.raises(BadInputError, match="capture"):
        make_scan_maps("0001", session.workspace, session.settings)


def test_a_damaged_table_of_views_is_found(tmp_path: Path) -> None:
    session = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None, image_size=(96, 80))
    session.calibrate()
    make_scan_maps("0001", session.workspace, session.settings)
    path = session.workspace.output("scan_maps", "0001") / "views.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(IntegrityError, match=r"views\.parquet"):
        load_views(session.workspace, "0001")
