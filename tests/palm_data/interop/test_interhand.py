"""InterHand2.6M imported: every number where the dataset's own formulas have it."""

import json
from pathlib import Path

import numpy as np
import pytest

import palm_data
from palm_data.camera.pinhole import project
from palm_data.hand.joints import JointOrder, to_order
from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.interop.interhand_import import import_interhand
from palm_data.interop.interhand_source import Wanted
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from schemas.errors import BadInputError, StoreError
from schemas.settings import Settings
from tests.palm_data.interop.interhand import (
    CAMERAS,
    FRAMES,
    INVALID,
    LEFT,
    MISSING,
    UNFITTED,
    project_their_way,
    write_interhand,
)

RIGHT_ID, LEFT_ID = "3020", "3021"
ALL = Wanted(every=1, left="mirror")


def run(root: Path, made: Path, wanted: Wanted = ALL, **settings: object) -> Release:
    chosen = Settings(releases=made / "releases", workspace=made / "workspace", hand_model=SHIPPED_MODEL)
    chosen = chosen.model_copy(update=settings)
    done = import_interhand(root, "test", "1.0.0", Workspace(chosen.workspace), chosen, wanted=wanted)
    assert verify_release(chosen.releases / "1.0.0").passed
    assert done.manifest.version == "1.0.0"
    return palm_data.open_release(chosen.releases)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("interhand")
    write_interhand(folder)
    return folder


