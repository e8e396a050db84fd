"""What a training step sees: bundles of rays and square patches from a release, by the step's number alone.

Every step has one global batch, whatever the number of processes: each takes its share of its bundles and patches. So
does every part of a step that is taken in several, and every view comes once before any comes again.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from palm_data.loader.order import epoch_order, sample_generator
from palm_data.loader.release import Release
from palm_data.loader.selection import selected_views
from palm_data.loader.torch_dataset import TorchDataset
from palm_data.store.label_tables import LABEL_ARRAYS
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.volume import Rays
from schemas.errors import BadInputError, IntegrityError, StoreError
from schemas.ids import CameraId, SubjectId
from schemas.prior import PriorSettings

_log = logging.getLogger(__name__)
_FIELDS = ("rgb", "normal")
_TRIES = 16
_Kind = Literal["rays", "patches"]
_LOOKED_AT = 16
"""Bundles in which a scan's normal is looked for before a training that needs normals starts."""


class ViewKey(NamedTuple):
    """One image of a release."""

    subject_id: SubjectId
    frame: int
    camera_id: CameraId


@dataclass(frozen=True, eq=False)
class Batch:
    """Rays of some views and what was seen along them; those of patches last, row by row, patch by patch."""

    rays: Rays
    """`pose` counts the rows of `hands`."""
    colour: Float[Tensor, "n 3"]
    """sRGB in [0, 1], black where the hand is not."""
    mask: Bool[Tensor, " n"]
    """Where the hand is."""
    normal: Float[Tensor, "n 3"]
    """Of the scan, world; zero where there is none."""
    hands: tuple[int, ...]
    """Rows of the released hands, one for each bundle and patch."""
    patches: int
    """How many of the rays' ends are patches, each of `patch_px`² rays."""
    patch_px: int
    uniform: Float[Tensor, "n numbers"]
    """Random numbers of each ray from [0, 1), the same however a step is shared out; first the sampler's."""
    skipped: int
    """Views that could not be read, in whose place others came."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same on a device."""
        moved: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            moved[one.name] = value.to(device) if isinstance(value, Tensor | Rays) else value
        return Batch(**moved)

    def images(self, values: Float[Tensor, "n c"]) -> Float[Tensor, "patches side side c"]:
        """The patches of a value a ray."""
        first = len(values) - self.patches * self.patch_px**2
        return values[first:].view(self.patches, self.patch_px, self.patch_px, -1)


