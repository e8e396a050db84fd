"""Edits of scan files change what they say they change, in the format that the scan had."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from palm_data.capture.scan import non_manifold_edges, read_scan
from palm_data.capture.scan_obj import parse_obj
from palm_data.capture.scan_parts import FileMesh
from palm_data.capture.scan_ply import parse_ply
from palm_data.maps.surface import build_surface
from palm_data.simulate.faults.scans import _one_side, _with_fins, edit_scan
from palm_data.testing.scan_files import write_obj_scan, write_ply_scan
from palm_data.testing.shapes import lobed_surface
from schemas.settings import IngestSettings

TEXTURE = np.full((8, 8, 3), 90, dtype=np.uint8)


@pytest.fixture(params=["obj", "ply"])
def scan(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"flat.000011.{request.param}"
    write = write_obj_scan if request.param == "obj" else write_ply_scan
    write(path, lobed_surface(spread=1.0, turn_rad=0.3), TEXTURE, units_per_metre=1.0)
    return path


def parsed(path: Path) -> FileMesh:
    return (parse_obj if path.suffix == ".obj" else parse_ply)(path.read_bytes(), path)


def test_rewriting_a_scan_keeps_what_it_says(scan: Path) -> None:
    before = parsed(scan)
    edit_scan(scan, lambda mesh: mesh)
    after = parsed(scan)
    assert np.allclose(after.vertices, before.vertices, rtol=1e-8, atol=0)
    assert np.array_equal(after.faces, before.faces)
    assert after.uv is not None
    assert before.uv is not None
    corners = after.uv[after.uv_faces], before.uv[before.uv_faces]
    assert np.allclose(*corners, atol=1e-6)
    assert (after.material, after.texture) == (before.material, before.texture)
    assert read_scan(scan, limits=IngestSettings()).texture is not None


def test_fins_stand_on_edges_that_have_two_triangles_and_change_no_other(scan: Path) -> None:
    before = parsed(scan)
    edit_scan(scan, _with_fins)
    after = read_scan(scan, limits=IngestSettings())
    assert non_manifold_edges(before.faces.astype(np.int32)) == 0
    assert non_manifold_edges(after.faces) >= 20
    assert np.array_equal(after.faces[: len(before.faces)], before.faces)
    assert np.ptp(after.vertices, axis=0) == pytest.approx(np.ptp(before.vertices, axis=0), abs=0.004)


def test_half_a_scan_is_one_side_of_it_and_no_vertex_is_left_over(scan: Path) -> None:
    before = parsed(scan)
    edit_scan(scan, _one_side)
    after = read_scan(scan, limits=IngestSettings())
    assert 0.3 < len(after.faces) / len(before.faces) < 0.6
    assert set(after.faces.ravel().tolist()) == set(range(len(after.vertices)))
    longest, broadest, _ = sorted(np.ptp(before.vertices, axis=0))[::-1]
    sizes = sorted(np.ptp(after.vertices, axis=0))[::-1]
    assert sizes[0] > 0.8 * longest
    assert min(abs(size - broadest) for size in sizes) > 0.2 * broadest
    assert build_surface(after.vertices, after.faces).rims


def test_the_same_half_whichever_way_the_vertices_are_listed(scan: Path) -> None:
    mesh = parsed(scan)
    order = np.random.default_rng(0).permutation(len(mesh.vertices))
    place = np.argsort(order)
    shuffled = replace(mesh, vertices=mesh.vertices[order], faces=place[mesh.faces])
    one, other = _one_side(mesh), _one_side(shuffled)
    assert np.allclose(np.sort(one.vertices, axis=0), np.sort(other.vertices, axis=0))
