"""Training from a store: what a patch costs over the network, workers, and what a part of a version lacks."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

import palm_data
from palm_data.loader.location import version_files
from palm_data.store.fetch import fetch, plan_fetch
from palm_data.store.fetched import Selection
from palm_data.store.release import publish_release
from palm_data.testing.fault_proxy import Proxy, some
from palm_data.testing.tiny import Tiny, tiny_workspace
from schemas.errors import StoreError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    made = tiny_workspace(tmp_path_factory.mktemp("tiny"), ["0001", "0002"])
    publish_release("0.1.0", made.workspace, made.settings)
    return made


@pytest.fixture
def published(tiny: Tiny, url: str) -> str:
    publish_release("0.1.0", tiny.workspace, tiny.settings.model_copy(update={"releases": url}))
    return url


def test_every_field_read_from_a_store_is_the_one_read_from_a_folder(
    tiny: Tiny, published: str, tmp_path: Path
) -> None:
    local = palm_data.open_release(tiny.settings.releases)
    for cache in (False, tmp_path):
        remote = palm_data.open_release(published, where="quality_ok or frame > 0", cache=cache)
        assert len(remote) == len(local) == 4
        for ours, theirs in zip(remote, local, strict=True):
            for name in ("rgb", "mask", "depth", "normal"):
                assert (getattr(ours, name) == getattr(theirs, name)).all()
            assert (ours.scan.vertices == theirs.scan.vertices).all()
            assert ours.quality == theirs.quality


def test_opening_asks_for_few_small_files_and_a_view_for_its_own_tiles(published: str, door: Proxy) -> None:
    release = palm_data.open_release(published, "0.1.0", cache=False)
    opened = [path for _, path in door.requests]
    assert len(opened) == 9  # manifest, table of files, the six tables that every version has, and the status beside it
    assert not any("shards" in path for path in opened)
    sample = release[0]
    door.forget()
    _ = sample.view("MCU_01").window(0, 0, 4, 4).rgb
    first = door.body_bytes
    assert all("/rgb/full" in path or path.endswith("zarr.json") for _, path in door.requests)
    door.forget()
    _ = release[1].view("MCU_01").window(0, 0, 4, 4).rgb
    whole = version_files(published, "0.1.0").size("shards/0001.zarr/rgb/full/c/1/0/0/0/0")
    assert whole is not None
    assert len([path for method, path in door.requests if method == "GET"]) <= 2  # the index, and the tile
    assert door.body_bytes < whole / 3
    assert first > door.body_bytes > 0


def test_one_store_is_read_by_workers_in_the_same_order(tiny: Tiny, published: str, tmp_path: Path) -> None:
    local = palm_data.open_release(tiny.settings.releases).torch(["rgb"]).stream(batch_size=2)
    remote = palm_data.open_release(published, cache=tmp_path).torch(["rgb"]).stream(batch_size=2)
    for ours, theirs in itertools.islice(zip(remote.loader(1), local, strict=True), 4):
        assert ours["camera_id"] == theirs["camera_id"]
        assert (ours["rgb"] == theirs["rgb"]).all()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_worker_says_what_to_do_instead_of_waiting_for_ever(published: str) -> None:
    views = palm_data.open_release(published, cache=False).torch(["rgb"])
    loader = DataLoader(views, num_workers=1, multiprocessing_context="fork")
    with pytest.raises(
        StoreError, match=r'forked from a process that read from a store.*multiprocessing_context="spawn"'
    ):
        next(iter(loader))


def test_a_store_that_fails_some_calls_gives_the_same_pixels(tiny: Tiny, published: str, door: Proxy) -> None:
    door.refuse, door.cut = some(0.15, 1), some(0.1, 2)
    release = palm_data.open_release(published, cache=False)
    for sample in release.subject("0002"):
        row = sample.frame - 1
        assert (sample.rgb == tiny.arrays["0002"]["rgb"][row]).all()
    assert door.struck > 3


def test_a_store_that_is_gone_is_no_damage(published: str, door: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palm_data.store.remote._RETRIES", {"max_retries": 0})
    release = palm_data.open_release(published, cache=False)
    door.refuse = some(1)
    with pytest.raises(StoreError, match="expected to read it, found status 503") as caught:
        _ = release[0].rgb
    assert type(caught.value) is StoreError


def test_what_a_part_lacks_is_told_with_how_to_fetch_it(published: str, tmp_path: Path) -> None:
    fetch(plan_fetch(version_files(published), tmp_path, Selection(subjects=("0001",), modalities=("rgb",))))
    release = palm_data.open_release(tmp_path)
    assert isinstance(release[0].rgb, np.ndarray)
    for read in (lambda: release[0].depth, lambda: release[2].rgb):
        with pytest.raises(StoreError, match=r"was not fetched .*palm fetch 0\.1\.0 --from s3://.* --subjects 000"):
            read()
