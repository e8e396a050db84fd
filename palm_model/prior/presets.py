"""The presets: the same training at four sizes, as numbers."""

from collections.abc import Callable, Mapping
from typing import get_args

from schemas.errors import SettingsError
from schemas.prior import Opening, PresetName, PriorSettings, TrainingSettings
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings
from schemas.prior_losses import Constant, FromStep, Linear, LossSettings
from schemas.prior_pbr import ShadingSettings
from schemas.prior_pbr_training import PbrTrainingSettings
from schemas.prior_pretraining import PretrainingSettings
from schemas.prior_skinning import FAST_SKINNING, SkinningSettings
from schemas.prior_volume import BlindSampling, GuidedSampling, VolumeSettings


def preset(name: str, *, steps: int | None = None) -> PriorSettings:
    """The settings of a preset.

    Args:
        steps: other optimiser steps than the preset's; in tiny and cpu, what changes as training goes changes at the same
            shares of them.

    tiny: a few minutes on two cores, to see that everything works. cpu: a usable prior in twenty minutes on two cores.
    gpu: one GPU. paper: what the authors published, as far as they said it. The latter two have not been run.

    Raises:
        SettingsError: if there is no such preset.
    """
    if name not in get_args(PresetName):
        raise SettingsError(f"preset: expected one of {', '.join(get_args(PresetName))}, found {name!r}.")
    usual, make = _PRESETS[name]
    return make(steps or usual)


