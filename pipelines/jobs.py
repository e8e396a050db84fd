"""Selections of assets that are started together."""

import dagster as dg

from pipelines.assets.release import subject_labels, subject_shard

subjects_job = dg.define_asset_job(
    "subjects_to_shards",
    selection=dg.AssetSelection.assets(subject_shard, subject_labels).upstream(),
    description="From raw sessions to shards and labels, for the chosen subjects: all but the release.",
)
