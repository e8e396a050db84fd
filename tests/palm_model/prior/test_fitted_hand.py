"""The hand model's topology on known surfaces, its texture layout, and what is baked into its textures."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_data.maps.surface import vertex_normals
from palm_model.prior.atlas import Atlas, hand_atlas
from palm_model.prior.baking import bake, texel_points
from palm_model.prior.fitted_hand import FittedHand, fitted_hand, subdivided
from palm_model.prior.mesh import Mesh
from palm_model.prior.network import PalmNet
from palm_model.prior.poses import Poses
from schemas.errors import SettingsError
from tests.palm_model.prior.hands import MODEL
from tests.palm_model.prior.known_nets import known_net
from tests.palm_model.prior.small_fields import BOX
from tests.palm_model.prior.surfaces import icosphere, standing
from tests.palm_model.prior.test_network_hand import network

RADIUS = 0.03


def sphere(points: Tensor) -> Tensor:
    return torch.linalg.vector_norm(points, dim=-1) - RADIUS


def round_model(radius: float, *, flattened: float = 1.0) -> HandModel:
    """A model whose surface is a sphere; the shape directions are none."""
    corners, _ = icosphere(radius, 2)
    vertices, index = np.unique(np.round(corners, 7), axis=0, return_inverse=True)
    count = len(vertices)
    vertices = vertices * np.float32([1.0, 1.0, flattened])
    return dataclasses.replace(
        MODEL, v_template=vertices.astype(np.float32), faces=index.reshape(-1, 3).astype(np.int64),
        shapedirs=np.zeros((count, 3, 10), np.float32), vt=None, ft=None,
    )  # fmt: skip


def one_hand() -> Poses:
    return standing(torch.zeros(1, 3, 3))


def test_a_round_model_is_moved_onto_the_sphere_from_outside_and_inside() -> None:
    for radius in (0.028, 0.033):
        hand = fitted_hand(known_net(sphere), one_hand(), round_model(radius), rounds=1)
        assert not hand.missed.any()
        assert np.abs(np.linalg.norm(hand.mesh.vertices, axis=1) - RADIUS).max() < 1e-5
        assert (hand.mesh.normals * hand.mesh.vertices).sum(axis=1).min() > 0.999 * RADIUS
        assert hand.mesh.volume() == pytest.approx(4.0 / 3.0 * np.pi * RADIUS**3, rel=0.02)


def test_where_the_network_left_a_hole_neighbours_place_the_vertex() -> None:
    def holed(points: Tensor) -> Tensor:
        return torch.where(points[:, 2] > 0.8 * (sphere(points) + RADIUS), 0.02, sphere(points))

    hand = fitted_hand(known_net(holed), one_hand(), round_model(0.028), rounds=1)
    assert 0 < hand.missed.mean() < 0.3
    assert hand.mesh.vertices[hand.missed, 2].min() > 0.79 * RADIUS
    assert np.abs(np.linalg.norm(hand.mesh.vertices[hand.missed], axis=1) - RADIUS).max() < 1e-3
    assert np.isfinite(hand.mesh.normals).all()
    assert (hand.mesh.normals * hand.mesh.vertices).sum(axis=1)[hand.missed].min() > 0.9 * RADIUS


def test_of_several_surfaces_along_a_normal_the_nearest_way_out_is_taken() -> None:
    def shells(points: Tensor) -> Tensor:
        away = torch.linalg.vector_norm(points, dim=-1)
        return torch.minimum(away - 0.03, torch.maximum(0.033 - away, away - 0.035))

    hand = fitted_hand(known_net(shells), one_hand(), round_model(0.0305), rounds=0)
    assert np.abs(np.linalg.norm(hand.mesh.vertices, axis=1) - 0.03).max() < 1e-5


def test_subdivision_keeps_the_surface_and_welds_the_middles_of_edges() -> None:
    cut = subdivided(MODEL.faces, len(MODEL.v_template))
    vertices = cut.extended(MODEL.v_template)
    before, after = (Mesh(v, v, f).areas() for v, f in ((MODEL.v_template, MODEL.faces), (vertices, cut.faces)))
    assert after.reshape(4, -1).sum(axis=0) == pytest.approx(before, rel=1e-3)
    assert after.reshape(4, -1) == pytest.approx(np.tile(before / 4, (4, 1)), rel=1e-2)
    assert len(np.unique(np.sort(cut.edges, axis=1), axis=0)) == len(cut.edges)
    assert len(vertices) == len(MODEL.v_template) + len(cut.edges)
    turned = vertex_normals(vertices.astype(np.float64), cut.faces.astype(np.int32))[: len(MODEL.v_template)]
    usual = vertex_normals(MODEL.v_template.astype(np.float64), MODEL.faces.astype(np.int32))
    assert (turned * usual).sum(axis=1).min() > 0.99


@pytest.mark.parametrize("own_layout", [True, False])
def test_no_two_triangles_share_a_texel_and_charts_keep_apart(own_layout: bool) -> None:
    model = MODEL if own_layout else dataclasses.replace(MODEL, vt=None, ft=None)
    atlas = hand_atlas(model)
    assert atlas.uv.min() > 0
    assert atlas.uv.max() < 1
    flat = atlas.uv[atlas.faces].astype(np.float64)
    one, two = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    areas = 0.5 * np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    size = 1024
    covered, _ = texel_points(atlas, MODEL.v_template, MODEL.faces, size)
    # Triangles that overlapped would cover fewer texels than their areas have.
    assert covered.sum() == pytest.approx(areas.sum() * size**2, rel=0.01)
    assert areas.sum() > 0.3


def test_each_charts_area_is_in_proportion_to_its_triangles() -> None:
    atlas = hand_atlas(MODEL)
    flat = atlas.uv[atlas.faces].astype(np.float64)
    one, two = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    drawn = 0.5 * np.abs(one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0])
    real = Mesh(MODEL.v_template, MODEL.v_template, MODEL.faces).areas()
    parts = trimesh.Trimesh(np.column_stack([atlas.uv, atlas.uv[:, 0]]), atlas.faces, process=False)
    charts = trimesh.graph.connected_component_labels(parts.face_adjacency, node_count=len(atlas.faces))
    shares = [drawn[charts == one].sum() / real[charts == one].sum() for one in np.unique(charts)]
    assert len(shares) == 2
    assert shares[0] == pytest.approx(shares[1], rel=1e-3)


def square() -> tuple[Atlas, Mesh]:
    """Two triangles that fill the middle of a texture, on the plane z = 0.01 of the cube."""
    uv = np.float32([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    vertices = np.column_stack([(uv - 0.5) * 0.1, np.full(4, 0.01)]).astype(np.float32)
    return Atlas(uv, faces), Mesh(vertices, np.float32([[0.0, 0.0, 1.0]] * 4), faces)


def test_texels_have_the_material_of_their_point_on_the_surface() -> None:
    """The known material's albedo is the place in the cube: it says where each texel was asked."""
    atlas, mesh = square()
    net = known_net(lambda points: points[:, 2] - 0.0105)  # half a millimetre above the triangles
    made = bake(net, one_hand(), FittedHand(mesh, atlas, np.zeros(4, bool)), size=64)
    centres = (np.arange(64) + 0.5) / 64
    assert (made.covered == np.outer(abs(centres - 0.5) < 0.25, abs(centres - 0.5) < 0.25)).all()
    row, column = made.covered.nonzero()
    at = np.column_stack([(centres[column] - 0.5) * 0.1, (centres[row] - 0.5) * 0.1, np.full(len(row), 0.0105)])
    unit = BOX.to_unit(torch.from_numpy(at)).numpy()
    encoded = np.where(unit <= 0.0031308, 12.92 * unit, 1.055 * unit ** (1 / 2.4) - 0.055)
    assert np.abs(made.base_colour[made.covered] - encoded * 255.0).max() < 0.52
    # α is a quarter and metallic a half: glTF's roughness is √α.
    assert (made.metallic_roughness == (255, 128, 128)).all()


def test_texels_beside_a_chart_have_its_borders_values() -> None:
    atlas, mesh = square()
    made = bake(known_net(lambda p: p[:, 2] - 0.01), one_hand(), FittedHand(mesh, atlas, np.zeros(4, bool)), size=32)
    assert (made.base_colour[:8] == made.base_colour[8:9]).all()
    assert (made.base_colour[8:24, 24:] == made.base_colour[8:24, 23:24]).all()


def test_a_prior_without_material_is_refused() -> None:
    net: PalmNet = network()
    atlas, mesh = square()
    with pytest.raises(SettingsError, match="expected a material network"):
        bake(net, one_hand(), FittedHand(mesh, atlas, np.zeros(4, bool)), size=8)
