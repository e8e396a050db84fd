"""Avatars: a prior fitted to a release's view of one person, and that avatar in other light.

Belongs here: the assets `avatar` and `relit_views`, partitioned by their input (`VERSION-SUBJECT-FRAME-CAMERA`), which
somebody adds who wants that avatar. Does not belong here: what fits or shades (see `palm_model.avatar`).
"""

from pathlib import Path
from typing import Annotated

import dagster as dg
from pydantic import Field

from palm_data.store.workspace import Workspace
from pipelines.assets.by_subject import HEAVY, stage_code_version
from pipelines.assets.prior import prior
from pipelines.assets.release import release
from pipelines.compute import Outcome
from pipelines.outcomes import RETIRED, outcome_metadata, retried_only_if_it_may_pass, retry_io
from pipelines.partitions import tombstones
from pipelines.resources import Places

avatar_inputs = dg.DynamicPartitionsDefinition(name="avatar_inputs")
"""Keys like 1.2.0-0004-3-MCU_02: version, subject, frame and camera."""


class AvatarConfig(dg.Config):
    """Which prior is fitted, and how long."""

    prior: Annotated[
        str | None,
        Field(description="The prior's file, or the folder it lies in; None: the workspace's own of that version."),
    ] = None
    steps: Annotated[int | None, Field(description="Optimiser steps; None: as the settings have it.")] = None


class RelightConfig(dg.Config):
    """Which light the avatar is put into."""

    environments: dict[str, str] = Field(
        default_factory=dict, description="Latitude–longitude pictures (EXR or HDR) by name; none: the two made here."
    )


@dg.asset(
    partitions_def=avatar_inputs,
    deps=[release, prior],
    code_version=stage_code_version("palm_model.avatar.fit"),
    group_name="avatar",
    owners=["team:model"],
    kinds={"python", "pytorch"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def avatar(context: dg.AssetExecutionContext, config: AvatarConfig, places: Places) -> dg.MaterializeResult:
    """An avatar of the person in a released view (eq. 16): codes, a new light and small corrections of the pose."""
    from palm_data.hand.model import load_hand_model
    from palm_model.avatar.stage import ViewInput, make_released_avatar
    from schemas.avatar import AvatarSettings

    view, workspace = ViewInput.of(context.partition_key), places.workspace()
    if reason := _withdrawn(view.subject_id, view.key, places, workspace):
        return dg.MaterializeResult(metadata={RETIRED: reason})
    found = Path(config.prior) if config.prior else workspace.output("prior", view.version)
    settings = AvatarSettings() if config.steps is None else AvatarSettings(steps=config.steps)
    with retried_only_if_it_may_pass():
        model = load_hand_model(places.settings().hand_model)
        report = make_released_avatar(view, places.settings().releases_place, found, workspace, settings, model=model)
    return dg.MaterializeResult(metadata=outcome_metadata(Outcome(key=view.key, seconds=0.0, report=report), workspace))


@dg.asset(
    partitions_def=avatar_inputs,
    deps=[avatar],
    code_version=stage_code_version("palm_model.avatar.fit"),
    group_name="avatar",
    owners=["team:model"],
    kinds={"python", "pytorch"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def relit_views(context: dg.AssetExecutionContext, config: RelightConfig, places: Places) -> dg.MaterializeResult:
    """The avatar in other light, seen by its photograph's camera."""
    from palm_data.hand.model import load_hand_model
    from palm_model.avatar.stage import ViewInput, make_relit_views

    view, workspace = ViewInput.of(context.partition_key), places.workspace()
    if reason := _withdrawn(view.subject_id, view.key, places, workspace):
        return dg.MaterializeResult(metadata={RETIRED: reason})
    environments = {name: Path(path) for name, path in config.environments.items()}
    with retried_only_if_it_may_pass():
        report = make_relit_views(
            view, workspace, model=load_hand_model(places.settings().hand_model), environments=environments
        )
    return dg.MaterializeResult(metadata=outcome_metadata(Outcome(key=view.key, seconds=0.0, report=report), workspace))


def _withdrawn(subject_id: str, key: str, places: Places, workspace: Workspace) -> str | None:
    """Why nothing may be made of a person any more; what was made of them is removed. A missing raw folder is no reason."""
    from palm_model.avatar.stage import forget_avatar

    reason = tombstones(places.settings(), [subject_id]).get(subject_id, "")
    if not reason.startswith("consent"):
        return None
    forget_avatar(workspace, key)
    return reason
