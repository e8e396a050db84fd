"""Official releases become releases of ours: the way back from an export, strangers' layouts, and hostile archives."""

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

import palm_data
from palm_data.interop import official_subject
from palm_data.interop.official_checksums import Checksums
from palm_data.interop.official_import import OfficialImport, import_official
from palm_data.interop.official_layout import QUALITY_FILE
from palm_data.interop.official_source import find_official
from palm_data.interop.pickled import object_npy, read_object_npy
from palm_data.interop.pngs import write_png
from palm_data.interop.zip_files import ZipFiles
from palm_data.loader.release import Release
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.testing.tiny import Tiny
from schemas.errors import BadInputError, ConflictError, IntegrityError, StoreError
from schemas.settings import Settings, ShardSettings
from tests.palm_data.interop.conftest import EXPORTED, HEIGHT, WIDTH

MODEL = Path(palm_data.__file__).parent / "hand" / "assets" / "hand_standin_right.npz"
HALF_STEP = np.degrees(np.sqrt(3) / 255) + 0.01
"""Half a step of 2/255 in each of a normal's parts, as an angle."""


def brought(path: Path, home: Path, version: str = "1.0.0", *, model: Path | None = MODEL) -> OfficialImport:
    settings = Settings(
        raw=home / "raw", workspace=home / "workspace", releases=home / "releases", hand_model=model,
        shard=ShardSettings(tile_px=128),
    )  # fmt: skip
    return import_official(path, version, Workspace(settings.workspace), settings)


def opened(home: Path, version: str = "1.0.0") -> Release:
    return palm_data.open_release(home / "releases", version)


@pytest.fixture
def strange(exported: Path, tmp_path: Path) -> Path:
    """One subject in the layout of somebody else: folders, errors, no record of ours."""
    root = tmp_path / "XR20B"
    shutil.copytree(exported / "folders" / "0003", root / "folders" / "0003")
    shutil.copy(exported / QUALITY_FILE, root)
    return root


def zipped(folder: Path, target: Path, prefix: str = "") -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(folder).as_posix())
    return target


def test_an_export_comes_back_as_it_was_within_the_quantisation(
    exported: Path, made: Tiny, release: Release, tmp_path: Path
) -> None:
    done = brought(exported, tmp_path, model=None)
    assert done.left_out == ()
    assert verify_release(tmp_path / "releases" / "1.0.0").problems == ()
    back = opened(tmp_path)
    assert [(one.subject_id, one.frame) for one in back] == [
        (one, frame) for one in EXPORTED for frame in EXPORTED[one]
    ]
    assert back.hand_convention == release.hand_convention
    for after in back:
        before = release.capture(after.subject_id, after.frame)
        assert (after.gesture, after.split, after.quality) == (before.gesture, before.split, before.quality)
        bands = ("sex", "age_band", "height_band", "skin_tone")
        assert [getattr(after.subject, one) for one in bands] == [getattr(before.subject, one) for one in bands]
        for name in ("rgb", "mask", "hand_mask"):
            assert np.array_equal(getattr(after, name), getattr(before, name)), name
        there = (before.normal != 0).any(axis=-1)
        assert np.array_equal((after.normal != 0).any(axis=-1), there)
        np.testing.assert_allclose(np.linalg.norm(after.normal[there], axis=-1), 1, atol=1e-4)
        chord = np.linalg.norm(after.normal[there] - before.normal[there].astype(np.float64), axis=-1)
        assert np.degrees(2 * np.arcsin(chord / 2)).max() < HALF_STEP
        for one, other in zip(after.cameras, before.cameras, strict=True):
            np.testing.assert_allclose(one.intrinsics(), other.intrinsics(), rtol=1e-6)
            np.testing.assert_allclose(one.world_to_camera(), other.world_to_camera(), atol=1e-6)
            assert (one.camera_id, one.turn_deg) == (other.camera_id, other.turn_deg)
        assert after.hand is not None
        assert before.hand is not None
        for name in ("global_orient", "hand_pose", "betas", "transl"):
            np.testing.assert_allclose(getattr(after.hand, name), getattr(before.hand, name), rtol=1e-6, atol=1e-7)
        assert after.hand.fit.joint_error_mm_mean == before.hand.fit.joint_error_mm_mean
        np.testing.assert_array_equal(after.keypoints.points, before.keypoints.points)
        np.testing.assert_array_equal(after.views[3].keypoints_px, before.views[3].keypoints_px)


