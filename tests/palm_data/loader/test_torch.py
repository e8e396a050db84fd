"""Whole views and captures as torch takes them."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from palm_data.loader.fields import FIELDS
from palm_data.loader.release import Release
from palm_data.testing.tiny import Tiny
from palm_data.testing.tiny_labels import CAMERAS, HEIGHT, MISSING_JOINT, UNFITTED, WIDTH
from schemas.errors import StoreError

ABSENT = (2, "MCU_02")


def test_views_are_the_delivered_ones_in_order(seen_release: Release) -> None:
    dataset = seen_release.torch(fields=["mask"])
    found = [(one["subject_id"], one["frame"], one["camera_id"]) for one in (dataset[at] for at in range(len(dataset)))]
    expected = [(s.subject_id, s.frame, v.camera_id) for s in seen_release for v in s.views]
    assert found == [one for one in expected if one[1:] != ABSENT]
    assert len(seen_release.torch(fields=["mask"], absent=True)) == len(expected)


def test_a_view_has_every_field_as_the_release_has_it(seen_release: Release) -> None:
    dataset = seen_release.torch(fields=FIELDS)
    sample = seen_release[0]
    for at, view in enumerate(sample.views):
        found = dataset[at]
        for name in ("rgb", "mask", "depth", "normal", "hand_mask", "training_mask"):
            assert torch.equal(found[name], torch.from_numpy(getattr(view, name)))
        np.testing.assert_allclose(found["camera"]["intrinsics"], view.camera.intrinsics(), rtol=1e-6)
        np.testing.assert_allclose(found["camera"]["world_to_camera"], view.camera.world_to_camera(), rtol=1e-6)
        assert found["camera"]["size_px"].tolist() == [WIDTH, HEIGHT]
        np.testing.assert_allclose(found["keypoints"]["points_px"], view.keypoints_px, rtol=1e-6)
        np.testing.assert_allclose(found["keypoints"]["points"], sample.keypoints.points, rtol=1e-6)
        assert found["keypoints"]["points"][MISSING_JOINT].isnan().all()
        assert sample.hand is not None
        np.testing.assert_allclose(found["hand"]["hand_pose"], sample.hand.hand_pose, rtol=1e-6)
        assert (bool(found["hand"]["fitted"]), bool(found["quality"]["ok"])) == (True, True)
        assert list(found)[4:] == list(FIELDS)


def test_a_capture_without_a_hand_says_so(seen_release: Release) -> None:
    subject_id, frame = UNFITTED
    only = seen_release.subject(subject_id).filtered(where={"frame": frame})
    for per in ("view", "capture"):
        found = only.torch(fields=["hand", "quality"], per=per)[0]  # type: ignore[arg-type]
        assert not found["hand"]["fitted"]
        assert all(value.isnan().all() for name, value in found["hand"].items() if name != "fitted")
        assert not found["quality"]["ok"]


def test_a_capture_stacks_its_views(seen_release: Release) -> None:
    dataset = seen_release.torch(fields=FIELDS, per="capture")
    assert len(dataset) == len(seen_release)
    found, sample = dataset[-1], seen_release[-1]
    for name in ("rgb", "mask", "depth", "normal", "hand_mask", "training_mask"):
        assert torch.equal(found[name], torch.from_numpy(getattr(sample, name)))
    assert found["present"].tolist() == [view.present for view in sample.views] == [True, False, True]
    assert found["camera"]["intrinsics"].shape == (3, 3, 3)
    assert found["keypoints"]["points"].shape == (21, 3)
    assert found["keypoints"]["points_px"].shape == (3, 21, 2)
    two = seen_release.torch(fields=["rgb"], per="capture", cameras=["MCU_03", "MCU_01"])[0]["rgb"]
    assert torch.equal(two, torch.from_numpy(seen_release[0].rgb[[0, 2]]))


def test_cameras_may_be_chosen(seen_release: Release) -> None:
    dataset = seen_release.torch(fields=["camera"], cameras=["MCU_03"])
    assert {dataset[at]["camera_id"] for at in range(len(dataset))} == {"MCU_03"}
    assert len(dataset) == len(seen_release)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("per", ["view", "capture"])
def test_the_default_collate_takes_every_field_with_workers(seen_release: Release, per: str) -> None:
    dataset = seen_release.torch(fields=FIELDS, per=per)  # type: ignore[arg-type]
    first, *_ = list(DataLoader(dataset, batch_size=4, num_workers=2))
    expected = [dataset[at] for at in range(4)]
    assert torch.equal(first["rgb"], torch.stack([one["rgb"] for one in expected]))
    betas = torch.stack([one["hand"]["betas"] for one in expected])
    torch.testing.assert_close(first["hand"]["betas"], betas, rtol=0, atol=0, equal_nan=True)
    assert first["frame"].tolist() == [one["frame"] for one in expected]
    assert first["subject_id"] == [one["subject_id"] for one in expected]


def test_positions_beyond_the_end_are_refused_so_that_iterating_stops(seen_release: Release) -> None:
    dataset = seen_release.torch(fields=["quality"])
    assert dataset[-1]["camera_id"] == CAMERAS[-1]
    for at in (len(dataset), -len(dataset) - 1):
        with pytest.raises(IndexError, match=f"expected one below {len(dataset)}, found {at}"):
            dataset[at]


def test_what_is_not_there_is_told(seen_release: Release, bare_release: Release) -> None:
    with pytest.raises(StoreError, match=r"fields: expected some of rgb, mask, .*found 'colour'"):
        seen_release.torch(fields=["rgb", "colour"])
    with pytest.raises(StoreError, match=r"fields: expected some of .*found 'rgb'"):
        seen_release.torch(fields="rgb")
    with pytest.raises(StoreError, match=r"fields: expected some of .*found \(\)"):
        seen_release.torch(fields=())
    with pytest.raises(StoreError, match="cameras: expected some of MCU_01, MCU_02, MCU_03, found"):
        seen_release.torch(cameras=["MCU_09"])
    with pytest.raises(StoreError, match="per: expected view or capture, found 'frame'"):
        seen_release.torch(per="frame")  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"hand: expected a version with labels, found 0\.1\.0"):
        bare_release.torch(fields=["hand"])
    assert bare_release.torch()[0]["rgb"].shape == (HEIGHT, WIDTH, 3)


def test_a_release_is_opened_and_read_without_torch_until_torch_is_asked_for(seen: Tiny) -> None:
    script = (
        "import sys; import palm_data; "
        f"release = palm_data.open_release({str(seen.settings.releases)!r}); "
        "release[0].views[0].window(1, 1, 4, 4).rgb; before = 'torch' in sys.modules; "
        "factory = ('dagster', 'cv2', 'open3d', 'numba', 'jaxtyping', 'scipy', 'smplx', 'mitsuba', 'matplotlib'); "
        "sys.modules.update(dict.fromkeys(factory)); "
        "release.patches(4)[0], release.rays(3)[0], release.torch()[0]; print(before, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", script]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert found.split() == ["False", "True"]
