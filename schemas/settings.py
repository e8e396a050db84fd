"""Settings: read from `palm.toml` in the working directory and from `PALM_*` variables, in that order of growing strength.

Nested fields use two underscores: `PALM_INGEST__MAX_IMAGE_PIXELS=40000000`. The models that shape stored bytes
are separate, so that a stage records exactly the settings it depends on.
"""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from schemas.camera import PixelOrigin
from schemas.errors import SettingsError
from schemas.publisher import PublisherTexts
from schemas.registration import RegistrationSettings
from schemas.tier import FULL, Tier, in_order

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class IngestSettings(BaseModel):
    """Limits and conventions for reading raw sessions."""

    model_config = _FROZEN

    max_image_pixels: Annotated[int, Field(gt=0, description="Refuse larger images before decoding.")] = 40_000_000
    max_scan_bytes: Annotated[int, Field(gt=0, description="Refuse larger scan files before reading.")] = 1_000_000_000
    min_scan_faces: Annotated[int, Field(gt=0, description="Fewer triangles than this is not a hand scan.")] = 500
    tka_pixel_origin: Annotated[PixelOrigin, Field(description="Where .tka files put (0, 0).")] = PixelOrigin.CORNER


class CalibrationSettings(BaseModel):
    """How calibrations are verified."""

    model_config = _FROZEN

    captures_per_calibration: Annotated[int, Field(gt=0, description="Captures projected to verify a calibration.")] = 3
    min_silhouette_iou: Annotated[float, Field(ge=0, le=1, description="Below this a camera fails verification.")] = (
        0.90
    )
    max_contour_offset_px: Annotated[
        float,
        Field(
            gt=0,
            description="Median contour offset above which a camera fails, px at 2448×2048 (scaled with the image).",
        ),
    ] = 12.0
    max_contour_motion_px: Annotated[
        float,
        Field(
            gt=0,
            description="Shift, roll and scale of the contour above which a camera fails, px at 2448×2048 (scaled with the image).",
        ),
    ] = 4.0
    max_contour_roll_deg: Annotated[
        float, Field(gt=0, description="Turn of the contour in the image above which a camera fails, degrees.")
    ] = 0.5


def _odd(side: int) -> int:
    if side % 2 == 0:
        raise ValueError("expected an odd number, so that a square has a middle")
    return side


def _with_full(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    if FULL not in tiers:
        raise ValueError("expected full among the tiers: the others are made beside it")
    return in_order(tiers)


class TrainingMaskSettings(BaseModel):
    """How the scan's mask and the fitted hand's become one. Sides are those at 2448×2048 and scale with the image."""

    model_config = _FROZEN

    reach_px: Annotated[
        int, AfterValidator(_odd), Field(ge=1, description="Square that the hand's mask is grown by, twice; px, odd.")
    ] = 11
    core_px: Annotated[
        int, AfterValidator(_odd), Field(ge=1, description="Square that the hand's mask is shrunk by, twice; px, odd.")
    ] = 21
    smooth_px: Annotated[
        int, AfterValidator(_odd), Field(ge=1, description="Square of the median that smooths the result; px, odd.")
    ] = 7


class MapSettings(BaseModel):
    """How maps are made and encoded."""

    model_config = _FROZEN

    depth_unit_mm: Annotated[float, Field(gt=0, description="Depth of one uint16 step, mm.")] = 0.05
    training_mask: TrainingMaskSettings = TrainingMaskSettings()


class DetectorTrainingSettings(BaseModel):
    """How the keypoint detector is trained."""

    model_config = _FROZEN

    steps: Annotated[int, Field(ge=0, description="Optimiser steps.")] = 900
    batch: Annotated[int, Field(gt=0, description="Crops a step.")] = 8
    learning_rate: Annotated[float, Field(gt=0, description="Peak rate of the decoder; the encoder's is half.")] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, description="AdamW's decoupled weight decay.")] = 1e-4
    robust_scale: Annotated[
        float, Field(gt=0, description="Divergence at which a label counts as wrong, nats (Geman–McClure).")
    ] = 3.0
    robust_from: Annotated[
        float, Field(ge=0, le=1, description="Share of the steps after which the loss is bounded.")
    ] = 0.3
    held_out_people_percent: Annotated[
        int, Field(ge=0, le=90, description="Share of annotated people whose images are held out, %, rounded up.")
    ] = 30
    save_every: Annotated[
        int, Field(gt=0, description="Steps between two states that a killed training goes on from.")
    ] = 50
    seed: Annotated[int, Field(ge=0, lt=2**31, description="Order of the images, augmentation, first weights.")] = 0


