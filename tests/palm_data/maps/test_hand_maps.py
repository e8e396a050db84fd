import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from palm_data.calibration.cameras import colour_cameras, load_cameras
from palm_data.camera.tier import camera_at
from palm_data.capture.index import load_index
from palm_data.hand.fits import load_hands
from palm_data.hand.layer import HandLayer
from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.maps.hand_maps import make_hand_maps
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.maps.training_mask import fused_mask, mask_sides
from palm_data.maps.zbuffer import Roi
from palm_data.store.arrays import open_group
from palm_data.store.atomic import file_sha256
from palm_data.testing.shapes import Surface as LobedSurface
from schemas.errors import BadInputError, ConsentError, IntegrityError, StoreError
from schemas.hand import HandRow
from schemas.settings import TrainingMaskSettings
from schemas.tier import FACTORS, Tier
from tests.palm_data.calibration.sessions import SIZE, Ingested, ingested, withdraw
from tests.palm_data.maps.hands import centred_row, write_hands
from tests.palm_data.maps.scenes import Scene, cast_rays

UNFITTED = 2
"""The second capture of the first subject has no hand."""


def surfaces(made: Ingested, subject_id: str) -> dict[int, LobedSurface]:
    captures = load_index(made.workspace, subject_id).captures
    return {capture.frame: made.session.surfaces[subject_id, capture.gesture] for capture in captures}


def fitted(made: Ingested, subject_id: str, *, without: int | None = None) -> list[HandRow]:
    model = load_hand_model()
    rows = [
        centred_row(subject_id, frame, shape.vertices.mean(axis=0), model)
        for frame, shape in surfaces(made, subject_id).items()
        if frame != without
    ]
    write_hands(made.workspace, subject_id, rows)
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    session = ingested(tmp_path_factory.mktemp("hand_maps"), subjects=2, gestures=2, mono=False)
    session.calibrate()
    for subject_id, without in (("0001", UNFITTED), ("0002", None)):
        make_scan_maps(subject_id, session.workspace, session.settings)
        fitted(session, subject_id, without=without)
        make_hand_maps(subject_id, session.workspace, session.settings)
    return session


@pytest.fixture
def small(tmp_path: Path) -> Ingested:
    """A session that a test may change, without hand maps."""
    session = ingested(tmp_path, gestures=1, pods=2, mono=False, portrait_pod=None, image_size=(96, 80))
    session.calibrate()
    make_scan_maps("0001", session.workspace, session.settings)
    fitted(session, "0001")
    return session


def pixels(made: Ingested, name: str, subject_id: str = "0001", *, tier: Tier = "full") -> np.ndarray:
    stage = "scan_maps" if name == "mask" else "hand_maps"
    return np.asarray(open_group(made.workspace.output(stage, subject_id) / "maps.zarr")[f"{name}/{tier}"])


def test_the_arrays_are_laid_out_as_the_scans_masks(made: Ingested) -> None:
    home = made.workspace.output("hand_maps", "0001") / "maps.zarr"
    scan = json.loads((made.workspace.output("scan_maps", "0001") / "maps.zarr/mask/full/zarr.json").read_bytes())
    for name in ("hand_mask", "training_mask"):
        mine = json.loads((home / name / "full" / "zarr.json").read_bytes())
        assert mine.pop("attributes") != (theirs := dict(scan)).pop("attributes")
        assert mine == theirs
        assert pixels(made, name).shape == (2, 7, SIZE[1], SIZE[0])
        assert set(np.unique(pixels(made, name, "0002"))) == {0, 255}
    assert open_group(home).attrs["frames"] == [1, 2]
    assert open_group(home).attrs["camera_ids"] == [f"MCU_{pod:02d}" for pod in range(1, 8)]


