"""The Dagster project: `dagster dev -m pipelines.definitions`, or `palm ui`.

Belongs here: putting the parts together. Does not belong here: anything that imports torch, zarr, Open3D or OpenCV;
every process that Dagster starts imports this module first.
"""

import dagster as dg

from pipelines.assets.calibration import calibration
from pipelines.assets.hands import hand_maps, hand_pose, hand_shape, quality
from pipelines.assets.labels import detector, keypoints_2d, keypoints_3d
from pipelines.assets.maps import scan_maps
from pipelines.assets.prior import prior
from pipelines.assets.raw import capture_index, raw_session
from pipelines.assets.release import release, subject_labels, subject_shard
from pipelines.checks import all_checks
from pipelines.jobs import subjects_job
from pipelines.resources import Compute, Places
from pipelines.sensors import new_subjects


def build_definitions(places: Places | None = None, compute: Compute | None = None) -> dg.Definitions:
    """The whole project, on the given places and compute or on those that settings name."""
    return dg.Definitions(
        assets=[
            raw_session,
            capture_index,
            calibration,
            scan_maps,
            subject_shard,
            detector,
            keypoints_2d,
            keypoints_3d,
            hand_shape,
            hand_pose,
            hand_maps,
            quality,
            subject_labels,
            release,
            prior,
        ],
        asset_checks=all_checks(),
        jobs=[subjects_job],
        sensors=[new_subjects],
        resources={"places": places or Places(), "compute": compute or Compute()},
        # Subjects are spread over processes by `compute`; a process for each step would only cost its start.
        executor=dg.in_process_executor,
    )


defs = build_definitions()
