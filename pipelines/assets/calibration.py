"""The rig's calibrations. Not partitioned: many subjects share one."""

import dagster as dg

from pipelines.assets.by_subject import HEAVY, stage_code_version
from pipelines.assets.raw import capture_index
from pipelines.outcomes import (
    is_broken,
    log_outcome,
    outcome_metadata,
    raise_broken,
    retried_only_if_it_may_pass,
    retry_io,
)
from pipelines.resources import Compute, Places


@dg.asset(
    deps=[capture_index],
    code_version=stage_code_version("palm_data.calibration.verify"),
    group_name="calibration",
    owners=["team:capture"],
    kinds={"python", "opencv"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def calibration(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> dg.MaterializeResult:
    """Every calibration in use, imported from the rig's files and verified by projecting scans into all its cameras."""
    from palm_data.calibration.verify import verify_calibration
    from palm_data.capture.index import load_index

    settings, workspace = places.settings(), places.workspace()
    with retried_only_if_it_may_pass():
        indexes = [load_index(workspace, subject_id) for subject_id in workspace.keys("capture_index")]
    in_use = sorted({index.session.calibration_id for index in indexes})
    outcomes = compute.map(verify_calibration, in_use, workspace, settings, label="calibration")
    for outcome in outcomes:
        log_outcome(context, outcome)
    raise_broken([outcome for outcome in outcomes if is_broken(outcome)])
    metadata: dict[str, dg.MetadataValue] = {"calibrations": dg.MetadataValue.int(len(in_use))}
    for outcome in outcomes:
        metadata |= {f"{outcome.key}/{name}": value for name, value in outcome_metadata(outcome, workspace).items()}
    return dg.MaterializeResult(metadata=metadata)
