import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from torch.utils.data import DataLoader

import palm_data
from palm_data.loader.release import Release
from palm_data.store.release import publish_release
from palm_data.testing.tiny import CAMERAS, HEIGHT, WIDTH, Tiny, tiny_workspace
from schemas.errors import IntegrityError, StoreError

SUBJECTS = ("0001", "0002", "0003", "0004")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    made = tiny_workspace(tmp_path_factory.mktemp("released"), SUBJECTS)
    publish_release("0.1.0", made.workspace, made.settings)
    publish_release("0.10.0", made.workspace, made.settings)
    return made


@pytest.fixture
def release(tiny: Tiny) -> Release:
    return palm_data.open_release(tiny.settings.releases)


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of a version that may be damaged."""
    shutil.copytree(tiny.settings.releases / "0.1.0", tmp_path / "0.1.0")
    for path in (tmp_path / "0.1.0").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "0.1.0"


def test_three_lines_give_a_typed_sample_in_metres(tiny: Tiny) -> None:
    release = palm_data.open_release(tiny.settings.releases, version="0.1.0", split="train")
    sample = release[0]
    written = tiny.arrays[sample.subject_id]
    assert (sample.rgb == written["rgb"][0]).all()
    assert sample.rgb.dtype == np.uint8
    assert (sample.mask == (written["mask"][0] > 0)).all()
    assert sample.depth.dtype == np.float32
    np.testing.assert_allclose(sample.depth, written["depth"][0] * 0.05e-3, rtol=1e-6)
    assert sample.normal.dtype == np.float32
    np.testing.assert_allclose(sample.normal, written["normal"][0] / 32767, rtol=1e-6)


def test_the_scan_is_that_of_the_capture(release: Release, tiny: Tiny) -> None:
    for row, sample in enumerate(release.subject("0002")):
        written = tiny.arrays["0002"]
        assert (sample.scan.vertices == written["vertices"][row]).all()
        assert (sample.scan.faces == written["faces"][row]).all()
        assert sample.scan.uv is not None
        assert (sample.scan.uv == written["uv"][row]).all()
        assert sample.scan.uv_faces is not None
        assert (sample.scan.uv_faces == written["uv_faces"][row]).all()
    first, second = (sample.scan.texture for sample in release.subject("0002"))
    assert first is not None
    assert (first == tiny.arrays["0002"]["texture"][0, :4, :5]).all()
    assert second is None


def test_a_view_is_its_part_of_the_capture(release: Release) -> None:
    sample = release.capture("0003", 2)
    for position, camera_id in enumerate(CAMERAS):
        view = sample.view(camera_id)
        assert view.camera == sample.cameras[position]
        assert (view.rgb == sample.rgb[position]).all()
        assert (view.mask == sample.mask[position]).all()
        assert (view.depth == sample.depth[position]).all()
        assert (view.normal == sample.normal[position]).all()
    assert [view.present for view in sample.views] == [True, False, True]


def test_a_view_reads_its_own_tiles_only(folder: Path) -> None:
    path = folder / "shards/0001.zarr/rgb/full/c/0/0/0/0/0"
    damaged = bytearray(path.read_bytes())
    damaged[10] ^= 1  # in a tile of the first view
    path.write_bytes(damaged)
    sample = palm_data.open_release(folder)[0]
    found = {}
    for camera_id in CAMERAS:
        try:
            found[camera_id] = sample.view(camera_id).rgb.shape
        except IntegrityError:
            found[camera_id] = None
    assert found == {"MCU_01": None, "MCU_02": (HEIGHT, WIDTH, 3), "MCU_03": (HEIGHT, WIDTH, 3)}


def test_cameras_are_those_of_the_undistorted_images(release: Release) -> None:
    camera = release[0].view("MCU_03").camera
    assert (camera.width, camera.height, camera.fx, camera.cy, camera.turn_deg) == (WIDTH, HEIGHT, 22.0, 5.5, 90)
    assert camera.translation == (0.2, 0.0, 0.7)
    assert not camera.distortion.opencv().any()


def test_a_sample_knows_who_and_what_it_is(release: Release) -> None:
    sample = release.capture("0002", 1)
    assert (sample.subject_id, sample.frame, sample.gesture) == ("0002", 1, "fist")
    assert (sample.subject.sex, sample.subject.skin_tone) == ("female", "tan")
    assert sample.subject_id in release.manifest.splits[sample.split]


def test_captures_come_in_order_and_may_be_sliced(release: Release) -> None:
    assert [(sample.subject_id, sample.frame) for sample in release] == [(s, f) for s in SUBJECTS for f in (1, 2)]
    assert [(sample.subject_id, sample.frame) for sample in release[2:4]] == [("0002", 1), ("0002", 2)]
    assert (release[-1].subject_id, release[-1].frame) == ("0004", 2)
    with pytest.raises(IndexError):
        release[8]


def test_splits_part_the_subjects(tiny: Tiny, release: Release) -> None:
    parts = [palm_data.open_release(tiny.settings.releases, split=name) for name in ("train", "val", "test")]
    assert sorted(one for part in parts for one in part.subject_ids) == list(SUBJECTS)
    assert sum(map(len, parts)) == len(release)


def test_captures_are_filtered_by_any_column(tiny: Tiny, release: Release) -> None:
    fists = palm_data.open_release(tiny.settings.releases, where={"gesture": "fist", "sex": ["female", "male"]})
    assert {sample.gesture for sample in fists} == {"fist"}
    assert len(release.filtered(where=pc.field("frame") > 1)) == 4
    assert {sample.subject.skin_tone for sample in release.filtered(where={"skin_tone": ["tan", "light"]})} == {
        "tan", "light"
    }  # fmt: skip
    assert len(release.filtered(where={"simple": True}, subjects=["0002"])) == 1


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda release: release.filtered(where={"colour": 1}), "where: expected columns among subject_id"),
        (lambda release: release.filtered(where=pc.field("colour") > 1), "where: expected a condition on"),
        (lambda release: release.filtered(where={"frame": "one"}), "where: expected a condition on"),
        (lambda release: release.filtered(split="dev"), "split: expected one of train, val, test, found 'dev'"),
        (lambda release: release.filtered(subjects=["0001", "0009"]), "expected subjects among 0001, .*found 0009"),
        (lambda release: release.capture("0001", 7), "expected one of the frames 1, 2, found 7"),
        (lambda release: release.capture("0009", 1), "expected one of the frames none, found 1"),
        (lambda release: release.subject("0009"), "found 0009"),
        (lambda release: release[0].view("MCU_09"), "expected one of MCU_01, MCU_02, MCU_03, found 'MCU_09'"),
        (lambda release: release.tables["feet"], "expected one of subjects, .*hands, quality, .*, found 'feet'"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(release: Release, ask: object, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        ask(release)  # type: ignore[operator]


def test_the_highest_version_is_opened_unless_another_is_asked_for(tiny: Tiny, release: Release) -> None:
    assert release.version == "0.10.0"
    assert palm_data.open_release(str(tiny.settings.releases), "0.1.0").version == "0.1.0"
    assert palm_data.open_release(tiny.settings.releases / "0.1.0").version == "0.1.0"


@pytest.mark.parametrize(
    ("location", "version", "words"),
    [
        ("ftp://host/palm", None, r"expected a path or a URL of s3://.*found ftp://"),
        ("nowhere", None, "expected a published version, found no such folder"),
        ("releases", "0.3.0", r"expected version 0\.3\.0, found 0\.1\.0, 0\.10\.0"),
        ("releases", "latest", r"expected MAJOR\.MINOR\.PATCH, found 'latest'"),
        ("releases/0.1.0", "0.10.0", r"expected version 0\.10\.0, found the folder of version 0\.1\.0"),
        ("workspace", None, "expected a published version, found none"),
    ],
)
def test_a_location_that_will_not_do_is_told(tiny: Tiny, location: str, version: str | None, words: str) -> None:
    place = location if "://" in location else tiny.settings.releases.parent / location
    with pytest.raises(StoreError, match=words):
        palm_data.open_release(place, version)


def test_every_array_of_a_damaged_shard_object_raises_and_names_it(folder: Path) -> None:
    for name, ndim in (("rgb", 5), ("mask", 4), ("depth", 4), ("normal", 5)):
        path = folder / f"shards/0001.zarr/{name}/full/c/0" / "/".join("0" * (ndim - 1))
        whole = path.read_bytes()
        for at in range(0, len(whole), max(len(whole) // 10, 1)):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << at % 8
            path.write_bytes(damaged)
            with pytest.raises(IntegrityError, match=rf"{name}/full/c/0/0/0/0.*damaged or edited"):
                getattr(palm_data.open_release(folder)[0], name)
        path.write_bytes(whole)


def test_every_file_of_a_scan_is_verified_when_it_is_read(folder: Path) -> None:
    scan = folder / "shards/0001.zarr/scan"
    unused = scan / "texture/c/1/0/0/0/0"  # the second capture has no texture
    for path in [path for path in scan.rglob("*") if path.is_file() and path != unused]:
        whole = path.read_bytes()
        damaged = bytearray(whole)
        damaged[len(whole) // 2] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError, match=path.relative_to(folder).as_posix()):
            _ = [sample.scan for sample in palm_data.open_release(folder, subjects=["0001"])]
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["rgb/full/c/1/0/0/0/0", "mask/full/c/1/0/0/0", "rgb/full/zarr.json", "zarr.json"])
def test_a_missing_or_truncated_file_is_never_read_as_black(folder: Path, name: str) -> None:
    path = folder / "shards/0001.zarr" / name
    whole = path.read_bytes()
    path.unlink()
    with pytest.raises(IntegrityError, match=name):
        _ = [(sample.rgb, sample.mask, sample.depth) for sample in palm_data.open_release(folder, subjects=["0001"])]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match=name):
        _ = [(sample.rgb, sample.mask, sample.depth) for sample in palm_data.open_release(folder, subjects=["0001"])]


@pytest.mark.parametrize(
    "name", ["files.parquet", "manifest.json", "tables/captures.parquet", "tables/cameras.parquet"]
)
def test_a_damaged_table_or_manifest_does_not_open(folder: Path, name: str) -> None:
    path = folder / name
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match=name):
        palm_data.open_release(folder)


def test_a_release_and_its_samples_travel_between_processes(release: Release) -> None:
    release[0].rgb  # noqa: B018 arrays are open now
    copy = pickle.loads(pickle.dumps(release))
    assert (copy[3].depth == release[3].depth).all()
    sample = pickle.loads(pickle.dumps(release[1]))
    assert (sample.mask == release[1].mask).all()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_data_loader_reads_with_workers_that_are_forked_from_a_reader(release: Release) -> None:
    expected = [sample.rgb for sample in release]
    loader = DataLoader(release, batch_size=None, num_workers=2, collate_fn=_pixels, multiprocessing_context="fork")
    for found, wanted in zip(loader, expected, strict=True):
        assert (found == wanted).all()


def _pixels(sample: object) -> np.ndarray:
    return sample.rgb  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing() -> None:
    heavy = ("torch", "dagster", "zarr", "cv2", "open3d", "pyarrow", "numpy", "pydantic")
    assert _loaded("import palm_data", heavy) == "[]"


def test_importing_the_loader_loads_only_what_finds_a_release() -> None:
    # How long that takes is measured by `make bench`: entry `import`.
    heavy = (
        "torch",
        "dagster",
        "zarr",
        "numcodecs",
        "cv2",
        "open3d",
        "scipy",
        "jaxtyping",
        "pyarrow.compute",
        "obstore",
    )
    assert _loaded("from palm_data import open_release", heavy) == "[]"


def _loaded(statement: str, names: tuple[str, ...]) -> str:
    return _python(f"{statement}; import sys; print([name for name in {names} if name in sys.modules])").strip()


def test_opening_a_local_release_loads_nothing_for_remote_ones(tiny: Tiny) -> None:
    script = (
        f"import sys; import palm_data; release = palm_data.open_release({str(tiny.settings.releases)!r}); release[0].rgb; "
        "print([name for name in ('obstore', 'pydantic_settings', 'zarr') if name in sys.modules])"
    )
    assert _python(script).strip() == "[]"


def test_a_consumer_needs_none_of_the_factory(tiny: Tiny) -> None:
    factory = (
        "torch",
        "dagster",
        "zarr",
        "cv2",
        "open3d",
        "numba",
        "scipy",
        "jaxtyping",
        "smplx",
        "matplotlib",
        "mitsuba",
    )
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({factory})); import palm_data; "
        f"release = palm_data.open_release({str(tiny.settings.releases)!r}); "
        "from palm_data.store.verify import verify_release; "
        "print(release[0].view('MCU_01').rgb.shape, len(release[0].scan.faces), verify_release(release.tables.files).passed)"
    )
    assert _python(script).strip() == f"({HEIGHT}, {WIDTH}, 3) 5 True"


def _python(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True
    ).stdout
