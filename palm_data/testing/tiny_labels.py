"""Labels of the tiny subjects: rows and masks without meaning, written as the stages before a release would leave them."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr
from pydantic import BaseModel

from palm_data.capture.index import load_index
from palm_data.hand.fits import CONVENTION_FILE, HANDS_FILE
from palm_data.hand.model import SHIPPED_MODEL
from palm_data.store import labels
from palm_data.store.arrays import create_group, create_image_array, write_frame
from palm_data.store.atomic import file_sha256
from palm_data.store.label_sources import label_inputs
from palm_data.store.label_tables import CONVENTION_FILE as RELEASED_CONVENTION
from palm_data.store.label_tables import LABEL_ARRAYS, LABEL_MODELS, convention_bytes
from palm_data.store.tables import write_rows
from palm_data.store.workspace import Workspace
from schemas.annotation import Keypoint2DRow, Keypoint3DRow
from schemas.capture import CaptureIndex
from schemas.hand import HandConvention, HandRow
from schemas.quality import QualityRow
from schemas.settings import Settings
from schemas.tier import FACTORS, Tier

HEIGHT, WIDTH, TILE = 10, 13, 8
CAMERAS = ("MCU_01", "MCU_02", "MCU_03")
UNFITTED = ("0002", 2)
"""This subject's capture of this frame has no hand."""
MISSING_JOINT = 7
"""This joint is missing in every first capture."""


@dataclass(frozen=True)
class TinyLabels:
    """What a subject's labels are."""

    keypoints_2d: list[Keypoint2DRow]
    keypoints_3d: list[Keypoint3DRow]
    hands: list[HandRow]
    quality: list[QualityRow]
    hand_mask: np.ndarray
    training_mask: np.ndarray


def convention(**changes: object) -> HandConvention:
    """The convention of all hands here."""
    values = {"model_id": "tiny", "model_sha256": file_sha256(SHIPPED_MODEL), "tip_vertex_ids": (4, 8, 12, 16, 20)}
    return HandConvention.model_validate({**values, **changes})


def tiny_labels(subject_id: str, workspace: Workspace, *, seed: int = 0) -> TinyLabels:
    """The labels of a subject, the same for the same seed."""
    captures = load_index(workspace, subject_id).captures
    frames = [capture.frame for capture in captures]
    rng = np.random.default_rng([seed, int(subject_id), 1])
    shape = (len(frames), len(CAMERAS), HEIGHT, WIDTH)
    masks = {name: rng.integers(0, 2, shape, dtype=np.uint8) * np.uint8(255) for name in LABEL_ARRAYS}
    fitted = [frame for frame in frames if (subject_id, frame) != UNFITTED]
    for name in LABEL_ARRAYS:
        masks[name][[frame not in fitted for frame in frames]] = 0
    seen = [(capture.frame, image.camera_id) for capture in captures for image in capture.images]
    return TinyLabels(
        keypoints_2d=[
            Keypoint2DRow(subject_id=subject_id, frame=frame, camera_id=camera, joint=joint, x_px=rng.uniform(0, WIDTH),
                          y_px=rng.uniform(0, HEIGHT), confidence=rng.uniform())
            for frame, camera in seen for joint in range(21)
        ],
        keypoints_3d=[_joint(subject_id, frame, joint, rng) for frame in frames for joint in range(21)],
        hands=[hand_row(subject_id, frame, transl=(0.01 * seed, 0.0, 0.1)) for frame in fitted],
        quality=[_quality(subject_id, frame, ok=frame in fitted) for frame in frames],
        **masks,
    )  # fmt: skip


def hand_row(subject_id: str, frame: int, *, transl: tuple[float, ...] = (0.0, 0.0, 0.0)) -> HandRow:
    """A hand a little bent, turned and moved by its frame's number."""
    rng = np.random.default_rng([int(subject_id), frame])
    measures = dict.fromkeys(
        (name for name, field in HandRow.model_fields.items() if name.endswith(("_mean", "_median", "_p95", "_min"))), 0.5
    )  # fmt: skip
    return HandRow(
        subject_id=subject_id, frame=frame, transl=transl, border_share=0.1,
        global_orient=tuple(rng.normal(0, 0.3, 3).tolist()), hand_pose=tuple(rng.normal(0, 0.05, 45).tolist()),
        betas=tuple(rng.normal(0, 0.5, 10).tolist()), **measures,
    )  # fmt: skip


def add_labels(workspace: Workspace, settings: Settings, index: CaptureIndex, *, seed: int = 0) -> None:
    """Write all label stages of a subject, and the labels put together from them."""
    subject_id = index.subject.subject_id
    made = tiny_labels(subject_id, workspace, seed=seed)
    write_keypoints(workspace, settings, subject_id, made)
    write_hands(workspace, settings, subject_id, made)
    write_maps(workspace, settings, subject_id, made)
    write_quality(workspace, settings, subject_id, made)
    put_together(workspace, settings, index, made)


def write_keypoints(workspace: Workspace, settings: Settings, subject_id: str, made: TinyLabels) -> None:
    """The stages `keypoints_2d` and `keypoints_3d`."""
    inputs = _inputs(workspace, subject_id, "capture_index")
    workspace.run_stage(
        "keypoints_2d", subject_id, code_version=_content(made.keypoints_2d), settings={},
        inputs={**inputs, "detector": "d" * 64},
        work=lambda folder: write_rows(folder / "keypoints_2d.parquet", Keypoint2DRow, made.keypoints_2d),
    )  # fmt: skip
    workspace.run_stage(
        "keypoints_3d", subject_id, code_version=_content(made.keypoints_3d), settings=settings.keypoints_3d.model_dump(mode="json"),
        inputs=_inputs(workspace, subject_id, "capture_index", "keypoints_2d"),
        work=lambda folder: write_rows(folder / "keypoints_3d.parquet", Keypoint3DRow, made.keypoints_3d),
    )  # fmt: skip


