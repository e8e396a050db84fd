"""What the official loader and training code expect, held by our exports, and what an export leaves out."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palm_data.hand.model import load_hand_model
from palm_data.interop import official, official_plan
from palm_data.interop.official import export_official
from palm_data.interop.official_checks import check_official
from palm_data.interop.official_encoding import decode_normals, encode_normals
from palm_data.interop.official_sidecar import read_record
from palm_data.interop.pickled import object_npy, read_object_npy
from palm_data.interop.pngs import read_png, write_png
from palm_data.interop.unfinished import partial_folder
from palm_data.loader.release import Release
from palm_data.store.atomic import file_sha256
from schemas.camera import Camera
from schemas.errors import ConflictError, SettingsError, StoreError
from tests.palm_data.interop.conftest import CAMERAS, EXPORTED, HEIGHT, WIDTH


def load(path: Path) -> Any:
    """As the official loader does."""
    return np.load(path, allow_pickle=True).item()


def files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_the_official_code_would_find_all_it_expects(exported: Path) -> None:
    assert check_official(exported) == ()


def test_files_count_from_one_whatever_the_frames_and_what_is_left_out_is_listed(exported: Path) -> None:
    record = read_record(exported)
    assert record.subjects == EXPORTED
    reasons = {(one.subject_id, one.frame): one.reason for one in record.left_out}
    assert reasons == {("0001", 1): "no image of MCU_05", ("0002", 2): "no hand could be fitted"}
    for subject_id, frames in EXPORTED.items():
        for kind in ("images", "masks", "mano", "normals"):
            for camera_id in CAMERAS:
                names = sorted(path.name for path in (exported / "folders" / subject_id / kind / camera_id).iterdir())
                assert names == [f"{number:06d}.png" for number in range(1, len(frames) + 1)]


def test_pictures_and_numbers_are_those_of_the_release(exported: Path, release: Release) -> None:
    sample, home = release.capture("0001", 2), exported / "folders" / "0001"
    view = sample.view("MCU_03")
    assert np.array_equal(read_png(home / "images/MCU_03/000001.png"), view.rgb)
    assert np.array_equal(read_png(home / "masks/MCU_03/000001.png"), view.mask * np.uint8(255))
    assert np.array_equal(read_png(home / "mano/MCU_03/000001.png"), view.hand_mask * np.uint8(255))
    camera = load(home / "cameras.npy")["cameras"]["MCU_03"]
    assert (camera["height"], camera["width"]) == (HEIGHT, WIDTH)
    np.testing.assert_allclose(camera["K"], view.camera.intrinsics(), rtol=1e-6)
    np.testing.assert_allclose(camera["Rt"], view.camera.world_to_camera(), atol=1e-6)
    poses = load(home / "poses.npy")
    assert {name: value.shape for name, value in poses.items()} == {
        "betas": (1, 10), "hand_pose": (1, 45), "global_orient": (1, 3), "transl": (1, 3)
    }  # fmt: skip
    assert sample.hand is not None
    for name in ("hand_pose", "global_orient", "transl", "betas"):
        np.testing.assert_allclose(poses[name][0], getattr(sample.hand, name), rtol=1e-6, atol=1e-7)


def test_errors_have_the_official_keys_and_lower_is_better(exported: Path, release: Release) -> None:
    errors = load(exported / "quality_dict_feb_27.npy")
    assert sorted(errors) == ["0001/000001.jpg", "0002/000001.jpg", "0003/000001.jpg", "0003/000002.jpg"]
    assert errors["0001/000001.jpg"] == pytest.approx(1.0 - release.capture("0001", 2).quality.score)


def test_normals_point_up_and_to_the_camera_and_never_hold_a_zero_where_there_is_one() -> None:
    ours = np.array([[[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, 0, 0], [0, 0, -1]]])
    stored = encode_normals(ours)[0]
    assert stored[0].tolist() == [255, 128, 128]
    assert stored[1].tolist() == [128, 1, 128]  # down is their minus y; 0 would mean none
    assert stored[2].tolist() == [128, 128, 1]
    assert stored[3].tolist() == [1, 128, 128]
    assert stored[4].tolist() == [0, 0, 0]
    assert stored[5].tolist() == [128, 128, 255]
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(100, 100, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    back = decode_normals(encode_normals(vectors))
    inner = (np.abs(vectors) < 1 - 2 / 255).all(axis=-1)
    assert np.abs(back - vectors)[inner].max() <= 1 / 255 + 1e-12


def test_a_small_flavour_shows_the_same_scene(release: Release, tmp_path: Path) -> None:
    export_official(release, tmp_path / "SMALL", longest=190)
    assert check_official(tmp_path / "SMALL") == ()
    home, view = tmp_path / "SMALL" / "folders" / "0001", release.capture("0001", 2).view("MCU_02")
    camera = load(home / "cameras.npy")["cameras"]["MCU_02"]
    assert (camera["width"], camera["height"]) == (190, round(160 * 190 / 210))
    scale = np.diag([190 / 210, camera["height"] / 160, 1.0])
    np.testing.assert_allclose(camera["K"], scale @ view.camera.intrinsics(), rtol=1e-6)
    mask = read_png(home / "masks/MCU_02/000001.png")
    assert set(np.unique(mask)) == {0, 255}
    assert (mask > 0).mean() == pytest.approx(view.mask.mean(), rel=0.03)
    assert read_record(tmp_path / "SMALL").scaled
    with pytest.raises(SettingsError, match="at least 128 px"):
        export_official(release, tmp_path / "TINY", longest=64)


def test_small_masks_are_left_out_unless_they_are_wanted(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_data.interop.official_encoding.CROP_PX", 150)
    with pytest.raises(StoreError, match=r"found none\. Reasons: .*mask too small"):
        export_official(release, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert not partial_folder(tmp_path / "a").exists()
    assert export_official(release, tmp_path / "b", keep_small=True).subjects == EXPORTED


def test_an_interrupted_export_goes_on_and_ends_the_same(
    release: Release, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def dies(path: Path, image: np.ndarray) -> None:
        nonlocal written
        written += 1
        if written > 60:
            raise KeyboardInterrupt
        write_png(path, image)

    out = tmp_path / "OURS"
    with monkeypatch.context() as patch:
        patch.setattr(official, "write_png", dies)
        with pytest.raises(KeyboardInterrupt):
            export_official(release, out)
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in partial_folder(out).rglob("*.png")}
    assert len(kept) == 60
    export_official(release, out)
    assert files(out) == files(exported)
    for path, time in kept.items():
        assert (out / path.relative_to(partial_folder(out))).stat().st_mtime_ns == time


def test_asked_again_nothing_is_written_and_other_things_are_left_alone(
    release: Release, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(exported)
    monkeypatch.setattr(official, "write_png", lambda *_: pytest.fail("written again"))
    assert export_official(release, exported).subjects == EXPORTED
    with pytest.raises(ConflictError, match="differs in captures"):
        export_official(release.subject("0003"), exported)
    assert files(exported) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ConflictError, match="found other things"):
        export_official(release, tmp_path / "mine")


def test_what_the_layout_cannot_state_is_refused_with_a_reason(
    release: Release, bare: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match="expected a version with labels"):
        export_official(bare, tmp_path / "out")
    cameras, left = Release.cameras, release.hand_convention.model_copy(update={"side": "left"})

    def one_less(*arguments: Any) -> tuple[Camera, ...]:
        return tuple(camera for camera in cameras(*arguments) if camera.camera_id != "MCU_06")

    def one_narrow(*arguments: Any) -> tuple[Camera, ...]:
        first, *rest = cameras(*arguments)
        return (first.model_copy(update={"width": 99}), *rest)

    refusals: list[tuple[Any, str, Any, str]] = [
        (Release, "cameras", one_less, "expected MCU_01 to MCU_07, found none of MCU_06"),
        (Release, "cameras", one_narrow, "one size, found 99×160, 210×160"),
        (official_plan, "MAX_FRAMES", 1, "0003: captures: expected at most 1, found 2"),
        (Release, "hand_convention", left, "expected right hands"),
    ]
    for place, name, value, words in refusals:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            with pytest.raises(StoreError, match=words):
                export_official(release, tmp_path / "out")
    with pytest.raises(StoreError, match="open the release with all views"):
        export_official(release.filtered(views=["MCU_01"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def changed(path: Path, change: Callable[[Any], object]) -> None:
    content: Any = read_object_npy(path)
    change(content)
    path.write_bytes(object_npy(content))


def grey(path: Path) -> None:
    write_png(path, np.full((HEIGHT, WIDTH), 7, np.uint8))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "lost picture": (lambda root: (root / "folders/0002/mano/MCU_07/000001.png").unlink(), "mano/MCU_07/000001.png: file"),
    "lost normals": (lambda root: shutil.rmtree(root / "folders/0002/normals"), "normals/MCU_01/000001.png: file"),
    "gap": (
        lambda root: (root / "folders/0002/images/MCU_01/000001.png").rename(root / "folders/0002/images/MCU_01/000002.png"),
        "images/MCU_01/000002.png: file",
    ),
    "name": (lambda root: (root / "folders/0002").rename(root / "folders/two"), "folders/two: name"),
    "grey image": (lambda root: grey(root / "folders/0002/images/MCU_01/000001.png"), "channels"),
    "soft mask": (lambda root: grey(root / "folders/0002/masks/MCU_01/000001.png"), "0 and 255 only"),
    "camera": (lambda root: changed(root / "folders/0002/cameras.npy", lambda d: d["cameras"].pop("MCU_04")), "MCU_01 to MCU_07"),
    "3×4": (
        lambda root: changed(
            root / "folders/0002/cameras.npy", lambda d: d["cameras"]["MCU_04"].update(Rt=np.eye(4)[:3])
        ),
        "MCU_04.Rt: expected 4×4",
    ),
    "millimetres": (
        lambda root: changed(root / "folders/0002/poses.npy", lambda d: d.update(transl=d["transl"] + 700.0)),
        "within 10 m",
    ),
    "text": (lambda root: changed(root / "folders/0002/poses.npy", lambda d: d.update(side="right")), "array of floats"),
    "PCA": (
        lambda root: changed(root / "folders/0002/poses.npy", lambda d: d.update(hand_pose=d["hand_pose"][:, :12])),
        "hand_pose: expected shape (frames, 45)",
    ),
    "key": (
        lambda root: changed(root / "quality_dict_feb_27.npy", lambda d: d.update({"0002/000009.jpg": 1.0})),
        "0002/000009.jpg: expected only frames",
    ),
    "no error": (
        lambda root: changed(root / "quality_dict_feb_27.npy", lambda d: d.pop("0002/000001.jpg")), "the frame is never used"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_departure_is_named(fault: str, exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "OURS"
    shutil.copytree(exported / "folders" / "0002", folder / "folders" / "0002")
    errors = {name: value for name, value in load(exported / "quality_dict_feb_27.npy").items() if name[:4] == "0002"}
    (folder / "quality_dict_feb_27.npy").write_bytes(object_npy(errors))
    assert check_official(folder) == ()
    harm, words = FAULTS[fault]
    harm(folder)
    assert words in "\n".join(map(str, check_official(folder)))


def test_hands_that_reach_out_of_the_official_cube_are_named(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported / "folders" / "0002", tmp_path / "folders" / "0002")
    model = load_hand_model()
    found = "\n".join(map(str, check_official(tmp_path, model=model)))
    assert "a flat hand within 0.13806 m of the canonical cube's centre" in found
    small = replace(model, v_template=model.v_template * 0.5, shapedirs=model.shapedirs * 0.1)
    assert not [one for one in check_official(tmp_path, model=small) if one.field in ("betas", "hand_pose")]


def test_progress_counts_every_capture_once(release: Release, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    export_official(release, tmp_path / "OURS", progress=lambda done, total: said.append((done, total)))
    assert said[-1] == (len(release), len(release))
    assert [done for done, _ in said] == sorted(done for done, _ in said)


def test_more_than_sixty_frames_are_named(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported / "folders" / "0002", tmp_path / "folders" / "0002")
    rows = {name: (1 if name == "betas" else 61) for name in ("betas", "hand_pose", "global_orient", "transl")}
    changed(
        tmp_path / "folders/0002/poses.npy",
        lambda d: d.update({name: np.repeat(d[name], count, axis=0) for name, count in rows.items()}),
    )
    assert "1 to 60 frames, found 61" in "\n".join(map(str, check_official(tmp_path)))
