"""The whole graph as one batch from a terminal, on the instance that the web page shows.

Belongs here: which runs a batch is made of, and what came of them. A batch is as few runs as it can be, in this
process. A step that fails takes the rest of its run with it, so what is left goes into another run, without it.
"""

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Annotated

import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from pydantic import BaseModel, ConfigDict, Field

from palm_data.capture.layout import raw_subjects
from palm_data.store.manifest import is_version
from pipelines.compute import Outcome, Progress, shared_workers, watching
from pipelines.definitions import build_definitions
from pipelines.instance import TERMINAL_TAG
from pipelines.partitions import SUBJECTS_PER_RUN, heaviest_first, register_subjects, runs_of, subjects, tombstones
from pipelines.resources import Compute, Places
from schemas.errors import BadInputError, SettingsError
from schemas.settings import Settings


class BatchRequest(BaseModel):
    """What to make."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    select: Annotated[str, Field(description="Assets, in Dagster's selection syntax.")] = "*"
    subjects: Annotated[tuple[str, ...] | None, Field(description="None: all in the raw folder.")] = None
    release: Annotated[str | None, Field(description="Version to publish; None: no release.")] = None
    captures_only: Annotated[bool, Field(description="Publish images, maps and scans without any label.")] = False


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
    retired: Annotated[dict[str, str], Field(description="Subjects that nothing is made of, with the reason.")]

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
    batch = _Batch(instance, defs, _run_config(request), watch)
    partitioned = {key for key in assets if defs.resolve_asset_graph().get(key).is_partitioned}
    with shared_workers(), watching(batch.note):
        if len(ranges) == 1:
            batch.run(assets, _range_tags(ranges[0]))
        else:
            for by_subject, group in groupby(assets, partitioned.__contains__):
                together = list(group)
                for tags in map(_range_tags, ranges) if by_subject else [{}]:
                    batch.run(together, tags)
    return BatchResult(assets=tuple(batch.result(key) for key in assets), retired=tombstones(settings, chosen))


_RELEASE = dg.AssetKey("release")
_PRIOR = dg.AssetKey("prior")
"""Trained when someone asks for it: `palm train prior`, or its own page."""


def _run_config(request: BatchRequest) -> dict[str, object]:
    quiet: dict[str, object] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if request.release is None:
        return quiet
    return {
        **quiet,
        "ops": {"release": {"config": {"version": request.release, "captures_only": request.captures_only}}},
    }


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
    if keys == {_PRIOR}:
        raise SettingsError(f"--select {request.select!r}: expected assets other than prior. Run: palm train prior")
    keys = keys - {_PRIOR}
    if not keys:
        raise SettingsError(f"--select {request.select!r}: expected at least one asset, found none.")
    if request.release is not None and not is_version(request.release):
        raise SettingsError(f"--release: expected MAJOR.MINOR.PATCH, found {request.release!r}.")
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


class _Batch:
    """Runs, and what is learned from them, asset by asset."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        defs: dg.Definitions,
        config: Mapping[str, object],
        watch: Callable[[Progress], None],
    ) -> None:
        self._instance = instance
        self._job = defs.resolve_implicit_global_asset_job_def()
        self._config = config
        self._watch = watch
        self._outcomes: dict[str, dict[str, Outcome]] = defaultdict(dict)
        self._seconds: dict[str, float] = defaultdict(float)
        self._counts: dict[str, dict[str, int]] = defaultdict(dict)
        self._errors: dict[str, list[str]] = defaultdict(list)
        self._red_checks: dict[str, dict[str, str]] = defaultdict(dict)

    def note(self, progress: Progress) -> None:
        """Remember what became of a key, and tell the watcher."""
        if progress.outcome is not None:
            self._outcomes[progress.label][progress.outcome.key] = progress.outcome
        self._watch(progress)

    def run(self, assets: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> None:
        """Materialize the assets in order; one that fails is left behind, and the rest goes on in another run."""
        left = list(assets)
        while left:
            config = dict(self._config) if _RELEASE in left else {"loggers": self._config["loggers"]}
            result = self._job.execute_in_process(
                instance=self._instance,
                asset_selection=left,
                tags={**tags, TERMINAL_TAG: "true"},
                run_config=config,
                raise_on_error=False,
            )
            failed = self._learn(result, left)
            if result.success or failed is None:
                return
            left = left[left.index(failed) + 1 :]

    def result(self, asset: dg.AssetKey) -> AssetResult:
        """What came of an asset in all runs."""
        name = asset.to_user_string()
        return AssetResult(
            asset=name,
            seconds=self._seconds[name],
            outcomes=tuple(self._outcomes[name].values()),
            counts=self._counts[name],
            errors=tuple(self._errors[name]),
            red_checks=self._red_checks[name],
        )

    def _learn(self, result: dg.ExecuteInProcessResult, assets: Sequence[dg.AssetKey]) -> dg.AssetKey | None:
        """Read a finished run's events; returns the first asset that failed."""
        names = {asset.to_user_string(): asset for asset in assets}
        failed = []
        for event in result.all_events:
            if event.is_step_failure and event.step_key is not None:
                self._errors[event.step_key].append(_error(event.step_failure_data))
                failed.append(names.get(event.step_key))
            elif event.is_step_materialization and event.asset_key is not None and event.partition is None:
                metadata = event.step_materialization_data.materialization.metadata
                self._counts[event.asset_key.to_user_string()] |= _counts(metadata)
        for evaluation in result.get_asset_check_evaluations():
            if not evaluation.passed:
                self._red_checks[evaluation.asset_key.to_user_string()][evaluation.check_name] = _verdict(evaluation)
        for step in self._instance.get_run_step_stats(result.run_id):
            self._seconds[step.step_key] += (step.end_time or 0) - (step.start_time or step.end_time or 0)
        return next((asset for asset in failed if asset is not None), None)


def _counts(metadata: Mapping[str, dg.MetadataValue]) -> dict[str, int]:
    return {
        name: value.value
        for name, value in metadata.items()
        if isinstance(value, dg.IntMetadataValue) and value.value is not None and "/" not in name
    }


def _error(failure: StepFailureData) -> str:
    described = failure.user_failure_data
    if described is not None and described.description:
        return described.description
    error = failure.error
    return (error.cause or error).message.strip() if error is not None else "unknown"


def _verdict(evaluation: dg.AssetCheckEvaluation) -> str:
    table = evaluation.metadata.get("keys")
    rows = table.records if isinstance(table, dg.TableMetadataValue) else []
    return "\n".join(f"{row.data['key']}: {row.data['reason']}" for row in rows)
