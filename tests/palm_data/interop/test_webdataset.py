"""WebDataset shards: read by the stock library without unpickling anything."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palm_data.interop import webdataset
from palm_data.interop.webdataset import export_webdataset
from palm_data.loader.release import Release
from palm_data.store.atomic import file_sha256
from schemas.errors import SettingsError, StoreError
from tests.palm_data.interop.conftest import CAMERAS

wds = pytest.importorskip("webdataset")


def shards(out: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((out / "index.json").read_bytes())["shards"]
    return found


def read(out: Path) -> dict[str, dict[str, Any]]:
    """Every sample as the stock library decodes it."""
    paths = [str(out / shard["path"]) for shard in shards(out)]
    stream = wds.WebDataset(paths, shardshuffle=False, empty_check=False).decode("rgb8")
    return {sample["__key__"]: sample for sample in stream}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_stock_library_reads_what_the_release_holds(release: Release, tmp_path: Path) -> None:
    counts = export_webdataset(release, tmp_path / "wds")
    found = read(tmp_path / "wds")
    assert len(found) == counts.samples == 41
    assert f"0001_000001_{CAMERAS[4]}" not in found
    sample = release.capture("0003", 2)
    view, one = sample.view("MCU_06"), found["0003_000002_MCU_06"]
    assert np.array_equal(one["rgb.png"], view.rgb)
    for name in ("mask", "hand_mask", "training_mask"):
        assert np.array_equal(one[f"{name}.png"][..., 0] > 0, getattr(view, name)), name
    assert np.array_equal(one["depth.npz"]["values"], view.depth)
    assert np.array_equal(np.float32(one["normal.npz"]["values"]) / np.float32(32767), view.normal)
    about = one["json"]
    np.testing.assert_array_equal(about["intrinsics"], view.camera.intrinsics())
    np.testing.assert_array_equal(about["keypoints_px"], view.keypoints_px)
    assert (about["subject_id"], about["frame"], about["camera_id"], about["split"]) == (
        "0003",
        2,
        "MCU_06",
        sample.split,
    )
    assert about["hand_convention"]["flat_hand_mean"] is False
    assert sample.hand is not None
    np.testing.assert_array_equal(about["hand"]["hand_pose"], sample.hand.hand_pose)
    assert found["0003_000001_MCU_06"]["json"]["keypoints_m"][7] is None
    assert "hand" not in found["0002_000002_MCU_01"]["json"]


def test_no_member_needs_unpickling_and_none_says_when_or_who(release: Release, tmp_path: Path) -> None:
    export_webdataset(release, tmp_path / "wds")
    for shard in shards(tmp_path / "wds"):
        with tarfile.open(tmp_path / "wds" / shard["path"]) as archive:
            for member in archive:
                assert (member.mtime, member.uid, member.uname) == (0, 0, "")
                assert member.name.endswith((".png", ".npz", ".json"))
                if member.name.endswith(".npz"):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    np.load(io.BytesIO(stream.read()), allow_pickle=False)["values"]


def test_shards_are_closed_when_full_never_cut_a_capture_and_keep_splits_apart(
    release: Release, tmp_path: Path
) -> None:
    export_webdataset(release, tmp_path / "wds", maps=["mask"], shard_bytes=1)
    found = shards(tmp_path / "wds")
    assert len(found) == len(release)
    assert [shard["path"] for shard in found if shard["split"] == "train"][:2] == [
        "train-000000.tar",
        "train-000001.tar",
    ]
    for shard in found:
        path = tmp_path / "wds" / shard["path"]
        assert (shard["bytes"], shard["sha256"]) == (path.stat().st_size, file_sha256(path))
        with tarfile.open(path) as archive:
            assert len({name.rsplit("_MCU", 1)[0] for name in archive.getnames()}) == 1
    assert {path.name for path in (tmp_path / "wds").iterdir()} == {
        *(shard["path"] for shard in found), "index.json", "palm_export.request.json"
    }  # fmt: skip


def test_an_interrupted_export_goes_on_and_ends_the_same(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_webdataset(release, tmp_path / "whole", maps=["mask"], shard_bytes=1)
    made, calls = webdataset.png_bytes, 0

    def dies(image: np.ndarray) -> bytes:
        nonlocal calls
        calls += 1
        if calls > 40:
            raise KeyboardInterrupt
        return made(image)

    with monkeypatch.context() as patch:
        patch.setattr(webdataset, "png_bytes", dies)
        with pytest.raises(KeyboardInterrupt):
            export_webdataset(release, tmp_path / "wds", maps=["mask"], shard_bytes=1)
    assert not (tmp_path / "wds").exists()
    calls = 0

    def counted(image: np.ndarray) -> bytes:
        nonlocal calls
        calls += 1
        return made(image)

    monkeypatch.setattr(webdataset, "png_bytes", counted)
    export_webdataset(release, tmp_path / "wds", maps=["mask"], shard_bytes=1)
    assert shards(tmp_path / "wds") == shards(tmp_path / "whole")
    assert calls < 82 - 20


def test_a_version_of_captures_only_has_no_labels_and_says_so(bare: Release, tmp_path: Path) -> None:
    export_webdataset(bare.subject("0003"), tmp_path / "wds")
    with tarfile.open(tmp_path / "wds" / shards(tmp_path / "wds")[0]["path"]) as archive:
        kinds = {name.split(".", 1)[1] for name in archive.getnames()}
    assert kinds == {"rgb.png", "mask.png", "normal.npz", "depth.npz", "json"}
    with pytest.raises(StoreError, match="expected a version with labels"):
        export_webdataset(bare, tmp_path / "other", maps=["hand_mask"])


def test_unknown_maps_and_sizes_are_refused(release: Release, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="maps: expected some of mask"):
        export_webdataset(release, tmp_path / "wds", maps=["masks"])
    with pytest.raises(SettingsError, match="shard size"):
        export_webdataset(release, tmp_path / "wds", shard_bytes=0)
