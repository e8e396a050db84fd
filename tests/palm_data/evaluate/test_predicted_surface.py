import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.camera.pinhole import project
from palm_data.evaluate.predicted_surface import Mesh, TrueSurface, score_mesh, unprojected
from palm_data.testing.shapes import lobed_surface
from schemas.camera import Camera
from schemas.prior_evaluation import PriorEvaluationSettings

SETTINGS = PriorEvaluationSettings()
ARM = 1


def hand_and_arm() -> dict[str, np.ndarray]:
    """A closed surface whose far end counts as forearm."""
    shape = lobed_surface(spread=0.4, turn_rad=0.3)
    middles = shape.vertices[shape.faces].mean(axis=1)
    part = np.where(middles[:, 0] < -0.06, ARM, 0).astype(np.uint8)
    assert 0.02 < (part == ARM).mean() < 0.5
    return {"vertices": shape.vertices, "faces": shape.faces, "part": part}


def camera(turn: float = 0.4) -> Camera:
    sine, cosine = np.sin(turn), np.cos(turn)
    rotation = ((cosine, 0.0, -sine), (0.0, 1.0, 0.0), (sine, 0.0, cosine))
    return Camera(
        camera_id="MCU_01", calibration_id="rig", width=40, height=30, fx=55.0, fy=50.0, cx=19.0, cy=16.0,
        rotation=rotation, translation=(0.1, -0.2, 0.8),
    )  # fmt: skip


@settings(max_examples=20)
@given(turn=st.floats(-3.0, 3.0), depth=st.floats(0.2, 3.0))
def test_unprojected_points_project_to_the_centres_of_their_pixels(turn: float, depth: float) -> None:
    one = camera(turn)
    points = unprojected(one, np.full((one.height, one.width), depth, np.float32))
    px, found = project(one, points.reshape(-1, 3))
    x, y = np.meshgrid(np.arange(one.width) + 0.5, np.arange(one.height) + 0.5)
    assert np.allclose(px, np.stack([x.ravel(), y.ravel()], axis=1), atol=1e-6)
    assert np.allclose(found, depth, rtol=1e-6)


def test_a_surface_is_no_distance_from_itself_and_a_grown_one_as_far_as_it_grew() -> None:
    surface = hand_and_arm()
    true = TrueSurface(surface)
    same = score_mesh(Mesh(surface["vertices"], surface["faces"]), true, SETTINGS)
    assert same.to_true_mm.max() < 1e-3
    assert same.from_true_mm.max() < 1e-3
    assert same.floaters == 0
    away = surface["vertices"] - surface["vertices"].mean(axis=0)
    grown = surface["vertices"] + 0.002 * away / np.linalg.norm(away, axis=1, keepdims=True)
    found = score_mesh(Mesh(grown, surface["faces"]), true, SETTINGS)
    assert 0.8 < found.to_true_mm.mean() <= 2.0
    assert 0.8 < found.from_true_mm.mean() <= 2.0


def test_what_a_mesh_does_at_the_forearm_is_not_measured() -> None:
    surface = hand_and_arm()
    true = TrueSurface(surface)
    moved = surface["vertices"].copy()
    arm = np.setdiff1d(surface["faces"][surface["part"] == ARM], surface["faces"][surface["part"] == 0])
    moved[arm] -= [0.02, 0.0, 0.0]
    found = score_mesh(Mesh(moved, surface["faces"]), true, SETTINGS)
    assert found.to_true_mm.max() < 1e-3
    assert found.from_true_mm.max() < 1e-3


@pytest.mark.parametrize(("gap_mm", "floats"), [(1.0, 0), (5.0, 1)])
def test_a_piece_floats_if_it_is_nowhere_near_the_hand(gap_mm: float, floats: int) -> None:
    surface = hand_and_arm()
    tip = surface["vertices"][surface["vertices"][:, 0].argmax()]
    piece = tip + np.array([[0, 0, 0], [0.01, 0, 0], [0.01, 0.002, 0], [0.01, 0, 0.002]]) + [gap_mm / 1000.0, 0, 0]
    count = len(surface["vertices"])
    faces = np.concatenate([surface["faces"], count + np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])])
    found = score_mesh(Mesh(np.concatenate([surface["vertices"], piece]), faces), TrueSurface(surface), SETTINGS)
    assert found.floaters == floats


def test_no_surface_at_all_has_no_distances() -> None:
    empty = score_mesh(Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), TrueSurface(hand_and_arm()), SETTINGS)
    assert (len(empty.to_true_mm), len(empty.from_true_mm), empty.floaters) == (0, 0, 0)
