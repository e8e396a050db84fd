import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from palm_data.capture.scan import non_manifold_edges
from palm_data.simulate.casting import SurfaceQuery
from palm_data.simulate.scan import ScanKind, make_scan
from palm_data.simulate.scan_surface import finger_of_vertices
from schemas.errors import GeometryError
from tests.palm_data.simulate.people import capture, scan, textures


def pieces(faces: np.ndarray, count: int) -> np.ndarray:
    links = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    _, label = connected_components(coo_matrix((np.ones(len(links)), links.T), shape=(count, count)), directed=False)
    return np.sort(np.bincount(label[faces[:, 0]]))[::-1]


def test_a_scan_is_a_valid_mesh() -> None:
    made = scan(4, "pinch")
    assert np.isfinite(made.vertices).all()
    assert set(np.unique(made.faces)) == set(range(len(made.vertices)))
    assert made.uv_faces.shape == made.faces.shape
    assert made.uv_faces.max() < len(made.uv)
    assert (made.uv >= 0).all()
    assert (made.uv <= 1).all()
    assert made.texture.shape == (192, 192, 3)
    assert made.texture.dtype == np.uint8
    assert non_manifold_edges(made.faces) == 0


def test_a_scan_has_fragments_an_open_arm_and_holes() -> None:
    made = scan(4, "pinch")
    sizes = pieces(made.faces, len(made.vertices))
    assert len(sizes) - 1 >= 3
    assert (sizes[1:] < 1000).all()
    assert 0.003 < made.boundary_share() < 0.10


def test_a_fist_hides_more_than_an_open_hand() -> None:
    truth = capture(2, "fist")
    lost = len(scan(2, "fist").faces) / len(scan(4, "pinch").faces)
    assert lost < 0.95
    assert len(truth.faces) > len(scan(2, "fist").faces)


def test_the_error_is_a_fraction_of_a_millimetre_but_for_fragments() -> None:
    made, truth = scan(4, "pinch"), capture(4, "pinch")
    distance = SurfaceQuery(truth.vertices, truth.faces).distance(made.vertices) * 1e3
    assert 0.05 < np.median(distance) < 0.25
    assert (distance > 3.0).mean() < 0.05


def test_the_texture_lies_where_the_skin_is() -> None:
    made, truth, maps = scan(4, "pinch"), capture(4, "pinch"), textures(4)
    query = SurfaceQuery(truth.vertices, truth.faces)
    centres = made.vertices[made.faces].mean(axis=1)
    near = query.distance(centres) < 1e-3
    face, weights = query.closest(centres[near])
    true_uv = np.einsum("fk,fkc->fc", weights, truth.uv[truth.uv_faces[face]])
    found_uv = made.uv[made.uv_faces[near]].mean(axis=1)
    back = np.stack([1.0 - found_uv[:, 1], found_uv[:, 0]], axis=1)
    assert np.median(np.linalg.norm(back - true_uv, axis=1)) < 0.004
    assert (np.linalg.norm(back - true_uv, axis=1) < 0.03).mean() > 0.99
    # The texture image turns with the coordinates.
    size = len(maps.albedo)
    at = np.clip((found_uv * [size, -size] + [0, size]).astype(int), 0, size - 1)
    red_over_blue = made.texture[at[:, 1], at[:, 0]].astype(float)
    assert (red_over_blue[:, 0] > red_over_blue[:, 2]).mean() > 0.97


def test_fused_fingers_are_one_surface() -> None:
    fused, truth = scan(2, "fist", ScanKind.FUSED), capture(2, "fist")
    finger = finger_of_vertices()
    face, weights = SurfaceQuery(truth.vertices, truth.faces).closest(fused.vertices)
    owner = finger[truth.faces[face][np.arange(len(face)), weights.argmax(axis=1)]]
    sides = np.sort(owner[fused.faces], axis=1)
    bridging = (sides[:, 0] > 0) & (sides[:, 2] == sides[:, 0] + 1)
    plain = scan(2, "fist")
    face, weights = SurfaceQuery(truth.vertices, truth.faces).closest(plain.vertices)
    owner = finger[truth.faces[face][np.arange(len(face)), weights.argmax(axis=1)]]
    sides = np.sort(owner[plain.faces], axis=1)
    assert bridging.sum() > ((sides[:, 0] > 0) & (sides[:, 2] == sides[:, 0] + 1)).sum() + 5


def test_spread_fingers_cannot_be_fused() -> None:
    with pytest.raises(GeometryError, match="fused fingers"):
        make_scan(
            capture(3, "spread"), textures(3), np.random.default_rng(0), kind=ScanKind.FUSED, faces=6_000
        )  # fmt: skip


def test_a_scan_is_the_same_for_the_same_draws() -> None:
    again = make_scan(capture(4, "pinch"), textures(4), np.random.default_rng(4), faces=12_000)
    np.testing.assert_array_equal(again.vertices, scan(4, "pinch").vertices)
    np.testing.assert_array_equal(again.faces, scan(4, "pinch").faces)
    np.testing.assert_array_equal(again.texture, scan(4, "pinch").texture)
