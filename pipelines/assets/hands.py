"""The hand model fitted to every capture, and how good all labels of a capture are."""

import dagster as dg

from pipelines.assets.by_subject import HEAVY, subject_asset
from pipelines.assets.calibration import calibration
from pipelines.assets.labels import keypoints_2d, keypoints_3d
from pipelines.assets.maps import scan_maps
from pipelines.assets.raw import capture_index
from pipelines.outcomes import make_subjects
from pipelines.resources import Compute, Places

_KINDS = {"python", "numba"}


@subject_asset(
    group="registration",
    owner="team:labels",
    kinds=_KINDS,
    stage="palm_data.registration.hand_shape",
    deps=[capture_index, calibration, keypoints_2d, keypoints_3d],
    pool=HEAVY,
)
def hand_shape(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """A subject's hand shape, fitted with the poses of their simple gestures (stage one)."""
    from palm_data.registration.hand_shape import make_hand_shape

    make_subjects(context, make_hand_shape, places, compute)


@subject_asset(
    group="registration",
    owner="team:labels",
    kinds=_KINDS,
    stage="palm_data.registration.hand_pose",
    deps=[capture_index, calibration, keypoints_2d, keypoints_3d, hand_shape],
    pool=HEAVY,
)
def hand_pose(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """Hand pose of every capture of a subject, with the subject's shape frozen (stage two)."""
    from palm_data.registration.hand_pose import make_hand_pose

    make_subjects(context, make_hand_pose, places, compute)


@subject_asset(
    group="maps",
    owner="team:labels",
    kinds={"python", "zarr"},
    stage="palm_data.maps.hand_maps",
    deps=[capture_index, calibration, scan_maps, hand_pose],
    pool=HEAVY,
)
def hand_maps(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """The fitted hand's silhouette in every colour view, and the mask to train with, fused of it and the scan's."""
    from palm_data.maps.hand_maps import make_hand_maps

    make_subjects(context, make_hand_maps, places, compute)


@subject_asset(
    group="quality",
    owner="team:labels",
    kinds=_KINDS,
    stage="palm_data.quality.score",
    deps=[capture_index, calibration, scan_maps, keypoints_2d, keypoints_3d, hand_pose],
    pool=HEAVY,
)
def quality(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """One score for each capture, with the parts that it is made of; the worst captures as pictures."""
    from palm_data.quality.score import score_subject

    make_subjects(context, score_subject, places, compute)
