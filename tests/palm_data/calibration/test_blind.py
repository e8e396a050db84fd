import numpy as np

from palm_data.calibration.blind import blind_mask, blind_spots
from palm_data.maps.render import project_mask
from palm_data.maps.surface import Surface, build_surface
from schemas.camera import Camera

CAMERA = Camera(
    camera_id="MCU_01",
    calibration_id="rig_a",
    width=160,
    height=160,
    fx=400.0,
    fy=400.0,
    cx=80.0,
    cy=80.0,
    rotation=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    translation=(0.0, 0.0, 0.7),
)


def arm(*, holes: tuple[int, ...] = ()) -> Surface:
    """A tube along x, 40 mm thick, closed at −0.05 m and cut open at 0.05 m."""
    rings, around = 26, 24
    x = np.linspace(-0.05, 0.05, rings)
    angle = 2 * np.pi * np.arange(around) / around
    ring = 0.02 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    tube = np.concatenate([np.repeat(x, around)[:, None], np.tile(ring, (rings, 1))], axis=1)
    vertices = np.concatenate([tube, [[-0.05, 0.0, 0.0]]])
    faces = []
    for step in range(rings - 1):
        for k in range(around):
            a, b = step * around + k, step * around + (k + 1) % around
            faces += [[a, b, a + around], [b, b + around, a + around]]
    faces += [[k, len(vertices) - 1, (k + 1) % around] for k in range(around)]
    return build_surface(vertices, np.delete(np.array(faces), holes, axis=0))


def test_beyond_the_cut_nothing_is_judged_and_the_hand_is() -> None:
    surface = arm()
    blind = blind_mask(blind_spots(surface), CAMERA)
    assert blind[80, 112:].all()
    assert not blind[80, :100].any()
    mask = project_mask(surface, CAMERA)
    assert (mask & ~blind).sum() > 0.8 * mask.sum()


def test_a_hole_is_not_judged_and_its_surroundings_are() -> None:
    step, k = 10, 18  # faces towards the camera
    surface = arm(holes=(2 * (step * 24 + k), 2 * (step * 24 + k) + 1))
    blind = blind_mask(blind_spots(surface), CAMERA)
    column = round(float(CAMERA.cx + CAMERA.fx * np.linspace(-0.05, 0.05, 26)[step] / 0.68))
    assert blind[78:83, column].any()
    assert 0 < blind[:, :100].sum() < 150


def test_a_closed_surface_hides_nothing() -> None:
    closed = arm()
    empty = blind_spots(Surface(closed.vertices, closed.faces, closed.normals, (), 0))
    assert not blind_mask(empty, CAMERA).any()


def test_of_a_wide_hole_only_the_rim_is_not_judged() -> None:
    """A hole is no cut, however wide: the scan goes on behind it."""
    opened = [2 * (step * 24 + k) + half for step in range(6, 16) for k in range(14, 23) for half in (0, 1)]
    surface = arm(holes=tuple(opened))
    blind = blind_mask(blind_spots(surface), CAMERA)
    middle = round(float(CAMERA.cx + CAMERA.fx * np.linspace(-0.05, 0.05, 26)[11] / 0.69))
    assert not blind[80, middle]
    assert blind[60:100, middle].any()
    assert blind[80, 112:].all()


def test_one_side_of_a_hand_is_compared_with_the_whole_of_it() -> None:
    """Its edge looks like a cut through something thick; what is missing beyond it is a fault of the scan."""
    whole = arm()
    upper = (whole.vertices[whole.faces][:, :, 2] < 1e-9).all(axis=1)
    half = build_surface(whole.vertices, whole.faces[upper])
    blind = blind_mask(blind_spots(half), CAMERA)
    sideways = CAMERA.model_copy(
        update={"rotation": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)), "translation": (0.0, 0.0, 0.7)}
    )
    assert blind.mean() < 0.1
    missing = project_mask(whole, sideways) & ~project_mask(half, sideways)
    assert (missing & ~blind_mask(blind_spots(half), sideways)).sum() > 0.5 * missing.sum()