@pytest.fixture(scope="module")
def release(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return run(root, tmp_path_factory.mktemp("made"))


def annotated(root: Path, name: str) -> dict[str, dict[str, dict[str, object]]]:
    content: dict[str, dict[str, dict[str, object]]] = json.loads(
        (root / "annotations" / "test" / f"InterHand2.6M_test_{name}.json").read_text()
    )
    return content


def sequence(sample: Sample) -> str:
    return next(name for name in FRAMES if name.lower() == sample.gesture)


def test_a_capture_is_a_subject_and_left_hands_are_another(release: Release) -> None:
    assert release.subject_ids == (RIGHT_ID, LEFT_ID)
    assert [sample.capture.raw_frame for sample in release.subject(RIGHT_ID)] == FRAMES["ROM03_RT_No_Occlusion"]
    assert [sample.capture.raw_frame for sample in release.subject(LEFT_ID)] == FRAMES[LEFT]
    assert {sample.split for sample in release} == {"test"}
    assert release[0].subject.sex is None


def test_joints_are_where_the_dataset_projects_them(root: Path, release: Release) -> None:
    cameras, joints = annotated(root, "camera")["2"], annotated(root, "joint_3d")["2"]
    for sample in release:
        left = sample.subject_id == LEFT_ID
        half = slice(21, 42) if left else slice(0, 21)
        points_mm = np.array(joints[str(sample.capture.raw_frame)]["world_coord"])[half]
        ours = to_order(sample.keypoints.points, JointOrder.INTERHAND)
        for view in sample.views:
            name = view.camera_id.removeprefix("IH_")
            theirs = project_their_way({part: one[name] for part, one in cameras.items()}, points_mm) + 0.5
            if left:
                theirs[:, 0] = CAMERAS[name][0] - theirs[:, 0]
            found, _ = project(view.camera, ours)
            there = np.isfinite(ours[:, 0])
            np.testing.assert_allclose(found[there], theirs[there], atol=1e-9)
            if view.present:
                columns, rows = np.floor(found[there]).astype(int).T
                assert (view.rgb[rows, columns] == 255).all()


def test_images_lie_at_the_upper_left_and_left_ones_are_mirrored(release: Release) -> None:
    for sample in (release.subject(RIGHT_ID)[1], release.subject(LEFT_ID)[0]):
        for view in sample.views:
            width, height = CAMERAS[view.camera_id.removeprefix("IH_")]
            assert view.rgb.shape == (96, 96, 3)
            assert (view.rgb[:height, :width] > 0).any(axis=2).all()
            assert not view.rgb[height:].any()
            assert not view.rgb[:, width:].any()
            red = np.array([200, 0, 0])
            column = 1 if sample.subject_id == RIGHT_ID else width - 2
            assert (view.rgb[0, column] == red).all()


def test_fits_pose_the_hand_onto_its_joints(release: Release) -> None:
    model = load_hand_model()
    fitted = [sample for sample in release if sample.hand is not None]
    assert len(fitted) == len(release) - 1
    for sample in fitted:
        assert sample.hand is not None
        expected, found = sample.keypoints.points, sample.hand.joints(model)
        there = np.isfinite(expected[:, 0])
        np.testing.assert_allclose(found[there], expected[there], atol=1e-6)


def test_what_is_missing_is_missing_and_said(release: Release) -> None:
    samples = {(sequence(one), one.capture.raw_frame): one for one in release}
    ours = to_order(samples[INVALID[:2]].keypoints.points, JointOrder.INTERHAND)
    assert np.isnan(ours[INVALID[2]]).all()
    assert np.isfinite(np.delete(ours, INVALID[2], axis=0)).all()
    assert samples[UNFITTED].hand is None
    assert not samples[MISSING[:2]].view(f"IH_{MISSING[2]}").present
    assert not samples[INVALID[:2]].quality.quality_ok
    assert "20" in samples[INVALID[:2]].quality.reasons
    with pytest.raises(StoreError, match="mask: expected an array"):
        release[0].mask  # noqa: B018
    with pytest.raises(StoreError, match="scan: expected one"):
        release[0].scan  # noqa: B018
    assert release[1].keypoints.ray_angle_deg.max() > 60


def test_only_what_is_wanted_is_imported(root: Path, tmp_path: Path) -> None:
    wanted = Wanted(every=2, cameras=["400262", "400263"])
    release = run(root, tmp_path, wanted, hand_model=None)
    assert release.subject_ids == (RIGHT_ID,)
    assert [sample.capture.raw_frame for sample in release] == [12, 24]
    assert [view.camera_id for view in release[0].views] == ["IH_400262", "IH_400263"]
    assert all(sample.hand is None for sample in release)
    report = json.loads((tmp_path / "releases" / "1.0.0" / "report" / "import.json").read_text())
    assert "no hand model was named" in report["met"][0]


def test_importing_again_changes_nothing(root: Path, tmp_path: Path) -> None:
    assert run(root, tmp_path).manifest == run(root, tmp_path).manifest


def break_(root: Path, name: str, change: object) -> None:
    path = root / "annotations" / "test" / f"InterHand2.6M_test_{name}.json"
    content = json.loads(path.read_text())
    change(content)  # type: ignore[operator]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("camera", lambda c: c["2"]["camrot"].update({"400262": np.zeros((3, 3)).tolist()}), "a rotation matrix"),
        ("camera", lambda c: c["2"].pop("focal"), r"2\.focal\.400262: expected numbers"),
        ("camera", lambda c: c["2"]["focal"].update({"400262": [0, 1]}), "positive focal lengths"),
        ("joint_3d", lambda c: c["2"].pop("12"), r"2\.12\.world_coord"),
        ("joint_3d", lambda c: c["2"]["12"].update({"world_coord": [[1, 2]]}), r"shape \(42, 3\)"),
        ("MANO_NeuralAnnot", lambda c: c["2"]["12"]["right"].update({"pose": ["a"] * 48}), "right.pose: expected"),
        ("data", lambda c: c["images"][0].update({"file_name": "../../../x.png"}), r"images\[0\].file_name"),
        ("data", lambda c: c["images"][0].update({"camera": "4"}), r"images\[0\].camera: expected six digits"),
        ("data", lambda c: c["images"][0].update({"width": -1}), r"images\[0\].width: expected a whole number"),
        ("data", lambda c: c.update({"images": 3}), "images: expected a list"),
        ("data", lambda c: c["images"].clear(), "images: expected frames of one hand"),
    ],
)
def test_what_is_not_the_dataset_is_refused_with_file_and_field(
    tmp_path: Path, name: str, change: object, message: str
) -> None:
    write_interhand(tmp_path / "in")
    break_(tmp_path / "in", name, change)
    with pytest.raises(BadInputError, match=rf"InterHand2.6M_test_{name}.json.*{message}"):
        run(tmp_path / "in", tmp_path)
