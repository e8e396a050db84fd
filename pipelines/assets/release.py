"""What goes out: a shard for each subject, and immutable versions made of them."""

from typing import Annotated

import dagster as dg
from pydantic import Field

from palm_data.store.workspace import Workspace
from pipelines.assets.by_subject import HEAVY, subject_asset
from pipelines.assets.calibration import calibration
from pipelines.assets.hands import hand_maps, hand_pose, quality
from pipelines.assets.labels import keypoints_2d, keypoints_3d
from pipelines.assets.maps import scan_maps
from pipelines.assets.raw import capture_index
from pipelines.outcomes import make_subjects, retried_only_if_it_may_pass, retry_io
from pipelines.pictures import embedded_pixels, embedded_sheet
from pipelines.resources import Compute, Places
from schemas.ids import VersionId
from schemas.release import Manifest
from schemas.settings import Settings, without_labels

_SUBJECTS_SHOWN = 9


@subject_asset(
    group="release",
    owner="team:release",
    kinds={"python", "zarr", "parquet"},
    stage="palm_data.store.shard",
    deps=[capture_index, calibration, scan_maps],
    pool=HEAVY,
)
def subject_shard(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """All that is released of a subject: one Zarr group (undistorted images, masks, depth, normals, scans) and its table rows."""
    from palm_data.store.shard import build_subject_shard

    make_subjects(context, build_subject_shard, places, compute)


@subject_asset(
    group="release",
    owner="team:release",
    kinds={"python", "zarr", "parquet"},
    stage="palm_data.store.labels",
    deps=[capture_index, calibration, scan_maps, keypoints_2d, keypoints_3d, hand_pose, hand_maps, quality],
    pool=HEAVY,
)
def subject_labels(context: dg.AssetExecutionContext, places: Places, compute: Compute) -> None:
    """All labels that are released of a subject: keypoints, hands, quality, and hand masks that join the shard."""
    from palm_data.store.labels import build_subject_labels

    make_subjects(context, build_subject_labels, places, compute)


class ReleaseConfig(dg.Config):
    """Which version to publish."""

    version: Annotated[VersionId, Field(description="MAJOR.MINOR.PATCH; published once, never changed.")]
    captures_only: Annotated[bool, Field(description="Publish images, maps and scans without any label.")] = False


@dg.asset(
    deps=[subject_shard, subject_labels],
    code_version="1",
    group_name="release",
    owners=["team:release"],
    kinds={"python", "parquet"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def release(context: dg.AssetExecutionContext, config: ReleaseConfig, places: Places) -> dg.MaterializeResult:
    """A published version: every subject that passes the gate, with tables, checksums and a manifest written last."""
    from palm_data.store.plan import plan_release
    from palm_data.store.release import publish_release

    settings, workspace = places.settings(), places.workspace()
    if config.captures_only:
        settings = without_labels(settings)
    with retried_only_if_it_may_pass():
        manifest = publish_release(config.version, workspace, settings)
        plan = plan_release(config.version, workspace, settings)
        left_out = {item.subject_id: list(item.reasons) for item in plan.left_out}
    context.log.info(f"{manifest.version}: {manifest.counts}")
    return dg.MaterializeResult(
        data_version=dg.DataVersion(manifest.merkle_root),
        metadata={
            **_pictures(manifest, workspace, settings),
            "version": manifest.version,
            "path": dg.MetadataValue.path(f"{settings.releases_place}/{manifest.version}"),
            **manifest.counts,
            "left_out_subjects": dg.MetadataValue.json(left_out),
            "splits": dg.MetadataValue.json({name: list(ids) for name, ids in manifest.splits.items()}),
            "merkle_root": manifest.merkle_root,
            "code_version": manifest.code_version,
        },
    )


def _pictures(manifest: Manifest, workspace: Workspace, settings: Settings) -> dict[str, dg.MetadataValue]:
    """The shards of the first few released subjects as one picture, and the worst captures of all; none if there are none."""
    from palm_data.quality.worst import worst_sheet

    subject_ids = sorted(subject_id for ids in manifest.splits.values() for subject_id in ids)
    found = {}
    for subject_id in subject_ids[:_SUBJECTS_SHOWN]:
        report = workspace.report(workspace.require("subject_shard", subject_id), ran=False)
        if report.picture is not None:
            found[subject_id] = report.picture
    pictures = {"picture": embedded_sheet(found, f"release {manifest.version}")} if found else {}
    worst = worst_sheet(workspace, subject_ids, settings) if settings.release.labels else None
    if worst is not None:
        pictures["worst_captures"] = embedded_pixels(worst, f"worst captures of release {manifest.version}")
    return pictures