class DetectorSettings(BaseModel):
    """How joints are detected in images."""

    model_config = _FROZEN

    checkpoint: Annotated[
        Path | None,
        Field(description="Detector to use as it is; None: the one trained in the workspace or shipped, tuned."),
    ] = None
    input_px: Annotated[int, Field(ge=32, multiple_of=32, description="Side of the network's input, px.")] = 128
    crop_margin: Annotated[
        float, Field(ge=1, description="Side of the crop as a multiple of the projected scan's longer side.")
    ] = 1.2
    reach_m: Annotated[
        float,
        Field(gt=0, description="How much of the scan counts as hand, from the fingertips to the forearm, metres."),
    ] = 0.2
    sigma_px: Annotated[float, Field(gt=0, description="Standard deviation of the targets, px of the input.")] = 1.75
    mono: Annotated[bool, Field(description="Whether joints are detected in the mono cameras too.")] = True
    training: DetectorTrainingSettings = DetectorTrainingSettings()
    tuning_steps: Annotated[
        int, Field(ge=0, description="Optimiser steps on the workspace's own annotations; 0: no tuning.")
    ] = 80
    tuning_rate: Annotated[float, Field(gt=0, description="Peak rate of the decoder when tuning.")] = 2e-4


class Keypoints3DSettings(BaseModel):
    """How detections become joints in space. Pixels are those of 2448×2048 and scale with the image."""

    model_config = _FROZEN

    mono: Annotated[bool, Field(description="Whether the mono cameras' detections count too.")] = True
    inlier_px: Annotated[float, Field(gt=0, description="A view agrees if it reprojects within this, px.")] = 40.0
    noise_px: Annotated[float, Field(gt=0, description="Standard deviation of a confident detection, px.")] = 8.0
    min_ray_angle_deg: Annotated[float, Field(gt=0, description="Smaller largest ray angle: missing, degrees.")] = 5.0
    min_confidence: Annotated[float, Field(ge=0, le=1, description="Detections below this are not used.")] = 0.2


class ShardSettings(BaseModel):
    """How a subject's arrays are laid out."""

    model_config = _FROZEN

    tile_px: Annotated[int, Field(gt=0, description="Side of an inner chunk, px.")] = 256
    tiers: Annotated[
        tuple[Tier, ...],
        AfterValidator(_with_full),
        Field(description="Resolutions of images and maps; the full one is always among them."),
    ] = ("full", "half")
    mono: Annotated[bool, Field(description="Whether the mono cameras' images are part, beside the colour ones.")] = (
        False
    )
    background: Annotated[
        Literal["keep", "zero"], Field(description="Keep the pixels outside the scan mask, or zero them.")
    ] = "keep"


class FrameLimits(BaseModel):
    """What each capture's labels must keep to, to be called good: generous, since their means are held to the paper's."""

    model_config = _FROZEN

    min_coverage: Annotated[float, Field(ge=0, le=1, description="Share of the 21 joints triangulated.")] = 0.75
    max_reprojection_px: Annotated[
        float,
        Field(gt=0, description="Mean reprojection error of the joints, px at 2448×2048 (scaled with the image)."),
    ] = 25.0
    max_fit_mm: Annotated[float, Field(gt=0, description="Fitted to triangulated joints, mean, mm.")] = 10.0
    max_model_to_scan_mm: Annotated[float, Field(gt=0, description="Fitted hand to scan, mean, mm.")] = 3.0
    max_scan_to_model_mm: Annotated[float, Field(gt=0, description="Scan to fitted hand, mean, mm.")] = 4.0
    min_fit_silhouette_iou: Annotated[
        float, Field(ge=0, le=1, description="Fitted hand's silhouette against the scan's, mean over views.")
    ] = 0.85
    min_capture_iou: Annotated[
        float, Field(ge=0, le=1, description="Projected scan against the segmented image, mean over views.")
    ] = 0.80


class QualitySettings(BaseModel):
    """What a capture's labels and a subject must reach to enter a release, and what is worth a warning."""

    model_config = _FROZEN

    min_silhouette_iou_mean: Annotated[
        float,
        Field(ge=0, le=1, description="A capture below this is named; a subject whose captures' mean is stays out."),
    ] = 0.90
    min_silhouette_iou_view: Annotated[float, Field(ge=0, le=1, description="A view below this is named.")] = 0.75
    min_measured_share: Annotated[
        float, Field(ge=0, le=1, description="Share of views whose silhouette could be measured, below which to warn.")
    ] = 0.50
    max_flagged_share: Annotated[
        float,
        Field(ge=0, le=1, description="Share of colour cameras that the calibration flags above which it stays out."),
    ] = 0.34
    max_quarantined_share: Annotated[
        float, Field(ge=0, le=1, description="Share of a subject's captures in quarantine above which to warn.")
    ] = 0.50
    frame: FrameLimits = FrameLimits()
    min_ok_share: Annotated[
        float,
        Field(ge=0, le=1, description="Share of captures within `frame`'s limits below which a subject stays out."),
    ] = 0.50
    min_coverage_mean: Annotated[
        float, Field(ge=0, le=1, description="Mean share of joints triangulated below which to warn of a subject.")
    ] = 0.97
    max_fit_mm_mean: Annotated[
        float, Field(gt=0, description="Mean distance of fitted to triangulated joints above which to warn, mm.")
    ] = 5.3
    max_model_to_scan_mm_mean: Annotated[
        float, Field(gt=0, description="Mean distance of fitted hands to scans above which to warn, mm.")
    ] = 2.0
    min_fit_silhouette_iou_mean: Annotated[
        float, Field(ge=0, le=1, description="Mean of the fitted hands' silhouettes below which to warn.")
    ] = 0.93


