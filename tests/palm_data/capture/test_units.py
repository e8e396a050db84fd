from pathlib import Path

import numpy as np
import pytest

from palm_data.calibration.cameras import read_calibration
from palm_data.capture.scan import ScanMesh
from palm_data.capture.units import metres_per_unit
from palm_data.testing.raw_session import RawSession, write_raw_session
from schemas.camera import Camera
from schemas.errors import BadInputError
from schemas.settings import Settings

WHERE = Path("scan.obj")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> RawSession:
    return write_raw_session(tmp_path_factory.mktemp("units") / "raw", gestures=1, mono=False)


def cameras(session: RawSession) -> tuple[Camera, ...]:
    return read_calibration(session.raw, session.calibration_id, Settings(raw=session.raw))[0]


def mesh(session: RawSession, *, units_per_metre: float, shift_m: tuple[float, float, float] = (0, 0, 0)) -> ScanMesh:
    surface = session.surfaces["0001", "flat"]
    vertices = (surface.vertices + shift_m) * units_per_metre
    return ScanMesh(vertices, surface.faces, None, None, None, None, 0, ())


@pytest.mark.parametrize("unit", [1.0, 0.0254, 0.01, 0.001])
def test_the_unit_is_found(session: RawSession, unit: float) -> None:
    assert metres_per_unit(mesh(session, units_per_metre=1 / unit), cameras(session), WHERE) == unit


@pytest.mark.parametrize("unit", [0.1, 3.0, 1e-6, 10.0])
def test_other_units_are_refused_not_rounded(session: RawSession, unit: float) -> None:
    with pytest.raises(BadInputError, match=r"unit: expected one unit \(m, inch, cm, mm\)"):
        metres_per_unit(mesh(session, units_per_metre=1 / unit), cameras(session), WHERE)


def test_a_scan_that_the_cameras_do_not_see_is_refused(session: RawSession) -> None:
    with pytest.raises(BadInputError, match="in 0% of the images"):
        metres_per_unit(mesh(session, units_per_metre=1.0, shift_m=(0.0, 0.4, 0.0)), cameras(session), WHERE)


def test_a_forearm_that_leaves_the_frame_does_not_decide(session: RawSession) -> None:
    scan = mesh(session, units_per_metre=1000.0)
    vertices = scan.vertices.copy()
    vertices[:80] += (0.0, 200.0, 0.0)
    long = ScanMesh(vertices, scan.faces, None, None, None, None, 0, ())
    assert metres_per_unit(long, cameras(session), WHERE) == 0.001


def test_two_units_that_fit_are_one_too_many(session: RawSession) -> None:
    # Read as centimetres it is 12 cm long, as inches 31 cm; a rig that sees both large cannot tell
    far = [camera.model_copy(update={"translation": (0.0, 0.0, 5.0)}) for camera in cameras(session)]
    scan = mesh(session, units_per_metre=75.0)
    with pytest.raises(BadInputError, match="unit: expected one unit"):
        metres_per_unit(scan, far, WHERE)


def test_floating_fragments_do_not_decide(session: RawSession) -> None:
    scan = mesh(session, units_per_metre=1000.0)
    vertices = scan.vertices.copy()
    vertices[:4] = np.array([900.0, 900.0, 900.0])
    stray = ScanMesh(vertices, scan.faces, None, None, None, None, 0, ())
    assert metres_per_unit(stray, cameras(session), WHERE) == 0.001
