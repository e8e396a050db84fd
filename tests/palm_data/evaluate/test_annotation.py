"""Labels whose errors are known are given exactly these errors."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from palm_data.capture.index import load_index, subject_digest
from palm_data.evaluate.annotation import evaluate_annotation, refused_subjects
from palm_data.hand.fits import CONVENTION_FILE, HAND_POSE, HANDS_FILE
from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.registration.parameters import ORIENT, POSE, TRANSL
from palm_data.simulate.faults.record import FaultsTruth, FaultyPerson, write_faults
from palm_data.simulate.truth import write_arrays
from palm_data.store.tables import write_rows
from palm_data.triangulation.keypoints import KEYPOINTS_2D, KEYPOINTS_2D_FILE, KEYPOINTS_3D, KEYPOINTS_3D_FILE
from palm_model.detector.checkpoint import write_checkpoint
from pipelines.cli.main import app
from schemas.annotation import DetectorCard, Keypoint2DRow, Keypoint3DRow
from schemas.errors import BadInputError, StoreError
from schemas.hand import JOINT_NAMES, HandRow
from tests.palm_data.calibration.sessions import Ingested, withdraw
from tests.palm_data.registration.hands import hand
from tests.palm_data.registration.sessions import hand_session, true_frame, true_hand

FAR_MM, NEAR_MM = 12.0, 6.0
FAR, NEAR, MISSING = 3, 7, 9
MOVED_MM = 1.5


def mean_error_mm() -> float:
    return (FAR_MM + NEAR_MM) / 20


def label(made: Ingested, *, moved_mm: float = 0.0) -> None:
    """Joints with known errors in every capture, and hands that are true but for a shift."""
    index, settings = load_index(made.workspace, "0001"), {"moved": moved_mm}
    made.workspace.run_stage(
        KEYPOINTS_3D, "0001", code_version="test", settings={}, inputs={},
        work=lambda folder: write_rows(
            folder / KEYPOINTS_3D_FILE, Keypoint3DRow,
            [row for capture in index.captures for row in keypoints(capture.frame, true_hand(capture.gesture).joints)],
        ),
    )  # fmt: skip
    made.workspace.run_stage(
        KEYPOINTS_2D, "0001", code_version="test", settings={}, inputs={"detector": "0" * 64},
        work=lambda folder: write_rows(folder / KEYPOINTS_2D_FILE, Keypoint2DRow, []),
    )  # fmt: skip
    hands = [hand_row(capture.frame, true_frame(capture.gesture), moved_mm) for capture in index.captures]

    def work(folder: Path) -> None:
        write_rows(folder / HANDS_FILE, HandRow, hands)
        (folder / CONVENTION_FILE).write_text(load_hand_model().convention().model_dump_json())

    made.workspace.run_stage(HAND_POSE, "0001", code_version="test", settings=settings, inputs={}, work=work)


def keypoints(frame: int, joints: np.ndarray) -> list[Keypoint3DRow]:
    found = joints.copy()
    found[FAR, 0] += FAR_MM / 1000
    found[NEAR, 1] -= NEAR_MM / 1000
    rows = []
    for joint, place in enumerate(found.tolist()):
        there = joint != MISSING
        x, y, z = place if there else (None, None, None)
        rows.append(
            Keypoint3DRow(
                subject_id="0001", frame=frame, joint=joint, x=x, y=y, z=z,
                **{f"cov_{pair}": (1e-6 if pair in ("xx", "yy", "zz") else 0.0) if there else None
                   for pair in ("xx", "xy", "xz", "yy", "yz", "zz")},
                reprojection_px=1.0 if there else None, views=7 if there else 0, ray_angle_deg=80.0,
            )
        )  # fmt: skip
    return rows


def hand_row(frame: int, pose: np.ndarray, moved_mm: float) -> HandRow:
    moved = pose[TRANSL] + np.array([moved_mm / 1000, 0.0, 0.0])
    unknown = dict.fromkeys(
        [f"{way}_mm_{what}" for way in ("model_to_scan", "scan_to_model") for what in ("mean", "median", "p95")]
        + ["joint_error_mm_mean", "silhouette_iou_mean", "silhouette_iou_min"]
    )
    return HandRow(
        subject_id="0001", frame=frame, global_orient=tuple(pose[ORIENT]), hand_pose=tuple(pose[POSE]),
        betas=(0.0,) * 10, transl=tuple(moved), border_share=0.0, **unknown,
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ingested:
    folder = tmp_path_factory.mktemp("annotation")
    session = hand_session(folder)
    for gesture in session.session.gestures:
        (folder / "truth" / "0001" / gesture).mkdir(parents=True)
        posed = true_hand(gesture)
        write_arrays(
            folder / "truth" / "0001" / gesture / "surface.npz",
            {"vertices": posed.vertices, "faces": hand()[0].faces, "joints": posed.joints},
        )
    label(session)
    return session


def truth(made: Ingested) -> Path:
    return made.session.raw.parent / "truth"


def test_known_errors_of_joints_are_found_and_a_missing_one_is_a_miss(made: Ingested) -> None:
    label(made)
    figures = evaluate_annotation(made.workspace, truth(made), made.settings)
    assert figures["captures"] == figures["captures_fitted"] == 2
    assert figures["recall_10mm"] == pytest.approx(19 / 21)
    assert figures["coverage"] == pytest.approx(20 / 21)
    assert figures["joint_error_mm_mean"] == pytest.approx(mean_error_mm(), abs=1e-6)
    assert figures["joint_error_mm_median"] == pytest.approx(0.0, abs=1e-6)
    recall = {name: figures[f"recall_10mm_{name}"] for name in JOINT_NAMES}
    assert {name for name, share in recall.items() if share == 0} == {JOINT_NAMES[FAR], JOINT_NAMES[MISSING]}


def test_hands_that_are_true_have_no_error_but_the_keypoints(made: Ingested) -> None:
    label(made)
    figures = evaluate_annotation(made.workspace, truth(made), made.settings)
    assert figures["fit_vs_keypoints_mm_mean"] == pytest.approx(mean_error_mm(), abs=1e-3)
    for name in ("model_to_scan_mm_mean", "model_to_truth_mm_mean", "model_to_truth_mm_p95", "fit_joint_error_mm_mean"):
        assert figures[name] < 0.01, name
    assert figures["silhouette_iou_mean"] > 0.99
    assert figures["border_share_mean"] < 0.01


def test_a_shift_of_the_hands_shows_in_every_figure_of_theirs_and_in_none_of_the_joints(made: Ingested) -> None:
    label(made)
    before = evaluate_annotation(made.workspace, truth(made), made.settings)
    label(made, moved_mm=MOVED_MM)
    after = evaluate_annotation(made.workspace, truth(made), made.settings)
    assert after["fit_joint_error_mm_mean"] == pytest.approx(MOVED_MM, abs=1e-3)
    # A point of a shifted surface is at most the shift away from the surface.
    assert 0.3 * MOVED_MM < after["model_to_truth_mm_mean"] < MOVED_MM
    assert 0.3 * MOVED_MM < after["model_to_scan_mm_mean"] < MOVED_MM
    assert after["silhouette_iou_mean"] < before["silhouette_iou_mean"]
    of_joints = [name for name in before if "recall" in name] + [
        "coverage",
        "joint_error_mm_mean",
        "joint_error_mm_p95",
    ]
    assert {name: after[name] for name in of_joints} == {name: before[name] for name in of_joints}
    assert after["worst_capture"] in {"0001/flat", "0001/fist"}


def test_a_subject_without_labels_misses_every_joint(made: Ingested) -> None:
    label(made)
    made.workspace.forget(KEYPOINTS_3D, "0001")
    made.workspace.forget(HAND_POSE, "0001")
    figures = evaluate_annotation(made.workspace, truth(made), made.settings)
    assert (figures["recall_10mm"], figures["coverage"], figures["subjects_unlabelled"]) == (0.0, 0.0, 1)
    assert "joint_error_mm_mean" not in figures
    assert "model_to_truth_mm_mean" not in figures


def test_somebody_whom_the_detector_has_seen_is_refused(made: Ingested) -> None:
    label(made)
    known = subject_digest(load_index(made.workspace, "0001"))
    assert refused_subjects(made.workspace, frozenset({known, "f" * 64})) == ("0001",)
    with pytest.raises(BadInputError, match="1 were seen in training"):
        evaluate_annotation(made.workspace, truth(made), made.settings, seen=frozenset({known}))
    assert evaluate_annotation(made.workspace, truth(made), made.settings, seen=frozenset({"f" * 64}))["subjects"] == 1


def test_hands_of_another_model_are_not_measured_with_this_one(made: Ingested, tmp_path: Path) -> None:
    label(made)
    arrays = dict(np.load(SHIPPED_MODEL))
    arrays["v_template"] = arrays["v_template"] * 1.01
    np.savez(tmp_path / "larger.npz", **arrays)
    settings = made.settings.model_copy(update={"hand_model": tmp_path / "larger.npz"})
    with pytest.raises(StoreError, match="PALM_HAND_MODEL"):
        evaluate_annotation(made.workspace, truth(made), settings)


def test_the_truth_of_another_session_is_named(made: Ingested, tmp_path: Path) -> None:
    label(made)
    with pytest.raises(BadInputError, match=r"surface\.npz: file: expected the true surface"):
        evaluate_annotation(made.workspace, tmp_path, made.settings)


def test_people_who_were_added_with_faults_are_left_out(made: Ingested, tmp_path: Path) -> None:
    label(made)
    person = FaultyPerson(subject_id="0001", copy_of="0009", calibration_id="rig_a", captures=())
    write_faults(tmp_path, FaultsTruth(planted=True, people=(person,), faults=(), left_out={}))
    with pytest.raises(BadInputError, match="found 0 with consent"):
        evaluate_annotation(made.workspace, tmp_path, made.settings)


def test_a_person_who_withdrew_is_not_scored(tmp_path: Path) -> None:
    made = hand_session(tmp_path, gestures=1)
    made.rewrite_index("0001", withdraw)
    with pytest.raises(BadInputError, match="0 with consent"):
        evaluate_annotation(made.workspace, tmp_path / "truth", made.settings)


def detector(folder: Path, subjects: tuple[str, ...]) -> Path:
    """A checkpoint whose card names these people."""
    card = DetectorCard(
        name="test",
        code_version="1",
        start="imagenet",
        settings={},
        data_digest="0" * 64,
        subjects=subjects,
        figures={},
    )
    folder.mkdir()
    write_checkpoint(folder, torch.nn.Linear(2, 2), card)
    return folder / "detector.safetensors"


def detected_by(made: Ingested, checkpoint: Path) -> None:
    from palm_model.detector.checkpoint import checkpoint_sha256

    made.workspace.run_stage(
        KEYPOINTS_2D, "0001", code_version="test", settings={}, inputs={"detector": checkpoint_sha256(checkpoint)},
        work=lambda folder: write_rows(folder / KEYPOINTS_2D_FILE, Keypoint2DRow, []),
    )  # fmt: skip


def command(made: Ingested, *arguments: str) -> list[str]:
    return ["evaluate", "annotation", str(made.settings.workspace), "--truth", str(truth(made)), *arguments]


def test_the_command_prints_json_alone_or_a_table_with_bars(
    made: Ingested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(made)
    checkpoint = detector(tmp_path / "one", ("f" * 64,))
    detected_by(made, checkpoint)
    monkeypatch.setenv("PALM_DETECTOR__CHECKPOINT", str(checkpoint))
    found = CliRunner().invoke(app, command(made, "--json"))
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["recall_10mm"] == pytest.approx(19 / 21)
    table = CliRunner().invoke(app, command(made)).stdout
    assert "at least 0.95" in table
    assert "no" in next(line for line in table.splitlines() if "recall_10mm " in line)


def test_the_command_refuses_people_on_the_card_and_detections_of_another_detector(
    made: Ingested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label(made)
    known = subject_digest(load_index(made.workspace, "0001"))
    checkpoint, other = detector(tmp_path / "one", (known,)), detector(tmp_path / "other", ())
    detected_by(made, checkpoint)
    monkeypatch.setenv("PALM_DETECTOR__CHECKPOINT", str(checkpoint))
    found = CliRunner().invoke(app, command(made, "--json"))
    assert isinstance(found.exception, BadInputError)
    assert found.stdout == ""
    assert "0001" in found.stderr
    monkeypatch.setenv("PALM_DETECTOR__CHECKPOINT", str(other))
    found = CliRunner().invoke(app, command(made))
    assert isinstance(found.exception, StoreError)
    assert "Materialize keypoints_2d again" in str(found.exception)
