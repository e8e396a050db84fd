"""From MakeHuman's body to a hand's mesh in its own frame."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.hand.standin.makehuman import read_base_mesh, read_bone_weights, read_target
from schemas.errors import BadInputError
from tests.palm_data.hand.standin.sources import MAKEHUMAN, body, hand_mesh, hand_source


def test_the_cut_gives_the_shipped_topology_exactly() -> None:
    model, mesh = load_hand_model(), hand_mesh()
    np.testing.assert_array_equal(mesh.faces, model.faces)
    np.testing.assert_array_equal(mesh.uv_faces, model.ft)
    np.testing.assert_array_equal(mesh.uvs.astype(np.float32), model.vt)
    np.testing.assert_array_equal(mesh.weights.astype(np.float32), model.weights)
    assert tuple(mesh.tips.tolist()) == model.tip_vertex_ids
    with np.load(SHIPPED_MODEL) as arrays:
        np.testing.assert_array_equal(mesh.base_rows, arrays["mh_vertex_ids"])


def test_the_wrist_is_one_open_loop_of_twenty_behind_the_wrist_joint() -> None:
    model = load_hand_model()
    rim = model.v_template[model.rim_vertices()]
    assert len(rim) == 20
    assert (rim[:, 0] > 0.008).all()
    assert (rim[:, 0] < 0.030).all()


def test_every_edge_of_the_mesh_has_at_most_two_faces() -> None:
    faces = hand_mesh().faces
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    _, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() == 2
    assert (uses == 1).sum() == 20


def test_faces_look_outwards() -> None:
    vertices, faces = hand_source().base.vertices, hand_mesh().faces
    corners = vertices[faces]
    signed_volume = np.einsum("fi,fi->f", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert signed_volume > 1e-4


def test_the_frame_has_the_wrist_at_the_origin_fingers_back_palm_down_thumb_forward() -> None:
    base = hand_source().base
    np.testing.assert_allclose(base.joints[0], 0, atol=1e-12)
    np.testing.assert_allclose(base.joints[4, 1:], 0, atol=1e-12)
    assert base.joints[4, 0] < -0.08
    assert base.joints[1, 2] > base.joints[7, 2]
    assert base.tips[0, 2] > base.joints[1, 2]
    curled_towards = base.tips[2] - base.joints[4]
    assert curled_towards[1] < 0


def test_turning_into_the_hands_frame_keeps_distances() -> None:
    base, rows = hand_source().base.vertices, body().vertices[hand_mesh().base_rows]
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(base, axis=0), axis=1), np.linalg.norm(np.diff(rows, axis=0), axis=1), atol=1e-12
    )


def test_translation_targets_only_slide_the_hand_along_the_arm() -> None:
    base = hand_source().base
    for target in hand_source().targets["translation"]:
        moved = base.plus(target, 1.0).centred()
        beyond_wrist = base.vertices[:, 0] < -0.02
        assert np.abs(moved.vertices - base.vertices)[beyond_wrist].max() < 1e-3


def test_bones_end_where_the_next_joint_is() -> None:
    base = hand_source().base
    ends = base.bone_ends()
    np.testing.assert_array_equal(ends[0], base.joints[2])
    np.testing.assert_array_equal(ends[2], base.tips[1])
    np.testing.assert_array_equal(ends[14], base.tips[0])
    assert np.linalg.norm(ends - base.joints[1:], axis=1).max() < 0.05


@pytest.mark.parametrize("line", ["v 1 2", "v 1 2 x", "vt 0", "g", "f 1/1 2/2 3/3", "f 1 2 3 4"])
def test_a_strange_line_of_the_mesh_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "base.obj"
    path.write_text(f"v 0 0 0\n{line}\n", encoding="utf-8")
    with pytest.raises(BadInputError) as caught:
        read_base_mesh(path)
    assert caught.value.field == "line 2"


def test_a_mesh_without_a_body_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "base.obj"
    path.write_text("v 0 0 0\ng helper\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="body"):
        read_base_mesh(path)


@pytest.mark.parametrize("line", ["0 1 2", "9 0 0 0", "0 0 0 x"])
def test_a_strange_line_of_a_target_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t.target.gz"
    path.write_bytes(gzip.compress(f"# basemesh hm08\n{line}\n".encode()))
    with pytest.raises(BadInputError, match="line 2"):
        read_target(path, vertices=3)


def test_an_unknown_bone_is_refused() -> None:
    with pytest.raises(BadInputError, match="tail"):
        read_bone_weights(MAKEHUMAN / "weights.default.json", ["tail"], 10)