def write_hands(workspace: Workspace, settings: Settings, subject_id: str, made: TinyLabels, **changes: object) -> None:
    """The stage `hand_pose`; with other values of the convention if some are given."""

    def work(folder: Path) -> None:
        write_rows(folder / HANDS_FILE, HandRow, made.hands)
        (folder / CONVENTION_FILE).write_text(convention(**changes).model_dump_json() + "\n")

    inputs = _inputs(workspace, subject_id, "capture_index", "keypoints_2d", "keypoints_3d")
    workspace.run_stage(
        "hand_pose", subject_id, code_version=_content(made.hands) + str(changes), inputs=inputs, work=work,
        settings=settings.registration.model_dump(mode="json"),
    )  # fmt: skip


def write_maps(workspace: Workspace, settings: Settings, subject_id: str, made: TinyLabels) -> None:
    """The stage `hand_maps`."""
    sides = settings.maps.training_mask.model_dump(mode="json")
    workspace.run_stage(
        "hand_maps", subject_id, code_version=hashlib.sha256(made.hand_mask.tobytes()).hexdigest(), settings={**sides, "tile_px": settings.shard.tile_px, "tiers": " ".join(settings.shard.tiers)},
        inputs=_inputs(workspace, subject_id, "capture_index", "scan_maps", "hand_pose"),
        work=lambda folder: _write_masks(create_group(folder / "maps.zarr"), made, settings.shard.tiers),
    )  # fmt: skip


def write_quality(workspace: Workspace, settings: Settings, subject_id: str, made: TinyLabels) -> None:
    """The stage `quality`."""
    workspace.run_stage(
        "quality", subject_id, code_version=_content(made.quality), settings=settings.quality.frame.model_dump(mode="json"),
        inputs=_inputs(workspace, subject_id, "capture_index", "keypoints_3d", "hand_pose"),
        work=lambda folder: write_rows(folder / "quality.parquet", QualityRow, made.quality),
    )  # fmt: skip


def put_together(
    workspace: Workspace, settings: Settings, index: CaptureIndex, made: TinyLabels, **changes: object
) -> None:
    """The stage `subject_labels`, without its picture: there are no raw images here."""

    def work(folder: Path) -> None:
        _write_masks(create_group(folder / labels.LABELS, {"camera_ids": list(CAMERAS)}), made, settings.shard.tiers)
        for name, model in LABEL_MODELS.items():
            write_rows(folder / "tables" / f"{name}.parquet", model, getattr(made, name))
        (folder / "tables" / RELEASED_CONVENTION).write_bytes(convention_bytes(convention(**changes)))
        (folder / "figures.json").write_text(json.dumps({"captures": len(made.quality)}))

    workspace.run_stage(
        labels.STAGE, index.subject.subject_id, code_version=labels.CODE_VERSION, settings={},
        inputs=label_inputs(index, workspace, settings), work=work,
    )  # fmt: skip


def _content(rows: Sequence[BaseModel]) -> str:
    """What makes a stage run again: other rows."""
    return hashlib.sha256("\n".join(row.model_dump_json() for row in rows).encode()).hexdigest()


def _inputs(workspace: Workspace, subject_id: str, *stages: str) -> dict[str, str]:
    return {stage: workspace.require(stage, subject_id).digest for stage in stages}


def every_other(pixels: np.ndarray, tier: Tier) -> np.ndarray:
    """What the tiny subjects have at a tier: the upper left pixel of each area, which is nobody's mean."""
    factor = FACTORS[tier]
    return np.ascontiguousarray(pixels[:, :, ::factor, ::factor])


def _write_masks(group: zarr.Group, made: TinyLabels, tiers: Sequence[Tier]) -> None:
    for name in LABEL_ARRAYS:
        for tier in tiers:
            pixels = every_other(getattr(made, name), tier)
            array = create_image_array(group, f"{name}/{tier}", pixels.shape, pixels.dtype, tile_px=TILE)
            for row, frame in enumerate(pixels):
                write_frame(array, row, frame)


def _joint(subject_id: str, frame: int, joint: int, rng: np.random.Generator) -> Keypoint3DRow:
    there = (frame, joint) != (1, MISSING_JOINT)
    x, y, z, *covariance = rng.normal(0, 0.1, 9).tolist() if there else [None] * 9
    names = ("cov_xx", "cov_xy", "cov_xz", "cov_yy", "cov_yz", "cov_zz")
    return Keypoint3DRow(
        subject_id=subject_id, frame=frame, joint=joint, x=x, y=y, z=z,
        reprojection_px=rng.uniform() if there else None, views=3 if there else 0, ray_angle_deg=rng.uniform(10, 90),
        **dict(zip(names, covariance, strict=True)),
    )  # fmt: skip


def _quality(subject_id: str, frame: int, *, ok: bool) -> QualityRow:
    parts = dict.fromkeys(("fit_mm", "model_to_scan_mm", "scan_to_model_mm"), 1.0 + frame if ok else None)
    return QualityRow(
        subject_id=subject_id, frame=frame, quality_ok=ok, score=0.9 if ok else 0.0, coverage=1.0 if ok else 0.1,
        reprojection_px=1.5, silhouette_iou=0.95 if ok else None, capture_iou=0.97,
        reasons="" if ok else "joints: expected at least 3, found 2", **parts,
    )  # fmt: skip
