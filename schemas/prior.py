"""Everything that a prior's weights follow from, beside the release: sizes, sampling, losses and how it is trained."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.ids import CameraId, Slug, SubjectId
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings
from schemas.prior_losses import LossSettings
from schemas.prior_pbr_training import PbrTrainingSettings
from schemas.prior_pretraining import PretrainingSettings
from schemas.prior_skinning import SkinningSettings
from schemas.prior_volume import VolumeSettings
from schemas.tier import FULL, Tier

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)

PresetName = Literal["tiny", "cpu", "gpu", "paper"]
Region = Literal["mask", "hand_mask", "training_mask"]


class HeldOut(BaseModel):
    """What the training never sees, so that the prior can be judged by it."""

    model_config = _FROZEN

    cameras: Annotated[tuple[CameraId, ...], Field(description="Cameras left out of everybody's captures.")] = ()
    gestures: Annotated[tuple[Slug, ...], Field(description="Gestures left out, in every camera.")] = ()
    subjects: Annotated[
        tuple[SubjectId, ...], Field(description="People left out, whom no row of the code book is.")
    ] = ()


class Opening(BaseModel):
    """Parts of an encoding that are opened as training goes: from `first` on, one more every `every` steps."""

    model_config = _FROZEN

    first: Annotated[float, Field(ge=0, description="How many are open at the start.")]
    after: Annotated[int, Field(ge=0, description="Step at which the next begins to open.")]
    every: Annotated[float, Field(gt=0, description="Steps that each takes.")]

    def at(self, step: int) -> float:
        """How many are open at a step; the last one perhaps in part."""
        return self.first + max(step - self.after, 0) / self.every


class TrainingSettings(BaseModel):
    """How a prior is trained."""

    model_config = _FROZEN

    steps: Annotated[int, Field(ge=1, description="Optimiser steps.")]
    bundles: Annotated[int, Field(ge=0, description="Views of a step from which rays are drawn.")]
    bundle_rays: Annotated[int, Field(ge=1, description="Rays of each of them.")]
    bundle_rays_around: Annotated[
        int, Field(ge=0, description="How many of these pass beside the hand; the others go through it.")
    ] = 0
    patches: Annotated[int, Field(ge=0, description="Square patches of a step, each of one view.")]
    patch_px: Annotated[int, Field(ge=4, description="Side of a patch, px.")]
    table_rate: Annotated[float, Field(gt=0, description="Learning rate of the hash grids' tables.")]
    network_rate: Annotated[float, Field(gt=0, description="Learning rate of the networks and codes.")]
    geometry_rate: Annotated[
        float, Field(gt=0, description="Learning rate of the geometry network and its grid, as a share of the others'.")
    ]
    density_rate: Annotated[float, Field(gt=0, description="Learning rate of the density's β, metres a step.")]
    warm_up: Annotated[int, Field(ge=0, description="Steps over which the rates rise to their full size.")]
    last_rate: Annotated[float, Field(gt=0, le=1, description="What a cosine brings the rates down to, as a share.")]
    clip_norm: Annotated[float, Field(gt=0, description="Gradients are scaled to at most this norm.")]
    geometry_from: Annotated[
        int,
        Field(
            ge=0,
            description="Step from which the geometry, shape codes and the poses' encoder are trained; before, they are "
            "as pre-trained.",
        ),
    ]
    levels: Annotated[Opening | None, Field(description="Levels of the radiance grid; None: all are open.")]
    bands: Annotated[Opening | None, Field(description="Bands of the reflected direction; None: all are open.")]
    geometry_levels: Annotated[Opening | None, Field(description="Levels of the geometry grid; None: all are open.")]
    micro_batches: Annotated[
        int,
        Field(
            ge=1,
            description="Parts in which a step's bundles and patches are taken, one after the other: bounds memory. "
            "The loss is the mean of theirs, so that a term that is not a mean over rays (normals, samples) weighs each "
            "part alike.",
        ),
    ] = 1
    mixed_precision: Annotated[
        bool, Field(description="Colour networks and perceptual distance in bfloat16; geometry stays in float32.")
    ] = False
    region: Annotated[Region, Field(description="What counts as the hand: elsewhere images are black.")] = (
        "training_mask"
    )
    tier: Annotated[Tier, Field(description="Resolution of the images.")] = FULL
    quality_ok: Annotated[bool, Field(description="Only captures whose labels passed the gate.")] = True
    validation_views: Annotated[
        int, Field(ge=0, description="Views set aside, drawn by the seed; the weights that are best on them are kept.")
    ]
    validate_every: Annotated[int, Field(ge=1, description="Steps between two looks at them.")]
    save_every: Annotated[int, Field(ge=1, description="Steps between two states to go on from.")]
    least_subjects: Annotated[int, Field(ge=1, description="A release with fewer people is refused.")] = 2

    @model_validator(mode="after")
    def _draws_something(self) -> Self:
        if self.bundles + self.patches == 0:
            raise ValueError("expected bundles or patches above 0, found 0 of both")
        if self.bundle_rays_around >= self.bundle_rays:
            raise ValueError(
                f"expected bundle_rays_around below bundle_rays {self.bundle_rays}, found {self.bundle_rays_around}"
            )
        for name in ("bundles", "patches"):
            if getattr(self, name) % self.micro_batches:
                raise ValueError(
                    f"expected {name} to be a multiple of micro_batches {self.micro_batches}, found {getattr(self, name)}"
                )
        return self

    @property
    def rays(self) -> int:
        """Rays of a step, those of patches included."""
        return self.bundles * self.bundle_rays + self.patches * self.patch_px**2


class PriorSettings(BaseModel):
    """A prior, whole. A preset is such settings and nothing else: no code asks for its name."""

    model_config = _FROZEN

    preset: Annotated[str, Field(description="What these settings began as.")]
    seed: Annotated[int, Field(ge=0, description="Everything random follows from it.")] = 0
    fields: FieldSettings
    geometry_encoding: EncodingSettings
    radiance_encoding: EncodingSettings
    volume: VolumeSettings
    skinning: SkinningSettings
    losses: LossSettings
    pretraining: PretrainingSettings = PretrainingSettings()
    pbr: Annotated[
        PbrTrainingSettings | None, Field(description="The branch that shades material by light; None: there is none.")
    ] = None
    training: TrainingSettings
    held_out: HeldOut = HeldOut()

    @model_validator(mode="after")
    def _has_what_its_losses_need(self) -> Self:
        if self.pbr is None and self.losses.pbr_colour is not None:
            raise ValueError("expected settings of `pbr` where the loss `pbr_colour` is on, found none")
        return self