def test_what_an_official_release_lacks_is_absent_and_said_to_be(strange: Path, tmp_path: Path) -> None:
    done = brought(strange, tmp_path)
    sample = opened(tmp_path)[1]
    assert (sample.subject_id, sample.frame, sample.gesture) == ("0003", 2, "unknown")
    assert sample.subject.sex is None
    assert sample.subject.age_band is None
    assert np.isnan(sample.keypoints.points).all()
    assert sample.views[0].present
    assert sample.hand is not None
    assert sample.hand.fit.model_to_scan_mm_mean is None
    assert sample.training_mask.any()
    with pytest.raises(StoreError, match=r"depth: expected an array of this name.*found none"):
        _ = sample.depth
    with pytest.raises(StoreError, match="scan: expected one"):
        _ = sample.scan
    report = json.loads((tmp_path / "releases/1.0.0/report/import.json").read_bytes())
    assert "released by its authors" in report["consent"]
    assert report["exported_from"] is None
    assert sorted(report["official_errors"]) == ["0001/000001", "0002/000001", "0003/000001", "0003/000002"]
    assert done.manifest.settings["import.format"] == "official"
    assert str(tmp_path) not in json.dumps(report)
    assert str(tmp_path) not in (tmp_path / "releases/1.0.0/README.md").read_text()


def test_the_best_official_error_has_the_best_score(strange: Path, tmp_path: Path) -> None:
    errors = {"0003/000001.jpg": 3.5, "0003/000002.png": 1.25, "0009/000001.jpg": 9.0, "nonsense": 1.0}
    (strange / QUALITY_FILE).write_bytes(object_npy(errors))
    done = brought(strange, tmp_path)
    assert [sample.quality.score for sample in opened(tmp_path)] == [pytest.approx(2 / 3), 1.0]
    assert any("nonsense: not a frame's error" in line for line in done.met)


def test_without_a_hand_model_strangers_hands_are_refused(strange: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"palm mano import MANO_RIGHT\.pkl"):
        brought(strange, tmp_path, model=None)


@pytest.mark.parametrize(
    "layout", ["zips", "flat", "folder in zip", "deep in zip", "zips unpacked", "one zip", "one folder", "PALM"]
)
def test_every_documented_layout_is_found(layout: str, strange: Path, tmp_path: Path) -> None:
    root, home = tmp_path / "in" / "XR20A", strange / "folders" / "0003"
    match layout:
        case "zips" | "PALM":
            root = tmp_path / "in" / "PALM" / "XR20A" if layout == "PALM" else root
            zipped(home, root / "zips" / "0003.zip")
        case "flat" | "one zip":
            zipped(home, root / "0003.zip")
        case "folder in zip":
            zipped(home, root / "zips" / "0003.zip", "0003/")
        case "deep in zip":
            zipped(home, root / "zips" / "0003.zip", "PALM/XR20A/0003/")
        case "zips unpacked":
            shutil.copytree(home, root / "zips" / "0003")
        case _:
            shutil.copytree(home, root / "0003")
    shutil.copy(strange / QUALITY_FILE, root)
    source = find_official(
        {"one zip": root / "0003.zip", "one folder": root / "0003", "PALM": tmp_path / "in"}.get(layout, root)
    )
    assert [one.subject_id for one in source.subjects] == ["0003"]
    assert (source.root, source.quality, source.met) == (root, root / QUALITY_FILE, ())
    files = source.subjects[0].files()
    expected = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert set(files.paths()) == expected
    for path in ("cameras.npy", "images/MCU_03/000002.png"):
        assert files.read(path) == (home / path).read_bytes()
        assert files.size(path) == (home / path).stat().st_size


