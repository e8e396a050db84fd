"""The picture of `subject_labels`: one capture as it is released, with the labels drawn over it."""

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.camera.pinhole import undistort_image
from palm_data.maps.captured import read_view_image
from palm_data.report.pictures import NEUTRAL, contact_sheet, draw_contours
from palm_data.report.skeletons import draw_skeleton
from palm_data.store.arrays import open_array, open_group
from palm_data.store.label_sources import LabelSources
from schemas.camera import Camera
from schemas.capture import CaptureRecord
from schemas.hand import JOINT_NAMES
from schemas.settings import Settings
from schemas.tier import FULL

_COLUMNS = 4
_EMPTY_PX = 64


def label_picture(sources: LabelSources, settings: Settings) -> UInt8[ndarray, "height width 3"]:
    """The first capture that has a hand, in every view with an image: detected joints and the training mask's outline."""
    fitted = {row.frame for row in sources.rows.hands}
    captures = sources.index.captures
    position = next((at for at, capture in enumerate(captures) if capture.frame in fitted), 0)
    masks = open_array(open_group(sources.maps), f"training_mask/{FULL}")
    tiles, labels = [], []
    for view, camera in enumerate(sources.cameras):
        record = captures[position].image(camera.camera_id)
        if record is None:
            continue
        image = undistort_image(read_view_image(record, camera, settings), camera)
        outlined = draw_contours(image, np.asarray(masks[position, view]), NEUTRAL)
        tiles.append(draw_skeleton(outlined, *_detected(captures[position], camera, sources)))
        labels.append(f"{camera.camera_id} {captures[position].gesture}")
    if not tiles:
        return np.zeros((_EMPTY_PX, _EMPTY_PX, 3), dtype=np.uint8)
    return contact_sheet(tiles, labels, _COLUMNS)


def _detected(capture: CaptureRecord, camera: Camera, sources: LabelSources) -> tuple[ndarray, ndarray]:
    """Where the joints were detected (NaN = nowhere), and how surely."""
    points, confidence = np.full((len(JOINT_NAMES), 2), np.nan), np.zeros(len(JOINT_NAMES))
    for row in sources.rows.keypoints_2d:
        if (row.frame, row.camera_id) == (capture.frame, camera.camera_id):
            points[row.joint], confidence[row.joint] = (row.x_px, row.y_px), row.confidence
    return points, confidence
