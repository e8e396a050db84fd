"""An avatar on disk, in another light and following somebody else's motion: still the same person."""

import functools
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from palm_model.avatar.avatar import Avatar, personalise
from palm_model.avatar.checkpoint import load_avatar, write_avatar
from palm_model.avatar.environment import northern_sky
from palm_model.avatar.fit import weights_digest
from palm_model.avatar.motion import in_place, read_motion
from palm_model.avatar.pictures import avatar_picture, relight_views
from palm_model.prior.canonical import canonical_joints
from palm_model.prior.lat_long import LatLong
from palm_model.prior.pbr_branch import branch_of
from schemas.errors import BadInputError, IntegrityError, SettingsError
from tests.palm_model.avatar.scene import FEW_STEPS, FIT, PORTRAIT, photographed, small_prior
from tests.palm_model.prior.hands import MODEL

LIT_STEPS = FEW_STEPS.model_copy(update={"steps": 6, "pbr_from": 2, "pose_from": 3})


@functools.cache
def avatar(lit: bool = False) -> Avatar:
    prior = small_prior(lit=lit)
    if lit:
        branch = branch_of(prior.network)
        assert branch is not None
        with torch.no_grad():  # the studio's light is nothing like a neutral one
            for light in branch.parameters():
                light[:, 4:] = torch.tensor([9.0, 0.1, 0.1])
    return personalise(prior, [photographed()], LIT_STEPS, prior_sha256="1" * 64)


def motion(path: Path, **changes: object) -> Path:
    columns: dict[str, object] = {
        "subject_id": ["0009"] * 3,
        "global_orient": [list(FIT.global_orient)] * 3,
        "hand_pose": [[bend] * 45 for bend in (0.0, 0.1, 0.2)],
        "betas": [[2.0, -2.0, *[0.5] * 8]] * 3,
        "transl": [list(FIT.transl)] * 3,
    }
    kept = {name: column for name, column in (columns | changes).items() if column is not None}
    pq.write_table(pa.table(kept), path)
    return path


def test_a_file_holds_the_whole_avatar(tmp_path: Path) -> None:
    made = avatar(lit=True)
    write_avatar(tmp_path, made)
    read = load_avatar(tmp_path, MODEL)
    assert weights_digest(read.network) == weights_digest(made.network)
    assert read.card == made.card
    assert torch.equal(read.betas, made.betas)
    assert torch.equal(read.photographed.transl, made.photographed.transl)
    views = [one.view(PORTRAIT, one.posed(one.photographed)) for one in (made, read)]
    np.testing.assert_array_equal(views[0].rgb, views[1].rgb)
    assert views[0].pbr_rgb is not None
    assert views[1].pbr_rgb is not None
    np.testing.assert_array_equal(views[0].pbr_rgb, views[1].pbr_rgb)
    first = (tmp_path / "avatar.safetensors").read_bytes()
    write_avatar(tmp_path, read)
    assert (tmp_path / "avatar.safetensors").read_bytes() == first


def test_a_file_that_is_no_avatar_is_refused(tmp_path: Path) -> None:
    path = write_avatar(tmp_path, avatar())
    whole = path.read_bytes()
    for content in (whole[:-4], b"", b"{}", whole.replace(b"photos.transl", b"photos.transX")):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"avatar\.safetensors.*palm personalize"):
            load_avatar(tmp_path, MODEL)
    spoiled = avatar().card.model_copy(update={"hand_model": "a" * 64})
    other = Avatar(avatar().network, avatar().betas, avatar().photographed, spoiled, MODEL)
    write_avatar(tmp_path, other)
    with pytest.raises(IntegrityError, match="hand model: expected aaaa"):
        load_avatar(tmp_path, MODEL)


def test_no_photograph_is_in_the_file(tmp_path: Path) -> None:
    content = write_avatar(tmp_path, avatar()).read_bytes()
    pixels = photographed().rgb
    row = int(np.abs(np.diff(pixels.astype(int).sum(axis=2), axis=1)).sum(axis=1).argmax())
    assert pixels[row].tobytes() not in content
    assert len(content) < 2_000_000


def test_the_light_begins_neutral_and_is_learned() -> None:
    branch = branch_of(avatar(lit=True).network)
    assert branch is not None
    fitted = branch.light_of(0).energy()
    assert float(fitted.max() / fitted.min()) < 1.5  # the prior's own is ninety times as red as green
    start = branch_of(small_prior(lit=True).network)
    assert start is not None
    assert not torch.equal(branch.light_of(0).lobes, start.light_of(0).lobes)


