"""What is true of a simulated session, written apart from what the rig delivers. Readers: `palm_data.evaluate` and tests.

    truth/options.json · truth.json · cameras.json · environment.exr
    truth/<subject>/              person.json, textures.npz, albedo.png, roughness.png, oracle.npz
    truth/<subject>/<gesture>/    surface.npz, NN_C.png (masks), labels.json, capture.json

Arrays are plain `.npz` without pickled objects; metres, world frame of the rig. The environment is radiance as the
origin sees it, equirectangular, +z up: row 0 is the zenith, the columns turn from +x towards +y.
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy import ndarray
from pydantic import BaseModel, ConfigDict, Field

from palm_data.colour import srgb_from_linear
from palm_data.simulate.annotations import Label, WrongLabel
from palm_data.simulate.image_files import write_png
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.skin import SkinTextures
from schemas.camera import TsaiCamera
from schemas.capture import SkinTone, Subject

_FROZEN = ConfigDict(frozen=True, extra="forbid")
_EPOCH = (1980, 1, 1, 0, 0, 0)


class CaptureTruth(BaseModel):
    """`capture.json`: what there is to say of a capture in few words."""

    model_config = _FROZEN

    subject_id: str
    gesture: str
    raw_frame: int
    scan_format: Literal["obj", "ply"]
    scan_unit: Literal["m", "mm"]
    scan_kind: Annotated[str, Field(description="plain, or fused: two fingers grown together.")]
    scan_faces: int
    scan_boundary_share: Annotated[float, Field(description="Share of the scan's edges with one triangle only.")]
    scan_pieces: Annotated[int, Field(description="Separate pieces: the hand and what floats about it.")]
    foreground_histogram: Annotated[
        tuple[int, ...],
        Field(min_length=256, max_length=256, description="Of all colour values inside the masks, RGB."),
    ]


class PersonTruth(BaseModel):
    """`person.json`: who is behind a subject id."""

    model_config = _FROZEN

    subject: Subject
    stature_mm: float
    hand_length_mm: float
    betas: Annotated[tuple[float, ...], Field(description="Shape asked of the hand model; others moved it on.")]
    oracle_betas: Annotated[tuple[float, ...], Field(description="Shape of the best fit to all captures.")]
    oracle_model_to_surface_mm_mean: Annotated[
        dict[str, float], Field(description="By gesture: mean distance of the best fit to the true surface.")
    ]


class CamerasTruth(BaseModel):
    """`cameras.json`: the cameras that rendered; the calibration files are a little off from these."""

    model_config = _FROZEN

    calibration_id: str
    cameras: tuple[TsaiCamera, ...]
    f_number: float


class SessionTruth(BaseModel):
    """`truth.json`: the session's settings and figures."""

    model_config = _FROZEN

    options: SimulateOptions
    captures: int
    oracle_model_to_surface_mm_mean: float
    oracle_model_to_surface_mm_max: Annotated[float, Field(description="The worst capture's mean.")]
    foreground_median_srgb: Annotated[float, Field(description="Median colour value inside the masks, 0 to 1.")]
    foreground_median_srgb_by_tone: dict[SkinTone, float]
    labels: int
    wrong_labels: tuple[WrongLabel, ...]
    fused_scans: tuple[str, ...]
    chrome_ball_radius_m: float
    chrome_ball_reflectance: float


class Labels(BaseModel):
    """`labels.json`: the labels of a capture before any was made wrong."""

    model_config = _FROZEN

    colour: tuple[Label, ...]
    mono: tuple[Label, ...]


def write_arrays(path: Path, arrays: Mapping[str, ndarray]) -> None:
    """Write an `.npz` whose bytes depend on the arrays alone (numpy's own writer puts the time in)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)


def read_arrays(path: Path) -> dict[str, ndarray]:
    """The arrays of an `.npz` of ours, all of them."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def as_stored(textures: SkinTextures) -> SkinTextures:
    """A person's skin rounded to what truth keeps of it, so that what renders is what is said to be true."""
    maps = (textures.albedo, textures.roughness, textures.specular)
    return SkinTextures(*(texels.astype(np.float16).astype(np.float32) for texels in maps))


def write_textures(folder: Path, textures: SkinTextures) -> None:
    """Write `textures.npz` (albedo linear, roughness as GGX α, specular), and pictures of the first two."""
    maps = {"albedo": textures.albedo, "roughness": textures.roughness, "specular": textures.specular}
    write_arrays(folder / "textures.npz", {name: texels.astype(np.float16) for name, texels in maps.items()})
    write_png(folder / "albedo.png", np.rint(srgb_from_linear(textures.albedo) * 255.0).astype(np.uint8))
    write_png(folder / "roughness.png", np.rint(np.clip(textures.roughness, 0, 1) * 255.0).astype(np.uint8))


def histogram_median(histogram: ndarray) -> float:
    """Median of values counted in 256 bins, 0 to 1."""
    reached = np.cumsum(histogram)
    return float(np.searchsorted(reached, reached[-1] / 2.0) / 255.0) if reached[-1] else 0.0