def test_archives_and_folders_give_the_same_version(strange: Path, tmp_path: Path) -> None:
    root = tmp_path / "in" / "XR20A"
    zipped(strange / "folders" / "0003", root / "zips" / "0003.zip", "0003/")
    shutil.copy(strange / QUALITY_FILE, root)
    brought(root, tmp_path)
    brought(strange, tmp_path / "again")

    def rows(home: Path) -> list[tuple[str, str]]:
        table = pq.ParquetFile(home / "releases" / "1.0.0" / "files.parquet").read(use_threads=False).to_pylist()
        return [(row["path"], row["sha256"]) for row in table if row["path"].startswith(("shards/", "tables/"))]

    assert rows(tmp_path) == rows(tmp_path / "again")


def test_several_versions_have_to_be_chosen_from(strange: Path) -> None:
    (strange.parent / "XR20A").mkdir()
    with pytest.raises(BadInputError, match=r"one version.s folder.*XR20A and XR20B"):
        find_official(strange.parent)
    with pytest.raises(BadInputError, match=r"folders/NNNN, zips/NNNN.zip"):
        find_official(strange.parent / "XR20A")


def test_a_second_import_reads_nothing_again_and_other_contents_are_refused(
    strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = brought(strange, tmp_path).manifest
    with monkeypatch.context() as patch:
        patch.setattr(official_subject, "_build", lambda *_: pytest.fail("read again"))
        assert brought(strange, tmp_path).manifest.merkle_root == first.merkle_root
    (strange / "folders/0003/images/MCU_01/000001.png").unlink()
    with pytest.raises(ConflictError):
        brought(strange, tmp_path)


def silhouette_in_alpha(home: Path) -> None:
    path = home / "mano/MCU_02/000001.png"
    alpha = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(path), np.dstack([np.full_like(alpha, 99)] * 3 + [alpha]))


def soft_mask(home: Path) -> None:
    path = home / "masks/MCU_02/000001.png"
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(path), np.where(mask == 255, mask, 254))


