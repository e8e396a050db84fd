"""Where a subject's joints are: the detector, what it sees in every image, and the joints in space."""

import dagster as dg

from pipelines.assets.by_subject import HEAVY, stage_code_version, subject_asset
from pipelines.assets.calibration import calibration
from pipelines.assets.raw import capture_index
from pipelines.outcomes import is_broken, log_outcome, make_subjects, outcome_metadata, raise_broken, retry_io
from pipelines.resources import Compute, Places


@dg.asset(
    deps=[capture_index, calibration],
    code_version=stage_code_version("palm_model.detector.tune"),
    group_name="labels",
    owners=["team:labels"],
    kinds={"python", "pytorch"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def detector(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> dg.MaterializeResult:
    """The keypoint detector in force: the one that ships or was trained here, tuned to this workspace's annotated people."""
    from palm_model.detector.checkpoint import KEY
    from palm_model.detector.tune import tune_detector

    workspace = places.workspace()
    outcomes = compute.map(tune_detector, [KEY], workspace, places.settings(), label="detector")
    for outcome in outcomes:
        log_outcome(context, outcome)
    raise_broken([outcome for outcome in outcomes if is_broken(outcome)])
    return dg.MaterializeResult(metadata=outcome_metadata(outcomes[0], workspace))


@subject_asset(
    group="labels",
    owner="team:labels",
    kinds={"python", "pytorch"},
    stage="palm_model.detector.detect",
    deps=[capture_index, calibration, detector],
    pool=HEAVY,
)
def keypoints_2d(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """The 21 joints of the hand in every image of a subject, each with a confidence."""
    from palm_model.detector.detect import detect_subject

    make_subjects(context, detect_subject, places, compute)


@subject_asset(
    group="labels",
    owner="team:labels",
    kinds={"python", "pytorch"},
    stage="palm_data.triangulation.stage",
    deps=[capture_index, calibration, keypoints_2d],
    pool=HEAVY,
)
def keypoints_3d(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """The joints in space, from all the views that agree on them; missing rather than guessed."""
    from palm_data.triangulation.stage import triangulate_subject

    make_subjects(context, triangulate_subject, places, compute)
