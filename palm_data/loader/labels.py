"""A capture's labels as a consumer sees them: joints, the fitted hand, quality; read when first asked for."""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from palm_data.loader.tables import Tables
from schemas.annotation import Keypoint3DRow
from schemas.arrow import table_to_rows
from schemas.errors import IntegrityError, StoreError
from schemas.hand import JOINT_NAMES, HandConvention, HandRow
from schemas.ids import CameraId, SubjectId
from schemas.quality import QualityRow

if TYPE_CHECKING:
    from palm_data.hand.layer import PosedHand
    from palm_data.hand.model import HandModel


@dataclass(frozen=True)
class Keypoints:
    """A capture's 21 joints in space, in the order of `schemas.hand.JOINT_NAMES`; NaN = missing."""

    points: np.ndarray
    """(21, 3) float64, metres, world."""
    covariance: np.ndarray
    """(21, 3, 3) float64, m²."""
    reprojection_px: np.ndarray
    """(21,) float64, root mean square over the views used, px."""
    views: np.ndarray
    """(21,) int64, how many views agree; 0 = missing."""
    ray_angle_deg: np.ndarray
    """(21,) float64, largest angle between two of the rays, degrees."""


@dataclass(frozen=True)
class Hand:
    """A capture's fitted hand: MANO's parameters, to be read as the convention says."""

    global_orient: np.ndarray
    """(3,) float64, axis-angle about the rest wrist joint, radians, world."""
    hand_pose: np.ndarray
    """(45,) float64, axis-angle of joints 1 to 15, radians."""
    betas: np.ndarray
    """(10,) float64, shape coefficients."""
    transl: np.ndarray
    """(3,) float64, metres, added after posing."""
    convention: HandConvention
    fit: HandRow
    """The same numbers as released, with how well they fit."""

    def vertices(self, model: "HandModel") -> np.ndarray:
        """(vertices, 3) float64: the posed surface, metres, world.

        Raises:
            StoreError: if the hand was fitted with another model.
        """
        return self._posed(model).vertices[0].numpy()

    def joints(self, model: "HandModel") -> np.ndarray:
        """(21, 3) float64: the posed joints, metres, world.

        Raises:
            StoreError: if the hand was fitted with another model.
        """
        return self._posed(model).joints[0].numpy()

    def _posed(self, model: "HandModel") -> "PosedHand":
        if model.convention() != self.convention:
            raise StoreError(
                f"hand model: expected {self.convention.model_id} ({self.convention.model_sha256}), found "
                f"{model.model_id} ({model.sha256}). Load the one that the hands were fitted with."
            )
        import torch  # a consumer who poses no hand needs neither

        from palm_data.hand.layer import HandLayer

        values = (self.global_orient, self.hand_pose, self.betas, self.transl)
        with torch.no_grad():
            posed: PosedHand = HandLayer(model, dtype=torch.float64)(*(torch.from_numpy(one)[None] for one in values))
        return posed


class CaptureLabels:
    """The labels of one capture."""

    def __init__(self, tables: Tables, subject_id: SubjectId, frame: int) -> None:
        self._tables, self._subject_id, self._frame = tables, subject_id, frame

    @cached_property
    def keypoints(self) -> Keypoints:
        """The joints in space.

        Raises:
            StoreError: if the version has no labels.
            IntegrityError: if the table is damaged.
        """
        rows = {row.joint: row for row in table_to_rows(Keypoint3DRow, self._rows("keypoints_3d"))}
        if sorted(rows) != list(range(len(JOINT_NAMES))):
            raise self._missing("keypoints_3d", f"{len(JOINT_NAMES)} joints", f"{len(rows)}")
        ordered = [rows[joint] for joint in range(len(JOINT_NAMES))]
        upper = [
            [(r.cov_xx, r.cov_xy, r.cov_xz), (r.cov_xy, r.cov_yy, r.cov_yz), (r.cov_xz, r.cov_yz, r.cov_zz)]
            for r in ordered
        ]
        return Keypoints(
            points=np.array([(row.x, row.y, row.z) for row in ordered], dtype=np.float64),
            covariance=np.array(upper, dtype=np.float64),
            reprojection_px=np.array([row.reprojection_px for row in ordered], dtype=np.float64),
            views=np.array([row.views for row in ordered], dtype=np.int64),
            ray_angle_deg=np.array([row.ray_angle_deg for row in ordered], dtype=np.float64),
        )

    @cached_property
    def hand(self) -> Hand | None:
        """The fitted hand; None if it could not be fitted.

        Raises:
            StoreError: if the version has no labels.
            IntegrityError: if the table or the convention is damaged.
        """
        rows = table_to_rows(HandRow, self._rows("hands"))
        if not rows:
            return None
        names = [field.name for field in fields(Hand) if field.name not in ("convention", "fit")]
        values = {name: np.array(getattr(rows[0], name), dtype=np.float64) for name in names}
        return Hand(**values, convention=self._tables.hand_convention, fit=rows[0])

    @cached_property
    def quality(self) -> QualityRow:
        """How good the labels are.

        Raises:
            StoreError: if the version has no labels.
            IntegrityError: if the table is damaged.
        """
        rows = table_to_rows(QualityRow, self._rows("quality"))
        if not rows:
            raise self._missing("quality", "a row", "none")
        return rows[0]

    def detections(self, camera_id: CameraId) -> tuple[np.ndarray, np.ndarray]:
        """(21, 2) float64 px and (21,) float64: where a camera's image shows the joints, and how surely.

        NaN and 0 where nothing was detected, as in an image that is missing.

        Raises:
            StoreError: if the version has no labels.
            IntegrityError: if the table is damaged.
        """
        import pyarrow.compute as pc

        points, confidence = np.full((len(JOINT_NAMES), 2), np.nan), np.zeros(len(JOINT_NAMES))
        rows = self._detections.filter(pc.field("camera_id") == camera_id)
        joints = rows["joint"].to_numpy()
        points[joints] = np.stack([rows["x_px"].to_numpy(), rows["y_px"].to_numpy()], axis=1)
        confidence[joints] = rows["confidence"].to_numpy()
        return points, confidence

    @cached_property
    def _detections(self) -> pa.Table:
        return self._rows("keypoints_2d")

    def _rows(self, name: str) -> pa.Table:
        import pyarrow.compute as pc

        return self._tables.subject_rows(name, self._subject_id).filter(pc.field("frame") == self._frame)

    def _missing(self, name: str, expected: str, found: str) -> IntegrityError:
        return IntegrityError(
            f"{self._tables.files.name}/tables/{name}.parquet: subject {self._subject_id}, frame {self._frame}: expected "
            f"{expected}, found {found}. The version was not made by this project, or is damaged."
        )
