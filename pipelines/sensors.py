"""Noticing new subjects.

Belongs here: what starts work without a person. Does not belong here: the work. Keys are added, never removed: a
subject that is gone or has withdrawn keeps its partition as a tombstone.
"""

import hashlib
import json

import dagster as dg

from pipelines.jobs import subjects_job
from pipelines.partitions import SUBJECTS_PER_RUN, heaviest_first, raw_bytes, subjects
from pipelines.resources import Places


@dg.sensor(job=subjects_job, minimum_interval_seconds=60)
def new_subjects(context: dg.SensorEvaluationContext, places: Places) -> dg.SensorResult | dg.SkipReason:
    """A partition and a run for each new subject in the raw folder, once its folder has stopped growing.

    A folder counts as delivered when its size is the same at two looks in a row; the cursor keeps the sizes seen.
    """
    from palm_data.capture.layout import raw_subjects

    raw = places.settings().raw
    known = set(context.instance.get_dynamic_partitions(str(subjects.name)))
    waiting = {key: raw_bytes(raw / key) for key in raw_subjects(raw) if key not in known}
    seen = json.loads(context.cursor or "{}")
    ready = heaviest_first(raw, (key for key, size in waiting.items() if seen.get(key) == size))
    context.update_cursor(json.dumps({key: size for key, size in waiting.items() if key not in ready}))
    if not ready:
        return dg.SkipReason(f"{len(known)} subjects known, {len(waiting)} still being delivered.")
    batches = [ready[start : start + SUBJECTS_PER_RUN] for start in range(0, len(ready), SUBJECTS_PER_RUN)]
    return dg.SensorResult(
        dynamic_partitions_requests=[subjects.build_add_request(ready)],
        run_requests=[_run_of(batch) for batch in batches],
    )


def _run_of(batch: list[str]) -> dg.RunRequest:
    """One run for neighbouring partitions; asked for twice, it is started once."""
    return dg.RunRequest(
        run_key=hashlib.sha256("\n".join(batch).encode()).hexdigest(),
        tags={
            "dagster/asset_partition_range_start": batch[0],
            "dagster/asset_partition_range_end": batch[-1],
        },
    )
