"""A release of one person's posed hands, with the truth that it was made of: small, and coherent down to the pixels."""

from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

import palm_data
from palm_data.capture.index import load_index
from palm_data.hand.fits import CONVENTION_FILE, HAND_POSE, HANDS_FILE
from palm_data.hand.model import load_hand_model
from palm_data.loader.release import Release
from palm_data.maps.hand_maps import make_hand_maps
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.quality.score import score_subject
from palm_data.registration.parameters import ORIENT, POSE, TRANSL
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.truth import CamerasTruth, write_arrays, write_textures
from palm_data.store.labels import build_subject_labels
from palm_data.store.release import publish_release
from palm_data.store.shard import build_subject_shard
from palm_data.store.tables import write_rows
from palm_model.prior.lat_long import write_exr
from schemas.hand import HandRow
from tests.palm_data.calibration import sessions
from tests.palm_data.registration.sessions import detect, hand_session, true_frame, true_hand

CAMERA, GESTURE = "MCU_04", "fist"
"""What is held out."""
VERSION = "0.1.0"
SIZE = (102, 85)
"""Of the images, px."""


@dataclass(frozen=True)
class PriorSession:
    release: Release
    truth: Path
    releases: Path


def hand_row(frame: int, gesture: str) -> HandRow:
    pose = true_frame(gesture)
    measured = {name: 1.0 for name in HandRow.model_fields if "_mm_" in name or name.startswith("silhouette_iou")}
    return HandRow(
        subject_id="0001", frame=frame, global_orient=tuple(pose[ORIENT]), hand_pose=tuple(pose[POSE]),
        betas=(0.0,) * 10, transl=tuple(pose[TRANSL]), border_share=0.0, **measured,
    )  # fmt: skip


def prior_session(folder: Path) -> PriorSession:
    with patch.object(sessions, "SIZE", SIZE):
        made = hand_session(folder)
    workspace, settings = made.workspace, made.settings
    detect(made)
    rows = [hand_row(one.frame, one.gesture) for one in load_index(workspace, "0001").captures]

    def work(out: Path) -> None:
        write_rows(out / HANDS_FILE, HandRow, rows)
        (out / CONVENTION_FILE).write_text(load_hand_model().convention().model_dump_json())
        (out / "unfit.json").write_text("{}")

    inputs = {one: workspace.require(one, "0001").digest for one in ("capture_index", "keypoints_2d", "keypoints_3d")}
    recorded = settings.registration.model_dump(mode="json")
    workspace.run_stage(HAND_POSE, "0001", code_version="test", settings=recorded, inputs=inputs, work=work)
    for stage in (make_scan_maps, make_hand_maps, score_subject, build_subject_shard, build_subject_labels):
        stage("0001", workspace, settings)
    publish_release(VERSION, workspace, settings)
    truth = folder / "truth"
    write_truth(truth, made.session.gestures, tuple(made.session.cameras.values()))
    return PriorSession(palm_data.open_release(settings.releases_folder, VERSION), truth, settings.releases_folder)


def write_truth(truth: Path, gestures: tuple[str, ...], cameras: tuple) -> None:
    """Skin that is lighter towards one side of the texture, in a studio that is brighter above."""
    model = load_hand_model()
    (truth / "0001").mkdir(parents=True)
    (truth / "cameras.json").write_text(
        CamerasTruth(calibration_id="rig_a", cameras=cameras, f_number=11.0).model_dump_json()
    )
    across = np.linspace(0.2, 0.6, 16, dtype=np.float32)[None, :].repeat(16, axis=0)
    plain = np.full((16, 16), 0.4, np.float32)
    write_textures(truth / "0001", SkinTextures(np.stack([across, 0.7 * across, 0.5 * across], 2), plain, plain))
    for gesture in gestures:
        (truth / "0001" / gesture).mkdir()
        write_arrays(
            truth / "0001" / gesture / "surface.npz",
            {
                "vertices": true_hand(gesture).vertices, "faces": model.faces.astype(np.int32),
                "uv": model.vt.astype(np.float32), "uv_faces": model.ft.astype(np.int32),
                "part": np.zeros(len(model.faces), np.uint8),
            },
        )  # fmt: skip
    light = torch.linspace(2.0, 0.5, 8)[:, None, None].expand(8, 16, 3)
    write_exr(truth / "environment.exr", light)
