"""The one studio that every session is lit by: five area lights and a light map; black screens stand behind the hand.

The screens are what the cameras see past the hand. They are so dark that the little light they take from it or give to
it is left out, which saves a third of the rendering.
Radiances are in units that a colour camera turns to 1 at the standard exposure (see `sensor`).
"""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

LIGHT_MAP = Path(__file__).parent / "assets" / "studio.exr"
LIGHT_MAP_SHA256 = "08038ed9159c24bb732d2218dafa09cef2abaa44f9ce11ec511d87c842d88fad"
"""Poly Haven's studio (CC0), 512×256, equirectangular."""

_LIGHT_MAP_SCALE = 0.06
_LIGHT_MAP_TURN_DEG = 100.0
_SCREEN_ALBEDO = 0.025
_SCREEN_DISTANCE_M = 1.25
_SCREEN_SIZE_M = (1.35, 1.36)


@dataclass(frozen=True)
class AreaLight:
    """A softbox that faces the hand."""

    azimuth_deg: float
    elevation_deg: float
    distance_m: float
    size_m: tuple[float, float]
    radiance: tuple[float, float, float]


LIGHTS: tuple[AreaLight, ...] = (
    AreaLight(22.0, 46.0, 1.5, (0.9, 0.7), (6.4, 6.2, 5.8)),
    AreaLight(150.0, 44.0, 1.5, (0.8, 0.7), (7.4, 7.4, 7.4)),
    AreaLight(282.0, 44.0, 1.5, (0.8, 0.7), (7.0, 7.3, 7.7)),
    AreaLight(73.0, -50.0, 1.4, (0.6, 0.5), (7.0, 7.0, 7.0)),
    AreaLight(224.0, -48.0, 1.4, (0.6, 0.5), (7.8, 7.8, 7.8)),
)


def studio(mi: ModuleType, light_map: Any) -> dict[str, Any]:
    """What lights the hand, as part of a Mitsuba scene.

    Everything flat is a triangle mesh: Embree calls back for Mitsuba's own rectangles, which takes a quarter longer.

    Args:
        light_map: `LIGHT_MAP`, read by Mitsuba.
    """
    # Mitsuba's maps have +y up; ours is +z.
    upright = mi.ScalarTransform4f().rotate([0, 0, 1], _LIGHT_MAP_TURN_DEG).rotate([1, 0, 0], 90.0)
    scene: dict[str, Any] = {
        "light_map": {"type": "envmap", "bitmap": light_map, "scale": _LIGHT_MAP_SCALE, "to_world": upright}
    }
    for number, light in enumerate(LIGHTS):
        radiance = {"type": "area", "radiance": {"type": "rgb", "value": list(light.radiance)}}
        corners = facing_origin(light_direction(light), light.distance_m, light.size_m)
        scene[f"light_{number}"] = _panels(mi, corners[None], {"emitter": radiance})
    return scene


def screens(mi: ModuleType, directions: Float[ndarray, "pods 3"]) -> dict[str, Any]:
    """One black screen in each direction given (unit vectors), as part of a Mitsuba scene."""
    cloth = {"type": "diffuse", "reflectance": {"type": "rgb", "value": _SCREEN_ALBEDO}}
    corners = [facing_origin(direction, _SCREEN_DISTANCE_M, _SCREEN_SIZE_M) for direction in directions]
    return {"screens": _panels(mi, np.stack(corners), {"bsdf": cloth})}


def light_direction(light: AreaLight) -> Float[ndarray, "3"]:
    """Unit vector from the hand to the light."""
    azimuth, elevation = np.radians(light.azimuth_deg), np.radians(light.elevation_deg)
    return np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])


def facing_origin(
    direction: Float[ndarray, "3"], distance_m: float, size_m: tuple[float, float]
) -> Float[ndarray, "4 3"]:
    """Corners of an upright panel that faces the origin, counter-clockwise as seen from there."""
    across = np.cross(direction, [0.0, 0.0, 1.0])
    across = across / np.linalg.norm(across)
    up = np.cross(across, direction)
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2.0
    return direction * distance_m + signs[:, :1] * size_m[0] * across + signs[:, 1:] * size_m[1] * up


def _panels(mi: ModuleType, corners: Float[ndarray, "panels 4 3"], surface: dict[str, Any]) -> Any:
    properties = mi.Properties()
    for name, plugin in surface.items():
        properties[name] = mi.load_dict(plugin)
    count = len(corners)
    mesh = mi.Mesh("panels", 4 * count, 2 * count, props=properties)
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = corners.astype(np.float32).ravel()
    triangles = np.array([[0, 1, 2], [0, 2, 3]])[None] + 4 * np.arange(count)[:, None, None]
    parameters["faces"] = triangles.astype(np.uint32).ravel()
    parameters.update()
    return mesh
