"""Which captures of a subject go into an export in the official layout, and why the others do not."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from palm_data.interop.official_encoding import crop_fits, crop_room
from palm_data.interop.official_layout import CAMERA_IDS, CROP_PX, MAX_FRAMES
from palm_data.interop.official_size import shrunk_camera, shrunk_mask
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample
from schemas.camera import Camera
from schemas.errors import StoreError
from schemas.hand import HandConvention, HandRow
from schemas.ids import SubjectId

_FROZEN = ConfigDict(frozen=True, extra="forbid")
NO_HAND = "no hand could be fitted"


class LeftOut(BaseModel):
    """A capture that is not exported."""

    model_config = _FROZEN

    subject_id: SubjectId
    frame: Annotated[int, Field(ge=1, description="The release's frame number.")]
    reason: str


class SubjectPlan(BaseModel):
    """What becomes of a subject's captures."""

    model_config = _FROZEN

    subject_id: SubjectId
    frames: Annotated[
        tuple[int, ...], Field(description="The release's frame numbers; the first one becomes file 000001.")
    ]
    left_out: tuple[LeftOut, ...]


def require_right_hand(convention: HandConvention) -> None:
    """Refuse hands that the official layout has no way to state.

    Raises:
        StoreError: if they are left hands, or their poses are not offsets from the mean pose.
    """
    if convention.side != "right" or convention.flat_hand_mean:
        found = f"{convention.side} hands with flat_hand_mean = {convention.flat_hand_mean}"
        raise StoreError(
            f"hand convention: expected right hands with flat_hand_mean = False, found {found}. The official layout "
            "holds no others."
        )


def official_cameras(release: Release, subject_id: SubjectId, longest: int | None) -> tuple[Camera, ...]:
    """The subject's seven colour cameras, of images that are at most `longest` px on their longer side.

    Raises:
        StoreError: if one is missing, or their images differ in size.
    """
    shown = release.views
    cameras = {one.camera_id: one for one in release.cameras(subject_id) if shown is None or one.camera_id in shown}
    missing = [one for one in CAMERA_IDS if one not in cameras]
    if missing:
        raise StoreError(
            f"subject {subject_id}: cameras: expected {CAMERA_IDS[0]} to {CAMERA_IDS[-1]}, found none of "
            f"{', '.join(missing)}. The official code chooses among these seven: leave the subject out with --subjects, or open the release with all views."
        )
    chosen = tuple(cameras[one] for one in CAMERA_IDS)
    sizes = sorted({(camera.width, camera.height) for camera in chosen})
    if len(sizes) > 1:
        found = ", ".join(f"{width}×{height}" for width, height in sizes)
        raise StoreError(f"subject {subject_id}: cameras: expected images of one size, found {found}.")
    return tuple(shrunk_camera(camera, longest) for camera in chosen)


def require_few_frames(release: Release) -> None:
    """Refuse more captures of a subject, with hand and images, than the official code has room for.

    Raises:
        StoreError: naming the subject and the number.
    """
    for subject_id in release.subject_ids:
        found = sum(not _missing(sample) for sample in release.subject(subject_id))
        if found > MAX_FRAMES:
            raise StoreError(
                f"subject {subject_id}: captures: expected at most {MAX_FRAMES}, found {found}. The official code has "
                "no room for more: export fewer, chosen with palm_data.open_release(…, where=…)."
            )


def plan_subject(release: Release, subject_id: SubjectId, *, keep_small: bool, longest: int | None) -> SubjectPlan:
    """Choose the subject's captures by their hand, their images and the size of their masks.

    Args:
        keep_small: keep captures with a mask in which the official training could not cut a patch.
        longest: px that the images' longer side will have at most.

    Raises:
        IntegrityError: if a mask is damaged.
    """
    frames, left_out = [], []
    for sample in release.subject(subject_id):
        reason = _missing(sample) or ("" if keep_small else _too_small(sample, longest))
        if reason:
            left_out.append(LeftOut(subject_id=subject_id, frame=sample.frame, reason=reason))
        else:
            frames.append(sample.frame)
    return SubjectPlan(subject_id=subject_id, frames=tuple(frames), left_out=tuple(left_out))


def subject_hands(release: Release, plan: SubjectPlan) -> list[HandRow]:
    """The hands of the planned frames, in their order.

    Raises:
        StoreError: if they do not share one shape, of which the official layout holds one a subject.
    """
    hands: list[HandRow] = []
    for frame in plan.frames:
        hand = release.capture(plan.subject_id, frame).hand
        if hand is None:
            raise StoreError(f"subject {plan.subject_id}, frame {frame}: expected a fitted hand, found none.")
        hands.append(hand.fit)
    if len({hand.betas for hand in hands}) > 1:
        raise StoreError(f"subject {plan.subject_id}: betas: expected the same in all captures, found several.")
    return hands


def _missing(sample: Sample) -> str:
    missing = [view.camera_id for view in sample.views if view.camera_id in CAMERA_IDS and not view.present]
    if missing:
        return f"no image of {', '.join(missing)}"
    return NO_HAND if sample.hand is None else ""


def _too_small(sample: Sample, longest: int | None) -> str:
    rooms = {}
    for view in sample.views:
        if view.camera_id in CAMERA_IDS:
            camera = shrunk_camera(view.camera, longest)
            rooms[view.camera_id] = crop_room(shrunk_mask(view.mask, camera), shrunk_mask(view.hand_mask, camera))
    small = [f"{name} {room[0]}×{room[1]} px" for name, room in rooms.items() if not crop_fits(room)]
    return f"mask too small for a patch of {CROP_PX} px: {', '.join(small)}" if small else ""
