"""How far the fitted hand and the scan are from each other, point by point: what `tables/hands.parquet` sums up."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from numpy import ndarray

from palm_data.hand.model import HandModel
from palm_data.maps.surface import build_surface
from palm_data.registration.surface import MovingSurface, closest_on_scan
from palm_data.registration.wrist import WristRim
from schemas.registration import RegistrationSettings

_MM = 1000.0


@dataclass(frozen=True)
class Distances:
    """Millimetres to the closest point of the other surface; NaN where the two are not compared."""

    hand_mm: Float[ndarray, " vertices"]
    """Of each vertex of the hand; NaN near the wrist rim, and where the scan has a hole or its cut."""
    scan_mm: Float[ndarray, " scan_vertices"]
    """Of each vertex of the scan; NaN beyond the wrist, where the hand model ends."""


def measure_distances(
    scan_vertices: Float[ndarray, "scan_vertices 3"],
    scan_faces: Integer[ndarray, "scan_faces 3"],
    hand_vertices: Float[ndarray, "vertices 3"],
    model: HandModel,
) -> Distances:
    """Both directions, by the rules of the released figures; all positions in metres, world."""
    margin = RegistrationSettings().rim_margin_mm / _MM
    positions = np.asarray(scan_vertices, dtype=np.float64)
    rim = WristRim(model)
    on_scan = closest_on_scan(build_surface(positions, scan_faces))(hand_vertices)
    hand_mm = np.linalg.norm(hand_vertices - on_scan.points, axis=1) * _MM
    hand_mm[rim.near(hand_vertices, margin) | on_scan.on_border] = np.nan
    on_hand = MovingSurface(model.faces).at(hand_vertices)(positions)
    scan_mm = np.linalg.norm(positions - on_hand.points, axis=1) * _MM
    scan_mm[rim.plane(hand_vertices).beyond(positions, margin)] = np.nan
    return Distances(hand_mm=hand_mm, scan_mm=scan_mm)
