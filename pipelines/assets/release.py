"""What goes out: a shard for each subject, and immutable versions made of them."""

from typing import Annotated

import dagster as dg
from pydantic import Field

from pipelines.assets.by_subject import HEAVY, subject_asset
from pipelines.assets.calibration import calibration
from pipelines.assets.maps import scan_maps
from pipelines.assets.raw import capture_index
from pipelines.outcomes import make_subjects, retry_io
from pipelines.resources import Compute, Places
from schemas.ids import VersionId


@subject_asset(
    group="release",
    owner="team:release",
    kinds={"python", "zarr", "parquet"},
    code_version="1",
    deps=[capture_index, calibration, scan_maps],
    pool=HEAVY,
)
def subject_shard(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """All that is released of a subject: one Zarr group (undistorted images, masks, depth, normals, scans) and its table rows."""
    from palm_data.store.shard import build_subject_shard

    make_subjects(context, build_subject_shard, places, compute)


class ReleaseConfig(dg.Config):
    """Which version to publish."""

    version: Annotated[VersionId, Field(description="MAJOR.MINOR.PATCH; published once, never changed.")]


@dg.asset(
    deps=[subject_shard],
    code_version="1",
    group_name="release",
    owners=["team:release"],
    kinds={"python", "parquet"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def release(context: dg.AssetExecutionContext, config: ReleaseConfig, places: Places) -> dg.MaterializeResult:
    """A published version: every subject that passes the gate, with tables, checksums and a manifest written last."""
    from palm_data.store.release import publish_release

    settings = places.settings()
    manifest = publish_release(config.version, places.workspace(), settings)
    context.log.info(f"{manifest.version}: {manifest.counts}")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.merkle_root),
        metadata={
            "version": manifest.version,
            "path": dg.MetadataValue.path(settings.releases / manifest.version),
            "merkle_root": manifest.merkle_root,
            **manifest.counts,
            "splits": dg.MetadataValue.json({name: list(ids) for name, ids in manifest.splits.items()}),
        },
    )
