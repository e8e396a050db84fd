"""The unit of a scan, found by asking the cameras."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from palm_data.camera.pinhole import project
from palm_data.capture.scan import ScanMesh, used_vertices
from schemas.camera import Camera
from schemas.errors import BadInputError

CANDIDATES = (1.0, 0.0254, 0.01, 0.001)
"""Metres, inches, centimetres, millimetres."""
_EXTENT_M = (0.1, 0.6)
_INSIDE_SHARE = 0.75  # the forearm may leave the frame
_CAMERA_SHARE = 0.9
_SAMPLES = 4000


def metres_per_unit(mesh: ScanMesh, cameras: Sequence[Camera], source: Path) -> float:
    """The one unit in which the scan is as large as a hand and lies inside the images.

    A unit fits if the scan's longest side is 0.1 to 0.6 m and, in at least 90 % of the cameras, three quarters of its
    vertices are in front of the camera and inside its image.

    Raises:
        BadInputError: if no unit fits, or more than one does; nothing is guessed.
    """
    used = mesh.vertices[used_vertices(mesh.faces, len(mesh.vertices))]
    used = used[:: max(1, len(used) // _SAMPLES)]
    extent = float(np.ptp(np.percentile(used, (0.5, 99.5), axis=0), axis=0).max())
    shares = {unit: _camera_share(used * unit, cameras) for unit in CANDIDATES}
    fitting = [
        unit for unit in CANDIDATES if _EXTENT_M[0] <= extent * unit <= _EXTENT_M[1] and shares[unit] >= _CAMERA_SHARE
    ]
    if len(fitting) == 1:
        return fitting[0]
    tried = "; ".join(
        f"×{unit:g} m: {extent * unit:.3g} m long, in {share:.0%} of the images" for unit, share in shares.items()
    )
    raise BadInputError(
        source,
        field="unit",
        expected="one unit (m, inch, cm, mm) in which the scan is 0.1 to 0.6 m long and inside the images",
        found=tried,
        hint="Check that the session names the calibration it was captured with.",
    )


def _camera_share(points: Float[ndarray, "n 3"], cameras: Sequence[Camera]) -> float:
    """The share of cameras that see the points inside their image."""
    return float(np.mean([_inside(points, camera).mean() >= _INSIDE_SHARE for camera in cameras]))


def _inside(points: Float[ndarray, "n 3"], camera: Camera) -> Bool[ndarray, "n"]:
    pixels, depth = project(camera, points)
    with np.errstate(invalid="ignore"):  # points without image are NaN, and compare as outside
        return (depth > 0) & ((pixels >= 0) & (pixels <= (camera.width, camera.height))).all(axis=1)
