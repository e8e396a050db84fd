"""Releases: the manifest, the table of files, and the rows of the released tables.

Each row model becomes a Parquet table of the same columns through `schemas.arrow`; a field's description carries
its unit and frame.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from schemas.camera import Turn
from schemas.capture import AgeBand, HeightBand, Sex, SkinTone
from schemas.column import BYTES, DEG, FULL_IMAGE, ONE, PX, RAW_IMAGE, Frame, M
from schemas.ids import CalibrationId, CameraId, Sha256, Slug, SubjectId, VersionId

SCHEMA_VERSION = "1.2.0"
SplitName = Literal["train", "val", "test"]
_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FileRow(BaseModel):
    """One file of a release (all but the manifest and files.parquet itself)."""

    model_config = _FROZEN

    path: Annotated[str, Field(description="Relative to the version's folder, forward slashes.")]
    bytes: Annotated[int, BYTES, Field(ge=0, description="Size.")]
    sha256: Annotated[Sha256, Field(description="SHA-256 of the file.")]
    subject_id: Annotated[SubjectId | None, Field(description="The subject the file is about, if one.")] = None
    modality: Annotated[
        str,
        Field(
            description="table, rgb, mono, mask, depth, normal, hand_mask, training_mask, scan, metadata or document."
        ),
    ]
    tier: Annotated[str | None, Field(description="Resolution tier of images and maps: full, half or quarter.")] = None


class Manifest(BaseModel):
    """What a version is. Written last; the version exists once this file does."""

    model_config = _FROZEN

    version: Annotated[VersionId, Field(description="Number of the version: MAJOR.MINOR.PATCH.")]
    schema_version: Annotated[str, Field(description="Of the format; a reader refuses another major number.")]
    parent: Annotated[
        VersionId | None, Field(description="The version before, which splits are carried over from; null: none.")
    ]
    created: Annotated[datetime, Field(description="Time of publishing, UTC; outside the merkle root.")]
    code_version: Annotated[str, Field(description="Of the code that published it.")]
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
    sex: Annotated[Sex | None, Field(description="As the subject table has it; null = not known (imported).")]
    age_band: Annotated[AgeBand | None, Field(description="Age in years, both ends included; null = not known.")]
    height_band: Annotated[
        HeightBand | None, Field(description="Standing height, cm, both ends included; null = not known.")
    ]
    skin_tone: Annotated[SkinTone | None, Field(description="One of four bands; null = not known.")]
    captures: Annotated[int, ONE, Field(ge=0, description="Released captures of the subject.")]


class SplitRow(BaseModel):
    """Which split a subject is in, and since which version."""

    model_config = _FROZEN

    subject_id: SubjectId
    split: Annotated[
        SplitName, Field(description="What the subject is for: training, choosing between models, testing.")
    ]
    since: Annotated[VersionId, Field(description="First version that had the subject; the split never changes.")]


class CaptureRow(BaseModel):
    """One released capture; row `array_index` of every array in the subject's shard."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, ONE, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    array_index: Annotated[int, ONE, Field(ge=0, description="Row of the subject's arrays that holds the capture.")]
    gesture: Slug
    raw_frame: Annotated[int, ONE, Field(ge=0, description="The rig's own frame number.")]
    calibration_id: CalibrationId
    scan_file: Annotated[
        str | None,
        Field(description="Raw scan the rows come from, relative to the raw root; null = no scan (imported)."),
    ]
    scan_sha256: Annotated[Sha256 | None, Field(description="SHA-256 of that file; null = no scan.")]
    scan_vertices: Annotated[int, ONE, Field(ge=0, description="Vertices of the scan.")]
    scan_faces: Annotated[int, ONE, Field(ge=0, description="Triangles of the scan.")]
    silhouette_iou_mean: Annotated[
        float | None,
        ONE,
        Field(
            ge=0,
            le=1,
            description="IoU of the projected scan and the segmented image, mean over views; null: measured in none.",
        ),
    ]


class _CameraImage(BaseModel):
    """Which image a row is about, and the raw file it comes from."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, ONE, Field(ge=1, description="Position in the subject's sequence, from 1.")]
    camera_id: CameraId
    view_index: Annotated[int, ONE, Field(ge=0, description="Second axis of the subject's arrays.")]
    present: Annotated[bool, Field(description="False: the rig delivered no usable image; the pixels are zero.")]
    raw_file: Annotated[str | None, Field(description="Relative to the raw root; null: no image.")]
    raw_sha256: Annotated[Sha256 | None, Field(description="SHA-256 of the raw file; null: no image.")]
    turn_deg: Annotated[Turn, DEG, Field(description="Clockwise turn applied to the raw image.")]


class ImageRow(_CameraImage):
    """One released image and the raw file it comes from."""

    mask_px: Annotated[int, PX, Field(ge=0, description="How many pixels the scan mask has, at the full tier.")]
    silhouette_iou: Annotated[
        float | None,
        ONE,
        Field(ge=0, le=1, description="IoU of the projected scan and the segmented image; null: not measured."),
    ]


class MonoImageRow(_CameraImage):
    """One released image of a mono camera and the raw file it comes from."""

    view_index: Annotated[int, ONE, Field(ge=0, description="Second axis of the subject's mono arrays.")]


class CameraRow(BaseModel):
    """One released camera: the undistorted pinhole, and the raw calibration beside it."""

    model_config = _FROZEN

    subject_id: SubjectId
    camera_id: CameraId
    calibration_id: CalibrationId
    width: Annotated[int, PX, Field(gt=0, description="Width of the full tier's image.")]
    height: Annotated[int, PX, Field(gt=0, description="Height of the full tier's image.")]
    intrinsics: Annotated[
        tuple[float, ...],
        PX,
        FULL_IMAGE,
        Field(min_length=9, max_length=9, description="K of the undistorted image at the full tier, row-major 3×3."),
    ]
    world_to_camera: Annotated[
        tuple[float, ...],
        M,
        Frame("world (the rig's axes) → camera: x right, y down, z forward"),
        Field(min_length=16, max_length=16, description="[R|t], row-major 4×4; R has no unit, t is in metres."),
    ]
    raw_intrinsics: Annotated[
        tuple[float, ...],
        PX,
        RAW_IMAGE,
        Field(min_length=9, max_length=9, description="K of the distorted (turned) image, row-major 3×3."),
    ]
    raw_distortion: Annotated[
        tuple[float, ...],
        ONE,
        Frame("camera, normalised: x/z right, y/z down"),
        Field(min_length=5, max_length=5, description="OpenCV k1, k2, p1, p2, k3 of the distorted image."),
    ]
    turn_deg: Annotated[Turn, DEG, Field(description="Clockwise turn applied to the raw image.")]


class GestureRow(BaseModel):
    """A gesture of the protocol."""

    model_config = _FROZEN

    gesture: Slug
    description: Annotated[str, Field(description="What the person is asked to do.")]
    simple: Annotated[bool, Field(description="True: used by registration stage one (shape).")]


MONO_MODELS: Mapping[str, type[BaseModel]] = {"mono_images": MonoImageRow, "mono_cameras": CameraRow}
"""The tables that a version with the mono cameras' images has besides: apart from those of the colour cameras, which
are the views of every other array."""
