"""A pre-trained SDF for people to judge: slices through the hand beside the truth, and how the surface looks."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from palm_data.hand.model import SHAPE_COMPONENTS, HandModel
from palm_data.report.pictures import GOOD, Colour, contact_sheet, normals_to_rgb
from palm_model.prior.canonical_sdf import CanonicalSdf, Told
from palm_model.prior.closed_surface import ClosedSurface, closed_hands

TILE_PX = 224
TOP_M = 0.02
"""Distance drawn in the fullest colour."""
SHAPES_STD = (-2.0, 0.0, 2.0)
"""First coefficients of β of the hands that are shown."""
TRUE_LINE: Colour = GOOD
LEARNED_LINE: Colour = (20, 20, 20)
_BAND_M = 0.005
_TRACE_STEPS = 40
_ON_SURFACE_M = 3e-4
_REACH_M = 5e-4
_INSIDE = np.array([70.0, 120.0, 230.0])
_OUTSIDE = np.array([235.0, 150.0, 70.0])


@torch.no_grad()
def pretraining_picture(learned: CanonicalSdf, model: HandModel, *, tile_px: int = TILE_PX) -> UInt8[ndarray, "h w 3"]:
    """For a small, the mean and a large hand: two slices in false colours and the surface's normals, seen flat.

    Slices lie in the plane of the palm and across the fingers; blue is inside, orange outside, with a band every 5 mm.
    The true surface is a green line, the learned one a black line on it.
    """
    images: list[UInt8[ndarray, "t t 3"]] = []
    labels: list[str] = []
    for first in SHAPES_STD:
        betas = torch.zeros(1, SHAPE_COMPONENTS)
        betas[0, 0] = first
        (hand,) = closed_hands(model, betas)
        images += _row(learned, hand, _flat_hand(learned, model, betas), tile_px)
        named = f"first coefficient {first:+.0f}"
        labels += [f"{named}: palm", f"{named}: fingers, across", "learned surface's normals"]
    return contact_sheet(images, labels, 3, tile_px=tile_px)


def _flat_hand(learned: CanonicalSdf, model: HandModel, betas: Float[Tensor, "1 10"]) -> Told:
    """What is told of a hand in its mean pose, of nobody in particular."""
    pose = torch.cat([torch.zeros(3), torch.tensor(model.hands_mean, dtype=torch.float32)])[None].to(learned.device)
    nobody = torch.zeros(1, learned.geometry.settings.shape_code, device=learned.device)
    return Told(learned.encoder(pose), nobody, betas.to(learned.device))


def _row(
    learned: CanonicalSdf, hand: ClosedSurface, told: Told, tile_px: int
) -> tuple[UInt8[ndarray, "t t 3"], UInt8[ndarray, "t t 3"], UInt8[ndarray, "t t 3"]]:
    low, high = hand.vertices.min(axis=0), hand.vertices.max(axis=0)
    across = int((high - low).argmax())  # the fingers point along it
    normal = int((high - low).argmin())  # the palm looks along it
    middle = learned.box.centre.double().cpu().numpy().copy()
    # The palm's plane: where a flat hand has most of itself; the cut: through the fingers, away from the wrist.
    middle[normal] = np.median(hand.vertices[:, normal])
    far = (
        low[across]
        if abs(low[across] - hand.vertices[-1, across]) > abs(high[across] - hand.vertices[-1, across])
        else high[across]
    )
    cut = middle.copy()
    cut[across] = 0.3 * hand.vertices[-1, across] + 0.7 * far
    return (
        _slice(learned, hand, told, _plane(learned, middle, normal, tile_px)),
        _slice(learned, hand, told, _plane(learned, cut, across, tile_px)),
        _normals(learned, told, normal, tile_px),
    )


def _plane(learned: CanonicalSdf, through: Float[ndarray, "3"], normal: int, tile_px: int) -> Float[ndarray, "t t 3"]:
    """Points of a square slice of the cube at pixel centres, the higher of the other two axes downwards."""
    right, down = (axis for axis in range(3) if axis != normal)
    steps = ((np.arange(tile_px) + 0.5) / tile_px * 2.0 - 1.0) * learned.box.half_side
    centre = learned.box.centre.double().cpu().numpy()
    points = np.broadcast_to(through, (tile_px, tile_px, 3)).copy()
    points[..., right] = centre[right] + steps[None, :]
    points[..., down] = centre[down] - steps[:, None]
    return points


def _slice(
    learned: CanonicalSdf, hand: ClosedSurface, told: Told, points: Float[ndarray, "t t 3"]
) -> UInt8[ndarray, "t t 3"]:
    flat = points.reshape(-1, 3)
    asked = torch.from_numpy(flat).float().to(learned.device)
    sdf = learned(asked, _each(told, len(flat))).cpu().numpy().reshape(points.shape[:2])
    truth = hand.signed_distance(flat).reshape(points.shape[:2])
    share = np.clip(np.abs(sdf) / TOP_M, 0.0, 1.0)[..., None]
    coloured = 250.0 + share * (np.where(sdf[..., None] < 0, _INSIDE, _OUTSIDE) - 250.0)
    dark = (np.floor(np.abs(sdf) / _BAND_M) % 2 == 1)[..., None]
    picture = np.rint(np.where(dark, 0.9 * coloured, coloured)).astype(np.uint8)
    _draw(picture, truth < 0, TRUE_LINE, 3)
    _draw(picture, sdf < 0, LEARNED_LINE, 1)
    return picture


def _draw(picture: UInt8[ndarray, "t t 3"], inside: Bool[ndarray, "t t"], colour: Colour, thickness_px: int) -> None:
    contours, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, colour, thickness_px)


def _normals(learned: CanonicalSdf, told: Told, axis: int, tile_px: int) -> UInt8[ndarray, "t t 3"]:
    """Where parallel rays along an axis meet the learned surface, by its own distances; black where they do not."""
    right, up = (other for other in range(3) if other != axis)
    towards_viewer = -1.0 if axis == 1 else 1.0  # x to the right and z upwards are seen from −y
    start = learned.box.centre.double().cpu().numpy().copy()
    start[axis] += towards_viewer * learned.box.half_side
    points = torch.from_numpy(_plane(learned, start, axis, tile_px)).float().reshape(-1, 3).to(learned.device)
    everyone = _each(told, len(points))
    for _ in range(_TRACE_STEPS):
        points[:, axis] -= towards_viewer * learned(points, everyone)
    met = (learned(points, everyone).abs() < _ON_SURFACE_M) & learned.box.contains(points)
    normals = torch.nn.functional.normalize(learned.gradient(points, everyone, _REACH_M), dim=1) * met[:, None]
    in_camera = torch.stack([normals[:, right], -normals[:, up], -towards_viewer * normals[:, axis]], dim=1)
    return normals_to_rgb(in_camera.cpu().numpy().reshape(tile_px, tile_px, 3))


def _each(told: Told, count: int) -> Told:
    return Told(*(one.expand(count, -1) for one in told))
