"""What the scan looks like from every colour camera."""

import dagster as dg

from pipelines.assets.by_subject import HEAVY, subject_asset
from pipelines.assets.calibration import calibration
from pipelines.assets.raw import capture_index
from pipelines.outcomes import make_subjects
from pipelines.resources import Compute, Places


@subject_asset(
    group="maps",
    owner="team:capture",
    kinds={"python", "zarr"},
    stage="palm_data.maps.scan_maps",
    deps=[capture_index, calibration],
    pool=HEAVY,
)
def scan_maps(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """Mask, metric depth and camera-space normals of a subject's scans in every colour view, at every resolution tier."""
    from palm_data.maps.scan_maps import make_scan_maps

    make_subjects(context, make_scan_maps, places, compute)
