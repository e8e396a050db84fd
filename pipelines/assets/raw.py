"""What the rig delivered, and what of it is usable."""

import dagster as dg

from pipelines.assets.by_subject import HEAVY, subject_asset
from pipelines.outcomes import make_subjects
from pipelines.resources import Compute, Places


@subject_asset(group="capture", owner="team:capture", kinds={"python"}, stage="palm_data.capture.listing")
def raw_session(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """The files that the rig delivered for a subject: how many of each kind, how large, and a glance at the first capture."""
    from palm_data.capture.listing import list_session

    make_subjects(context, list_session, places, compute)


@subject_asset(
    group="capture",
    owner="team:capture",
    kinds={"python", "opencv"},
    stage="palm_data.capture.ingest",
    deps=[raw_session],
    pool=HEAVY,
)
def capture_index(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """Every usable capture of a subject, hashed and validated; what is not usable is in quarantine with its reason."""
    from palm_data.capture.ingest import ingest_subject

    make_subjects(context, ingest_subject, places, compute)
