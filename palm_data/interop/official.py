"""A release in the official layout, so that the official loader and training code read it.

<out>/folders/<subject>/cameras.npy, poses.npy
<out>/folders/<subject>/{images,masks,mano,normals}/MCU_01 … MCU_07/000001.png …
<out>/quality_dict_feb_27.npy
<out>/palm_export.json           which capture became which file, and which were left out; not read by the official code
<out>/palm_tables/*.parquet      the release's rows of these captures (`official_sidecar`); not read by the official code

A subject's plan is written before its pictures, and its `poses.npy` after them: what is there need not be made again.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from palm_data.interop.official_encoding import cameras_entry, encode_mask, encode_normals, poses_entry
from palm_data.interop.official_layout import (
    CAMERAS_FILE,
    CROP_PX,
    FOLDERS,
    POSES_FILE,
    QUALITY_FILE,
    Picture,
    quality_key,
)
from palm_data.interop.official_plan import (
    SubjectPlan,
    official_cameras,
    plan_subject,
    require_few_frames,
    require_right_hand,
    subject_hands,
)
from palm_data.interop.official_sidecar import RECORD_FILE, OfficialExport, read_record, write_tables
from palm_data.interop.official_size import shrunk_image, shrunk_mask, shrunk_normals
from palm_data.interop.pickled import object_npy
from palm_data.interop.pngs import write_png
from palm_data.interop.unfinished import Request, growing, is_whole
from palm_data.loader.release import Release
from palm_data.loader.sample import View
from palm_data.store.atomic import write_bytes
from schemas.camera import Camera
from schemas.errors import SettingsError, StoreError
from schemas.ids import SubjectId

_PLANS = "palm_plans"
_CODE_VERSION = "1"


def export_official(
    release: Release,
    out: Path,
    *,
    keep_small: bool = False,
    longest: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> OfficialExport:
    """Write a release's captures in the official layout; an interrupted run goes on where it was.

    Captures without a fitted hand, without all seven images, or with masks too small for the official training's
    patches are left out and listed.

    Args:
        out: the folder to make; it appears when it is whole.
        keep_small: keep captures whose masks are too small for the official training.
        longest: resize pictures, and cameras with them, to this many px on their longer side if they are larger.
        progress: called with captures done and captures in all.

    Raises:
        SettingsError: if `longest` is less than a patch of the official training.
        StoreError: if the version has no labels, holds hands or cameras that the layout cannot state, more captures of
            a subject than it has room for, or none that can be exported.
        ConflictError: if `out` holds anything else.
        IntegrityError: if the release is damaged.
    """
    require_right_hand(release.hand_convention)
    if longest is not None and longest < CROP_PX:
        raise SettingsError(
            f"longest: expected at least {CROP_PX} px, a patch of the official training, found {longest}."
        )
    request = _request(release, keep_small, longest)
    if is_whole(out, request):
        return read_record(out)
    for subject_id in release.subject_ids:
        official_cameras(release, subject_id, longest)
    require_few_frames(release)
    with growing(out, request) as folder:
        plans, made = [], _Captures(len(release), progress)
        for subject_id in release.subject_ids:
            plan = _planned(release, subject_id, folder, keep_small=keep_small, longest=longest)
            plans.append(plan)
            made.add(len(plan.left_out))
            _write_subject(release, plan, folder, longest, made)
        return _finish(release, plans, folder, longest)


@dataclass
class _Captures:
    """How many captures are done, told to whoever wants to know."""

    total: int
    progress: Callable[[int, int], None] | None
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done, self.total)


def _request(release: Release, keep_small: bool, longest: int | None) -> Request:
    return {
        "format": "official",
        "code_version": _CODE_VERSION,
        "release": release.version,
        "merkle_root": release.manifest.merkle_root,
        "captures": [f"{sample.subject_id}/{sample.frame}" for sample in release],
        "keep_small": keep_small,
        "longest": longest or 0,
    }


def _planned(
    release: Release, subject_id: SubjectId, folder: Path, *, keep_small: bool, longest: int | None
) -> SubjectPlan:  # fmt: skip
    """The subject's plan: the one of an earlier run, or a new one."""
    path = folder / _PLANS / f"{subject_id}.json"
    if path.is_file():
        return SubjectPlan.model_validate_json(path.read_bytes())
    plan = plan_subject(release, subject_id, keep_small=keep_small, longest=longest)
    write_bytes(path, plan.model_dump_json().encode())
    return plan


def _write_subject(
    release: Release, plan: SubjectPlan, folder: Path, longest: int | None, made: _Captures
) -> None:  # fmt: skip
    home = folder / FOLDERS / plan.subject_id
    if not plan.frames or (home / POSES_FILE).is_file():
        made.add(len(plan.frames))
        return
    poses = poses_entry(subject_hands(release, plan))
    cameras = official_cameras(release, plan.subject_id, longest)
    for number, frame in enumerate(plan.frames, start=1):
        sample = release.capture(plan.subject_id, frame)
        for camera in cameras:
            _write_view(sample.view(camera.camera_id), camera, number, home)
        made.add(1)
    write_bytes(home / CAMERAS_FILE, object_npy(cameras_entry(cameras)))
    write_bytes(home / POSES_FILE, object_npy(poses))


def _write_view(view: View, camera: Camera, number: int, home: Path) -> None:
    pixels = {
        "images": lambda: shrunk_image(view.rgb, camera),
        "masks": lambda: encode_mask(shrunk_mask(view.mask, camera)),
        "mano": lambda: encode_mask(shrunk_mask(view.hand_mask, camera)),
        "normals": lambda: encode_normals(shrunk_normals(view.normal, camera)),
    }
    for kind, made in pixels.items():
        path = home / Picture(kind, view.camera_id, number).file
        if not path.is_file():
            write_png(path, made())


def _finish(
    release: Release, plans: list[SubjectPlan], folder: Path, longest: int | None
) -> OfficialExport:  # fmt: skip
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
        scaled=any(
            official_cameras(release, plan.subject_id, longest) != official_cameras(release, plan.subject_id, None)
            for plan in plans
        ),
        subjects={plan.subject_id: plan.frames for plan in plans if plan.frames},
        left_out=left_out,
    )
    errors = {
        quality_key(plan.subject_id, number): 1.0 - release.capture(plan.subject_id, frame).quality.score
        for plan in plans
        for number, frame in enumerate(plan.frames, start=1)
    }
    write_bytes(folder / QUALITY_FILE, object_npy(errors))
    write_tables(release, record, folder)
    write_bytes(folder / RECORD_FILE, (json.dumps(record.model_dump(mode="json"), indent=1) + "\n").encode())
    shutil.rmtree(folder / _PLANS)
    return record
