"""What is measured on each view of a prior and of the baked baseline, and how views become figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32
from numpy import ndarray
from scipy.ndimage import distance_transform_edt

from palm_data.colour import linear_from_srgb
from palm_data.evaluate.prior_views import Kind
from palm_data.evaluate.true_views import TrueView
from palm_data.loader.sample import View
from palm_data.maps.predicted import PredictedView

PictureScore = Callable[
    [Float[ndarray, "height width 3"], Float[ndarray, "height width 3"], Bool[ndarray, "height width"]], float
]
"""A score of a picture against the true one (both sRGB from 0 to 1) on the pixels of a mask."""


@dataclass(frozen=True)
class PictureScores:
    """The scores of pictures."""

    psnr: PictureScore
    ssim: PictureScore


@dataclass
class Figures:
    """Values by name; each name's figure is their mean."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, *found: float) -> None:
        """Take further values of a name."""
        self.values.setdefault(name, []).extend(found)

    def mean(self, name: str) -> float | None:
        """The mean of a name's values; None if there are none."""
        found = self.values.get(name)
        return float(np.mean(found)) if found else None

    def count(self, name: str) -> int:
        """How many values a name has."""
        return len(self.values.get(name, ()))


@dataclass(frozen=True, eq=False)
class ViewRegion:
    """The pixels a view is scored on: released training mask and true skin of the hand."""

    view: View
    true: TrueView
    pixels: Bool[ndarray, "height width"]

    @classmethod
    def of(cls, view: View, true: TrueView) -> "ViewRegion":
        """The region of a view."""
        return cls(view, true, view.training_mask & true.skin)

    def picture(self, name: PictureScore, rgb: Float32[ndarray, "height width 3"]) -> float:
        """A score of a picture; what lies outside the region is black in both."""
        inside = self.pixels[..., None]
        return name(np.where(inside, np.clip(rgb, 0.0, 1.0), 0.0), np.where(inside, self.true.rgb, 0.0), self.pixels)


def normal_errors_deg(predicted: PredictedView, region: ViewRegion, opaque: float) -> Float[ndarray, " n"]:
    """Angles between predicted and scanned normals where the region is opaque and the scan has a normal."""
    scanned = region.view.normal @ np.asarray(region.view.camera.rotation)
    length = np.linalg.norm(predicted.normal, axis=2) * np.linalg.norm(scanned, axis=2)
    there = region.pixels & (predicted.opacity > opaque) & (length > 0)
    cosine = (predicted.normal * scanned).sum(axis=2)[there] / length[there]
    return np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))


def silhouette_iou(predicted: PredictedView, view: View, opaque: float) -> float:
    """Of the opaque pixels and the released training mask."""
    solid = predicted.opacity > opaque
    return float((solid & view.training_mask).sum() / (solid | view.training_mask).sum())


def grown(predicted: PredictedView) -> Float32[ndarray, "height width 3"]:
    """The picture with each pixel that is not wholly covered taken from the nearest one that is."""
    bare = predicted.opacity < 1.0 - 1e-6
    if bare.all():
        return predicted.rgb
    row, column = distance_transform_edt(bare, return_distances=False, return_indices=True)
    return predicted.rgb[row, column]


@dataclass
class AlbedoScore:
    """Root mean square error of albedo after one scale over all views and channels (linear, least squares)."""

    predicted: list[Float[ndarray, "n 3"]] = field(default_factory=list)
    true: list[Float[ndarray, "n 3"]] = field(default_factory=list)

    def add(self, albedo: Float[ndarray, "height width 3"], region: ViewRegion) -> None:
        """Take a view's albedo."""
        self.predicted.append(np.asarray(albedo[region.pixels], np.float64))
        self.true.append(np.asarray(region.true.albedo[region.pixels], np.float64))

    def error(self) -> float | None:
        """The error; None without views."""
        if not self.predicted:
            return None
        predicted, true = np.concatenate(self.predicted), np.concatenate(self.true)
        size = float((predicted**2).sum())
        scale = float((predicted * true).sum()) / size if size > 0 else 0.0
        return float(np.sqrt(((scale * predicted - true) ** 2).mean()))


def input_albedo(region: ViewRegion) -> Float[ndarray, "height width 3"]:
    """The released image's light divided by its mean shading: what an albedo has to be better than.

    The mean shading is that of the truth, so the baseline knows how bright the light is.
    """
    light = linear_from_srgb(region.view.rgb.astype(np.float64) / 255.0)
    albedo = region.true.albedo[region.pixels]
    return light / max(float(light[region.pixels].mean() / max(float(albedo.mean()), 1e-9)), 1e-9)


def picture_names(kind: Kind) -> str:
    """How the keys of a kind end: the held-out camera is what a prior is made for and has none."""
    return {Kind.TRAIN: "_train", Kind.NEW_CAMERA: "", Kind.NEW_POSE: "_new_pose"}[kind]


def mean_or_none(parts: Sequence[Float[ndarray, " n"]]) -> float | None:
    """The mean of all values of all parts; None if there are none."""
    values = np.concatenate([np.zeros(0), *parts])
    return float(values.mean()) if len(values) else None