class ReleaseSettings(PublisherTexts):
    """What is published, and what beside the data."""

    labels: Annotated[
        bool, Field(description="Whether keypoints, hands, quality and hand masks are part; without, captures only.")
    ] = True

    terms: Annotated[
        Path | None, Field(description="Text file with the terms of use, published as LICENSE; None: no rights given.")
    ] = None


class ComputeSettings(BaseModel):
    """Where subjects are worked on."""

    model_config = _FROZEN

    where: Annotated[Literal["here", "processes"], Field(description="This process, or local worker processes.")] = (
        "processes"
    )
    workers: Annotated[int, Field(gt=0, description="Worker processes.")] = 2


class CacheSettings(BaseModel):
    """Where what is read from stores and web servers is kept, and how much of it."""

    model_config = _FROZEN

    folder: Annotated[Path | None, Field(description="None: palm in the user's cache folder.")] = None
    max_gb: Annotated[float, Field(gt=0, description="The oldest is forgotten above this, GB (10⁹ bytes).")] = 20.0


_URL = re.compile(r"^(s3|gs|az|https?):/+")


def _location(value: object) -> object:
    """A URL as text, even one that was made a path; anything else as it is, to become a path."""
    if isinstance(value, str | Path) and (scheme := _URL.match(str(value))):
        return f"{scheme[1]}://{str(value)[scheme.end() :]}"
    return Path(value) if isinstance(value, str) else value


class Settings(BaseSettings):
    """Everything a run may be told."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="PALM_", env_nested_delimiter="__", toml_file="palm.toml"
    )

    raw: Annotated[Path, Field(description="Raw sessions; read only.")] = Path("demo/raw")
    workspace: Annotated[Path, Field(description="Where stages write.")] = Path("demo/workspace")
    releases: Annotated[
        Path | str,
        BeforeValidator(_location),
        Field(
            description="Where releases are published: a folder, or the URL of an object store (s3://, gs://, az://)."
        ),
    ] = Path("demo/releases")
    hand_model: Annotated[
        Path | None, Field(description="A hand model made by palm mano import; None: the model that ships.")
    ] = None
    ingest: IngestSettings = IngestSettings()
    calibration: CalibrationSettings = CalibrationSettings()
    maps: MapSettings = MapSettings()
    detector: DetectorSettings = DetectorSettings()
    keypoints_3d: Keypoints3DSettings = Keypoints3DSettings()
    registration: RegistrationSettings = RegistrationSettings()
    shard: ShardSettings = ShardSettings()
    quality: QualitySettings = QualitySettings()
    release: ReleaseSettings = ReleaseSettings()
    compute: ComputeSettings = ComputeSettings()
    cache: CacheSettings = CacheSettings()

    @property
    def releases_place(self) -> str:
        """Where releases are published: an absolute path, or a URL."""
        return self.releases if isinstance(self.releases, str) else str(self.releases.absolute())

    @property
    def releases_folder(self) -> Path:
        """Where releases are published, if that is on this machine.

        Raises:
            SettingsError: if it is the URL of a store.
        """
        if isinstance(self.releases, str):
            raise SettingsError(
                f"settings: releases: expected a folder of this machine for this, found {self.releases}."
            )
        return self.releases

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over variables, variables over the file."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))


def load_settings(**overrides: object) -> Settings:
    """The settings in force; overrides that are None are ignored.

    Raises:
        SettingsError: if a value is unknown or out of range; names each one.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}, found {item['input']!r}" for item in error.errors()
        )
        raise SettingsError(f"settings (palm.toml, PALM_*): {problems}. See docs/operations.md for the list.") from None


def without_labels(settings: Settings) -> Settings:
    """The same, but releases hold captures only."""
    return settings.model_copy(update={"release": settings.release.model_copy(update={"labels": False})})