def poses_with(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def harm(home: Path) -> None:
        found = read_object_npy(home / "poses.npy")
        assert isinstance(found, dict)
        change(found)
        (home / "poses.npy").write_bytes(object_npy(found))

    return harm


def test_other_ways_to_say_the_same_are_read_as_the_official_code_does(strange: Path, tmp_path: Path) -> None:
    brought(strange, tmp_path / "a")
    for change in (silhouette_in_alpha, soft_mask, poses_with(lambda d: d.update(betas=np.tile(d["betas"], (2, 1))))):
        change(strange / "folders" / "0003")
    brought(strange, tmp_path / "b")
    one, other = opened(tmp_path / "a")[0], opened(tmp_path / "b")[0]
    for name in ("mask", "hand_mask", "training_mask"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.hand is not None
    assert other.hand is not None
    assert np.array_equal(one.hand.betas, other.hand.betas)


def test_what_is_missing_or_damaged_costs_itself_only(strange: Path, tmp_path: Path) -> None:
    home = strange / "folders" / "0003"
    (home / "images/MCU_01/000001.png").unlink()
    (home / "images/MCU_02/000001.png").write_bytes((home / "images/MCU_02/000001.png").read_bytes()[:-200])
    write_png(home / "images/MCU_03/000001.png", np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8))
    shutil.rmtree(home / "normals")
    (home / "images/MCU_04/notes.txt").write_text("?")
    poses_with(
        lambda d: d.update(fitting_error=np.ones(2), hand_pose=np.where([[False], [True]], np.nan, d["hand_pose"]))
    )(home)
    done = brought(strange, tmp_path)
    first, second = opened(tmp_path)
    assert [view.present for view in first.views] == [False] * 3 + [True] * 4
    assert not first.rgb[:3].any()
    assert first.hand is not None
    assert second.hand is None
    assert not second.hand_mask.any()
    assert not second.quality.quality_ok
    assert not first.normal.any()
    text = "\n".join(done.met)
    for words in (
        "images/MCU_01/000001: missing", "images/MCU_02/000001.png: ", "expected 210×160, as cameras.npy says, found 209×160",
        "normals: none at all", "notes.txt: not known", "fitting_error: not known", "no usable row for file 000002",
    ):  # fmt: skip
        assert words in text


def test_a_bad_subject_costs_one_subject(exported: Path, tmp_path: Path) -> None:
    root = tmp_path / "XR20B"
    shutil.copytree(exported / "folders", root / "folders")
    (root / "folders/0001/cameras.npy").write_bytes(b"?")
    done = brought(root, tmp_path)
    assert [one.subject_id for one in done.left_out] == ["0001"]
    assert opened(tmp_path).subject_ids == ("0002", "0003")
    left_out = json.loads((tmp_path / "releases/1.0.0/report/left_out.json").read_bytes())
    assert left_out["subjects"][0]["reasons"][0].startswith("header: expected a .npy file, found ")


@pytest.mark.parametrize("start", ["./", "/", "", "PALM/"])
@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256"])
def test_checksums_are_understood(start: str, algorithm: str, tmp_path: Path) -> None:
    place = tmp_path / "PALM" / "XR20A" / "zips" / "0003.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"archive")
    digest = hashlib.new(algorithm, b"archive").hexdigest()
    listed = {f"{start}XR20A/zips/0003.zip": digest, f"{start}XR20B/zips/0003.zip": "0" * len(digest)}
    (tmp_path / "gt_checksums.json").write_text(json.dumps(listed))
    checksums = Checksums(tmp_path / "gt_checksums.json")
    assert checksums.check(place)
    other = tmp_path / "elsewhere" / "0003.zip"
    other.parent.mkdir()
    other.write_bytes(b"?")
    assert not checksums.check(other)  # which of the two it is, nobody knows
    place.write_bytes(b"archivf")
    with pytest.raises(IntegrityError, match=f"0003.zip: expected {algorithm} {digest}"):
        checksums.check(place)


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}', '{"a": "zz"}'])
def test_other_checksums_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "gt_checksums.json").write_text(content)
    with pytest.raises(BadInputError):
        Checksums(tmp_path / "gt_checksums.json")


def test_an_archive_that_is_another_one_is_not_imported(strange: Path, tmp_path: Path) -> None:
    root = tmp_path / "in" / "XR20A"
    zipped(strange / "folders" / "0003", root / "zips" / "0003.zip")
    (root / "gt_checksums.json").write_text(json.dumps({"./zips/0003.zip": "0" * 64}))
    with pytest.raises(StoreError, match=r"0003.zip: expected sha256 0{64}, as gt_checksums.json says"):
        brought(root, tmp_path)


