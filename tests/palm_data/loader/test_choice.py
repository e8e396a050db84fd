"""Releases opened for some views and fields only, and conditions typed as text."""

import pickle

import numpy as np
import pytest

import palm_data
from palm_data.loader.release import Release
from palm_data.testing.tiny import Tiny
from palm_data.testing.tiny_labels import CAMERAS, UNFITTED
from schemas.errors import StoreError

LAST = CAMERAS[-1]


def opened(seen: Tiny, **options: object) -> Release:
    return palm_data.open_release(seen.settings.releases, "0.2.0", **options)  # type: ignore[arg-type]


def test_samples_show_the_views_that_were_asked_for(seen: Tiny, seen_release: Release) -> None:
    release = pickle.loads(pickle.dumps(opened(seen, views=[LAST])))
    for one in (release[1:2][0], release.subject("0001").filtered(where="frame == 2")[0]):
        whole = seen_release.capture(one.subject_id, one.frame)
        assert [view.camera_id for view in one.views] == [LAST]
        assert [camera.camera_id for camera in one.cameras] == [LAST]
        np.testing.assert_array_equal(one.rgb, whole.rgb[-1:])
        np.testing.assert_array_equal(one.views[0].depth, whole.view(LAST).depth)
        with pytest.raises(StoreError, match=f"expected one of {LAST}, found '{CAMERAS[0]}'"):
            one.view(CAMERAS[0])


@pytest.mark.parametrize("make", ["torch", "patches", "rays"])
def test_datasets_draw_from_the_views_that_were_asked_for(seen: Tiny, seen_release: Release, make: str) -> None:
    size = {"patches": [4], "rays": [3], "torch": []}[make]
    limited = getattr(opened(seen, views=[LAST]), make)(*size)
    told = getattr(seen_release, make)(*size, cameras=[LAST])
    assert len(limited) == len(told) > 0
    assert {limited[at]["camera_id"] for at in range(len(limited))} == {LAST}
    np.testing.assert_array_equal(limited[1]["rgb"], told[1]["rgb"])


def test_datasets_give_the_fields_that_were_asked_for(seen: Tiny) -> None:
    release = opened(seen, fields=["mask", "hand"])
    assert {"mask", "hand"} <= set(release.torch()[0])
    assert "rgb" not in release.torch()[0]
    assert "hand" in release.patches(4)[0]
    assert "rgb" not in release.patches(4)[0]
    assert {"mask", "origins"} <= set(release.rays(3)[0])
    assert "rgb" not in release.rays(3)[0]
    assert "rgb" in release.torch(fields=["rgb"])[0]
    stacked = opened(seen, views=[LAST], fields=["mask"]).torch(per="capture")[0]
    assert stacked["mask"].shape[0] == stacked["present"].shape[0] == 1


def test_a_condition_may_be_typed(seen: Tiny, seen_release: Release) -> None:
    good = opened(seen, where="quality_ok and fit_mm < 6 and gesture != 'none'")
    assert [(s.subject_id, s.frame) for s in good] == [
        (s.subject_id, s.frame)
        for s in seen_release
        if s.quality.quality_ok and s.quality.fit_mm is not None and s.quality.fit_mm < 6
    ]
    assert 0 < len(good) < len(seen_release)
    assert [(s.subject_id, s.frame) for s in seen_release.filtered(where="fit_mm is None")] == [UNFITTED]
    assert opened(seen, where="split == 'train'").subject_ids == opened(seen, split="train").subject_ids


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": ["MCU_99"]}, "cameras: expected some of MCU_01"),
        ({"views": []}, "cameras: expected some of MCU_01"),
        ({"fields": ["colour"]}, "fields: expected some of rgb"),
        ({"where": "colour > 1"}, "where: expected columns among subject_id"),
        ({"where": "gesture < 1"}, "where: expected a condition on"),
        ({"where": "gesture"}, "where: expected a condition on"),
    ],
)
def test_what_the_version_has_not_is_refused(seen: Tiny, options: dict[str, object], message: str) -> None:
    with pytest.raises(StoreError, match=message):
        opened(seen, **options)


def test_labels_are_not_looked_for_where_there_are_none(seen: Tiny, bare_release: Release) -> None:
    with pytest.raises(StoreError, match=r"where: fit_mm: expected a version with labels.*0\.2\.0 has labels"):
        bare_release.filtered(where="frame > 0 and fit_mm < 6")
    with pytest.raises(StoreError, match="hand: expected a version with labels"):
        palm_data.open_release(seen.settings.releases, "0.1.0", fields=["hand"])
