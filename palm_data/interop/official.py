"""A release in the official layout, so that the official loader and training code read it.

<out>/folders/<subject>/cameras.npy, poses.npy
<out>/folders/<subject>/{images,masks,mano,normals}/MCU_01 … MCU_07/000001.png …
<out>/quality_dict_feb_27.npy
<out>/palm_export.json           which capture became which file, and which were left out; not read by the official code

A subject's plan is written before its pictures, and its `poses.npy` after them: what is there need not be made again.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from palm_data.hand.model import SHIPPED_MODEL
from palm_data.interop.official_encoding import cameras_entry, encode_mask, encode_normals, poses_entry
from palm_data.interop.official_layout import (
    CAMERA_IDS,
    CAMERAS_FILE,
    FOLDERS,
    POSES_FILE,
    QUALITY_FILE,
    VALIDATION_FRAMES,
    Picture,
    quality_key,
)
from palm_data.interop.official_plan import (
    LeftOut,
    SubjectPlan,
    official_cameras,
    plan_subject,
    require_few_frames,
    require_right_hand,
    subject_hands,
)
from palm_data.interop.pickled import object_npy
from palm_data.interop.pngs import write_png
from palm_data.interop.unfinished import Request, growing, is_whole
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample, View
from palm_data.store.atomic import file_sha256, write_bytes
from schemas.errors import IntegrityError, StoreError
from schemas.hand import HandConvention
from schemas.ids import Sha256, SubjectId, VersionId

RECORD_FILE = "palm_export.json"
_PLANS = "palm_plans"
_CODE_VERSION = "1"


class OfficialExport(BaseModel):
    """What was exported."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    release: VersionId
    merkle_root: Sha256
    hand_convention: HandConvention
    subjects: Annotated[
        dict[SubjectId, tuple[int, ...]],
        Field(description="Subject → the release's frame numbers; the first one became file 000001."),
    ]
    left_out: tuple[LeftOut, ...]

    @property
    def frames(self) -> int:
        """How many captures were exported."""
        return sum(map(len, self.subjects.values()))

    @property
    def standin(self) -> bool:
        """Whether the hands' numbers belong to the shipped stand-in, which the official code does not have."""
        return self.hand_convention.model_sha256 == file_sha256(SHIPPED_MODEL)

    @property
    def validation_subjects(self) -> tuple[SubjectId, ...]:
        """The subjects with as many frames as the official validation asks for."""
        return tuple(one for one, frames in self.subjects.items() if len(frames) >= VALIDATION_FRAMES)


def export_official(
    release: Release,
    out: Path,
    *,
    keep_small: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> OfficialExport:
    """Write a release's captures in the official layout; an interrupted run goes on where it was.

    Captures without a fitted hand, without all seven images, or with masks too small for the official training's
    patches are left out and listed.

    Args:
        out: the folder to make; it appears when it is whole.
        keep_small: keep captures whose masks are too small for the official training.
        progress: called with captures done and captures in all.

    Raises:
        StoreError: if the version has no labels, holds hands or cameras that the layout cannot state, more captures of
            a subject than it has room for, or none that can be exported.
        ConflictError: if `out` holds anything else.
        IntegrityError: if the release is damaged.
    """
    require_right_hand(release.hand_convention)
    request = _request(release, keep_small)
    if is_whole(out, request):
        return read_record(out)
    require_few_frames(release)
    for subject_id in release.subject_ids:
        official_cameras(release, subject_id)
    with growing(out, request) as folder:
        plans, done = [], 0
        for subject_id in release.subject_ids:
            plan = _planned(release, subject_id, folder, keep_small=keep_small)
            plans.append(plan)
            _write_subject(release, plan, folder)
            done += len(plan.frames) + len(plan.left_out)
            if progress is not None:
                progress(done, len(release))
        return _finish(release, plans, folder)


def read_record(out: Path) -> OfficialExport:
    """What an exported folder says of itself.

    Raises:
        IntegrityError: if its record is missing or damaged.
    """
    path = out / RECORD_FILE
    try:
        return OfficialExport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(f"{path}: expected the record of an export, found {error}. Export again.") from error


def _request(release: Release, keep_small: bool) -> Request:
    return {
        "format": "official",
        "code_version": _CODE_VERSION,
        "release": release.version,
        "merkle_root": release.manifest.merkle_root,
        "captures": [f"{sample.subject_id}/{sample.frame}" for sample in release],
        "keep_small": keep_small,
    }


def _planned(release: Release, subject_id: SubjectId, folder: Path, *, keep_small: bool) -> SubjectPlan:
    """The subject's plan: the one of an earlier run, or a new one."""
    path = folder / _PLANS / f"{subject_id}.json"
    if path.is_file():
        return SubjectPlan.model_validate_json(path.read_bytes())
    plan = plan_subject(release, subject_id, keep_small=keep_small)
    write_bytes(path, plan.model_dump_json().encode())
    return plan


def _write_subject(release: Release, plan: SubjectPlan, folder: Path) -> None:
    home = folder / FOLDERS / plan.subject_id
    if not plan.frames or (home / POSES_FILE).is_file():
        return
    poses = poses_entry(subject_hands(release, plan))
    for number, frame in enumerate(plan.frames, start=1):
        _write_frame(release.capture(plan.subject_id, frame), number, home)
    write_bytes(home / CAMERAS_FILE, object_npy(cameras_entry(official_cameras(release, plan.subject_id))))
    write_bytes(home / POSES_FILE, object_npy(poses))


def _write_frame(sample: Sample, number: int, home: Path) -> None:
    for camera_id in CAMERA_IDS:
        _write_view(sample.view(camera_id), number, home)


def _write_view(view: View, number: int, home: Path) -> None:
    pixels = {
        "images": lambda: view.rgb,
        "masks": lambda: encode_mask(view.mask),
        "mano": lambda: encode_mask(view.hand_mask),
        "normals": lambda: encode_normals(view.normal),
    }
    for kind, made in pixels.items():
        path = home / Picture(kind, view.camera_id, number).file
        if not path.is_file():
            write_png(path, made())


def _finish(release: Release, plans: list[SubjectPlan], folder: Path) -> OfficialExport:
    left_out = tuple(one for plan in plans for one in plan.left_out)
    if not any(plan.frames for plan in plans):
        shutil.rmtree(folder)
        reasons = sorted({one.reason for one in left_out})
        raise StoreError(
            f"{release}: expected a capture that the official code can use, found none. Reasons: "
            f"{'; '.join(reasons[:3])}{' and others' if len(reasons) > 3 else ''}."
        )
    record = OfficialExport(
        release=release.version,
        merkle_root=release.manifest.merkle_root,
        hand_convention=release.hand_convention,
        subjects={plan.subject_id: plan.frames for plan in plans if plan.frames},
        left_out=left_out,
    )
    errors = {
        quality_key(plan.subject_id, number): 1.0 - release.capture(plan.subject_id, frame).quality.score
        for plan in plans
        for number, frame in enumerate(plan.frames, start=1)
    }
    write_bytes(folder / QUALITY_FILE, object_npy(errors))
    write_bytes(folder / RECORD_FILE, (json.dumps(record.model_dump(mode="json"), indent=1) + "\n").encode())
    shutil.rmtree(folder / _PLANS)
    return record
