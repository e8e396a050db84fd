"""Exposure brackets of a mirror ball at the rig's centre, one set for each colour camera."""

from pathlib import Path

import numpy as np

from palm_data.simulate.render import Studio
from palm_data.simulate.rig import SimulatedRig, is_colour
from palm_data.simulate.scan_files import write_image
from palm_data.simulate.sensor import colour_image

EXPOSURES_US = (250, 500, 1000, 2000, 4000, 8000)
RADIUS_M = 0.05
REFLECTANCE = 0.95
_SPP = 64
_SATURATION = 200.0  # the mirror shows the lights themselves
_STREAM = 51


def write_chrome_ball(folder: Path, studio: Studio, rig: SimulatedRig, seed: int) -> None:
    """Write `NN_C.<exposure_us>.png` for every colour camera and exposure."""
    scene = studio.with_ball(RADIUS_M, REFLECTANCE)
    for number, camera in enumerate(rig.cameras):
        if not is_colour(camera):
            continue
        width, height = camera.image_size_px
        pixels = np.arange(width * height)
        radiance = studio.radiance(scene, camera, pixels, spp=_SPP, seed=seed * 1000 + number, limit=_SATURATION)
        for exposure in EXPOSURES_US:
            rng = np.random.default_rng([seed, _STREAM, number, exposure])
            image = colour_image(radiance.reshape(height, width, 3), rng, exposure)
            write_image(folder / f"{camera.raw_name}.{exposure}.png", image)