@pytest.mark.parametrize("tier", ["full", "half"])
def test_the_hand_is_what_ray_casting_sees_of_the_posed_model(made: Ingested, tier: Tier) -> None:
    model = load_hand_model()
    row = load_hands(made.workspace, "0002")[0]
    values = [getattr(row, name) for name in ("global_orient", "hand_pose", "betas", "transl")]
    with torch.no_grad():
        posed = HandLayer(model, dtype=torch.float64)(*(torch.tensor([value], dtype=torch.float64) for value in values))
    masks = pixels(made, "hand_mask", "0002", tier=tier)[0] > 0
    for view, full in enumerate(colour_cameras(load_cameras(made.workspace, made.calibration_id))):
        camera = camera_at(full, tier)
        pose, size = camera.world_to_camera(), (camera.width, camera.height)
        in_camera = posed.vertices[0].numpy() @ pose[:3, :3].T + pose[:3, 3]
        scene = Scene(in_camera, model.faces.astype(np.int32), camera.intrinsics(), *size)
        assert masks[view].sum() > 1000 / FACTORS[tier] ** 2
        assert (masks[view] == cast_rays(scene, Roi(0, 0, *size)).hit).mean() > 0.9996


@pytest.mark.parametrize("tier", ["full", "half"])
def test_the_training_mask_is_fused_from_the_two_masks(made: Ingested, tier: Tier) -> None:
    scans, hands, trainings = (
        pixels(made, name, "0002", tier=tier) > 0 for name in ("mask", "hand_mask", "training_mask")
    )
    sides = mask_sides(TrainingMaskSettings(), scans.shape[3], scans.shape[2])
    for scan, hand, training in zip(scans, hands, trainings, strict=True):
        for view in range(len(scan)):
            np.testing.assert_array_equal(training[view], fused_mask(scan[view], hand[view], sides))
        assert training.any(axis=(1, 2)).all()


def test_a_capture_without_a_hand_is_zero_and_counted(made: Ingested) -> None:
    for name in ("hand_mask", "training_mask"):
        assert [bool(capture.any()) for capture in pixels(made, name)] == [True, False]
    figures = json.loads((made.workspace.output("hand_maps", "0001") / "figures.json").read_bytes())
    assert (figures["captures"], figures["views"], figures["captures_unfitted"]) == (2, 14, 1)


def test_figures_are_of_the_masks(made: Ingested) -> None:
    figures = make_hand_maps("0002", made.workspace, made.settings).figures
    scan, hand, training = (pixels(made, name, "0002") > 0 for name in ("mask", "hand_mask", "training_mask"))
    assert figures["hand_mask_px_mean"] == pytest.approx(hand.sum(axis=(2, 3)).mean(), abs=0.06)
    assert figures["training_mask_px_mean"] == pytest.approx(training.sum(axis=(2, 3)).mean(), abs=0.06)
    assert figures["scan_kept_share"] == pytest.approx((scan & training).sum() / scan.sum(), abs=1e-4)
    assert figures["hand_on_scan_share"] == pytest.approx((scan & hand).sum() / hand.sum(), abs=1e-4)
    assert 0 < float(figures["hand_iou_min"]) <= float(figures["hand_iou_mean"]) < 1


def test_a_picture_shows_each_capture(made: Ingested) -> None:
    picture = cv2.imread(str(made.workspace.output("hand_maps", "0001") / "picture.png"))
    assert picture.shape[1] > 60
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_a_second_run_has_nothing_to_do_and_a_fresh_one_gives_the_same_bytes(made: Ingested) -> None:
    first = made.workspace.require("hand_maps", "0001")
    assert not make_hand_maps("0001", made.workspace, made.settings).ran
    made.workspace.forget("hand_maps", "0001")
    assert make_hand_maps("0001", made.workspace, made.settings).digest == first.digest