class Batches:
    """The batches of a training."""

    def __init__(self, release: Release, hands: ReleasedHands, settings: PriorSettings, *, numbers: int) -> None:
        """Take the views.

        Args:
            numbers: random numbers that a ray takes.

        Raises:
            BadInputError: if there are too few people, no views, or no normals where the losses need them; if what is held
                out is not there.
            StoreError: if a camera, a field or a tier is not known, or the version has no labels.
        """
        self.hands, self._settings, self._numbers = hands, settings, numbers
        training = settings.training
        self.release = _shown(release, settings)
        cameras = training_cameras(self.release, settings)
        fields, region = (*_FIELDS, training.region), training.region
        self._rays = self.release.rays(
            training.bundle_rays,
            fields=fields,
            region=region,
            cameras=cameras,
            around=training.bundle_rays_around,
            seed=settings.seed,
        )
        self._patches = self.release.patches(
            training.patch_px, fields=(*fields, "camera"), region=region, cameras=cameras, seed=settings.seed + 1
        )
        self.views = view_keys(self.release, cameras, training.region)
        self.validation, self._kept = self._set_aside()
        self._check()

    @property
    def learned_from(self) -> int:
        """Views that are not set aside."""
        return len(self._kept)

    def digest(self) -> str:
        """What is drawn, and how."""
        return f"{self._rays.digest()} {self._patches.digest()}"

    def validation_batches(self, rays: int) -> Iterator[Batch]:
        """So many rays of each view that was set aside and can be read, the same ones every time."""
        training = self._settings.training
        for key in self.validation:
            view = self.release.filtered(where={"subject_id": key.subject_id, "frame": key.frame})
            dataset = view.rays(
                rays,
                fields=(*_FIELDS, training.region),
                region=training.region,
                cameras=[key.camera_id],
                seed=self._settings.seed,
            )
            try:
                sample = dataset[0]
            except (IntegrityError, StoreError) as error:
                _log.warning("%s: left out of the validation: %s", key, error)
                continue
            yield rays_batch(sample, self.hands.row(key.subject_id, key.frame), training.region)

    def share(self, step: int, part: int, parts: int) -> Batch:
        """One of the parts of a step's global batch: its bundles and patches are dealt out like cards.

        Args:
            parts: at most as many as a step has bundles and patches.

        Raises:
            IntegrityError: if a view and those that would stand in for it are all damaged.
        """
        training = self._settings.training
        kinds: tuple[tuple[_Kind, int], ...] = (("rays", training.bundles), ("patches", training.patches))
        whole = [(kind, step * count + place) for kind, count in kinds for place in range(count)]
        return _joined([self._drawn(kind, position) for kind, position in whole[part::parts]])

    def _drawn(self, kind: _Kind, position: int) -> Batch:
        """The bundle at a position of the endless order of its kind, or the next that can be read."""
        dataset = self._rays if kind == "rays" else self._patches
        length = len(self._kept)
        for missed in range(_TRIES):
            epoch, at = divmod(position + missed * (length // _TRIES + 1), length)
            index = int(self._kept[_epoch(length, self._settings.seed, 2 * epoch + (kind == "patches"))[at]])
            try:
                return replace(self._batch(kind, dataset, epoch, index, position), skipped=missed)
            except (IntegrityError, StoreError) as error:
                if missed + 1 == _TRIES:
                    raise
                _log.warning("%s: left out, another is taken: %s", self.views[index], error)
        raise AssertionError("unreachable")

    def _batch(self, kind: _Kind, dataset: TorchDataset, epoch: int, index: int, position: int) -> Batch:
        sample = dataset[epoch, index]
        row = self.hands.row(sample["subject_id"], int(sample["frame"]))
        region = self._settings.training.region
        batch = rays_batch(sample, row, region) if kind == "rays" else patch_batch(sample, row, region)
        random = sample_generator(self._settings.seed + 2, int(kind == "patches"), position)
        uniform = random.random((len(batch.rays), self._numbers), dtype=np.float32)
        return replace(batch, uniform=torch.from_numpy(uniform))

    def _set_aside(self) -> tuple[tuple[ViewKey, ...], Int[np.ndarray, " kept"]]:
        """Views for validation, and the places of all others that may be learned from."""
        known = set(self.hands.keys)
        fitted = np.flatnonzero([(key.subject_id, key.frame) in known for key in self.views])
        count = min(self._settings.training.validation_views, len(fitted) // 10)
        order = epoch_order(len(fitted), self._settings.seed, 1 << 32, shuffle=True)
        chosen = np.sort(fitted[order[:count]])
        return tuple(self.views[int(at)] for at in chosen), np.setdiff1d(fitted, chosen)

    def _check(self) -> None:
        people = {self.views[int(at)].subject_id for at in self._kept}
        least = self._settings.training.least_subjects
        where = f"release {self.release.version}"
        if len(people) < least:
            raise BadInputError(
                where,
                field="subjects",
                expected=f"at least {least} people with fitted hands",
                found=f"{len(people)}",
                hint="A prior of one person knows nothing of others; to train one all the same: --least-subjects 1.",
            )
        if "normal" in self._settings.losses.schedules() and not self._some_normals():
            raise BadInputError(
                where,
                field="normals",
                expected="normals of the scans, which the loss `normal` needs",
                found="none",
                hint="Train without them: --without normal.",
            )

    def _some_normals(self) -> bool:
        for place in np.linspace(0, len(self._kept) - 1, min(_LOOKED_AT, len(self._kept))).astype(int):
            try:
                batch = self._batch("rays", self._rays, 0, int(self._kept[place]), 0)
            except (IntegrityError, StoreError):
                continue  # it is counted when its turn comes
            if bool((batch.normal.abs().amax(dim=-1) > 0).any()):
                return True
        return False


@lru_cache(maxsize=4)
def _epoch(length: int, seed: int, epoch: int) -> Int[np.ndarray, " length"]:
    """The order of an epoch, sorted once and not for every bundle: of both kinds, and at their epochs' ends of the next."""
    return epoch_order(length, seed, epoch, shuffle=True)


def training_cameras(release: Release, settings: PriorSettings) -> list[CameraId]:
    """The cameras of a release that are not held out.

    Raises:
        BadInputError: if a camera that is to be held out is not there, or none is left.
    """
    known = sorted(release.views or release.tables["images"]["camera_id"].unique().to_pylist())
    missing = sorted(set(settings.held_out.cameras) - set(known))
    left = [camera_id for camera_id in known if camera_id not in settings.held_out.cameras]
    if missing or not left:
        raise BadInputError(
            f"release {release.version}",
            field="held-out cameras",
            expected=f"some, but not all, of {', '.join(known)}",
            found=", ".join(settings.held_out.cameras),
        )
    return left


def training_subjects(release: Release, settings: PriorSettings) -> tuple[SubjectId, ...]:
    """The people of a release who are not held out: the rows of the code book.

    Raises:
        BadInputError: if somebody who is to be held out is not there, or nobody is left.
    """
    known, out = release.subject_ids, settings.held_out.subjects
    left = tuple(subject_id for subject_id in known if subject_id not in out)
    if set(out) - set(known) or not left:
        raise BadInputError(
            f"release {release.version}",
            field="held-out subjects",
            expected=f"some, but not all, of {', '.join(known)}",
            found=", ".join(out),
        )
    return left


def view_keys(release: Release, cameras: Sequence[CameraId], region: str) -> tuple[ViewKey, ...]:
    """The views of which the loader has rays and patches in a region, in its order."""
    views = selected_views(release, cameras, seen=True, fitted=region in LABEL_ARRAYS)
    samples = [release[int(at)] for at in range(len(release))]
    return tuple(
        ViewKey(samples[capture].subject_id, samples[capture].frame, samples[capture].every_view[view].camera_id)
        for capture, view in zip(views.captures.tolist(), views.views.tolist(), strict=True)
    )


def rays_batch(sample: dict[str, Any], row: int, region: str) -> Batch:
    """A bundle of the loader's rays."""
    rays = Rays(sample["origins"], sample["directions"], torch.zeros(len(sample["origins"]), dtype=torch.int64))
    mask = sample[region]
    return Batch(rays, _shown_colour(sample, mask), mask, sample["normal"], (row,), 0, 0, _no_numbers(rays), 0)


def patch_batch(sample: dict[str, Any], row: int, region: str) -> Batch:
    """A patch of the loader's, through its pixels' centres."""
    side = sample["rgb"].shape[0]
    camera = sample["camera"]
    rays = pixel_rays(camera["intrinsics"], camera["world_to_camera"], (side, side))
    mask = sample[region].reshape(-1)
    normal = sample["normal"].view(-1, 3) @ camera["world_to_camera"][:3, :3]
    return Batch(rays, _shown_colour(sample, mask), mask, normal, (row,), 1, side, _no_numbers(rays), 0)


def pixel_rays(intrinsics: Float[Tensor, "3 3"], world_to_camera: Float[Tensor, "4 4"], size: tuple[int, int]) -> Rays:
    """Rays through the centres of an image's pixels (height, width), row by row; all of pose row 0."""
    turn, shift = world_to_camera[:3, :3], world_to_camera[:3, 3]
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) + 0.5 for side in size), indexing="ij")
    k = intrinsics
    in_camera = torch.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], torch.ones_like(x)], dim=-1)
    directions = functional.normalize(in_camera.view(-1, 3), dim=-1) @ turn
    return Rays(
        (-turn.T @ shift).expand(len(directions), 3), directions, torch.zeros(len(directions), dtype=torch.int64)
    )


