"""Which captures and views a training set is drawn from."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from schemas.errors import StoreError
from schemas.ids import CameraId, Sha256, SubjectId

if TYPE_CHECKING:
    from palm_data.loader.release import Release


@dataclass(frozen=True)
class Views:
    """Views of a release's captures, ordered by subject, frame and view."""

    captures: np.ndarray
    """(n,) int64, positions in the release."""
    views: np.ndarray
    """(n,) int64, positions in the capture's views."""

    def __len__(self) -> int:
        return len(self.captures)

    def digest(self) -> Sha256:
        """SHA-256 of which they are."""
        return hashlib.sha256(np.stack([self.captures, self.views]).astype("<i8").tobytes()).hexdigest()


def selected_views(
    release: "Release",
    cameras: Collection[CameraId] | None,
    *,
    absent: bool = False,
    seen: bool = False,
    fitted: bool = False,
) -> Views:
    """The views of a release's captures.

    Args:
        cameras: only those of these cameras.
        absent: those too whose image the rig did not deliver.
        seen: only those in which the scan is seen.
        fitted: only those of captures with a fitted hand.

    Raises:
        StoreError: if there is no such camera.
    """
    names = ("subject_id", "frame", "camera_id", "view_index", "present", "mask_px")
    images = zip(*(release.tables["images"][name].to_pylist() for name in names), strict=True)
    at = capture_positions(release)
    if fitted:
        hands = release.tables["hands"]
        at = {
            key: at[key]
            for key in zip(hands["subject_id"].to_pylist(), hands["frame"].to_pylist(), strict=True)
            if key in at
        }
    found = [
        (at[subject_id, frame], view)
        for subject_id, frame, camera_id, view, present, mask_px in images
        if (subject_id, frame) in at
        and (cameras is None or camera_id in cameras)
        and (absent or present)
        and (mask_px or not seen)
    ]
    if cameras is not None:
        checked_cameras(release, cameras)
    rows = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    return Views(captures=rows[:, 0], views=rows[:, 1])


def capture_positions(release: "Release") -> dict[tuple[SubjectId, int], int]:
    """Where each capture stands in a release, by subject and frame."""
    captures = release.captures
    keys = zip(captures["subject_id"].to_pylist(), captures["frame"].to_pylist(), strict=True)
    return {key: position for position, key in enumerate(keys)}


def camera_positions(release: "Release", cameras: Collection[CameraId] | None) -> np.ndarray:
    """(views,) int64: where the cameras stand among the views of every capture, in the order of the views.

    Raises:
        StoreError: if there is no such camera, or subjects differ in where theirs stand.
    """
    if cameras is not None:
        checked_cameras(release, cameras)
    import pyarrow.compute as pc

    images = release.tables["images"].filter(pc.field("subject_id").isin(release.subject_ids))
    rows = sorted(set(zip(images["view_index"].to_pylist(), images["camera_id"].to_pylist(), strict=True)))
    chosen = [view for view, camera_id in rows if cameras is None or camera_id in cameras]
    if len({view for view, _ in rows}) != len(rows):
        raise StoreError(f"{release}: expected the same cameras for every subject, found several. Ask per view.")
    return np.array(chosen, dtype=np.int64)


def checked_cameras(release: "Release", cameras: Collection[CameraId]) -> tuple[CameraId, ...]:
    """The cameras, sorted, if the release has them.

    Raises:
        StoreError: if it has not; names those it has.
    """
    known = sorted(release.tables["images"]["camera_id"].unique().to_pylist())
    if isinstance(cameras, str) or not cameras or set(cameras) - set(known):
        raise StoreError(f"cameras: expected some of {', '.join(known)}, found {cameras!r}.")
    return tuple(sorted(set(cameras)))
