"""Settings of a training that takes seconds."""

from schemas.prior import PriorSettings, TrainingSettings
from schemas.prior_encoding import EncodingSettings
from schemas.prior_fields import FieldSettings
from schemas.prior_losses import Constant, LossSettings
from schemas.prior_skinning import FAST_SKINNING
from schemas.prior_volume import GuidedSampling, VolumeSettings

_ENCODING = EncodingSettings(levels=4, log2_table_size=10)

SMALL = PriorSettings(
    preset="test",
    fields=FieldSettings(width=16, pose_code=4, shape_code=4, appearance_code=4, code_std=0.05, beta_initial=0.003),
    geometry_encoding=_ENCODING,
    radiance_encoding=_ENCODING,
    volume=VolumeSettings(sampling=GuidedSampling(samples=6), tetrahedron_m=5e-4),
    skinning=FAST_SKINNING.model_copy(update={"resolution": 24, "smoothing_rounds": 0}),
    losses=LossSettings(
        colour=Constant(weight=1.0),
        pbr_colour=None,
        segmentation=Constant(weight=0.1),
        normal=Constant(weight=0.1),
        eikonal=Constant(weight=0.01),
        perceptual=None,
        laplacian=Constant(weight=0.05),
        laplacian_step_m=1e-3,
        latent_shape=Constant(weight=1e-3),
        latent_appearance=Constant(weight=1e-3),
    ),
    training=TrainingSettings(
        steps=6,
        bundles=4,
        bundle_rays=16,
        bundle_rays_around=4,
        patches=2,
        patch_px=4,
        table_rate=1e-2,
        network_rate=5e-3,
        geometry_rate=0.3,
        density_rate=1e-5,
        warm_up=2,
        last_rate=0.1,
        clip_norm=1.0,
        geometry_from=0,
        levels=None,
        bands=None,
        geometry_levels=None,
        validation_views=1,
        validate_every=3,
        save_every=2,
    ),
)


def small(**training: object) -> PriorSettings:
    """The same with other values of the training."""
    return with_training(SMALL, **training)


def with_training(settings: PriorSettings, **training: object) -> PriorSettings:
    """Checked anew."""
    changed = {**settings.training.model_dump(), **training}
    return settings.model_copy(update={"training": TrainingSettings.model_validate(changed)})


def with_losses(settings: PriorSettings, **losses: object) -> PriorSettings:
    """The same with other losses."""
    return settings.model_copy(update={"losses": settings.losses.model_copy(update=losses)})