def with_pbr(settings: PriorSettings, *, shared_environment: bool = True) -> PriorSettings:
    """The same training with the physically based branch in its second half, as two cores can bear it.

    Few directions, drawn by light and material; shadows by the registered surface, also in pictures.
    """
    steps = settings.training.steps
    few = ShadingSettings(strategy="mis", rows=4, columns=4)
    pbr = PbrTrainingSettings(
        shared_environment=shared_environment,
        shading=few,
        balanced_light=True,
        visibility="mesh",
        view_visibility="mesh",
        view_shading=few.model_copy(update={"rows": 8, "columns": 8}),
        light_rate=5e-3,
        max_hits=256,
    )
    term = FromStep(step=max(steps // 2, 1), then=Constant(weight=0.5))
    losses = settings.losses.model_copy(update={"pbr_colour": term})
    return settings.model_copy(update={"pbr": pbr, "losses": losses})


def _tiny(steps: int) -> PriorSettings:
    encoding = EncodingSettings(levels=8, log2_table_size=14, growth=1.6)
    return _small(
        "tiny",
        encoding,
        FieldSettings(width=32, pose_code=8, shape_code=16, appearance_code=16, code_std=0.05),
        GuidedSampling(samples=12),
        LossSettings(**_small_losses(steps), perceptual=None),
        steps=steps,
        patches=0,
        pretraining=PretrainingSettings(steps=500, batch=2048, eikonal_points=128),
    )


def _cpu(steps: int) -> PriorSettings:
    encoding = EncodingSettings(levels=12, log2_table_size=16)
    return _small(
        "cpu",
        encoding,
        FieldSettings(code_std=0.05),
        GuidedSampling(),
        LossSettings(**_small_losses(steps), perceptual_network="st-lpips-alex"),
        steps=steps,
        patches=1,
        pretraining=PretrainingSettings(),
    )


def _small(
    name: PresetName,
    encoding: EncodingSettings,
    fields: FieldSettings,
    sampling: GuidedSampling,
    losses: LossSettings,
    *,
    steps: int,
    patches: int,
    pretraining: PretrainingSettings,
) -> PriorSettings:
    """What the presets for two cores have in common: 512 rays a step, guided by the registered surface.

    Eight of the radiance grid's levels open, and no band of the reflected direction does: where all of them opened halfway,
    training and held-out views alike came out worse.
    """
    patch_px, bundles = 16, 4
    bundle_rays = (512 - patches * patch_px**2) // bundles
    return PriorSettings(
        preset=name,
        fields=fields,
        geometry_encoding=encoding,
        radiance_encoding=encoding,
        volume=VolumeSettings(sampling=sampling, negligible_weight=1e-3, tetrahedron_m=5e-4),
        skinning=FAST_SKINNING,
        losses=losses,
        pretraining=pretraining,
        training=TrainingSettings(
            steps=steps,
            bundles=bundles,
            bundle_rays=bundle_rays,
            bundle_rays_around=bundle_rays // 4,
            patches=patches,
            patch_px=patch_px,
            table_rate=1e-2,
            network_rate=2e-3,
            geometry_rate=1.0,
            density_rate=1e-5,
            warm_up=50,
            last_rate=0.05,
            clip_norm=1.0,
            geometry_from=0,
            levels=Opening(first=4.0, after=steps // 3, every=steps / 6),
            bands=Opening(first=0.0, after=steps, every=steps),
            geometry_levels=None,
            validation_views=6,
            validate_every=max(steps // 10, 1),
            save_every=200,
        ),
    )


def _small_losses(steps: int) -> Mapping[str, object]:
    """Of all presets but paper; patches are compared as there, where there are any."""
    return {
        "colour": Constant(weight=1.0),
        "pbr_colour": None,
        "segmentation": Linear(start=0.3, end=0.1, last_step=steps),
        "normal": Constant(weight=0.3),
        "eikonal": Constant(weight=0.05),
        "laplacian": Constant(weight=0.1),
        "laplacian_step_m": 1e-3,
        "latent_shape": Constant(weight=1e-3),
        "latent_appearance": Constant(weight=1e-3),
    }


def _gpu(steps: int) -> PriorSettings:
    encoding = EncodingSettings(levels=16, log2_table_size=19)
    return PriorSettings(
        preset="gpu",
        fields=FieldSettings(code_std=0.05),
        geometry_encoding=encoding,
        radiance_encoding=encoding,
        volume=VolumeSettings(sampling=GuidedSampling(samples=32), negligible_weight=1e-4),
        skinning=FAST_SKINNING,
        pbr=PbrTrainingSettings(
            shading=ShadingSettings(strategy="mis", rows=4, columns=8),
            balanced_light=True,
            light_rate=5e-3,
            max_hits=1024,
        ),
        losses=LossSettings(
            **{**_small_losses(steps), "pbr_colour": FromStep(step=steps // 2, then=Constant(weight=0.2))},
        ),
        pretraining=_large_pretraining(),
        training=_large_training(
            steps=steps,
            bundles=16,
            bundle_rays=256,
            patches=4,
            patch_px=32,
            geometry_from=0,
            micro_batches=4,
            mixed_precision=True,
        ),
    )


def _paper(steps: int) -> PriorSettings:
    return PriorSettings(
        preset="paper",
        fields=FieldSettings(),
        geometry_encoding=EncodingSettings(),
        radiance_encoding=EncodingSettings(),
        volume=VolumeSettings(sampling=BlindSampling()),
        skinning=SkinningSettings(),
        pretraining=_large_pretraining(),
        losses=LossSettings(),
        pbr=PbrTrainingSettings(),
        training=_large_training(
            steps=steps,
            bundles=8,
            bundle_rays=1024,
            patches=8,
            patch_px=32,
            geometry_from=6002,
            micro_batches=8,
            mixed_precision=False,
        ),
    )


def _large_pretraining() -> PretrainingSettings:
    return PretrainingSettings(steps=2000, batch=8192, eikonal_points=512)


def _large_training(
    *,
    steps: int,
    bundles: int,
    bundle_rays: int,
    patches: int,
    patch_px: int,
    geometry_from: int,
    micro_batches: int,
    mixed_precision: bool,
) -> TrainingSettings:
    return TrainingSettings(
        steps=steps,
        bundles=bundles,
        bundle_rays=bundle_rays,
        bundle_rays_around=bundle_rays // 4,
        patches=patches,
        patch_px=patch_px,
        table_rate=1e-3,
        network_rate=1e-3,
        geometry_rate=1.0,
        density_rate=1e-5,
        warm_up=1000,
        last_rate=0.1,
        clip_norm=1.0,
        geometry_from=geometry_from,
        levels=Opening(first=4.0, after=3000, every=500.0),
        bands=Opening(first=0.0, after=3000, every=2000.0),
        geometry_levels=None,
        micro_batches=micro_batches,
        mixed_precision=mixed_precision,
        validation_views=16,
        validate_every=1000,
        save_every=500,
    )


_PRESETS: Mapping[str, tuple[int, Callable[[int], PriorSettings]]] = {
    "tiny": (600, _tiny),
    "cpu": (2400, _cpu),
    "gpu": (24000, _gpu),
    "paper": (24000, _paper),
}
"""Usual steps, and the settings of so many."""
