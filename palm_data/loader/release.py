"""Opening a release: a sequence of captures, with the tables they come from."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pyarrow as pa

from palm_data.camera.tier import camera_at
from palm_data.loader.fields import FIELDS, PIXEL_FIELDS, checked_fields
from palm_data.loader.location import version_files
from palm_data.loader.sample import Sample
from palm_data.loader.selection import checked_cameras
from palm_data.loader.shards import Shard
from palm_data.loader.tables import Tables, Where
from palm_data.loader.withdrawn import not_withdrawn
from schemas.arrow import table_to_rows
from schemas.camera import Camera
from schemas.errors import StoreError
from schemas.hand import HandConvention
from schemas.ids import CameraId, Sha256, SubjectId, VersionId
from schemas.release import CaptureRow, ImageRow, Manifest, SplitName, SplitRow, SubjectRow
from schemas.tier import FULL, Tier

if TYPE_CHECKING:
    from palm_data.loader.torch_dataset import TorchDataset

_FIELDS = ("rgb", "mask", "camera")
_RAY_FIELDS = ("rgb", "mask", "normal", "depth")


def open_release(
    location: str | Path,
    version: VersionId | None = None,
    *,
    split: SplitName | None = None,
    subjects: Collection[SubjectId] | None = None,
    where: "Where | None" = None,
    views: Collection[CameraId] | None = None,
    fields: Collection[str] | None = None,
    cache: Path | bool = True,
    tier: Tier = FULL,
) -> "Release":
    """Open a published version: its tables now, verified; images, maps and scans when they are asked for.

    Captures of people who withdrew after the version was published are left out, with a `WithdrawnWarning`.

    Args:
        location: where all releases are, or one version: a folder, or a URL (s3://, gs://, az://, https://).
        version: the highest published one by default; behind a web server it is to be given.
        split: keep only the captures of this split.
        subjects: keep only the captures of these subjects.
        where: keep only captures of which this is true: a text such as `"quality_ok and fit_mm < 6"`; or values of columns,
            each one or a collection (`{"gesture": ["fist", "pinch"]}`); or an Arrow expression. Columns are those of
            the captures, subjects, gestures and quality tables, and `split`.
        views: show only these cameras' views, in the order of the arrays.
        fields: what `torch()`, `patches()` and `rays()` give when they are not told (`docs/loader.md` lists the fields).
        cache: where to keep what is read of a remote version; True: as the settings `cache` say; False: nowhere.
        tier: the resolution of images, maps, cameras and joints in images.

    Raises:
        ConsentError: if a subject is named who withdrew.
        StoreError: if there is no such version, subject, split, column, camera, field or tier, or a column of quality or a
            field of labels is named and the version has no labels.
        IntegrityError: if the manifest, the files table or a table is damaged.
    """
    tables = Tables(version_files(location, version, cache=cache))
    shown = not_withdrawn(tables, subjects or ())
    choice = Choice(fields=None if fields is None else checked_fields(fields, FIELDS, tables))
    release = Release(tables, shown, choice)
    return release.at_tier(tier).filtered(split=split, subjects=subjects, where=where, views=views)


@dataclass(frozen=True)
class Choice:
    """What of each capture a release was opened with."""

    views: tuple[CameraId, ...] | None = None
    """Cameras whose views are shown; None: all."""
    fields: tuple[str, ...] | None = None
    """What datasets give when they are not told; None: what each does by default."""
    tier: Tier = FULL
    """The resolution; one that the version has."""


class Release(Sequence[Sample]):
    """The captures of a version, or some of them, ordered by subject and frame. May be sent to other processes."""

    def __init__(self, tables: Tables, selected: np.ndarray, choice: Choice | None = None) -> None:
        """Take the tables, and which rows of the captures table are in, in ascending order."""
        self.tables, self._selected, self._choice = tables, selected, choice or Choice()
        self._shards: dict[SubjectId, Shard] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Travel to other processes without open arrays."""
        return {**self.__dict__, "_shards": {}}

    def __repr__(self) -> str:
        tier = "" if self.tier == FULL else f" at {self.tier} size"
        return f"Release({self.version}, {len(self)} captures of {len(self.subject_ids)} subjects{tier})"

    def __len__(self) -> int:
        return len(self._selected)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> "Release": ...

    def __getitem__(self, index: int | slice) -> "Sample | Release":
        """The capture at a position, or a release of a range of them."""
        if isinstance(index, slice):
            return Release(self.tables, np.sort(self._selected[index]), self._choice)
        (row,) = table_to_rows(CaptureRow, self.tables["captures"].slice(int(self._selected[index]), 1))
        return Sample(self, row)

    def __iter__(self) -> Iterator[Sample]:
        return (self[position] for position in range(len(self)))

    @property
    def manifest(self) -> Manifest:
        """What the version is."""
        return self.tables.manifest

    @property
    def version(self) -> VersionId:
        """The version."""
        return self.manifest.version

    @property
    def views(self) -> tuple[CameraId, ...] | None:
        """The cameras whose views are shown; None: all."""
        return self._choice.views

    @property
    def labelled(self) -> bool:
        """Whether the version holds keypoints, hands, quality and hand masks."""
        return self.tables.labelled

    @property
    def hand_convention(self) -> HandConvention:
        """How the numbers of the hands are to be read.

        Raises:
            StoreError: if the version has no labels.
        """
        return self.tables.hand_convention

    @cached_property
    def subject_ids(self) -> tuple[SubjectId, ...]:
        """The subjects whose captures are here, sorted."""
        return tuple(sorted(self.captures["subject_id"].unique().to_pylist()))

    @property
    def subjects(self) -> tuple[SubjectRow, ...]:
        """What is known of them, in bands."""
        return tuple(self.person(subject_id) for subject_id in self.subject_ids)

    def capture(self, subject_id: SubjectId, frame: int) -> Sample:
        """The capture of a subject with this frame number.

        Raises:
            StoreError: if it is not among the captures here; says which frames are.
        """
        import pyarrow.compute as pc

        theirs = self.captures.filter(pc.field("subject_id") == subject_id)
        rows = theirs.filter(pc.field("frame") == frame)
        if not rows.num_rows:
            known = ", ".join(map(str, theirs["frame"].to_pylist())) or "none"
            raise StoreError(f"{self}: subject {subject_id}: expected one of the frames {known}, found {frame}.")
        (row,) = table_to_rows(CaptureRow, rows)
        return Sample(self, row)

    def subject(self, subject_id: SubjectId) -> "Release":
        """The captures of one subject.

        Raises:
            StoreError: if none of theirs is here.
        """
        return self.filtered(subjects=[subject_id])

    def filtered(
        self,
        *,
        split: SplitName | None = None,
        subjects: Collection[SubjectId] | None = None,
        where: "Where | None" = None,
        views: Collection[CameraId] | None = None,
    ) -> "Release":
        """Those of the captures that satisfy everything given, as `open_release` describes it.

        Raises:
            StoreError: if there is no such subject, split, column or camera.
        """
        choice = self._choice if views is None else replace(self._choice, views=checked_cameras(self, views))
        selected = self._selected
        if split is not None:
            if split not in self.manifest.splits:
                raise StoreError(f"{self}: split: expected one of {', '.join(self.manifest.splits)}, found {split!r}.")
            selected = selected[self.tables.matching({"split": split})[selected]]
        if subjects is not None:
            missing = sorted(set(subjects) - set(self.subject_ids))
            if missing:
                known = ", ".join(self.subject_ids) or "none"
                raise StoreError(f"{self}: expected subjects among {known}, found {', '.join(missing)}.")
            selected = selected[self.tables.matching({"subject_id": list(subjects)})[selected]]
        if where is not None:
            selected = selected[self.tables.matching(where)[selected]]
        return Release(self.tables, selected, choice)

    @property
    def tier(self) -> Tier:
        """The resolution of what is read from here."""
        return self._choice.tier

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The resolutions that the version has, the largest first."""
        return self.tables.tiers

    def at_tier(self, tier: Tier) -> "Release":
        """The same captures at another resolution: images, maps, cameras and joints in images.

        Raises:
            StoreError: if the version has no such tier; names those it has.
        """
        if tier not in self.tiers:
            raise StoreError(f"{self}: tier: expected one of {', '.join(self.tiers)}, found {tier!r}.")
        return Release(self.tables, self._selected, replace(self._choice, tier=tier))

    def digest(self) -> Sha256:
        """SHA-256 of which captures of which version these are, and of the tier if it is not the full one."""
        rows = self._selected.astype("<i8").tobytes()
        tier = b"" if self.tier == FULL else self.tier.encode()
        return hashlib.sha256(bytes.fromhex(self.manifest.merkle_root) + rows + tier).hexdigest()

    def torch(
        self,
        fields: Collection[str] | None = None,
        *,
        per: Literal["view", "capture"] = "view",
        cameras: Collection[CameraId] | None = None,
        absent: bool = False,
    ) -> "TorchDataset":
        """A map-style dataset of views, or of captures with their views stacked; `docs/loader.md` lists the fields.

        Args:
            cameras: only these cameras' views; all by default.
            absent: views too whose image the rig did not deliver (captures say which are `present`).

        Raises:
            StoreError: if a field or camera is not known, or a field needs labels and the version has none.
        """
        from palm_data.loader.torch_dataset import TorchDataset  # torch is loaded when it is asked for
        from palm_data.loader.wholes import WholeCaptures, WholeViews

        asked, views = self._fields(fields, FIELDS, _FIELDS), self._cameras(cameras)
        if per == "view":
            return TorchDataset(WholeViews(self, asked, cameras=views, absent=absent))
        if per == "capture":
            return TorchDataset(WholeCaptures(self, asked, cameras=views))
        raise StoreError(f"per: expected view or capture, found {per!r}.")

    def patches(
        self,
        size: int = 128,
        *,
        per_view: int = 1,
        fields: Collection[str] | None = None,
        region: str = "mask",
        cameras: Collection[CameraId] | None = None,
        seed: int = 0,
    ) -> "TorchDataset":
        """A dataset of square pieces of views, drawn within the box of what is seen; only their tiles are read.

        Raises:
            StoreError: as `palm_data.loader.patches.Patches` does.
        """
        from palm_data.loader.patches import Patches
        from palm_data.loader.torch_dataset import TorchDataset

        asked = self._fields(fields, FIELDS, _FIELDS)
        patches = Patches(self, size, asked, per_view=per_view, region=region, cameras=self._cameras(cameras))
        return TorchDataset(patches, seed=seed)

    def rays(
        self,
        count: int = 1024,
        *,
        per_view: int = 1,
        fields: Collection[str] | None = None,
        normals: Literal["world", "camera"] = "world",
        region: str = "mask",
        cameras: Collection[CameraId] | None = None,
        around: int = 0,
        seed: int = 0,
    ) -> "TorchDataset":
        """A dataset of rays through pixel centres, uniform over what is seen of the hand, in the world.

        Args:
            around: how many of the rays of a bundle, the last ones, pass near the region instead of through it.

        Raises:
            StoreError: as `palm_data.loader.rays.Rays` does.
        """
        from palm_data.loader.rays import Rays
        from palm_data.loader.torch_dataset import TorchDataset

        asked, views = self._fields(fields, PIXEL_FIELDS, _RAY_FIELDS), self._cameras(cameras)
        rays = Rays(self, count, asked, per_view=per_view, normals=normals, region=region, cameras=views, around=around)
        return TorchDataset(rays, seed=seed)

    def _fields(self, asked: Collection[str] | None, known: Collection[str], usual: tuple[str, ...]) -> Collection[str]:
        """What a dataset gives: what it is asked for, else what the release was opened with, as far as it knows it."""
        if asked is not None or self._choice.fields is None:
            return usual if asked is None else asked
        return tuple(name for name in self._choice.fields if name in known) or usual

    def _cameras(self, asked: Collection[CameraId] | None) -> Collection[CameraId] | None:
        """Cameras that a dataset takes, within those that the release was opened with."""
        if asked is None or self.views is None:
            return asked if self.views is None else self.views
        return [camera_id for camera_id in checked_cameras(self, asked) if camera_id in self.views]

    def person(self, subject_id: SubjectId) -> SubjectRow:
        """What is known of a subject, in bands."""
        return self.tables.rows("subjects", SubjectRow, subject_id)[0]

    def split_of(self, subject_id: SubjectId) -> SplitName:
        """The split of a subject."""
        return self.tables.rows("splits", SplitRow, subject_id)[0].split

    def cameras(self, subject_id: SubjectId) -> tuple[Camera, ...]:
        """The cameras of a subject's undistorted images at this tier, in the order of the views."""
        return tuple(camera_at(camera, self.tier) for camera in self.tables.cameras(subject_id))

    @property
    def has_mono(self) -> bool:
        """Whether the version holds the mono cameras' images."""
        return self.tables.has_mono

    def mono_cameras(self, subject_id: SubjectId) -> tuple[Camera, ...]:
        """The mono cameras of a subject's undistorted images at this tier, in the order of the arrays.

        Raises:
            StoreError: if the version has none.
        """
        return tuple(camera_at(camera, self.tier) for camera in self.tables.cameras(subject_id, "mono_cameras"))

    def images(self, subject_id: SubjectId, frame: int) -> tuple[ImageRow, ...]:
        """The rows of a capture's images, in the order of the views."""
        return self.tables.images(subject_id, frame)

    def shard(self, subject_id: SubjectId) -> Shard:
        """A subject's arrays."""
        if subject_id not in self._shards:
            self._shards[subject_id] = Shard(
                self.tables.files, f"shards/{subject_id}.zarr", self.tables.shard_files(subject_id)
            )
        return self._shards[subject_id]

    @property
    def documents(self) -> tuple[str, ...]:
        """The texts that come with the version: README.md, LICENSE, reports; paths relative to it, sorted."""
        return self.tables.documents

    def document(self, path: str) -> bytes:
        """A text of the version, held to its released digest.

        Raises:
            StoreError: if the version has no such document; names those it has.
            IntegrityError: if it is missing or damaged.
        """
        return self.tables.document(path)

    @property
    def captures(self) -> pa.Table:
        """The rows of the captures table that are here, in their order."""
        return self.tables["captures"].take(pa.array(self._selected))