def _no_numbers(rays: Rays) -> Float[Tensor, "n 0"]:
    return torch.zeros(len(rays), 0)


def _shown_colour(sample: dict[str, Any], mask: Bool[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """sRGB, black where the hand is not."""
    return sample["rgb"].reshape(-1, 3).to(torch.float32) / 255.0 * mask[:, None]


def _joined(parts: Sequence[Batch]) -> Batch:
    """Bundles and patches as one batch; bundles come first."""
    rays = [replace(part.rays, pose=torch.full_like(part.rays.pose, number)) for number, part in enumerate(parts)]
    return Batch(
        rays=Rays(*(torch.cat([getattr(one, of.name) for one in rays]) for of in fields(Rays))),
        colour=torch.cat([part.colour for part in parts]),
        mask=torch.cat([part.mask for part in parts]),
        normal=torch.cat([part.normal for part in parts]),
        hands=tuple(row for part in parts for row in part.hands),
        patches=sum(part.patches for part in parts),
        patch_px=max(part.patch_px for part in parts),
        uniform=torch.cat([part.uniform for part in parts]),
        skipped=sum(part.skipped for part in parts),
    )


def _shown(release: Release, settings: PriorSettings) -> Release:
    """The captures that may be learned from."""
    import pyarrow.compute as pc

    shown = release.at_tier(settings.training.tier)
    if settings.held_out.subjects:
        shown = shown.filtered(subjects=training_subjects(release, settings))
    known = set(shown.captures["gesture"].unique().to_pylist())
    if settings.training.quality_ok:
        shown = shown.filtered(where={"quality_ok": True})
    if settings.held_out.gestures:
        missing = sorted(set(settings.held_out.gestures) - known)
        if missing:
            raise BadInputError(
                f"release {release.version}",
                field="held-out gestures",
                expected=f"some of {', '.join(sorted(known))}",
                found=", ".join(missing),
            )
        shown = shown.filtered(where=~pc.field("gesture").isin(list(settings.held_out.gestures)))
    return shown
