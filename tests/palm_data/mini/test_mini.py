import json
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.loader.release import Release
from palm_data.mini.publish import MAX_BYTES, publish_mini
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, tiny_workspace
from palm_data.testing.tiny_labels import UNFITTED
from schemas.errors import ConflictError, StoreError
from schemas.settings import without_labels

PEOPLE = ("0001", "0002", "0003", "0004")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Four people: all in train and val, as in every release as small as this."""
    made = tiny_workspace(tmp_path_factory.mktemp("large"), PEOPLE)
    publish_release("0.1.0", made.workspace, without_labels(made.settings))
    publish_release("0.2.0", made.workspace, made.settings)
    return made


@pytest.fixture(scope="module", params=["0.1.0", "0.2.0"])
def source(request: pytest.FixtureRequest, tiny: Tiny) -> Release:
    return palm_data.open_release(tiny.settings.releases, request.param)


@pytest.fixture(scope="module")
def small(source: Release, tmp_path_factory: pytest.TempPathFactory) -> Release:
    releases = tmp_path_factory.mktemp("mini")
    publish_mini(source, releases)
    return palm_data.open_release(releases)


def test_it_has_one_person_of_each_split_and_is_whole(small: Release) -> None:
    assert {name: len(people) for name, people in small.manifest.splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert len(small) >= 3
    report = verify_release(small.tables.files)
    assert not report.problems
    assert report.bytes < MAX_BYTES
    counts = small.manifest.counts
    assert (counts["subjects"], counts["captures"]) == (3, len(small))
    assert counts["images"] == sum(view.present for sample in small for view in sample.views)
    assert [person.captures for person in small.subjects] == [len(small.subject(one)) for one in small.subject_ids]


def test_every_capture_is_what_it_is_in_the_release_it_was_made_from(small: Release, source: Release) -> None:
    for sample in small:
        theirs = source.capture(sample.subject_id, sample.frame)
        names = ["rgb", "mask", "depth", "normal", *(["hand_mask", "training_mask"] if small.labelled else [])]
        for name in names:
            assert np.array_equal(getattr(sample, name), getattr(theirs, name)), name
        for name in ("vertices", "faces", "uv", "uv_faces", "texture"):
            mine, other = getattr(sample.scan, name), getattr(theirs.scan, name)
            assert (mine is None and other is None) or np.array_equal(mine, other), name
        assert sample.cameras == theirs.cameras
        assert [view.present for view in sample.views] == [view.present for view in theirs.views]
        if small.labelled:
            assert np.array_equal(sample.keypoints.points, theirs.keypoints.points, equal_nan=True)
            assert sample.hand is not None
            assert theirs.hand is not None
            assert sample.hand.fit == theirs.hand.fit
            assert sample.quality == theirs.quality
    assert {gesture["gesture"] for gesture in small.tables["gestures"].to_pylist()} == {one.gesture for one in small}


def test_pixels_keep_their_encoding_byte_for_byte(small: Release, source: Release) -> None:
    for sample in small:
        theirs = source.capture(sample.subject_id, sample.frame).capture.array_index
        mine, group = sample.capture.array_index, f"shards/{sample.subject_id}.zarr/rgb/full/c"
        stored = small.tables.files.read(f"{group}/{mine}/0/0/0/0")
        assert stored == source.tables.files.read(f"{group}/{theirs}/0/0/0/0")


def test_only_good_captures_are_taken(small: Release) -> None:
    if small.labelled:
        assert all(sample.quality.quality_ok for sample in small)
        assert UNFITTED not in [(sample.subject_id, sample.frame) for sample in small]


def test_it_says_where_it_comes_from_and_who_stands_for_a_split_that_was_empty(small: Release, source: Release) -> None:
    assert small.version == source.version
    assert small.manifest.settings["mini.of_merkle_root"] == source.manifest.merkle_root
    assert small.manifest.merkle_root != source.manifest.merkle_root
    text = small.tables.files.read("README.md").decode()
    moved = [one for one in small.subject_ids if small.split_of(one) != source.split_of(one)]
    assert moved
    for one in moved:
        assert f"{one} stands for {small.split_of(one)} here and is in {source.split_of(one)} there" in text
    assert small.tables.files.read("LICENSE") == source.tables.files.read("LICENSE")
    nobody = {"quarantined": [], "subjects": [], "consent_withdrawn": 0}
    assert json.loads(small.tables.files.read("report/left_out.json")) == nobody


def test_the_same_release_gives_the_same_small_one(source: Release, small: Release, tmp_path: Path) -> None:
    assert publish_mini(source, tmp_path).merkle_root == small.manifest.merkle_root


def test_as_many_captures_are_taken_as_fit(tiny: Tiny, tmp_path: Path) -> None:
    source = palm_data.open_release(tiny.settings.releases, "0.2.0")
    one_each = publish_mini(source, tmp_path / "one", captures=1).counts
    assert one_each["captures"] == 3
    fitted = publish_mini(source, tmp_path / "limited", max_bytes=one_each["bytes"]).counts
    assert fitted == one_each, "two of somebody would have been more"
    with pytest.raises(StoreError, match="expected three captures that take at most"):
        publish_mini(source, tmp_path / "none", max_bytes=one_each["bytes"] - 1)
    assert not (tmp_path / "none").exists()


def test_it_does_not_take_the_place_of_the_release(source: Release, tiny: Tiny) -> None:
    with pytest.raises(ConflictError, match="Nothing was changed"):
        publish_mini(source, tiny.settings.releases)


def test_two_people_are_too_few(source: Release, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="expected at least 3 people with a good capture"):
        publish_mini(source.filtered(subjects=["0001", "0003"]), tmp_path)
