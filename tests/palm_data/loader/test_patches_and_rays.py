"""Pieces of views and rays through them, against the whole views that they come from."""

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import palm_data
from palm_data.camera.pinhole import pixel_rays, project
from palm_data.loader import region
from palm_data.loader.patches import patch_window
from palm_data.loader.rays import camera_directions
from palm_data.loader.release import Release
from palm_data.loader.sample import View
from palm_data.loader.window import Window
from palm_data.testing.tiny_labels import CAMERAS, UNFITTED
from schemas.camera import Camera
from schemas.errors import StoreError
from tests.palm_data.loader.conftest import BLOCK, UNSEEN

PIXELS = ("rgb", "mask", "depth", "normal", "hand_mask", "training_mask")
ABSENT = (1, 1)
"""Second capture, second view."""
TURNED = ((0.0, -1.0, 0.0), (0.6, 0.0, -0.8), (0.8, 0.0, 0.6))


def whole_view(release: Release, found: dict[str, object]) -> View:
    return release.capture(found["subject_id"], found["frame"]).view(found["camera_id"])  # type: ignore[arg-type]


def test_a_patch_is_a_piece_of_its_view_within_the_box_of_what_is_seen(seen_release: Release) -> None:
    dataset = seen_release.patches(5, per_view=3, fields=(*PIXELS, "camera", "keypoints"), seed=1)
    corners = set()
    for at in range(len(dataset)):
        found = dataset[at]
        x, y = found["corner_px"].tolist()
        corners.add((x, y))
        assert BLOCK[1].start <= x <= BLOCK[1].stop - 5
        assert BLOCK[0].start <= y <= BLOCK[0].stop - 5
        view = whole_view(seen_release, found)
        for name in PIXELS:
            assert torch.equal(found[name], torch.from_numpy(getattr(view, name)[y : y + 5, x : x + 5]))
        assert found["mask"].all()
        np.testing.assert_allclose(found["keypoints"]["points_px"], view.keypoints_px - (x, y), atol=1e-5)
        principal = found["camera"]["intrinsics"][:2, 2]
        np.testing.assert_allclose(principal, (view.camera.cx - x, view.camera.cy - y), atol=1e-5)
    assert len(corners) > 10  # of 5 × 3 possible ones


def test_views_that_show_nothing_or_were_not_delivered_give_no_patches(seen_release: Release) -> None:
    found = [seen_release.patches(5)[at] for at in range(len(seen_release.patches(5)))]
    counted = Counter((one["frame"] - 1, CAMERAS.index(one["camera_id"])) for one in found)
    assert set(counted) == {(frame, view) for frame in (0, 1) for view in range(3)} - {UNSEEN, ABSENT}
    assert len(seen_release.rays(3)) == len(found) == 12


@given(
    box=st.tuples(st.integers(0, 19), st.integers(0, 14), st.integers(1, 20), st.integers(1, 15)),
    size=st.integers(1, 15),
    seed=st.integers(0, 100),
)
def test_a_patch_lies_in_the_image_and_in_the_box_or_about_it(box: tuple[int, ...], size: int, seed: int) -> None:
    x, y = box[:2]
    window = Window(x, y, min(box[2], 20 - x), min(box[3], 15 - y))
    found = patch_window(window, size, (20, 15), np.random.default_rng(seed))
    found.check_inside(20, 15)
    for start, length, at in ((x, window.width, found.x), (y, window.height, found.y)):
        inside = start <= at and at + size <= start + length
        about = at <= start and start + length <= at + size
        assert inside if length > size else about


def test_every_place_in_the_box_is_drawn(seen_release: Release) -> None:
    drawn = Counter(patch_window(Window(3, 2, 6, 4), 4, (13, 10), np.random.default_rng(seed)).x for seed in range(600))
    assert sorted(drawn) == [3, 4, 5]
    assert min(drawn.values()) > 150


def test_the_same_seed_draws_the_same_and_epochs_and_seeds_differ(seen_release: Release) -> None:
    def drawn(seed: int, epoch: int) -> list[list[float]]:
        rays, patches = seen_release.rays(4, fields=["mask"], seed=seed), seen_release.patches(4, seed=seed)
        rays.epoch = patches.epoch = epoch
        return [
            [*rays[at]["points_px"].flatten().tolist(), *patches[at]["corner_px"].tolist()] for at in range(len(rays))
        ]

    draws = [drawn(0, 0), drawn(0, 1), drawn(1, 0)]
    assert drawn(0, 0) == draws[0]
    assert all(draws[one] != draws[other] for one, other in ((0, 1), (0, 2), (1, 2)))


