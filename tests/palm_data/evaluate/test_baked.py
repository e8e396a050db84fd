"""Colours that a mesh was painted with come back out of pictures of it, and from nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest

from palm_data.colour import linear_from_srgb
from palm_data.evaluate.baked import BakedColours, _bake_view, show
from palm_data.evaluate.prior_scores import grown
from palm_data.evaluate.true_skin import look_at_skin, rendered
from palm_data.hand.model import load_hand_model
from schemas.camera import Camera
from schemas.errors import BadInputError


def camera(side: float = 1.0, size: int = 96) -> Camera:
    """Half a metre before the palm or the back of the resting hand, which looks along y."""
    centre = load_hand_model().v_template.mean(axis=0) + np.array([0.0, 0.5 * side, 0.0])
    rotation = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, side], [0.0, -side, 0.0]])
    x, y, z = (-rotation @ centre).tolist()
    rows = [tuple(row) for row in rotation.tolist()]
    return Camera(
        camera_id="MCU_01", calibration_id="rig", width=size, height=size, fx=2.4 * size, fy=2.4 * size,
        cx=size / 2, cy=size / 2, rotation=(rows[0], rows[1], rows[2]), translation=(x, y, z),
    )  # fmt: skip


def view(one: Camera, rgb: np.ndarray, mask: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(camera=one, training_mask=mask, rgb=np.rint(rgb * 255).astype(np.uint8))


def painted() -> np.ndarray:
    """A colour that changes slowly over the hand."""
    vertices = load_hand_model().v_template
    across = (vertices - vertices.min(axis=0)) / np.ptp(vertices, axis=0)
    return 0.2 + 0.6 * across


def test_colours_come_back_where_they_were_seen_and_only_there() -> None:
    model, one, colours = load_hand_model(), camera(), painted()
    vertices = model.v_template.astype(np.float64)
    shown = show(vertices, colours, model, one)
    raster = rendered(vertices, model.faces, one)
    found = _bake_view(view(one, shown.rgb, shown.opacity > 0), raster, model)
    seen = found.weight > 0.5
    assert 0.05 < seen.mean() < 0.6
    assert np.abs((found.total / np.maximum(found.weight, 1e-9)[:, None] - colours)[seen]).mean() < 0.01
    # What the far side of the hand looks like cannot be seen from here: no vertex that faces away has a colour.
    from palm_data.maps.surface import vertex_normals

    away = vertex_normals(vertices, model.faces) @ [0.0, 1.0, 0.0] < -0.7
    assert away.any()
    assert found.weight[away].sum() < 0.01 * found.weight.sum()
    nothing = _bake_view(view(one, shown.rgb, np.zeros_like(shown.opacity, bool)), raster, model)
    assert nothing.weight.sum() == 0.0


def test_unseen_vertices_take_the_fallback_and_then_their_neighbours() -> None:
    faces = np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    own = BakedColours(np.array([[0.8] * 3, [0] * 3, [0] * 3, [0] * 3, [0] * 3]), np.array([2.0, 0, 0, 0, 0]))
    other = BakedColours(np.array([[1.0] * 3, [0.9] * 3, [0] * 3, [0] * 3, [0] * 3]), np.array([1.0, 3.0, 0, 0, 0]))
    alone = own.mean(faces)
    assert np.allclose(alone, 0.4)  # one colour, handed on
    assert np.allclose(own.mean(faces, fallback=other)[:, 0], [0.4, 0.3, 0.35, 0.3, 0.325])
    assert np.allclose((own + other).mean(faces)[0], 0.6)
    with pytest.raises(BadInputError, match="found none"):
        BakedColours.none(5).mean(faces)


def test_more_samples_soften_the_outline_and_leave_the_inside() -> None:
    model, one = load_hand_model(), camera()
    vertices, colours = model.v_template.astype(np.float64), painted()
    hard, soft = (show(vertices, colours, model, one, factor=factor) for factor in (1, 4))
    assert set(np.unique(hard.opacity)) == {0.0, 1.0}
    partly = (soft.opacity > 0) & (soft.opacity < 1)
    assert partly.sum() > 100
    inside = soft.opacity == 1
    assert np.abs(hard.rgb - soft.rgb)[inside].mean() < 5e-3
    # Light, not its encoding, is averaged: a half covered pixel has half the light.
    nearest = grown(soft)
    light = linear_from_srgb(soft.rgb)[partly].mean()
    assert light == pytest.approx(float((linear_from_srgb(nearest) * soft.opacity[..., None])[partly].mean()), rel=0.1)
    assert nearest[partly].mean() > soft.rgb[partly].mean()
    assert np.array_equal(nearest[inside], soft.rgb[inside])


def test_true_skin_has_the_texture_of_its_place_and_leaves_the_forearm_out() -> None:
    model, one = load_hand_model(), camera()
    vertices = model.v_template.astype(np.float64)
    # Texture coordinates that are the place itself, so that the texture is a function of the place.
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    uv = ((vertices - low) / (high - low))[:, [0, 2]]
    size = 64
    u, v = (np.arange(size) + 0.5) / size, 1.0 - (np.arange(size) + 0.5) / size
    image = np.stack([np.tile(u, (size, 1)), np.tile(v[:, None], (1, size)), np.full((size, size), 0.5)], axis=2)
    arm = (vertices[model.faces].mean(axis=1)[:, 0] < low[0] + 0.3 * (high - low)[0]).astype(np.uint8)
    surface = {"vertices": vertices, "faces": model.faces, "uv": uv, "uv_faces": model.faces, "part": arm}
    skin = look_at_skin(surface, image, one, 3)
    raster = rendered(vertices, model.faces, one)
    whole = raster.face_id >= 0
    assert np.array_equal(skin.seen, whole & (arm[raster.face_id] == 0))
    assert 0 < skin.seen.sum() < whole.sum()
    corners = vertices[model.faces[raster.face_id[skin.seen]]]
    places = np.einsum("nc,nci->ni", raster.barycentric[skin.seen], corners)
    expected = ((places - low) / (high - low))[:, [0, 2]]
    assert np.abs(skin.albedo[skin.seen][:, :2] - expected).mean() < 0.01
    assert np.allclose(skin.albedo[skin.seen][:, 2], 0.5, atol=1e-6)
    assert np.allclose(np.linalg.norm(skin.normal[skin.seen], axis=1), 1.0, atol=1e-5)
    assert (skin.normal[skin.seen] @ [0.0, 1.0, 0.0]).mean() > 0.5  # world axes, towards the camera
    assert not skin.albedo[~skin.seen].any()
