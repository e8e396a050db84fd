"""What a training step sees, against the release's own views and the loader's own rays."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

import palm_data
from palm_data.loader.release import Release
from palm_data.loader.withdrawn import WithdrawnWarning
from palm_data.store.places import place_at
from palm_data.store.withdrawals import mark_versions
from palm_data.testing.tiny import Tiny
from palm_model.prior.batches import Batch, Batches
from palm_model.prior.hands import ReleasedHands, released_hands
from schemas.errors import BadInputError, StoreError
from schemas.prior import HeldOut, PriorSettings
from tests.palm_model.prior.released import MODEL, UNFITTED, VIEWS
from tests.palm_model.prior.settings import SMALL, small, with_losses

NUMBERS = 9


def batches(release: Release, hands: ReleasedHands, settings: PriorSettings = SMALL) -> Batches:
    return Batches(release, hands, settings, numbers=NUMBERS)


@pytest.fixture
def copied(coloured: Tiny, tmp_path: Path) -> Path:
    """A releases folder with the version with labels that may be damaged."""
    folder: Path = tmp_path / "releases"
    shutil.copytree(coloured.settings.releases / "0.2.0", folder / "0.2.0")
    for path in (folder / "0.2.0").rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_patches_have_the_loaders_rays_colours_and_normals_of_their_pixels(
    release: Release, hands: ReleasedHands
) -> None:
    found = batches(release, hands, small(bundles=0, patches=3, patch_px=8)).share(2, 0, 1)
    assert (found.patches, found.patch_px, len(found.rays)) == (3, 8, 192)
    every = release.rays(3000, fields=["rgb", "normal", "training_mask"], region="training_mask", around=600)
    met = 0
    for place, row in enumerate(found.hands):
        own = slice(64 * place, 64 * place + 64)
        for index in range(len(every)):
            sample = every[index]
            if hands.row(sample["subject_id"], int(sample["frame"])) != row:
                continue
            turned = found.rays.directions[own].double() @ sample["directions"].double().T
            same = (
                (turned > 1 - 1e-10) & (sample["origins"] - found.rays.origins[own][0]).norm(dim=1).lt(1e-6)
            ).nonzero()
            for one, other in same.tolist():
                mine = 64 * place + one
                met += 1
                torch.testing.assert_close(found.rays.directions[mine], sample["directions"][other], atol=1e-6, rtol=0)
                assert bool(found.mask[mine]) == bool(sample["training_mask"][other])
                colour = sample["rgb"][other] / 255.0 * sample["training_mask"][other]
                torch.testing.assert_close(found.colour[mine], colour, atol=1e-7, rtol=0)
                torch.testing.assert_close(found.normal[mine], sample["normal"][other], atol=1e-6, rtol=0)
    assert met > 60


def test_bundles_are_the_loaders(release: Release, hands: ReleasedHands) -> None:
    settings = small(bundles=1, patches=0)
    made = batches(release, hands, settings)
    loader = release.rays(
        16, fields=["rgb", "normal", "training_mask"], region="training_mask", around=4, seed=settings.seed
    )
    known = {tuple(loader[at]["directions"].flatten().tolist()): at for at in range(len(loader))}
    for step in range(made.learned_from):
        found = made.share(step, 0, 1)
        sample = loader[known[tuple(found.rays.directions.flatten().tolist())]]
        assert torch.equal(found.rays.origins, sample["origins"])
        assert torch.equal(found.normal, sample["normal"])
        assert hands.keys[found.hands[0]] == (sample["subject_id"], int(sample["frame"]))


def test_colour_is_black_where_the_hand_is_not(release: Release, hands: ReleasedHands) -> None:
    found = batches(release, hands, small(patch_px=16)).share(0, 0, 1)
    assert 0 < int(found.mask.sum()) < len(found.mask)
    assert float(found.colour[~found.mask].abs().max()) == 0.0
    assert float(found.colour[found.mask].amax(dim=-1).min()) > 0.1


@pytest.mark.parametrize("kind", ["bundles", "patches"])
def test_every_view_comes_once_before_any_comes_again_and_none_that_is_set_aside(
    kind: str, release: Release, hands: ReleasedHands
) -> None:
    made = batches(release, hands, small(**{"bundles": 0, "patches": 0, kind: 1}))
    assert len(made.views) == VIEWS
    assert len(made.validation) == 1
    assert made.learned_from == VIEWS - 1
    (aside,) = (one.rays.origins[0] for one in made.validation_batches(4))
    row = hands.row(made.validation[0].subject_id, made.validation[0].frame)
    for epoch in range(2):
        found = [made.share(epoch * (VIEWS - 1) + step, 0, 1) for step in range(VIEWS - 1)]
        seen = Counter((one.hands[0], *(one.rays.origins[0] * 1e5).round().int().tolist()) for one in found)
        assert len(seen) == VIEWS - 1
        assert (row, *(aside * 1e5).round().int().tolist()) not in seen
    assert (UNFITTED[0], UNFITTED[1]) not in hands.keys


def test_a_step_is_the_same_batch_however_it_is_shared(release: Release, hands: ReleasedHands) -> None:
    made = batches(release, hands)

    def table(parts: int) -> list[list[float]]:
        shares = [made.share(5, part, parts) for part in range(parts)]
        rows = [
            torch.cat(
                [one.rays.origins, one.rays.directions, one.colour, one.uniform, _row(one)], dim=-1
            )
            for one in shares
        ]  # fmt: skip
        assert sum(one.patches for one in shares) == 2
        return sorted(torch.cat(rows).tolist())

    whole = table(1)
    assert len(whole) == SMALL.training.rays == 96
    for parts in (2, 3, 4, 6):
        assert table(parts) == whole, parts


def test_random_numbers_are_each_rays_own(release: Release, hands: ReleasedHands) -> None:
    made = batches(release, hands)
    numbers = torch.cat([made.share(step, 0, 1).uniform for step in range(2)])
    assert numbers.shape == (192, NUMBERS)
    assert len(numbers.unique()) == numbers.numel()
    assert 0 <= float(numbers.min()) < float(numbers.max()) < 1


def test_a_camera_and_a_gesture_that_are_held_out_are_never_drawn(release: Release, hands: ReleasedHands) -> None:
    gesture = release[0].gesture
    settings = SMALL.model_copy(update={"held_out": HeldOut(cameras=("MCU_02",), gestures=(gesture,))})
    made = batches(release, hands, settings)
    assert {key.camera_id for key in made.views} == {"MCU_01", "MCU_03"}
    gestures = {(one.subject_id, one.frame): one.gesture for one in release}
    assert gesture not in {gestures[key.subject_id, key.frame] for key in made.views}
    centre = torch.tensor(release[0].every_view[1].camera.centre(), dtype=torch.float32)
    for step in range(4):
        found = made.share(step, 0, 1)
        assert gesture not in {gestures[hands.keys[row]] for row in found.hands}
        assert float((found.rays.origins - centre).norm(dim=1).min()) > 0.01


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ({"cameras": ("MCU_09",)}, "held-out cameras.*MCU_09"),
        ({"cameras": ("MCU_01", "MCU_02", "MCU_03")}, "some, but not all"),
        ({"gestures": ("wave",)}, "held-out gestures.*wave"),
    ],
)
def test_what_is_held_out_must_be_there(
    held_out: dict[str, tuple[str, ...]], said: str, release: Release, hands: ReleasedHands
) -> None:
    with pytest.raises(BadInputError, match=f"(?s){said}"):
        batches(release, hands, SMALL.model_copy(update={"held_out": HeldOut.model_validate(held_out)}))


def test_views_that_a_release_was_opened_without_are_not_drawn(coloured: Tiny, hands: ReleasedHands) -> None:
    some = palm_data.open_release(coloured.settings.releases, "0.2.0", views=["MCU_03"])
    made = batches(some, hands)
    assert {key.camera_id for key in made.views} == {"MCU_03"}
    assert len(made.views) == 5


def test_with_the_scans_mask_captures_without_a_hand_shift_nothing(release: Release, hands: ReleasedHands) -> None:
    made = batches(release, hands, small(region="mask", quality_ok=False, bundles=1, patches=0))
    assert len(made.views) == VIEWS + 2
    assert made.learned_from == VIEWS - 1
    aside = made.validation[0]
    for step in range(VIEWS - 1):
        found = made.share(step, 0, 1)
        assert found.skipped == 0
        key = hands.keys[found.hands[0]]
        if key == (aside.subject_id, aside.frame):
            camera = next(one for one in release.capture(*key).cameras if one.camera_id == aside.camera_id)
            assert float((found.rays.origins[0] - torch.tensor(camera.centre())).norm()) > 0.01


def test_damaged_views_are_left_out_and_counted_also_of_those_set_aside(
    copied: Path, hands: ReleasedHands, caplog: pytest.LogCaptureFixture
) -> None:
    sound = batches(palm_data.open_release(copied, "0.2.0"), hands)
    aside = sound.validation[0]
    for path in (copied / "0.2.0" / "shards" / f"{aside.subject_id}.zarr" / "rgb" / "full").rglob("*"):
        if path.is_file() and path.name.isdigit():
            content = bytearray(path.read_bytes())
            for offset, size in np.frombuffer(content[-4 - 16 * 3 : -4], dtype="<u8").reshape(-1, 2).tolist():
                content[offset + size // 2] ^= 1  # each of the three views' tile
            path.write_bytes(content)
    made = batches(palm_data.open_release(copied, "0.2.0"), hands)
    assert made.validation == sound.validation
    assert list(made.validation_batches(8)) == []
    found = [made.share(step, 0, 1) for step in range(6)]
    assert sum(one.skipped for one in found) > 0
    assert {len(one.rays) for one in found} == {SMALL.training.rays}
    assert aside.subject_id not in {hands.keys[row][0] for one in found for row in one.hands}
    assert "left out, another is taken" in caplog.text


def test_a_release_that_cannot_teach_says_so_before_training(
    coloured: Tiny, release: Release, hands: ReleasedHands, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = palm_data.open_release(coloured.settings.releases, "0.1.0")
    with pytest.raises(StoreError, match="labels"):
        released_hands(bare, MODEL, SMALL.skinning)
    with pytest.raises(StoreError, match="labels"):
        batches(bare, hands)
    with pytest.raises(BadInputError, match=r"(?s)at least 2 people with fitted hands.*found 1"):
        batches(release.subject("0001"), hands)
    assert batches(release.subject("0001"), hands, small(least_subjects=1)).learned_from == 5
    plain = Batches._batch

    def without_normals(self: Batches, *args: object) -> Batch:
        found = plain(self, *args)  # type: ignore[arg-type]
        found.normal.zero_()
        return found

    monkeypatch.setattr(Batches, "_batch", without_normals)
    with pytest.raises(BadInputError, match=r"(?s)normals of the scans.*--without normal"):
        batches(release, hands)
    assert batches(release, hands, with_losses(SMALL, normal=None)).learned_from == VIEWS - 1


def test_nothing_of_a_person_who_withdrew_is_drawn(copied: Path) -> None:
    mark_versions(place_at(copied), ["0003"])
    with pytest.warns(WithdrawnWarning):
        release = palm_data.open_release(copied, "0.2.0")
    hands = released_hands(release, MODEL, SMALL.skinning)
    assert hands.subject_ids == ("0001", "0002")
    made = batches(release, hands)
    assert {key.subject_id for key in made.views} == {"0001", "0002"}
    assert {hands.keys[row][0] for step in range(4) for row in made.share(step, 0, 1).hands} <= {"0001", "0002"}


def _row(found: Batch) -> torch.Tensor:
    return torch.tensor(np.asarray(found.hands), dtype=torch.float32)[found.rays.pose][:, None]