def test_a_patch_reads_the_tiles_it_touches_only(seen_folder: Path) -> None:
    path = seen_folder / "shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    damaged = bytearray(path.read_bytes())
    offset, size = np.frombuffer(damaged[-4 - 16 * 12 : -4], dtype="<u8").reshape(-1, 2)[3].tolist()
    damaged[offset + size // 2] ^= 1  # the first view's lower right tile, from (8, 8) on
    path.write_bytes(damaged)
    release = palm_data.open_release(seen_folder, subjects=["0001"]).filtered(where={"frame": 1})
    dataset = release.patches(2, per_view=60, cameras=["MCU_01"])
    beside = release.patches(2, per_view=60, cameras=["MCU_01"], fields=["mask"])  # the same corners, other files
    touched = 0
    for at in range(60):
        x, y = beside[at]["corner_px"].tolist()
        if x + 2 > 8 and y + 2 > 8:
            touched += 1
            with pytest.raises(StoreError, match="rgb/full/c/0/0/0/0/0"):
                dataset[at]
        else:
            assert dataset[at]["corner_px"].tolist() == [x, y]
    assert 0 < touched < 60


@pytest.mark.parametrize("where", ["mask", "hand_mask", "training_mask"])
def test_rays_go_through_pixels_of_the_region_with_the_values_there(seen_release: Release, where: str) -> None:
    dataset = seen_release.rays(6, fields=PIXELS, normals="camera", region=where, seed=2)
    for at in range(len(dataset)):
        found = dataset[at]
        view = whole_view(seen_release, found)
        x, y = np.floor(found["points_px"].numpy()).astype(int).T
        assert (found["points_px"].numpy() % 1 == 0.5).all()
        assert len({*zip(x.tolist(), y.tolist(), strict=True)}) == 6
        for name in PIXELS:
            assert torch.equal(found[name], torch.from_numpy(getattr(view, name)[y, x]))
        assert found[where].all()


def test_rays_are_those_of_the_pinhole(seen_release: Release) -> None:
    found = seen_release.rays(20, seed=1)[0]
    camera = whole_view(seen_release, found).camera
    centre, directions = pixel_rays(camera)
    x, y = np.floor(found["points_px"].numpy()).astype(int).T
    np.testing.assert_allclose(found["directions"], directions[y, x], atol=1e-6)
    np.testing.assert_allclose(found["origins"], np.tile(centre, (20, 1)), atol=1e-6)
    assert found["origins"].dtype == found["directions"].dtype == torch.float32


def test_directions_are_right_for_a_turned_camera() -> None:
    camera = Camera(
        camera_id="MCU_01", calibration_id="rig", width=7, height=5, fx=9.0, fy=8.0, cx=3.25, cy=2.0, rotation=TURNED,
        translation=(0.1, -0.2, 0.9),
    )  # fmt: skip
    x, y = (one.ravel() + 0.5 for one in np.meshgrid(np.arange(7), np.arange(5)))
    in_camera = camera_directions(camera, np.stack([x, y], axis=1))
    expected = pixel_rays(camera)[1].reshape(-1, 3)
    np.testing.assert_allclose(in_camera @ np.asarray(TURNED), expected, atol=1e-12)


def test_the_distance_along_a_ray_is_where_the_depth_is(seen_release: Release) -> None:
    found = seen_release.rays(30, seed=1)[3]
    points = (found["origins"] + found["distance"][:, None] * found["directions"]).double().numpy()
    points_px, depth = project(whole_view(seen_release, found).camera, points)
    seen = found["depth"].numpy() > 0.01
    np.testing.assert_allclose(depth, found["depth"], atol=1e-6)
    np.testing.assert_allclose(points_px[seen], found["points_px"][seen], atol=2e-3)


def test_normals_are_turned_into_the_world_unless_asked_otherwise(
    seen_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = Release.cameras
    monkeypatch.setattr(
        Release,
        "cameras",
        lambda self, subject: tuple(one.model_copy(update={"rotation": TURNED}) for one in straight(self, subject)),
    )
    world, camera = seen_release.rays(9)[4], seen_release.rays(9, normals="camera")[4]
    assert torch.equal(world["points_px"], camera["points_px"])
    expected = np.asarray(TURNED).T @ camera["normal"].double().numpy().T
    np.testing.assert_allclose(world["normal"].T, expected, atol=1e-6)
    np.testing.assert_allclose(world["normal"].norm(dim=1), 1, atol=1e-3)
    assert world["normal"].dtype == torch.float32


def test_rays_are_uniform_over_the_region(seen_release: Release) -> None:
    dataset = seen_release.rays(7, fields=["mask"], per_view=160, cameras=["MCU_01"])
    drawn = Counter(tuple(one) for at in range(160) for one in dataset[at]["points_px"].tolist())
    assert len(drawn) == 7 * 9
    expected = 160 * 7 / 63
    assert sum((count - expected) ** 2 / expected for count in drawn.values()) < 110  # χ², 62 degrees: p = 2e-4


def test_more_rays_than_pixels_repeat_pixels(seen_release: Release) -> None:
    found = seen_release.rays(100)[0]
    assert found["rgb"].shape == (100, 3)
    assert found["mask"].all()


def test_rays_around_pass_near_the_region_and_not_through_it(seen_release: Release) -> None:
    dataset = seen_release.rays(20, fields=["mask", "rgb"], around=8, per_view=4)
    drawn: set[tuple[int, int]] = set()
    for at in range(0, 8):
        found = dataset[at]
        x, y = np.floor(found["points_px"].numpy()).astype(int).T
        view = whole_view(seen_release, found)
        assert np.array_equal(found["mask"].numpy(), view.mask[y, x])
        assert found["mask"].tolist() == [True] * 12 + [False] * 8
        assert torch.equal(found["rgb"], torch.from_numpy(view.rgb[y, x]))
        drawn |= {*zip(x[12:].tolist(), y[12:].tolist(), strict=True)}
    rows, columns = BLOCK
    ring = {(x, y) for x in range(columns.start - 1, columns.stop + 1) for y in range(rows.start - 1, rows.stop + 1)}
    block = {(x, y) for x in range(columns.start, columns.stop) for y in range(rows.start, rows.stop)}
    assert drawn <= ring - block
    assert len(drawn) > len(ring - block) // 2


def test_around_a_region_that_fills_the_image_there_is_nothing(
    seen_release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(region.Regions, "around", lambda *of: (np.empty(0, dtype=np.int64), Window(0, 0, 1, 1)))
    assert seen_release.rays(20, around=8)[0]["mask"].all()


def test_rays_around_are_fewer_than_all(seen_release: Release) -> None:
    with pytest.raises(StoreError, match="around: expected 0 to 19, found 20"):
        seen_release.rays(20, around=20)


def test_a_region_of_labels_leaves_out_captures_without_a_hand(seen_release: Release) -> None:
    for dataset in (seen_release.rays(3, region="hand_mask"), seen_release.patches(3, region="training_mask")):
        found = {(dataset[at]["subject_id"], dataset[at]["frame"]) for at in range(len(dataset))}
        assert UNFITTED not in found
        assert len(found) == len(seen_release) - 1


def test_a_view_whose_region_is_empty_is_named(seen_release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(View, "hand_mask", np.zeros((10, 13), dtype=bool))
    with pytest.raises(StoreError, match="subject 0001, frame 1, MCU_01: hand_mask: expected pixels, found none"):
        seen_release.rays(3, region="hand_mask")[0]


def test_a_bounded_number_of_boxes_is_remembered(seen_release: Release, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [seen_release.patches(4)[at]["corner_px"].tolist() for at in range(12)]
    monkeypatch.setattr(region, "_KEPT_BOXES", 2)
    dataset = seen_release.patches(4)
    assert [dataset[at]["corner_px"].tolist() for at in range(12)] == expected
    assert len(dataset._source._regions._boxes) == 2  # type: ignore[attr-defined]


def test_a_dataset_that_was_read_from_travels_between_processes(seen_release: Release) -> None:
    for dataset in (seen_release.patches(4), seen_release.rays(5)):
        expected = [dataset[at]["mask"] for at in range(3)]
        content = pickle.dumps(dataset)
        assert len(content) < 60_000
        assert all(torch.equal(pickle.loads(content)[at]["mask"], one) for at, one in enumerate(expected))


def test_what_cannot_be_drawn_is_told(seen_release: Release, bare_release: Release) -> None:
    with pytest.raises(StoreError, match="size: expected at most 10, the side of an image, found 11"):
        seen_release.patches(11)
    with pytest.raises(StoreError, match="expected size and per_view of at least 1, found 0 and 1"):
        seen_release.patches(0)
    with pytest.raises(StoreError, match="expected count and per_view of at least 1, found 5 and 0"):
        seen_release.rays(5, per_view=0)
    with pytest.raises(StoreError, match="normals: expected world or camera, found 'view'"):
        seen_release.rays(5, normals="view")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="region: expected one of mask, hand_mask, training_mask, found 'sleeve'"):
        seen_release.patches(5, region="sleeve")
    with pytest.raises(StoreError, match=r"fields: expected some of rgb, mask, depth, .*found 'hand'"):
        seen_release.rays(5, fields=["hand"])
    with pytest.raises(StoreError, match="training_mask: expected a version with labels"):
        bare_release.rays(5, region="training_mask")
