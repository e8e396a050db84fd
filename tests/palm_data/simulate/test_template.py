import cv2
import numpy as np

from palm_data.simulate.forearm import LENGTH_M
from palm_data.simulate.template import capture_template, vertex_normals


def test_the_hand_models_vertices_come_first_and_unmoved() -> None:
    template = capture_template()
    hand = template.model.v_template
    dense = template.smooth(template.base_vertices)
    np.testing.assert_allclose(dense[: len(hand)], hand, atol=1e-9)
    assert 45_000 < len(template.faces) < 70_000


def test_the_mesh_is_closed_manifold_and_evenly_wound() -> None:
    faces = capture_template().faces
    half_edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(half_edges, axis=0)) == len(half_edges)
    assert {tuple(edge) for edge in half_edges} == {tuple(edge[::-1]) for edge in half_edges}


def test_normals_point_outwards() -> None:
    template = capture_template()
    vertices = template.smooth(template.base_vertices)
    a, b, c = np.moveaxis(vertices[template.faces], 1, 0)
    assert np.einsum("ni,ni->n", np.cross(a, b), c).sum() / 6 > 2e-4  # a hand and forearm hold over 200 ml


def test_the_forearm_reaches_its_length_behind_the_rim() -> None:
    template = capture_template()
    rim = template.base_vertices[template.model.rim_vertices()].mean(axis=0)
    reach = (template.base_vertices - rim) @ -template.anatomy.distal
    assert abs(reach.max() - LENGTH_M) < 0.003
    assert not template.hand_face[template.cap_face].any()


def test_charts_share_no_texel_and_lie_in_the_unit_square() -> None:
    template = capture_template()
    assert template.uv.min() > 0
    assert template.uv.max() < 1
    size = 1024
    hits = np.zeros((size, size), np.int32)
    for corners in template.base_uv[template.base_uv_faces[~template.cap_face]]:
        single = np.zeros_like(hits, dtype=np.uint8)
        low = np.floor(corners.min(axis=0) * size).astype(int)
        high = np.ceil(corners.max(axis=0) * size).astype(int) + 1
        box = single[low[1] : high[1], low[0] : high[0]]
        cv2.fillConvexPoly(box, np.round((corners * size - low) * 16).astype(np.int32), 1, shift=4)
        hits[low[1] : high[1], low[0] : high[0]] += box
    # Neighbours share the texels on their border, and corners many; charts that overlapped would do so by area.
    assert (hits > 0).mean() > 0.35
    kernel = np.ones((5, 5), np.uint8)
    assert not cv2.erode((hits > 1).astype(np.uint8), kernel).any()


def test_texture_faces_follow_the_geometry() -> None:
    template = capture_template()
    assert template.uv_faces.shape == template.faces.shape
    assert template.uv_faces.max() == len(template.uv) - 1
    first = np.zeros(len(template.uv), np.int64)
    first[template.uv_faces.ravel()] = template.faces.ravel()
    np.testing.assert_array_equal(first[template.uv_faces], template.faces)


def test_smoothing_rounds_the_fingers_outwards() -> None:
    template = capture_template()
    flat, round_ = template.refine @ template.base_vertices, template.smooth(template.base_vertices)
    hand = template.vertices_of(template.hand_face)
    outwards = np.einsum("ni,ni->n", round_ - flat, vertex_normals(round_, template.faces))[hand]
    assert np.linalg.norm(round_ - flat, axis=1)[hand].max() < 0.002
    assert outwards.mean() > 2e-5


def test_skinning_weights_sum_to_one() -> None:
    np.testing.assert_allclose(capture_template().base_weights.sum(axis=1), 1.0, atol=1e-6)
