import numpy as np
from numpy import ndarray

from palm_data.hand.model import load_hand_model
from palm_data.maps.surface import build_surface, large_pieces, rims, vertex_normals, weld
from palm_data.testing.shapes import lobed_surface


def lobes() -> tuple[ndarray, ndarray]:
    shape = lobed_surface(spread=0.8, turn_rad=0.3)
    return shape.vertices, shape.faces


def test_corners_split_along_a_seam_are_welded() -> None:
    vertices, faces = lobes()
    apart, triangles = vertices[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3)
    points, welded = weld(apart, triangles)
    assert len(points) == len(vertices)
    np.testing.assert_array_equal(points[welded], vertices[faces])


def test_a_triangle_with_two_corners_in_one_place_is_gone() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    _, faces = weld(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    assert len(faces) == 1


def test_floating_fragments_are_left_out_and_counted() -> None:
    vertices, faces = lobes()
    fragment = np.array([[0.5, 0.5, 0.5], [0.51, 0.5, 0.5], [0.5, 0.51, 0.5]])
    both = np.concatenate([vertices, fragment, fragment + 0.1])
    more = np.concatenate([faces, np.array([[0, 1, 2], [3, 4, 5]]) + len(vertices)])
    surface = build_surface(both, more)
    assert surface.dropped_pieces == 2
    assert len(surface.faces) == len(faces)


def test_a_split_seam_does_not_make_fragments() -> None:
    vertices, faces = lobes()
    surface = build_surface(vertices[faces].reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))
    assert surface.dropped_pieces == 0
    assert len(surface.faces) == len(faces)


def test_the_largest_piece_stays_however_small_its_share() -> None:
    faces = np.arange(300, dtype=np.int32).reshape(-1, 3)
    kept, dropped = large_pieces(300, faces, 0.5)
    assert len(kept) == 100
    assert dropped == 0


def test_normals_of_a_sphere_point_along_its_radii() -> None:
    vertices, faces = lobes()
    ball = vertices - vertices.mean(axis=0)
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    normals = vertex_normals(ball, faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-12)
    assert np.median((normals * ball).sum(axis=1)) > 0.999


def test_a_vertex_without_a_triangle_has_no_normal() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [9, 9, 9]])
    np.testing.assert_array_equal(vertex_normals(vertices, np.array([[0, 1, 2]], dtype=np.int32))[3], 0)


def test_the_only_rim_of_the_hand_model_is_its_wrist() -> None:
    model = load_hand_model()
    (wrist,) = rims(len(model.v_template), model.faces.astype(np.int32))
    np.testing.assert_array_equal(wrist, np.sort(model.rim_vertices()))


def test_a_closed_mesh_has_no_rim_and_holes_are_apart_longest_first() -> None:
    vertices, faces = lobes()
    assert rims(len(vertices), faces) == ()
    pole = np.any(faces == 0, axis=1)
    found = rims(len(vertices), np.delete(faces[~pole], 600, axis=0))
    assert [len(rim) for rim in found] == [36, 3]


def test_an_empty_mesh_is_a_surface_of_nothing() -> None:
    surface = build_surface(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32))
    assert len(surface.faces) == 0
    assert surface.dropped_pieces == 0
