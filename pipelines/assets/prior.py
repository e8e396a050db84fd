"""What learns from a release: the prior of hands."""

from typing import Annotated

import dagster as dg
from pydantic import Field

from pipelines.assets.by_subject import HEAVY, stage_code_version
from pipelines.assets.release import release
from pipelines.outcomes import retried_only_if_it_may_pass, retry_io
from pipelines.pictures import embedded
from pipelines.resources import Places
from schemas.errors import SettingsError
from schemas.ids import VersionId


class PriorConfig(dg.Config):
    """Which prior to train."""

    version: Annotated[VersionId | None, Field(description="Version to learn from; None: the highest.")] = None
    preset: Annotated[str, Field(description="tiny, cpu, gpu or paper.")] = "cpu"
    steps: Annotated[
        int | None,
        Field(description="Optimiser steps; None: as the preset says. In tiny and cpu the schedules are as long."),
    ] = None
    pbr: Annotated[
        bool,
        Field(description="Also train the branch that shades material by light; gpu and paper have it."),
    ] = False
    seed: Annotated[int, Field(description="Everything random follows from it.")] = 0
    held_out_cameras: list[str] = Field(default=[], description="Cameras never learned from.")
    held_out_gestures: list[str] = Field(default=[], description="Gestures never learned from.")
    held_out_subjects: list[str] = Field(default=[], description="People never learned from.")
    least_subjects: Annotated[int, Field(description="A version with fewer people is refused.")] = 2
    device: Annotated[str, Field(description="auto (a GPU, if there is one), cpu or cuda.")] = "auto"


@dg.asset(
    deps=[release],
    code_version=stage_code_version("palm_model.prior.stage"),
    group_name="prior",
    owners=["team:prior"],
    kinds={"python", "pytorch"},
    pool=HEAVY,
    retry_policy=retry_io,
)
def prior(context: dg.AssetExecutionContext, config: PriorConfig, places: Places) -> dg.MaterializeResult:
    """A prior of hands, learned from a released version: shape, skin and poses of many people in one network.

    Trained only when asked for; a training that was killed goes on where it was.
    """
    from palm_data.hand.model import load_hand_model
    from palm_data.loader.release import open_release
    from palm_model.prior.launch import chosen_device
    from palm_model.prior.stage import make_prior
    from pipelines.prior_settings import prior_settings

    told, workspace = places.settings(), places.workspace()
    with retried_only_if_it_may_pass():
        settings = prior_settings(
            config.preset,
            steps=config.steps,
            least_subjects=config.least_subjects,
            held_out={
                "cameras": config.held_out_cameras,
                "gestures": config.held_out_gestures,
                "subjects": config.held_out_subjects,
            },
            seed=config.seed,
            pbr=config.pbr,
        )
        report = make_prior(
            open_release(told.releases_place, config.version),
            workspace,
            settings,
            model=load_hand_model(told.hand_model),
            device=chosen_device(config.device),
        )
    if report is None:
        raise SettingsError("prior: expected one process, found several. Use torchrun with: palm train prior")
    context.log.info(f"{report.key}: {'trained' if report.ran else 'unchanged'}: {report.figures}")
    pictures = {"picture": embedded(report.picture, f"prior of {report.key}")} if report.picture else {}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(report.digest),
        metadata={
            **pictures,
            **report.figures,
            "path": dg.MetadataValue.path(str(workspace.output(report.stage, report.key))),
        },
    )
