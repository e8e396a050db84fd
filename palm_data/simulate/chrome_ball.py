"""The mirror ball: what a calibration session photographs at several exposures to learn the light.

The ball stands at the rig's origin.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.simulate.image_files import write_png
from palm_data.simulate.render import Studio
from palm_data.simulate.seeds import Stream, generator, render_seed
from palm_data.simulate.sensor import colour_image
from schemas.camera import TsaiCamera

RADIUS_M = 0.05
REFLECTANCE = 0.92
EXPOSURES_US = (15, 60, 250, 1000, 4000)
_SPP = 16
_NO_LIMIT = 1e9


def ball_files(folder: Path, raw_name: str) -> tuple[Path, ...]:
    """Where a camera's brackets go, one for each exposure."""
    return tuple(folder / f"{raw_name}.{exposure}.png" for exposure in EXPOSURES_US)


def photograph_ball(
    studio: Studio, camera: TsaiCamera, backdrop: Float[ndarray, "h w 3"], *, seed: tuple[int, int], folder: Path
) -> None:
    """Write a colour camera's brackets of the ball; one rendering, exposed again and again with fresh noise.

    Args:
        backdrop: the camera's view of the empty studio, radiance.
        seed: the session's, and the camera's number.
    """
    width, height = camera.image_size_px
    radiance = studio.radiance(
        studio.with_ball(RADIUS_M, REFLECTANCE),
        camera,
        np.arange(width * height),
        spp=_SPP,
        seed=render_seed(seed[0], Stream.BALL, seed[1]),
        backdrop=backdrop.reshape(-1, 3),
        limit=_NO_LIMIT,
    ).reshape(height, width, 3)
    for exposure, path in zip(EXPOSURES_US, ball_files(folder, camera.raw_name), strict=True):
        write_png(path, colour_image(radiance, generator(seed[0], Stream.BALL_NOISE, seed[1], exposure), exposure))
