"""Releases: the manifest, the table of files, and the rows of the released tables.

Each row model becomes a Parquet table of the same columns through `schemas.arrow`; a field's description carries
its unit and frame.
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.camera import Turn
from schemas.capture import AgeBand, HeightBand, Sex, SkinTone
from schemas.ids import CalibrationId, CameraId, Sha256, Slug, SubjectId, VersionId

SCHEMA_VERSION = "1.2.0"
SplitName = Literal["train", "val", "test"]
_FROZEN = ConfigDict(frozen=True, extra="forbid")


class FileRow(BaseModel):
    """One file of a release (all but the manifest and files.parquet itself)."""

    model_config = _FROZEN

    path: Annotated[str, Field(description="Relative to the version's folder, forward slashes.")]
    bytes: Annotated[int, Field(ge=0, description="Size, bytes.")]
    sha256: Sha256
    subject_id: Annotated[SubjectId | None, Field(description="The subject the file is about, if one.")] = None
    modality: Annotated[
        str,
        Field(description="table, rgb, mask, depth, normal, hand_mask, training_mask, scan, metadata or document."),
    ]
    tier: Annotated[str | None, Field(description="Resolution tier of images and maps: full.")] = None


class Manifest(BaseModel):
    """What a version is. Written last; the version exists once this file does."""

    model_config = _FROZEN

    version: VersionId
    schema_version: str
    parent: VersionId | None
    created: Annotated[datetime, Field(description="Time of publishing, UTC; outside the merkle root.")]
    code_version: str
    settings: Annotated[
        dict[str, str | int | float | bool | None], Field(description="Settings that shaped the bytes.")
    ]
    splits: Annotated[dict[SplitName, tuple[SubjectId, ...]], Field(description="Subjects of each split.")]
    counts: Annotated[dict[str, int], Field(description="Subjects, captures, images, hands, files, bytes.")]
    withdrawn: Annotated[tuple[SubjectId, ...], Field(description="Subjects withdrawn since the parent.")] = ()
    merkle_root: Annotated[
        Sha256, Field(description="Identity of the version: root over (path, bytes, sha256) of every file.")
    ]
    files_sha256: Annotated[Sha256, Field(description="Digest of files.parquet.")]
    manifest_sha256: Annotated[
        Sha256, Field(description="Digest of this manifest's canonical JSON, with this field left out.")
    ]


class SubjectRow(BaseModel):
    """A released person, in bands."""

    model_config = _FROZEN

    subject_id: SubjectId
    sex: Annotated[Sex | None, Field(description="null = not known (imported).")]
    age_band: Annotated[AgeBand | None, Field(description="Age in years, both ends included; null = not known.")]
    height_band: Annotated[
        HeightBand | None, Field(description="Standing height, cm, both ends included; null = not known.")
    ]
    skin_tone: Annotated[SkinTone | None, Field(description="null = not known.")]
    captures: Annotated[int, Field(ge=0, description="Released captures of the subject.")]


class SplitRow(BaseModel):
    """Which split a subject is in, and since which version."""

    model_config = _FROZEN

    subject_id: SubjectId
    split: SplitName
    since: Annotated[VersionId, Field(description="First version that had the subject; the split never changes.")]


class CaptureRow(BaseModel):
    """One released capture; row `array_index` of every array in the subject's shard."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    array_index: Annotated[int, Field(ge=0, description="Row of the subject's arrays that holds the capture.")]
    gesture: Slug
    raw_frame: Annotated[int, Field(ge=0, description="The rig's own frame number.")]
    calibration_id: CalibrationId
    scan_file: Annotated[
        str | None,
        Field(description="Raw scan the rows come from, relative to the raw root; null = no scan (imported)."),
    ]
    scan_sha256: Sha256 | None
    scan_vertices: Annotated[int, Field(ge=0, description="Vertices of the scan.")]
    scan_faces: Annotated[int, Field(ge=0, description="Triangles of the scan.")]
    silhouette_iou_mean: Annotated[
        float | None, Field(ge=0, le=1, description="Projected scan against the segmented image, mean over views.")
    ]


class ImageRow(BaseModel):
    """One released image and the raw file it comes from."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId
    view_index: Annotated[int, Field(ge=0, description="Second axis of the subject's arrays.")]
    present: Annotated[bool, Field(description="False: the rig delivered no usable image; the pixels are zero.")]
    raw_file: Annotated[str | None, Field(description="Relative to the raw root.")]
    raw_sha256: Sha256 | None
    turn_deg: Annotated[Turn, Field(description="Clockwise turn applied to the raw image, degrees.")]
    mask_px: Annotated[int, Field(ge=0, description="Pixels of the scan mask.")]
    silhouette_iou: Annotated[
        float | None, Field(ge=0, le=1, description="Projected scan against the segmented image.")
    ]


class CameraRow(BaseModel):
    """One released camera: the undistorted pinhole, and the raw calibration beside it."""

    model_config = _FROZEN

    subject_id: SubjectId
    camera_id: CameraId
    calibration_id: CalibrationId
    width: Annotated[int, Field(gt=0, description="px.")]
    height: Annotated[int, Field(gt=0, description="px.")]
    intrinsics: Annotated[
        tuple[float, ...],
        Field(
            min_length=9,
            max_length=9,
            description="K of the undistorted image, row-major 3×3, px, pixel corners at integers.",
        ),
    ]
    world_to_camera: Annotated[
        tuple[float, ...], Field(min_length=16, max_length=16, description="[R|t], row-major 4×4, metres, OpenCV axes.")
    ]
    raw_intrinsics: Annotated[
        tuple[float, ...],
        Field(min_length=9, max_length=9, description="K of the distorted (turned) image, row-major 3×3, px."),
    ]
    raw_distortion: Annotated[
        tuple[float, ...],
        Field(min_length=5, max_length=5, description="OpenCV k1, k2, p1, p2, k3 of the distorted image."),
    ]
    turn_deg: Annotated[Turn, Field(description="Clockwise turn applied to the raw image, degrees.")]


class GestureRow(BaseModel):
    """A gesture of the protocol."""

    model_config = _FROZEN

    gesture: Slug
    description: str
    simple: bool