def test_meshes_become_scans_in_metres(strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vertices = (np.random.default_rng(0).normal(size=(60, 3)) * 90).round(3)  # mm
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {n} {n + 1} {n + 2}" for n in range(1, 59)]
    for name in ("a/mesh_000001.obj", "b/mesh_000002.obj", "readme.txt"):
        path = tmp_path / "meshes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    zipped(tmp_path / "meshes", strange / "meshes" / "0003.zip")
    monkeypatch.setattr("palm_data.interop.official_scans.metres_per_unit", lambda *_: 0.001)
    settings = Settings(
        raw=tmp_path / "raw", workspace=tmp_path / "workspace", releases=tmp_path / "releases", hand_model=MODEL,
        ingest={"min_scan_faces": 10}, shard=ShardSettings(tile_px=128),
    )  # type: ignore[arg-type] # fmt: skip
    done = import_official(strange, "1.0.0", Workspace(settings.workspace), settings)
    sample = opened(tmp_path)[1]
    assert sample.capture.scan_file == "meshes/0003/b/mesh_000002.obj"
    np.testing.assert_allclose(sample.scan.vertices, vertices / 1000, atol=1e-6)
    assert not any("mesh" in line for line in done.met)
    shutil.rmtree(tmp_path / "meshes" / "b")
    (strange / "meshes" / "0003.zip").unlink()
    zipped(tmp_path / "meshes", strange / "meshes" / "0003.zip")
    done = import_official(strange, "2.0.0", Workspace(settings.workspace), settings)
    assert any("usable scans of 1 of 2 captures" in line for line in done.met)
    assert opened(tmp_path, "2.0.0")[0].capture.scan_file is None


def link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def slip(archive: zipfile.ZipFile) -> None:
    archive.writestr("../../escaped.txt", b"out")


def absolute(archive: zipfile.ZipFile) -> None:
    archive.writestr("/tmp/escaped.txt", b"out")  # noqa: S108


def symlink(archive: zipfile.ZipFile) -> None:
    archive.writestr(link("images"), b"/etc")


def backslash(archive: zipfile.ZipFile) -> None:
    archive.writestr("a\\..\\..\\escaped.txt", b"out")


def drive(archive: zipfile.ZipFile) -> None:
    archive.writestr("C:/escaped.txt", b"out")


def bomb(archive: zipfile.ZipFile) -> None:
    archive.writestr("bomb.png", b"\0" * 2_000_000)


@pytest.mark.parametrize("attack", [slip, absolute, symlink, backslash, drive, bomb])
def test_hostile_archives_are_refused_whole(
    attack: Callable[[zipfile.ZipFile], None], strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palm_data.interop.zip_files.MAX_MEMBER_BYTES", 1_000_000)
    root = tmp_path / "in" / "XR20A"
    archive = zipped(strange / "folders" / "0003", root / "zips" / "0003.zip")
    with zipfile.ZipFile(archive, "a", zipfile.ZIP_DEFLATED) as stream:
        attack(stream)
    with pytest.raises(BadInputError, match="Nothing was unpacked"):
        ZipFiles(archive)
    with pytest.raises(StoreError, match=r"found none \(0003: "):
        brought(root, tmp_path)
    assert not list(tmp_path.rglob("escaped*"))


def test_a_member_is_held_to_its_checksum_and_its_stated_size(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"hello hello")
    content = path.read_bytes()
    assert ZipFiles(path).read("a.txt") == b"hello hello"
    path.write_bytes(content.replace(b"hello hello", b"hello jello", 1))
    with pytest.raises(BadInputError, match="CRC"):
        ZipFiles(path).read("a.txt")
    path.write_bytes(content[:-30])
    with pytest.raises(BadInputError, match="readable zip file"):
        ZipFiles(path)


def test_links_in_folders_are_not_followed(strange: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    picture = strange / "folders/0003/images/MCU_01/000001.png"
    picture.rename(secret)
    picture.symlink_to(secret)
    brought(strange, tmp_path)
    assert not opened(tmp_path)[0].views[0].present


def test_a_hostile_pickle_runs_nothing(strange: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch pwned",)

    np.save(strange / "folders/0003/poses.npy", np.array({"betas": Evil()}, dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="found none"):
        brought(strange, tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_a_nest_of_shared_lists_is_refused_before_it_is_spread_out(strange: Path, tmp_path: Path) -> None:
    nest: list[object] = [0.0] * 10
    for _ in range(9):
        nest = [nest] * 10
    np.save(strange / "folders/0003/poses.npy", np.array({"betas": nest}, dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="betas: expected an array of numbers"):
        brought(strange, tmp_path)


def test_a_list_that_is_no_matrix_far_inside_leaves_the_subject_out(strange: Path, tmp_path: Path) -> None:
    rows = [[0.0] * 1026, [0.0] * 1025 + [[0.0, 1.0]]]
    np.save(strange / "folders/0003/poses.npy", np.array({"betas": rows}, dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="betas: expected an array of numbers"):
        brought(strange, tmp_path)