def test_it_is_lit_by_the_map_that_was_chosen(tmp_path: Path) -> None:
    red, blue = (
        LatLong(torch.tensor(colour).expand(4, 8, 3).contiguous()) for colour in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )
    person = avatar(lit=True)
    poses = person.photographed
    for name, light, channel in (("red", red, 2), ("blue", blue, 0)):
        (path,) = relight_views(person, PORTRAIT, poses, light, tmp_path / name)
        image = cv2.imread(str(path))
        assert image is not None
        assert image.shape == (48, 36, 3)
        sums = image.reshape(-1, 3).sum(axis=0)
        assert sums[channel] > 0
        assert sums.sum() == sums[channel]


def test_a_motion_is_followed_in_the_persons_own_shape(tmp_path: Path) -> None:
    person = avatar()
    poses = person.posed(read_motion(motion(tmp_path / "poses.parquet"), MODEL, person.betas))
    assert torch.equal(poses.betas, person.betas.expand(3, 10))
    own = (FIT.betas, (2.0, -2.0, *[0.5] * 8))
    lengths = [  # the first bone of the middle finger, which no pose changes
        float((joints[4] - joints[5]).norm())
        for joints in (canonical_joints(MODEL, torch.tensor([betas]))[0] for betas in own)
    ]
    joints = canonical_joints(MODEL, poses.betas)
    moved = torch.einsum("pbij,pbj->pbi", poses.bones[..., :3, :3], joints) + poses.bones[..., :3, 3]
    found = (moved[:, 4] - moved[:, 5]).norm(dim=1)
    torch.testing.assert_close(found, torch.full((3,), lengths[0]), atol=1e-5, rtol=0)
    assert abs(lengths[0] - lengths[1]) > 5e-4


def test_the_wrist_is_where_the_motions_was(tmp_path: Path) -> None:
    person = avatar()
    poses = person.posed(read_motion(motion(tmp_path / "poses.parquet"), MODEL, person.betas))
    theirs = canonical_joints(MODEL, torch.tensor([[2.0, -2.0, *[0.5] * 8]]))[0, 0] + torch.tensor(FIT.transl)
    joints = canonical_joints(MODEL, poses.betas)
    moved = torch.einsum("pij,pj->pi", poses.bones[:, 0, :3, :3], joints[:, 0]) + poses.bones[:, 0, :3, 3]
    torch.testing.assert_close(moved, theirs.expand(3, 3), atol=1e-5, rtol=0)
    held = in_place(read_motion(tmp_path / "poses.parquet", MODEL, person.betas), person.photographed)
    assert torch.equal(held.transl, person.photographed.transl.expand(3, 3))
    assert float(held.hand_pose[2, 0]) == pytest.approx(0.2)


def test_a_motion_becomes_numbered_pictures_and_a_film(tmp_path: Path) -> None:
    person = avatar(lit=True)
    poses = read_motion(motion(tmp_path / "poses.parquet"), MODEL, person.betas)
    small = PORTRAIT.model_copy(update={"width": 18, "height": 24, "fx": 40.0, "fy": 40.0, "cx": 9.0, "cy": 12.0})
    written = relight_views(person, small, poses, northern_sky(), tmp_path / "out")
    assert [path.name for path in written] == [f"relit_{number:06d}.png" for number in (1, 2, 3)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["motion.mp4", *(p.name for p in written)]
    film = cv2.VideoCapture(str(tmp_path / "out/motion.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    film.release()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subject_id": ["0001", "0001", "0002"]}, "subject_id: expected one person, found 0001, 0002"),
        ({"transl": None}, "transl: expected a column of 3 numbers"),
        ({"hand_pose": [[0.0] * 44] * 3}, "hand_pose: expected 45 numbers in every row"),
        ({"transl": [[0.0, 0.0, float("nan")]] * 3}, "transl: expected finite numbers"),
    ],
)
def test_a_table_that_is_no_motion_is_refused(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(BadInputError, match=told):
        read_motion(motion(tmp_path / "poses.parquet", **changes), MODEL, torch.zeros(1, 10))
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(BadInputError, match="file: expected a Parquet table"):
        read_motion(tmp_path / "text.parquet", MODEL, torch.zeros(1, 10))


def test_without_the_branch_that_shades_nothing_is_relit(tmp_path: Path) -> None:
    person = avatar()
    with pytest.raises(SettingsError, match="trained without it"):
        relight_views(person, PORTRAIT, person.photographed, northern_sky(), tmp_path)
    assert not list(tmp_path.iterdir())
    bare, lit = avatar_picture(person, photographed()), avatar_picture(avatar(lit=True), photographed())
    assert lit.shape[0] > 1.5 * bare.shape[0]
