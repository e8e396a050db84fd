import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from palm_data.maps.zbuffer import Raster, Roi, check_inputs, projected_roi, rasterize
from palm_data.maps.zbuffer_reference import rasterize_reference
from schemas.errors import GeometryError
from tests.palm_data.maps.scenes import cast_rays, hand_scene

K = np.array([[40.0, 0.0, 16.25], [0.0, 44.0, 11.5], [0.0, 0.0, 1.0]])
SIZE = (32, 24)

unhurried = settings(deadline=None, max_examples=50)  # the first call compiles
coordinates = st.floats(-0.6, 0.6, allow_nan=False)
depths = st.floats(0.3, 3.0, allow_nan=False)
points = st.tuples(coordinates, coordinates, depths)
triangles = st.lists(points, min_size=3, max_size=3).map(np.array)


def draw(vertices: ndarray, faces: ndarray | None = None, **options: Roi) -> Raster:
    triples = np.arange(len(vertices)).reshape(-1, 3) if faces is None else faces
    return rasterize(vertices, triples, K, *SIZE, **options)


def plane_depth(corners: ndarray) -> ndarray:
    """Camera z of the triangle's plane through every pixel centre."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    rays = np.stack([(x - K[0, 2]) / K[0, 0], (y - K[1, 2]) / K[1, 1], np.ones_like(x)], axis=-1)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # pixels whose ray runs along the plane; none of them is covered
        return np.asarray((normal @ corners[0]) / (rays @ normal))


@unhurried
@given(triangles)
def test_a_triangle_has_the_depth_of_its_plane(corners: ndarray) -> None:
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    steepness = abs(normal @ corners.mean(axis=0)) / (np.linalg.norm(normal) + 1e-300)
    raster = draw(corners)
    seen = raster.face_id == 0
    assert ((raster.depth > 0) == seen).all()
    assert (raster.depth[seen] >= corners[:, 2].min() - 1e-6).all()
    assert (raster.depth[seen] <= corners[:, 2].max() + 1e-6).all()
    if steepness > 0.02:  # a plane through the eye has no depth of its own
        np.testing.assert_allclose(raster.depth[seen], plane_depth(corners)[seen], rtol=2e-3, atol=1e-6)


@unhurried
@given(triangles)
def test_barycentrics_rebuild_the_point_of_the_pixel(corners: ndarray) -> None:
    raster = draw(corners)
    seen = raster.face_id == 0
    np.testing.assert_allclose(raster.barycentric[seen].sum(axis=-1), 1.0, atol=1e-5)
    assert (raster.barycentric[seen] >= -1e-5).all()
    rebuilt = raster.barycentric[seen].astype(np.float64) @ corners
    np.testing.assert_allclose(rebuilt[:, 2], raster.depth[seen], rtol=1e-4)
    projected = rebuilt[:, :2] / rebuilt[:, 2:] * K[[0, 1], [0, 1]] + K[:2, 2]
    rows, columns = np.nonzero(seen)
    np.testing.assert_allclose(projected, np.stack([columns, rows], axis=1) + 0.5, atol=0.02)


@unhurried
@given(st.lists(points, min_size=4, max_size=4).map(np.array))
def test_a_pixel_on_a_shared_edge_belongs_to_exactly_one_triangle(quad: ndarray) -> None:
    flat = quad * [1.0, 1.0, 0.0] + [0.0, 0.0, 1.0]
    sides = [
        np.cross(flat[b] - flat[a], flat[c] - flat[b])[2] for a, b, c in ((0, 1, 2), (1, 2, 3), (2, 3, 0), (3, 0, 1))
    ]
    if min(sides) <= 0 and max(sides) >= 0:
        return  # not convex: the halves overlap
    halves = [draw(flat, np.array([face])).face_id == 0 for face in ([0, 1, 2], [0, 2, 3])]
    others = [draw(flat, np.array([face])).face_id == 0 for face in ([0, 1, 3], [1, 2, 3])]
    assert not (halves[0] & halves[1]).any()
    assert not (others[0] & others[1]).any()
    np.testing.assert_array_equal(halves[0] | halves[1], others[0] | others[1])


@pytest.mark.parametrize("offset", [0.0, 0.5, 0.25])
def test_a_fan_around_a_pixel_centre_covers_every_pixel_once(offset: float) -> None:
    """Edges and corners that hit sample points exactly are the hard case."""
    eye = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    ring = np.array([[8, 8], [0, 8], [-8, 8], [-8, 0], [-8, -8], [0, -8], [8, -8], [8, 0]], dtype=np.float64)
    rim = np.concatenate([[[0.0, 0.0]], ring]) + 10.0 + offset
    vertices = np.concatenate([rim, np.ones((9, 1))], axis=1)
    faces = np.array([[0, 1 + i, 1 + (i + 1) % 8] for i in range(8)])
    count = sum((rasterize(vertices, faces[[i]], eye, 24, 24).face_id == 0).astype(int) for i in range(8))
    assert count.max() == 1
    assert count.sum() == 16 * 16


@unhurried
@given(st.lists(triangles, min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_the_nearest_triangle_wins_whatever_the_order(several: list[ndarray], random: object) -> None:
    alone = np.stack([np.where(draw(corners).face_id == 0, draw(corners).depth, np.inf) for corners in several])
    together = draw(np.concatenate(several))
    seen = together.face_id >= 0
    np.testing.assert_array_equal(seen, np.isfinite(alone).any(axis=0))
    np.testing.assert_allclose(together.depth[seen], alone.min(axis=0)[seen], rtol=1e-5)
    backwards = draw(np.concatenate(several[::-1]))
    np.testing.assert_allclose(backwards.depth, together.depth, rtol=1e-5)


@unhurried
@given(st.lists(triangles, min_size=1, max_size=4), st.data())
def test_a_region_is_that_crop_of_the_whole(several: list[ndarray], data: st.DataObject) -> None:
    left, right = sorted(data.draw(st.tuples(st.integers(0, SIZE[0]), st.integers(0, SIZE[0]))))
    top, bottom = sorted(data.draw(st.tuples(st.integers(0, SIZE[1]), st.integers(0, SIZE[1]))))
    roi = Roi(left, top, right, bottom)
    whole, part = draw(np.concatenate(several)), draw(np.concatenate(several), roi=roi)
    for name in ("face_id", "depth", "normal", "barycentric"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[roi.slices])


@unhurried
@given(st.lists(triangles, min_size=1, max_size=6))
def test_the_kernels_equal_their_readable_twin(several: list[ndarray]) -> None:
    vertices = np.concatenate(several)
    faces = np.arange(len(vertices)).reshape(-1, 3)
    ours, twin = rasterize(vertices, faces, K, *SIZE), rasterize_reference(vertices, faces, K, *SIZE)
    np.testing.assert_array_equal(ours.face_id, twin.face_id)
    assert ours.dropped == twin.dropped
    for name in ("depth", "normal", "barycentric"):
        np.testing.assert_allclose(getattr(ours, name), getattr(twin, name), atol=1e-6)


def test_the_hand_equals_the_readable_twin() -> None:
    scene = hand_scene(160, 128, subdivisions=0)
    ours, twin = rasterize(*scene), rasterize_reference(*scene)
    np.testing.assert_array_equal(ours.face_id, twin.face_id)
    np.testing.assert_array_equal(ours.depth, twin.depth)
    np.testing.assert_allclose(ours.normal, twin.normal, atol=1e-6)


def _agrees_with_ray_casting(width: int, height: int, subdivisions: int) -> None:
    scene = hand_scene(width, height, subdivisions=subdivisions)
    roi = projected_roi(scene.vertices, scene.intrinsics, width, height)
    raster, rays = rasterize(*scene, roi=roi), cast_rays(scene, roi)
    seen = raster.face_id >= 0
    outside = width * height - seen.size
    agreement = (np.count_nonzero(seen == rays.hit) + outside) / (width * height)
    assert seen.mean() > 0.3
    assert agreement >= 0.99999
    both = seen & rays.hit
    assert np.median(np.abs(raster.depth - rays.depth)[both]) * 1000 < 0.01
    half_chord = np.linalg.norm(raster.normal - rays.normal, axis=-1)[both] / 2
    assert np.median(np.degrees(2 * np.arcsin(half_chord))) < 0.05


def test_the_hand_agrees_with_ray_casting() -> None:
    _agrees_with_ray_casting(612, 512, 2)


@pytest.mark.slow
def test_the_hand_agrees_with_ray_casting_at_full_size() -> None:
    _agrees_with_ray_casting(2448, 2048, 3)


def test_a_closed_surface_has_no_cracks() -> None:
    """Every pixel inside the outline is covered: a plate of tiny triangles has no pinhole."""
    side = np.linspace(-0.2, 0.2, 60)
    x, y = np.meshgrid(side, side)
    rng = np.random.default_rng(0)
    inner = np.zeros((60, 60))
    inner[1:-1, 1:-1] = rng.normal(0, 0.001, (58, 58))
    vertices = np.stack([x + inner, y + inner.T, np.ones_like(x)], axis=-1).reshape(-1, 3)
    corner = (np.arange(59)[:, None] * 60 + np.arange(59)).ravel()
    faces = np.concatenate(
        [np.stack([corner, corner + 60, corner + 61], 1), np.stack([corner, corner + 61, corner + 1], 1)]
    )
    raster = draw(vertices, faces)
    columns = np.arange(SIZE[0]) + 0.5
    rows = np.arange(SIZE[1]) + 0.5
    inside_x = (columns > K[0, 2] - 0.2 * K[0, 0]) & (columns < K[0, 2] + 0.2 * K[0, 0])
    inside_y = (rows > K[1, 2] - 0.2 * K[1, 1]) & (rows < K[1, 2] + 0.2 * K[1, 1])
    np.testing.assert_array_equal(raster.face_id >= 0, inside_y[:, None] & inside_x)


def test_a_triangle_at_the_near_plane_is_left_out_and_counted() -> None:
    corners = np.array([[-0.1, -0.1, 1.0], [0.1, -0.1, 1.0], [0.0, 0.1, 0.005]])
    raster = draw(corners)
    assert raster.dropped == 1
    assert (raster.face_id == -1).all()


def test_a_triangle_far_outside_the_guard_band_is_left_out_and_counted() -> None:
    corners = np.array([[-0.1, -0.1, 1.0], [0.1, -0.1, 1.0], [20.0, 0.1, 0.02]])
    assert draw(corners).dropped == 1


def test_both_sides_are_drawn_and_normals_are_of_the_side_that_is_seen() -> None:
    corners = np.array([[-0.2, -0.2, 1.0], [0.0, 0.3, 1.0], [0.2, -0.2, 1.0]])
    front, back = draw(corners), draw(corners[::-1])
    np.testing.assert_array_equal(front.face_id, back.face_id)
    np.testing.assert_array_equal(front.normal, back.normal)
    seen = front.face_id == 0
    np.testing.assert_allclose(front.normal[seen], [[0.0, 0.0, -1.0]] * int(seen.sum()), atol=1e-6)
    assert (front.normal[~seen] == 0).all()


def test_no_triangles_give_an_empty_picture() -> None:
    raster = rasterize(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int32), K, *SIZE)
    assert (raster.face_id == -1).all()
    assert projected_roi(np.zeros((0, 3)), K, *SIZE) == Roi(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("vertices", "faces", "roi", "word"),
    [
        (np.ones((3, 3)), np.array([[0, 1, 3]]), None, "indices"),
        (np.ones((3, 3)), np.array([[0, -1, 2]]), None, "indices"),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]]), None, "finite"),
        (np.ones((3, 3)), np.array([[0, 1, 2]]), Roi(0, 0, 33, 10), "region"),
        (np.ones((3, 3)), np.array([[0, 1, 2]]), Roi(5, 0, 4, 10), "region"),
    ],
)
def test_unusable_input_is_refused_before_any_kernel_runs(
    vertices: ndarray, faces: ndarray, roi: Roi | None, word: str
) -> None:
    with pytest.raises(GeometryError, match=word):
        rasterize(vertices, faces, K, *SIZE, roi=roi)


def test_arrays_of_another_shape_are_refused() -> None:
    with pytest.raises(GeometryError, match="vertices"):
        check_inputs(np.ones((3, 2)), np.zeros((1, 3), dtype=int), K, SIZE, Roi(0, 0, 1, 1))
    with pytest.raises(GeometryError, match="skew"):
        check_inputs(np.ones((3, 3)), np.zeros((1, 3), dtype=int), np.ones((3, 3)), SIZE, Roi(0, 0, 1, 1))


@unhurried
@given(triangles)
def test_the_projected_region_holds_every_covered_pixel(corners: ndarray) -> None:
    roi = projected_roi(corners, K, *SIZE, margin_px=0)
    outside = draw(corners).face_id >= 0
    outside[roi.slices] = False
    assert not outside.any()
