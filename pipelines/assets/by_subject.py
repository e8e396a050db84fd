"""What all assets that are made subject by subject have in common."""

import warnings
from collections.abc import Callable, Sequence

import dagster as dg

from pipelines.outcomes import retry_io
from pipelines.partitions import subjects, subjects_per_run

HEAVY = "heavy"
"""The pool of work that fills the machine: runs with such work take turns (see `dagster.yaml`)."""


def subject_asset(
    *,
    group: str,
    owner: str,
    kinds: set[str],
    code_version: str,
    deps: Sequence[dg.AssetsDefinition] = (),
    pool: str | None = None,
) -> Callable[[Callable[..., None]], dg.AssetsDefinition]:
    """An asset partitioned by subject, made in batches, retried on I/O; its docstring is its description."""

    def decorate(function: Callable[..., None]) -> dg.AssetsDefinition:
        with warnings.catch_warnings():
            # Dagster marks backfill policies as beta; tests here hold the behaviour that is relied on.
            warnings.simplefilter("ignore", dg.BetaWarning)
            return dg.asset(
                partitions_def=subjects,
                backfill_policy=subjects_per_run,
                retry_policy=retry_io,
                group_name=group,
                owners=[owner],
                kinds=kinds,
                code_version=code_version,
                deps=list(deps),
                pool=pool,
            )(function)

    return decorate
