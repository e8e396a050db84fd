"""What can be turned by hand on the page: hands posed as everywhere else, scans thinned without being moved."""

import base64

import numpy as np
import pytest
import torch

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import load_hand_model
from palm_data.hand.posing import posed_vertices
from palm_data.report.papers.meshes import Exhibit, Mesh, thinned
from palm_data.report.papers.tiles import Capture
from tests.palm_data.maps.hands import hand_row


def sphere(count: int) -> Mesh:
    """A ball of 8 cm, its colour telling the height."""
    height, turn = np.meshgrid(np.linspace(0.02, np.pi - 0.02, count), np.linspace(0, 2 * np.pi, count), indexing="ij")
    points = 0.08 * np.stack([np.sin(height) * np.cos(turn), np.sin(height) * np.sin(turn), np.cos(height)], axis=-1)
    first = (np.arange(count - 1)[:, None] * count + np.arange(count - 1)).ravel()
    faces = np.concatenate(
        [np.stack([first, first + count, first + 1], 1), np.stack([first + 1, first + count, first + count + 1], 1)]
    )
    colours = np.repeat((127 + 1500 * points.reshape(-1, 3)[:, 2:]).clip(0, 255).astype(np.uint8), 3, axis=1)
    return Mesh(points.reshape(-1, 3), faces, colours)


def test_a_hand_is_posed_as_the_layer_poses_it() -> None:
    rng = np.random.default_rng(3)
    model = load_hand_model()
    values = {
        "global_orient": rng.normal(0, 1, 3),
        "hand_pose": rng.normal(0, 0.4, 45),
        "betas": rng.normal(0, 1, 10),
        "transl": rng.normal(0, 0.3, 3),
    }
    row = hand_row("0001", 1).model_copy(update={name: tuple(one.tolist()) for name, one in values.items()})
    expected = HandLayer(model, dtype=torch.float64)(
        **{name: torch.from_numpy(one)[None] for name, one in values.items()}
    )
    assert np.abs(posed_vertices(model, row) - expected.vertices[0].numpy()).max() < 1e-6


def test_a_thinned_scan_lies_where_the_scan_lies() -> None:
    whole = sphere(200)
    few = thinned(whole, 3000)
    assert 1000 < len(few.vertices) <= 3000
    assert few.faces.max() < len(few.vertices)
    assert np.abs(np.linalg.norm(few.vertices, axis=1) - 0.08).max() < 1e-3
    assert few.colours is not None
    assert np.abs(few.colours[:, 0] - (127 + 1500 * few.vertices[:, 2]).clip(0, 255)).max() < 12
    assert thinned(few, 3000) is few


def test_what_the_script_reads_is_the_surface_within_a_hundredth_of_a_millimetre() -> None:
    mesh = thinned(sphere(60))
    packed = Exhibit(Capture("0001", 1, 0, "fist"), mesh, None).packed()
    scan = packed["scan"]
    assert isinstance(scan, dict)
    steps = np.frombuffer(base64.b64decode(scan["v"]), "<u2").reshape(-1, 3)
    points = np.asarray(packed["low"]) + steps / 65535 * packed["span"]
    assert points == pytest.approx(mesh.vertices, abs=1e-5)
    assert np.array_equal(np.frombuffer(base64.b64decode(scan["f"]), "<u2").reshape(-1, 3), mesh.faces)
    assert packed["hand"] is None
