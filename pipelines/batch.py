"""The whole graph as one batch from a terminal, on the instance that the web page shows.

Belongs here: which runs a batch is made of, and what came of them. One run per asset and range of subjects, in this
process: what a failed step takes with it is then never more than its own subjects.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from pydantic import BaseModel, ConfigDict, Field

from palm_data.capture.layout import raw_subjects
from pipelines.compute import Outcome, Progress, shared_workers, watching
from pipelines.definitions import build_definitions
from pipelines.instance import TERMINAL_TAG
from pipelines.partitions import SUBJECTS_PER_RUN, heaviest_first, register_subjects, runs_of, subjects
from pipelines.resources import Compute, Places
from schemas.errors import BadInputError, SettingsError
from schemas.settings import Settings

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BatchRequest(BaseModel):
    """What to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    select: Annotated[str, Field(description="Assets, in Dagster's selection syntax.")] = "*"
    subjects: Annotated[tuple[str, ...] | None, Field(description="None: all in the raw folder.")] = None
    release: Annotated[str | None, Field(description="Version to publish; None: no release.")] = None


class AssetResult(BaseModel):
    """What came of an asset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: str
    seconds: float
    outcomes: Annotated[
        tuple[Outcome, ...], Field(description="One per subject or calibration; empty for the release.")
    ]
    counts: Annotated[
        dict[str, int], Field(description="Whole numbers among the metadata of an asset without partitions.")
    ]
    errors: Annotated[tuple[str, ...], Field(description="What failed the asset's runs.")]
    red_checks: Annotated[dict[str, str], Field(description="Name of each failed check → what it says.")]

    @property
    def set_aside(self) -> dict[str, str]:
        """Keys that came to nothing, with the reason."""
        return {
            outcome.key: f"{outcome.failure.kind}: {outcome.failure.message}"
            for outcome in self.outcomes
            if outcome.failure is not None
        }


class BatchResult(BaseModel):
    """What came of a batch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    assets: tuple[AssetResult, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing failed and nobody was set aside."""
        return not any(asset.errors or asset.set_aside for asset in self.assets)


def run_batch(
    instance: dg.DagsterInstance,
    settings: Settings,
    request: BatchRequest,
    *,
    watch: Callable[[Progress], None] = lambda _: None,
    compute: Compute | None = None,
) -> BatchResult:
    """Materialize the selected assets in order, for the chosen subjects; failures are in the result.

    Raises:
        SettingsError: if the selection names no asset, or a subject is not in the raw folder.
        BadInputError: if the raw folder is missing.
    """
    defs = build_definitions(Places.of(settings), compute)
    assets = _selected(defs, request)
    chosen = _chosen_subjects(settings, request.subjects)
    register_subjects(instance, heaviest_first(settings.raw, chosen))
    known = instance.get_dynamic_partitions(str(subjects.name))
    ranges = runs_of(known, set(chosen), at_most=SUBJECTS_PER_RUN)
    job = defs.resolve_implicit_global_asset_job_def()
    graph = defs.resolve_asset_graph()
    results = []
    with shared_workers():
        for asset in assets:
            tags = [_range_tags(item) for item in ranges] if graph.get(asset).is_partitioned else [{}]
            config = _release_config(request) if asset == _RELEASE else {}
            results.append(_run_asset(instance, job, asset, tags=tags, config=config, watch=watch))
    return BatchResult(assets=tuple(results))


_RELEASE = dg.AssetKey("release")


def _release_config(request: BatchRequest) -> dict[str, object]:
    return {"ops": {"release": {"config": {"version": request.release}}}}


def _selected(defs: dg.Definitions, request: BatchRequest) -> list[dg.AssetKey]:
    graph = defs.resolve_asset_graph()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)  # Dagster's own parser calls its own beta parameters
            keys = dg.AssetSelection.from_string(request.select).resolve(graph)
    except Exception as error:  # Dagster's parser has no single error class
        raise SettingsError(
            f"--select {request.select!r}: expected assets in Dagster's selection syntax, such as '+scan_maps': {error}"
        ) from error
    if not keys:
        raise SettingsError(f"--select {request.select!r}: expected at least one asset, found none.")
    if request.release is None:
        keys = keys - {_RELEASE}
    return [key for key in graph.toposorted_asset_keys if key in keys]


def _chosen_subjects(settings: Settings, asked: Sequence[str] | None) -> list[str]:
    if not settings.raw.is_dir():
        raise BadInputError(
            settings.raw, field="raw folder", expected="a folder of raw sessions", found="no folder",
            hint="Name it with --raw, or make one with: palm simulate",
        )  # fmt: skip
    present = raw_subjects(settings.raw)
    unknown = sorted(set(asked or ()) - set(present))
    if unknown:
        raise SettingsError(f"--subjects: expected subjects in {settings.raw}, found none for {', '.join(unknown)}.")
    return list(asked or present)


def _range_tags(keys: dg.PartitionKeyRange) -> dict[str, str]:
    return {ASSET_PARTITION_RANGE_START_TAG: keys.start, ASSET_PARTITION_RANGE_END_TAG: keys.end}


def _run_asset(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    asset: dg.AssetKey,
    *,
    tags: Sequence[dict[str, str]],
    config: dict[str, object],
    watch: Callable[[Progress], None],
) -> AssetResult:
    start = time.perf_counter()
    outcomes: dict[str, Outcome] = {}
    errors: list[str] = []
    checks: dict[str, str] = {}
    counts: dict[str, int] = {}

    def note(progress: Progress) -> None:
        if progress.outcome is not None:
            outcomes[progress.outcome.key] = progress.outcome
        watch(progress)

    for run_tags in tags:
        with watching(note):
            result = job.execute_in_process(
                instance=instance,
                asset_selection=[asset],
                tags={**run_tags, TERMINAL_TAG: "true"},
                run_config={**_QUIET, **config},
                raise_on_error=False,
            )
        errors.extend(_errors(result))
        checks |= _red_checks(result)
        counts |= _counts(result)
    return AssetResult(
        asset=asset.to_user_string(),
        seconds=time.perf_counter() - start,
        outcomes=tuple(outcomes.values()),
        counts=counts,
        errors=tuple(errors),
        red_checks=checks,
    )


def _counts(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    found = {}
    for event in result.all_events:
        if event.is_step_materialization and event.partition is None:
            for name, value in event.step_materialization_data.materialization.metadata.items():
                if isinstance(value, dg.IntMetadataValue) and value.value is not None and "/" not in name:
                    found[name] = value.value
    return found


def _errors(result: dg.ExecuteInProcessResult) -> Iterator[str]:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            failure = data.user_failure_data
            if failure is not None and failure.description:
                yield failure.description
            elif data.error is not None:
                yield (data.error.cause or data.error).message.strip()


def _red_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    found = {}
    for evaluation in result.get_asset_check_evaluations():
        if not evaluation.passed:
            table = evaluation.metadata.get("keys")
            rows = table.records if isinstance(table, dg.TableMetadataValue) else []
            found[evaluation.check_name] = "\n".join(f"{row.data['key']}: {row.data['reason']}" for row in rows)
    return found
