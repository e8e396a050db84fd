"""Which views a prior is scored on: a fixed choice from a release and from what was held out of training."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from palm_data.evaluate.true_views import ViewName
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample, View
from schemas.errors import BadInputError
from schemas.ids import CameraId
from schemas.prior import HeldOut
from schemas.prior_evaluation import PriorEvaluationSettings


class Kind(StrEnum):
    """What is new about a view."""

    TRAIN = "train"
    """Nothing: it was trained on."""
    NEW_CAMERA = "new_camera"
    """The camera; the gesture was seen by the others."""
    NEW_POSE = "new_pose"
    """The gesture; the camera has seen others."""


@dataclass(frozen=True)
class ScoredView:
    """A view to score."""

    kind: Kind
    name: ViewName
    sample: Sample

    @property
    def view(self) -> View:
        """What the release has of it."""
        return self.sample.view(self.name.camera_id)


def training_captures(release: Release, held_out: HeldOut) -> list[Sample]:
    """The captures with a fitted hand whose gestures were not held out."""
    return [one for one in release if one.gesture not in held_out.gestures and one.labels.hand is not None]


def training_cameras(sample: Sample, held_out: HeldOut) -> list[CameraId]:
    """The cameras of a capture that were not held out, in their order."""
    return [one.camera_id for one in sample.cameras if one.camera_id not in held_out.cameras]


def choose_views(release: Release, held_out: HeldOut, settings: PriorEvaluationSettings) -> tuple[ScoredView, ...]:
    """For each person: seen gestures in the held-out cameras, held-out gestures in seen cameras, and some trained on.

    Cameras take turns from person to person and from gesture to gesture. Captures without a fitted hand, and views that
    are missing or do not show it, are not scored.

    Raises:
        BadInputError: if of one of the three kinds no view is there; says of which.
    """
    found: list[ScoredView] = []
    for row, subject_id in enumerate(release.subject_ids):
        theirs = [one for one in release.subject(subject_id) if one.labels.hand is not None]
        seen = [one for one in theirs if one.gesture not in held_out.gestures]
        for one in _spread(seen, settings.new_camera_gestures):
            found += [_scored(Kind.NEW_CAMERA, one, camera_id) for camera_id in held_out.cameras]
        for number, one in enumerate(capture for capture in theirs if capture.gesture in held_out.gestures):
            start = row + number * settings.new_pose_views
            found += _in_turn(Kind.NEW_POSE, one, training_cameras(one, held_out), start, settings.new_pose_views)
        for number, one in enumerate(_spread(seen, settings.train_views)):
            found += _in_turn(Kind.TRAIN, one, training_cameras(one, held_out), row + 3 * number, 1)
    shown = [one for one in found if one.view.present and one.view.training_mask.any()]
    for kind in Kind:
        if not any(one.kind is kind for one in shown):
            expected = f"a view of the kind {kind} (held out: {', '.join((*held_out.cameras, *held_out.gestures)) or 'nothing'})"
            raise BadInputError(str(release), field="captures", expected=expected, found="none with a fitted hand")
    return tuple(sorted(shown, key=lambda one: (list(Kind).index(one.kind), str(one.name))))


def _spread(captures: Sequence[Sample], count: int) -> list[Sample]:
    """So many of the captures, evenly spread over them."""
    if not captures:
        return []
    places = np.unique(np.linspace(0, len(captures) - 1, min(count, len(captures))).round().astype(int))
    return [captures[place] for place in places]


def _in_turn(kind: Kind, sample: Sample, cameras: Sequence[CameraId], start: int, count: int) -> list[ScoredView]:
    """So many of the cameras, evenly spread from a start."""
    chosen = {(start + (number * len(cameras)) // count) % len(cameras) for number in range(min(count, len(cameras)))}
    return [_scored(kind, sample, cameras[place]) for place in sorted(chosen)]


def _scored(kind: Kind, sample: Sample, camera_id: CameraId) -> ScoredView:
    camera = sample.view(camera_id).camera
    return ScoredView(kind, ViewName(sample.subject_id, sample.gesture, sample.frame, camera), sample)
