"""What all assets that are made subject by subject have in common."""

import ast
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import dagster as dg

from pipelines.outcomes import retry_io
from pipelines.partitions import subjects, subjects_per_run

HEAVY = "heavy"
"""The pool of work that fills the machine: runs with such work take turns (see `dagster.yaml`)."""


def stage_code_version(module: str) -> str:
    """The `CODE_VERSION` that a stage's module writes down, read from its source: importing it would take seconds.

    Raises:
        LookupError: if there is no such module, or it writes none down.
    """
    spec = find_spec(module)
    if spec is not None and spec.origin is not None:
        for statement in ast.parse(Path(spec.origin).read_bytes()).body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="CODE_VERSION")], value=ast.Constant(value=str(version))):
                    return version
    raise LookupError(f'{module}: expected a line CODE_VERSION = "…", found none.')


def subject_asset(
    *,
    group: str,
    owner: str,
    kinds: set[str],
    stage: str,
    deps: Sequence[dg.AssetsDefinition] = (),
    pool: str | None = None,
) -> Callable[[Callable[..., None]], dg.AssetsDefinition]:
    """An asset partitioned by subject, made in batches, retried on I/O; its docstring is its description.

    Args:
        stage: the module of `palm_data` that makes it, and whose code version is the asset's.
    """

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
                code_version=stage_code_version(stage),
                deps=list(deps),
                pool=pool,
            )(function)

    return decorate