def test_the_sides_of_the_training_mask_draw_no_scan_again_but_hands(small: Ingested) -> None:
    make_hand_maps("0001", small.workspace, small.settings)
    maps = small.settings.maps.model_copy(update={"training_mask": TrainingMaskSettings(reach_px=301)})
    settings = small.settings.model_copy(update={"maps": maps})
    before = pixels(small, "training_mask") > 0
    assert not make_scan_maps("0001", small.workspace, settings).ran
    assert make_hand_maps("0001", small.workspace, settings).ran
    after = pixels(small, "training_mask") > 0
    assert after[before].all()
    assert after.sum() > before.sum()


def test_a_new_fit_is_drawn_anew(small: Ingested) -> None:
    make_hand_maps("0001", small.workspace, small.settings)
    before = pixels(small, "hand_mask")
    write_hands(small.workspace, "0001", [])
    assert make_hand_maps("0001", small.workspace, small.settings).ran
    assert before.any()
    assert not pixels(small, "hand_mask").any()


def test_hands_of_another_model_are_refused(small: Ingested) -> None:
    other = load_hand_model().convention().model_copy(update={"model_sha256": "7" * 64})
    write_hands(small.workspace, "0001", [], other)
    with pytest.raises(StoreError, match=rf"hand model: expected .*, found .*{'7' * 64}.*Materialize hand_pose again"):
        make_hand_maps("0001", small.workspace, small.settings)


def test_a_model_of_ones_own_is_used(small: Ingested, tmp_path: Path) -> None:
    own = tmp_path / "own.npz"
    with np.load(SHIPPED_MODEL) as arrays:
        np.savez(own, **{**arrays, "v_template": arrays["v_template"] * 1.5})
    settings = small.settings.model_copy(update={"hand_model": own})
    with pytest.raises(StoreError, match=rf"hand model: expected own \({file_sha256(own)}\)"):
        make_hand_maps("0001", small.workspace, settings)
    make_hand_maps("0001", small.workspace, small.settings)
    before = pixels(small, "hand_mask") > 0
    write_hands(small.workspace, "0001", fitted(small, "0001"), load_hand_model(own).convention())
    make_hand_maps("0001", small.workspace, settings)
    assert (pixels(small, "hand_mask") > 0).sum() > 1.5 * before.sum()


def test_hands_of_a_capture_that_is_gone_are_refused(small: Ingested) -> None:
    (row,) = fitted(small, "0001")
    write_hands(small.workspace, "0001", [row, row.model_copy(update={"frame": 9})])
    with pytest.raises(StoreError, match="frame: expected one of the index, found 9"):
        make_hand_maps("0001", small.workspace, small.settings)


@pytest.mark.parametrize("lost", [True, False])
def test_lost_or_damaged_scan_masks_are_not_read_as_empty(small: Ingested, lost: bool) -> None:
    path = small.workspace.output("scan_maps", "0001") / "maps.zarr/mask/full/c/0/0/0/0"
    content = bytearray(path.read_bytes())
    content[8] ^= 1
    path.unlink()
    if not lost:
        path.write_bytes(content)
    with pytest.raises(IntegrityError, match="mask/full/c/0/0/0/0"):
        make_hand_maps("0001", small.workspace, small.settings)


def test_a_stage_that_has_not_finished_is_named(small: Ingested) -> None:
    small.workspace.forget("hand_pose", "0001")
    with pytest.raises(StoreError, match="stage 'hand_pose' for '0001', found none"):
        make_hand_maps("0001", small.workspace, small.settings)


def test_nothing_is_drawn_of_a_person_who_withdrew_or_of_no_capture(small: Ingested) -> None:
    small.rewrite_index("0001", lambda index: index.model_copy(update={"captures": ()}))
    with pytest.raises(BadInputError, match="capture"):
        make_hand_maps("0001", small.workspace, small.settings)
    small.rewrite_index("0001", withdraw)
    with pytest.raises(ConsentError, match="0001"):
        make_hand_maps("0001", small.workspace, small.settings)
    assert small.workspace.record("hand_maps", "0001") is None
