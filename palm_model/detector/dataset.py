"""What the detector learns from: the annotated images of consenting people, cut about their scans and kept small."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from palm_data.calibration.cameras import load_cameras
from palm_data.camera.pinhole import undistort_points
from palm_data.capture.index import load_index, subject_digest
from palm_data.store.workspace import Workspace
from palm_model.detector.annotations import AnnotatedImage, read_annotations
from palm_model.detector.crops import CropBox, cut_crop
from palm_model.detector.views import View, ViewReader
from schemas.camera import Camera
from schemas.capture import CaptureIndex, Consent
from schemas.errors import BadInputError
from schemas.ids import Sha256
from schemas.settings import Settings

ROOM = 1.3
"""Side of a kept crop as a multiple of the network's: room for turning and moving."""


@dataclass(frozen=True)
class Session:
    """A raw session and the workspace that its first stages wrote to."""

    raw: Path
    workspace: Workspace


@dataclass(frozen=True)
class Examples:
    """Annotated crops, sorted by the digests of their images."""

    crops: UInt8[ndarray, "n kept kept 3"]
    points_px: Float[ndarray, "n 21 2"]
    """In the kept crop, integers at pixel corners."""
    labelled: Bool[ndarray, "n 21"]
    images: tuple[Sha256, ...]
    people: tuple[Sha256, ...]
    """Digest of the person on each (see `subject_digest`)."""
    digest: Sha256
    """Of images and labels."""
    left_out: int
    """Annotated images that could not be used."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.images)

    @property
    def subjects(self) -> tuple[Sha256, ...]:
        """Digests of the people, sorted."""
        return tuple(sorted(set(self.people)))

    def held_out(self, percent: int) -> Bool[ndarray, " n"]:
        """Which ones are for validation: all images of some people, of at least that share unless nobody would be left.

        A network that saw a person's other images knows the person: only strangers tell how good it is.
        """
        subjects = self.subjects
        count = min(int(np.ceil(len(subjects) * percent / 100)), len(subjects) - 1)
        strangers = set(subjects[:count])  # digests are random, so their order is a draw
        return np.array([person in strangers for person in self.people], dtype=bool)

    def learned_from(self, percent: int) -> tuple[Sha256, ...]:
        """Digests of the people whose images are not held out, sorted."""
        held = self.held_out(percent)
        return tuple(sorted({person for person, out in zip(self.people, held, strict=True) if not out}))


@dataclass(frozen=True)
class Example:
    """One annotated crop."""

    crop: UInt8[ndarray, "kept kept 3"]
    points_px: Float[ndarray, "21 2"]
    labelled: Bool[ndarray, "21"]
    image: Sha256
    person: Sha256


def kept_px(settings: Settings) -> int:
    """Side of a kept crop: as fine as the network's input, and finer, so that enlarging does not blur."""
    return int(np.ceil(settings.detector.input_px * ROOM * 1.25))


def load_examples(sessions: Sequence[Session], settings: Settings) -> Examples:
    """Every annotated image of the sessions' consenting, ingested people.

    Raises:
        BadInputError: if there is no annotated image that can be used.
        StoreError: if a session's calibration has not been imported.
    """
    examples = find_examples(sessions, settings)
    if examples is None:
        places = ", ".join(str(session.raw) for session in sessions)
        raise BadInputError(
            places, field="annotations", expected="annotated images of ingested subjects", found="none",
            hint="Put COCO keypoint files into <raw>/annotations, and run palm ingest.",
        )  # fmt: skip
    return examples


def find_examples(sessions: Sequence[Session], settings: Settings) -> Examples | None:
    """As `load_examples`; None if there is no annotated image that can be used.

    Raises:
        BadInputError: if a file of annotations cannot be read.
        StoreError: if a session's calibration has not been imported.
    """
    found: dict[Sha256, Example] = {}
    left_out = 0
    for session in sessions:
        annotated = {item.path: item for item in read_annotations(session.raw)}
        used: set[str] = set()
        for subject_id in session.workspace.keys("capture_index"):
            index = load_index(session.workspace, subject_id)
            if index.subject.consent is not Consent.GRANTED:
                continue
            for path, example in _examples(session, index, annotated, settings):
                used.add(path)
                found[example.image] = example
        left_out += len(annotated) - len(used)
    if not found:
        return None
    return stacked_examples(found.values(), left_out)


def _examples(
    session: Session, index: CaptureIndex, annotated: dict[str, AnnotatedImage], settings: Settings
) -> Iterator[tuple[str, Example]]:
    settings = settings.model_copy(update={"raw": session.raw})
    reader = ViewReader(load_cameras(session.workspace, index.session.calibration_id), settings)
    for capture in index.captures:
        wanted = {image.camera_id for image in capture.images if image.raw.path in annotated}
        if not wanted:
            continue
        for view in reader.views(capture, wanted):
            item = annotated[view.record.raw.path]
            yield item.path, _example(view, item, kept_px(settings), subject_digest(index))


def _example(view: View, item: AnnotatedImage, size: int, person: Sha256) -> Example:
    middle = room_about(view.box)
    points_px, labelled = stored_points(item, view.camera)
    return Example(
        crop=cut_crop(view.image, middle, size),
        points_px=middle.to_crop(points_px, size),
        labelled=labelled,
        image=view.record.raw.sha256,
        person=person,
    )


def stored_points(item: AnnotatedImage, camera: Camera) -> tuple[Float[ndarray, "21 2"], Bool[ndarray, "21"]]:
    """Marked joints in pixels of the undistorted, turned image; marks outside the image do not count as labels."""
    points_px, (width, height) = item.points_px, (camera.width, camera.height)
    if camera.turn_deg in (90, 270):
        width, height = height, width
    for _ in range(camera.turn_deg // 90):
        points_px = np.stack([height - points_px[:, 1], points_px[:, 0]], axis=1)
        width, height = height, width
    inside = np.all((points_px >= 0) & (points_px <= (width, height)), axis=1)
    middle = np.array([camera.cx, camera.cy])
    normalised = undistort_points(camera, np.where(inside[:, None], points_px, middle))
    return normalised * (camera.fx, camera.fy) + middle, np.logical_and(item.labelled, inside)


def stacked_examples(examples: Iterable[Example], left_out: int) -> Examples:
    """The examples, each image once, in an order that is theirs alone; at least one."""
    ordered = [example for _, example in sorted({example.image: example for example in examples}.items())]
    digest = hashlib.sha256()
    for example in ordered:
        digest.update(example.image.encode() + example.labelled.tobytes() + np.round(example.points_px, 3).tobytes())
    return Examples(
        crops=np.stack([example.crop for example in ordered]),
        points_px=np.stack([example.points_px for example in ordered]),
        labelled=np.stack([example.labelled for example in ordered]),
        images=tuple(example.image for example in ordered),
        people=tuple(example.person for example in ordered),
        digest=digest.hexdigest(),
        left_out=left_out,
    )


def merged_examples(parts: Sequence[Examples]) -> Examples:
    """All examples of several sets; of an image that is in two, the last one's labels count."""
    rows = (
        Example(part.crops[row], part.points_px[row], part.labelled[row], part.images[row], part.people[row])
        for part in parts
        for row in range(len(part))
    )
    return stacked_examples(rows, sum(part.left_out for part in parts))


def room_about(box: CropBox) -> CropBox:
    """The square that is kept of a square that is looked at: with room for turning and moving."""
    return CropBox(
        left=round(box.left - (ROOM - 1.0) / 2.0 * box.side),
        top=round(box.top - (ROOM - 1.0) / 2.0 * box.side),
        side=round(ROOM * box.side),
    )
