"""The silhouette term: the model's soft silhouette against the scan's in every view, up to the wrist."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from numpy import ndarray

from palm_data.maps.zbuffer import rasterize
from palm_data.registration.silhouette import sigma_px2, soft_silhouette
from palm_data.registration.targets import FrameTarget
from palm_data.registration.wrist import WristPlane
from schemas.registration import RegistrationSettings

_CROP_MARGIN = 0.08  # of the hand's box, on each side
_WRIST_BAND_M = 0.004  # pixels of the scan this close to the plane, or beyond it, are not compared


@dataclass(frozen=True)
class OutlineView:
    """One view's crop around the hand, at the resolution silhouettes are compared on."""

    intrinsics: Float[ndarray, "3 3"]
    world_to_camera: Float[ndarray, "4 4"]
    mask: Float[ndarray, "height width"]
    """1 where the scan's hand is."""
    compared: Float[ndarray, "height width"]
    """1 where the silhouettes are compared, 0 on the forearm."""
    contour_px: float
    """Length of the mask's border."""
    pixel_mm: float
    """Size of a pixel at the hand."""


def outline_views(
    target: FrameTarget, vertices: Float[ndarray, "vertices 3"], wrist: WristPlane, settings: RegistrationSettings
) -> list[OutlineView]:
    """The scan's silhouettes around the hand as it is posed now; views that do not see it are left out."""
    forearm = wrist.beyond(target.scan.vertices, _WRIST_BAND_M)[target.scan.faces].any(axis=1)
    views = []
    for intrinsics, pose in zip(target.intrinsics, target.world_to_camera, strict=True):
        crop = _crop(vertices, intrinsics, pose, settings.silhouette_px)
        if crop is None:
            continue
        cropped, (width, height), depth = crop
        in_camera = target.scan.vertices @ pose[:3, :3].T + pose[:3, 3]
        face_id = rasterize(in_camera, target.scan.faces, cropped, width, height).face_id
        seen = face_id >= 0
        arm = np.zeros_like(seen)
        arm[seen] = forearm[face_id[seen]]
        mask = seen & ~arm
        if mask.any():
            views.append(
                OutlineView(
                    cropped,
                    pose,
                    mask.astype(float),
                    _outside(arm).astype(float),
                    _contour(mask),
                    1000 * depth / cropped[0, 0],
                )
            )
    return views


def _outside(arm: Bool[ndarray, "height width"]) -> Bool[ndarray, "height width"]:
    """Pixels at least one pixel away from the forearm."""
    grown = arm.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            grown |= np.roll(arm, step, axis=axis)
    return ~grown


def _contour(mask: Bool[ndarray, "height width"]) -> float:
    """Pixels of the mask with a neighbour outside it."""
    inner = mask[1:-1, 1:-1] & mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    return float(max(mask.sum() - inner.sum(), 1))


def _crop(
    vertices: Float[ndarray, "vertices 3"],
    intrinsics: Float[ndarray, "3 3"],
    pose: Float[ndarray, "4 4"],
    longer_px: int,
) -> tuple[Float[ndarray, "3 3"], tuple[int, int], float] | None:
    """Intrinsics and size of a crop around the projected hand, and the hand's mean depth in metres."""
    in_camera = vertices @ pose[:3, :3].T + pose[:3, 3]
    if (in_camera[:, 2] <= 0).any():
        return None
    pixels = in_camera[:, :2] / in_camera[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    margin = _CROP_MARGIN * (high - low).max()
    low, high = low - margin, high + margin
    scale = longer_px / (high - low).max()
    cropped = intrinsics.copy()
    cropped[:2, 2] -= low
    cropped[:2] *= scale
    width, height = (int(size) for size in np.ceil((high - low) * scale))
    return cropped, (width, height), float(in_camera[:, 2].mean())


def outline_loss(
    vertices: Float[ndarray, "vertices 3"],
    faces: Integer[ndarray, "faces 3"],
    views: list[OutlineView],
    sigma: float,
    *,
    gradient: bool,
) -> tuple[float, Float[ndarray, "vertices 3"] | None]:
    """Area between the silhouettes over the contour's length, mm, averaged over the views; and its gradient, mm/m.

    For a small shift of the outline this is the mean distance between the two contours.
    """
    points = torch.from_numpy(vertices).requires_grad_(gradient)
    triangles = torch.tensor(faces, dtype=torch.int64)
    total = torch.zeros((), dtype=torch.float64)
    for view in views:
        pose, intrinsics = torch.from_numpy(view.world_to_camera), torch.from_numpy(view.intrinsics)
        in_camera = points @ pose[:3, :3].T + pose[:3, 3]
        pixels = in_camera[:, :2] / in_camera[:, 2:] * intrinsics[[0, 1], [0, 1]] + intrinsics[:2, 2]
        height, width = view.mask.shape
        opacity = soft_silhouette(pixels, triangles, width, height, sigma=sigma_px2(sigma, width, height))
        squared = torch.from_numpy(view.compared) * (opacity - torch.from_numpy(view.mask)) ** 2
        total = total + squared.sum() * (view.pixel_mm / view.contour_px / len(views))
    if gradient and views:
        total.backward()
        assert points.grad is not None  # noqa: S101
        return total.item(), points.grad.numpy()
    return total.item(), None
