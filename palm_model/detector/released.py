"""What the detector can learn from, and be measured on, in a release: images with their joints in space projected into them.

Joints of an imported dataset (InterHand2.6M) were annotated or triangulated by its authors; those of a release of ours were
found by a detector. A square about the projected joints stands in for the one about the projected scan.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import pyarrow.compute as pc
import torch
from torch import nn

from palm_data.camera.pinhole import project
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample
from palm_model.detector.crops import CropBox, cut_crop
from palm_model.detector.dataset import Example, Examples, kept_px, room_about, stacked_examples
from palm_model.detector.validation import joint_errors
from schemas.annotation import DetectorCard
from schemas.errors import StoreError
from schemas.hand import JOINT_NAMES
from schemas.ids import Sha256, SubjectId
from schemas.settings import DetectorSettings, Settings

_FLESH = 1.15
"""Side of the square about a hand as a multiple of that about its joints."""
_FEWEST = 8
"""Joints that have to lie in an image for it to show a hand."""
_MIN_SIDE_PX = 8


def released_examples(release: Release, settings: Settings) -> Examples:
    """Every view of the release's captures in which enough joints lie.

    Raises:
        StoreError: if the version has no labels, or no view shows a hand whose joints are known.
        IntegrityError: if what it is read from is damaged.
    """
    found, left_out = [], 0
    for subject_id in release.subject_ids:
        person = subject_digest(release, subject_id)
        for sample in release.subject(subject_id):
            views = list(_examples(sample, person, settings))
            found += views
            left_out += sum(view.present for view in sample.views) - len(views)
    if not found:
        raise StoreError(f"{release}: expected views with joints in space, found none to learn from.")
    return stacked_examples(found, left_out)


def evaluate_released(
    network: nn.Module, card: DetectorCard, examples: Examples, settings: DetectorSettings, device: torch.device
) -> dict[str, float | int]:
    """How far a detector's joints are from the release's, over the views of people it did not see in training.

    Errors are shares of the square's side, which is about 1.4 times the hand's extent in the image.

    Raises:
        StoreError: if it saw all of them.
    """
    seen = set(card.subjects)
    rows = np.array([row for row, person in enumerate(examples.people) if person not in seen], dtype=np.int64)
    if not len(rows):
        raise StoreError("release: expected people whom the detector did not see in training, found none.")
    error, confidence = joint_errors(network, examples, rows, settings, device)
    labelled = examples.labelled[rows]
    share = error / settings.input_px
    figures: dict[str, float | int] = {
        "images": len(rows),
        "people": len({examples.people[row] for row in rows}),
        "people_seen_in_training": len(set(examples.people) & seen),
        "joints": int(labelled.sum()),
        "error_median_percent": round(100 * float(np.median(share[labelled])), 3),
        "error_p90_percent": round(100 * float(np.percentile(share[labelled], 90)), 3),
        "within_5_percent": round(float((share[labelled] <= 0.05).mean()), 4),
        "confidence_mean": round(float(confidence[labelled].mean()), 4),
    }
    for joint, name in enumerate(JOINT_NAMES):
        of_joint = share[:, joint][labelled[:, joint]]
        if len(of_joint):
            figures[f"{name}_median_percent"] = round(100 * float(np.median(of_joint)), 3)
    return figures


def subject_digest(release: Release, subject_id: SubjectId) -> Sha256:
    """Who a subject is, told by their images alone, as far as the release has them; see `palm_data.capture.index`."""
    images = release.tables["images"].filter(pc.field("subject_id") == subject_id)
    digests = sorted(digest for digest in images["raw_sha256"].to_pylist() if digest)
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _examples(sample: Sample, person: Sha256, settings: Settings) -> Iterator[Example]:
    size = kept_px(settings)
    for view in sample.views:
        image = view.raw_sha256
        if image is None:
            continue
        points_px, _ = project(view.camera, sample.keypoints.points)
        inside = (points_px >= 0) & (points_px <= (view.camera.width, view.camera.height))  # NaN is not inside
        labelled = np.all(inside, axis=1)
        if labelled.sum() < _FEWEST:
            continue
        square = room_about(_square(points_px[labelled], settings.detector.crop_margin))
        yield Example(
            crop=cut_crop(view.rgb, square, size),
            points_px=square.to_crop(np.where(labelled[:, None], points_px, 0.0), size),
            labelled=labelled,
            image=image,
            person=person,
        )


def _square(points_px: np.ndarray, margin: float) -> CropBox:
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    side = max(int(np.ceil((high - low).max() * _FLESH * margin)), _MIN_SIDE_PX)
    left, top = np.floor((low + high) / 2.0 - side / 2.0).astype(int)
    return CropBox(int(left), int(top), side)
