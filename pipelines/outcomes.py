"""From what became of each subject to what Dagster shows: metadata, log lines, and failure where it is due.

A subject whose input is at fault is **set aside**: its partition's materialization says so and why, an asset check
turns red, and the rest of the batch goes on. Failing the step instead would stop every later asset of the other
subjects in the run, and with them the calibration and the release. Defects and I/O do fail the step, after the
good subjects' materializations are recorded.

A subject who withdrew, or whose folder is gone, is **retired**: the partition stays as a tombstone and nothing is made.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from palm_data.store.workspace import Workspace
from pipelines.compute import Outcome, StageFunction, failure_of
from pipelines.partitions import heaviest_first, tombstones
from pipelines.pictures import embedded
from pipelines.provenance import Provenance
from pipelines.resources import Compute, Places

SET_ASIDE = "set_aside"
"""Metadata key of the reason why a subject has no output."""

RETIRED = "retired"
"""Metadata key of the reason why nothing is made of a subject any more."""

retry_io = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)
"""Applied to input and output only: every other failure is raised as one that may not be retried."""


def make_subjects(context: dg.AssetExecutionContext, function: StageFunction, places: Places, compute: Compute) -> None:
    """Run a stage for every subject of this run, and tell Dagster of each.

    What was made before of a person who withdrew is removed from the workspace.

    Raises:
        dagster.Failure: names the subjects that met a defect or an I/O error; the others are materialized.
    """
    settings, workspace = places.settings(), places.workspace()
    asset = context.asset_key.to_user_string()
    retired = tombstones(settings, context.partition_keys)
    for key, reason in retired.items():
        if reason.startswith("consent"):
            workspace.forget(asset, key)
        context.log.info(f"{key}: {reason}")
    keys = heaviest_first(settings.raw, [key for key in context.partition_keys if key not in retired])
    outcomes = compute.map(function, keys, workspace, settings, label=asset)
    for outcome in outcomes:
        log_outcome(context, outcome)
    broken = [outcome for outcome in outcomes if is_broken(outcome)]
    told = {outcome.key: outcome_metadata(outcome, workspace) for outcome in outcomes if not is_broken(outcome)}
    told |= {key: {RETIRED: dg.MetadataValue.text(reason)} for key, reason in retired.items()}
    for key, metadata in told.items():
        if broken:  # the step is about to fail, so Dagster will not record these itself
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata))
        else:
            context.add_asset_metadata(metadata, partition_key=key)
    raise_broken(broken)


@contextmanager
def retried_only_if_it_may_pass() -> Iterator[None]:
    """Turn an error of work that is not mapped over subjects into a failure of the step, retried if it is passing I/O.

    Raises:
        dagster.Failure: in place of the error.
    """
    try:
        yield
    except Exception as error:
        failure = failure_of(error)
        raise dg.Failure(description=f"{failure.kind}: {failure.message}", allow_retries=failure.transient) from error


def is_broken(outcome: Outcome) -> bool:
    """Whether the key met a defect or an I/O error, as opposed to an input at fault."""
    return outcome.failure is not None and not outcome.failure.expected


def raise_broken(broken: Sequence[Outcome]) -> None:
    """Fail the step if there are any; retried only if all of them may pass by themselves.

    Raises:
        dagster.Failure: names the keys.
    """
    failures = {outcome.key: outcome.failure for outcome in broken if outcome.failure is not None}
    if not failures:
        return
    lines = [f"{key}: {failure.kind}: {failure.message}" for key, failure in failures.items()]
    raise dg.Failure(
        description="; ".join(lines),
        metadata={
            key: dg.MetadataValue.md(f"```\n{failure.trace or failure.message}\n```")
            for key, failure in failures.items()
        },
        allow_retries=all(failure.transient for failure in failures.values()),
    )


def log_outcome(context: dg.AssetExecutionContext, outcome: Outcome) -> None:
    """One line in the run's log."""
    if outcome.failure is not None:
        context.log.error(f"{outcome.key}: {outcome.failure.kind}: {outcome.failure.message}\n{outcome.failure.trace}")
    elif outcome.report is not None:
        done = "made" if outcome.report.ran else "unchanged"
        context.log.info(f"{outcome.key}: {done} in {outcome.seconds:.1f} s")


def outcome_metadata(outcome: Outcome, workspace: Workspace) -> dict[str, dg.MetadataValue]:
    """Figures, picture, path and provenance of an output; or why there is none."""
    if outcome.report is None:
        failure = outcome.failure
        reason = f"{failure.kind}: {failure.message}" if failure else "unknown"
        return {SET_ASIDE: dg.MetadataValue.text(reason)}
    report = outcome.report
    metadata: dict[str, dg.MetadataValue] = {}
    if report.picture is not None:
        metadata["picture"] = embedded(report.picture, f"{report.stage} {report.key}")
    metadata |= {name: _figure(value) for name, value in report.figures.items()}
    record = workspace.record(report.stage, report.key)
    if record is not None:
        metadata["output"] = dg.MetadataValue.path(workspace.output(report.stage, report.key))
        metadata |= Provenance.of(record).metadata()
    metadata["made_now"] = dg.MetadataValue.bool(report.ran)
    metadata["seconds"] = dg.MetadataValue.float(round(outcome.seconds, 3))
    return metadata


def _figure(value: float | int | str | bool) -> dg.MetadataValue:
    if isinstance(value, bool):
        return dg.MetadataValue.bool(value)
    if isinstance(value, int):
        return dg.MetadataValue.int(value)
    if isinstance(value, float):
        return dg.MetadataValue.float(value)
    return dg.MetadataValue.text(value)
