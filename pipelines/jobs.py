"""Selections of assets that are started together."""

import dagster as dg

from pipelines.assets.release import subject_shard

subjects_job = dg.define_asset_job(
    "subjects_to_shards",
    selection=dg.AssetSelection.assets(subject_shard).upstream(),
    description="From raw sessions to shards, for the chosen subjects: all but the release.",
)
