import pickle
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.camera.tier import camera_at
from palm_data.loader.release import Release
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.testing.tiny import Tiny, tiny_workspace
from palm_data.testing.tiny_labels import every_other
from schemas.errors import IntegrityError, StoreError
from schemas.tier import FACTORS, Tier

TIERS: tuple[Tier, ...] = ("full", "half", "quarter")
ARRAYS = ("rgb", "mask", "depth", "normal", "hand_mask", "training_mask")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    tiny = tiny_workspace(tmp_path_factory.mktemp("tiers"), tiers=TIERS)
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    return tiny


def at(made: Tiny, tier: Tier) -> Release:
    return palm_data.open_release(made.settings.releases, tier=tier)


def stored(made: Tiny, name: str, tier: Tier) -> np.ndarray:
    """The first subject's array at a tier, as it was written."""
    labels = made.labels["0001"]
    pixels = getattr(labels, name) if hasattr(labels, name) else made.arrays["0001"][name]
    return every_other(pixels, tier)


def test_the_files_table_and_the_manifest_say_which_tiers_there_are(made: Tiny) -> None:
    release = at(made, "full")
    assert release.tiers == TIERS
    assert release.manifest.settings["shard.tiers"] == "full half quarter"
    rows = release.tables._files.to_pylist()
    for row in rows:
        parts = row["path"].split("/")
        tier = parts[3] if len(parts) > 4 and parts[2] in ARRAYS else None
        assert (row["tier"], row["modality"] if tier else None) == (tier, parts[2] if tier else None)
    assert verify_release(made.settings.releases / "1.0.0").passed
    assert "Tiers: full, half, quarter." in (made.settings.releases / "1.0.0" / "README.md").read_text()


@pytest.mark.parametrize("tier", TIERS)
def test_every_array_camera_and_joint_comes_at_the_tier(made: Tiny, tier: Tier) -> None:
    full, sample = at(made, "full")[0], at(made, tier)[0]
    assert sample.cameras == tuple(camera_at(camera, tier) for camera in full.cameras)
    for name in ARRAYS:
        there = getattr(sample, name)
        assert there.shape[1:3] == (sample.cameras[0].height, sample.cameras[0].width)
        for view, one in enumerate(sample.views):
            assert one.camera == sample.cameras[view]
            np.testing.assert_array_equal(getattr(one, name), there[view])
            np.testing.assert_allclose(one.keypoints_px * FACTORS[tier], full.views[view].keypoints_px)
    np.testing.assert_array_equal(sample.rgb, stored(made, "rgb", tier)[0])
    np.testing.assert_array_equal(sample.training_mask, stored(made, "training_mask", tier)[0] > 0)
    np.testing.assert_allclose(sample.depth, stored(made, "depth", tier)[0] * 5e-5, rtol=1e-6)


def test_a_window_of_a_smaller_tier_is_in_its_own_pixels(made: Tiny) -> None:
    view = at(made, "half")[0].view("MCU_02")
    part = view.window(2, 1, 4, 3)
    np.testing.assert_array_equal(part.rgb, view.rgb[1:4, 2:6])
    assert (part.camera.cx, part.camera.cy) == (view.camera.cx - 2, view.camera.cy - 1)
    np.testing.assert_allclose(part.keypoints_px, view.keypoints_px - (2, 1))
    with pytest.raises(StoreError, match="expected one inside an image of 7×5"):
        view.window(0, 0, 8, 3)


def test_what_is_taken_from_a_release_stays_at_its_tier(made: Tiny) -> None:
    half = at(made, "half")
    parts = (half[1:], half.filtered(where={"gesture": half[0].gesture}), half.subject("0001"), pickle.loads(pickle.dumps(half)))  # fmt: skip
    assert [part.tier for part in parts] == ["half"] * 4
    assert parts[3][0].rgb.shape == (3, 5, 7, 3)
    assert half.at_tier("full")[0].rgb.shape == (3, 10, 13, 3)
    assert "at half size" in repr(half)


def test_training_samples_come_at_the_tier(made: Tiny) -> None:
    half = at(made, "half")
    view = half.torch(fields=["rgb", "camera", "keypoints"])[0]
    assert view["rgb"].shape == (5, 7, 3)
    assert view["camera"]["size_px"].tolist() == [7, 5]
    np.testing.assert_allclose(view["camera"]["intrinsics"], half[0].cameras[0].intrinsics(), rtol=1e-6)
    captures = half.torch(fields=["mask"], per="capture")[0]
    assert captures["mask"].shape == (3, 5, 7)
    patch = half.patches(size=4, fields=["rgb", "camera"])[0]
    x, y = patch["corner_px"].tolist()
    np.testing.assert_array_equal(patch["rgb"], half[0].views[0].rgb[y : y + 4, x : x + 4])
    with pytest.raises(StoreError, match="size: expected at most 5"):
        half.patches(size=6)


def test_rays_of_a_smaller_tier_go_through_the_same_world(made: Tiny) -> None:
    bundle = at(made, "half").rays(count=8, fields=["depth", "mask"])[0]
    camera = at(made, "full")[0].cameras[0]
    points = bundle["origins"] + bundle["distance"][:, None] * bundle["directions"]
    in_camera = points.numpy() @ np.asarray(camera.rotation).T + camera.translation
    projected = in_camera @ camera.intrinsics().T
    seen = bundle["depth"].numpy() > 0
    np.testing.assert_allclose(
        (projected[:, :2] / projected[:, 2:])[seen] / 2, bundle["points_px"].numpy()[seen], atol=1e-3
    )  # fmt: skip


def test_the_state_of_a_stream_is_of_one_tier(made: Tiny) -> None:
    full, half = at(made, "full"), at(made, "half")
    assert full.digest() != half.digest()
    state = full.torch().stream(batch_size=2).state_dict()
    with pytest.raises(StoreError):
        half.torch().stream(batch_size=2).load_state_dict(state)


def test_a_tier_that_a_version_lacks_is_refused_with_those_it_has(tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, ("0001",))
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    release = palm_data.open_release(tiny.settings.releases)
    assert (release.tier, release.tiers) == ("full", ("full",))
    with pytest.raises(StoreError, match="tier: expected one of full, found 'half'"):
        palm_data.open_release(tiny.settings.releases, tier="half")
    with pytest.raises(StoreError, match="tier: expected one of full, found 'tiny'"):
        release.at_tier("tiny")  # type: ignore[arg-type]


def test_a_tier_whose_files_are_not_here_is_named_and_the_other_one_is_read(tmp_path: Path) -> None:
    tiny = tiny_workspace(tmp_path, ("0001",), tiers=("full", "half"))
    publish_release("1.0.0", tiny.workspace, tiny.settings)
    folder = tiny.settings.releases / "1.0.0" / "shards" / "0001.zarr"
    for path in folder.glob("*/full/**/*"):
        if path.is_file():
            path.unlink()
    release = palm_data.open_release(tiny.settings.releases, tier="half")
    assert release[0].rgb.any()
    with pytest.raises(IntegrityError, match=r"rgb/full.*etch it"):
        _ = release.at_tier("full")[0].rgb
