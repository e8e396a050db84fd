from pathlib import Path

import numpy as np
import pytest

from palm_data.capture.scan import ScanMesh, read_scan
from palm_data.testing.scan_files import TETRAHEDRON, TETRAHEDRON_FACES, ply_bytes
from schemas.errors import BadInputError
from schemas.settings import IngestSettings
from tests.palm_data.capture.scans import SURFACE, TINY, written_ply

ORDERS = ("ascii", "binary_little_endian", "binary_big_endian")


def read(folder: Path, content: bytes) -> ScanMesh:
    path = folder / "scan.ply"
    path.write_bytes(content)
    return read_scan(path, limits=TINY)


def test_a_scan_reads_as_it_was_written(tmp_path: Path) -> None:
    mesh = read_scan(written_ply(tmp_path), limits=IngestSettings())
    np.testing.assert_allclose(mesh.vertices, SURFACE.vertices, atol=1e-8)
    np.testing.assert_array_equal(mesh.faces, SURFACE.faces)
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    np.testing.assert_allclose(mesh.uv[mesh.uv_faces], SURFACE.uv[SURFACE.uv_faces], atol=1e-7)
    assert (mesh.texture, mesh.material, mesh.problems) == (tmp_path / "scan_tex.png", None, ())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("extra_element", [False, True])
@pytest.mark.parametrize("index_type", ["int", "uint", "ushort", "uchar"])
def test_the_ways_to_write_a_tetrahedron_are_one(
    tmp_path: Path, order: str, extra_element: bool, index_type: str
) -> None:
    mesh = read(tmp_path, ply_bytes(order, index_type=index_type, extra_element=extra_element))
    np.testing.assert_array_equal(mesh.vertices, TETRAHEDRON)
    np.testing.assert_array_equal(mesh.faces, TETRAHEDRON_FACES)


@pytest.mark.parametrize("order", ORDERS)
def test_polygons_of_differing_length_become_fans(tmp_path: Path, order: str) -> None:
    mesh = read(tmp_path, ply_bytes(order, polygons=[[0, 2, 1], [0, 1, 3, 2], [1, 2, 3]]))
    assert mesh.faces.tolist() == [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]


@pytest.mark.parametrize("order", ORDERS)
def test_counts_that_lie_are_refused_before_anything_is_allocated(tmp_path: Path, order: str) -> None:
    honest = ply_bytes(order)
    for lie in (
        b"element vertex 5",
        b"element vertex 3",
        b"element vertex 4000000000",
        b"element vertex 9" + b"9" * 30,
    ):
        with pytest.raises(BadInputError):
            read(tmp_path, honest.replace(b"element vertex 4", lie))
    for lie in (b"element face 5", b"element face 3", b"element face 4000000000"):
        with pytest.raises(BadInputError):
            read(tmp_path, honest.replace(b"element face 4", lie))


@pytest.mark.parametrize("order", ORDERS)
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, order: str) -> None:
    honest = ply_bytes(order)
    # An ASCII file's last line end, or a digit less in its last number, cannot be missed.
    for length in range(1, len(honest) - (2 if order == "ascii" else 0)):
        with pytest.raises(BadInputError):
            read(tmp_path, honest[:length])


def test_texture_coordinates_of_vertices_are_read(tmp_path: Path) -> None:
    text = (
        b"ply\nformat ascii 1.0\ncomment TextureFile skin two.png\nelement vertex 3\nproperty float x\nproperty float y\n"
        b"property float z\nproperty float s\nproperty float t\nelement face 1\nproperty list uchar int vertex_index\n"
        b"end_header\n0 0 0 0.1 0.2\n1 0 0 0.3 0.4\n0 1 0 0.5 0.6\n3 0 1 2\n"
    )
    (tmp_path / "skin two.png").write_bytes(b"x")
    mesh = read(tmp_path, text)
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    np.testing.assert_allclose(mesh.uv[mesh.uv_faces], [[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
    assert mesh.texture == tmp_path / "skin two.png"


def test_texture_coordinates_on_some_faces_only_are_left_out_and_told(tmp_path: Path) -> None:
    text = (
        b"ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        b"element face 2\nproperty list uchar int vertex_index\nproperty list uchar float texcoord\n"
        b"end_header\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1 2 6 0 0 1 0 0 1\n3 0 1 3 0\n"
    )
    mesh = read(tmp_path, text)
    assert mesh.uv is None
    assert [problem.field for problem in mesh.problems] == ["texture coordinates"]
    with pytest.raises(BadInputError, match="two numbers for each corner"):
        read(tmp_path, text.replace(b"6 0 0 1 0 0 1\n", b"4 0 0 1 0\n"))


def test_a_texture_outside_the_folder_is_refused(tmp_path: Path) -> None:
    content = ply_bytes("ascii").replace(b"comment made for tests", b"comment TextureFile ../other.png")
    with pytest.raises(BadInputError, match="a file beside this one"):
        read(tmp_path, content)


ASCII = ply_bytes("ascii")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"end_header", b"end_head", "end_header within"),
        (b"format ascii 1.0", b"format ascii 2.0", "line 2: expected a PLY header statement"),
        (b"format ascii 1.0", b"format binary 1.0", "line 2"),
        (b"format ascii 1.0\n", b"", "format: expected"),
        (b"property float x", b"property real x", "line 5"),
        (b"property float x", b"property float w", "properties x, y, z"),
        (b"property float x", b"property float y", "line 6"),
        (b"element vertex 4", b"element vertex -4", "line 4"),
        (b"element vertex 4", b"element vertex four", "line 4"),
        (b"element vertex 4", b"element point 4", "elements vertex and face"),
        (b"vertex_indices", b"indices", "a list vertex_indices or vertex_index"),
        (b"list uchar int", b"list float int", "line 10"),
        (b"0 0 1 200", b"0 0 one 200", "body: expected numbers"),
        (b"0 0 1 200", b"0 0 nan 200", "vertex 3: expected finite"),
        (b"3 2 0 3", b"3 2 0 4", r"triangle 3: expected vertex indices below 4"),
        (b"3 2 0 3", b"3 2 0 -1", r"triangle 3: expected vertex indices below 4"),
        (b"3 2 0 3", b"3 2 0 0.5", "whole vertex indices"),
        (b"3 2 0 3", b"2 2 0", "three corners or more"),
        (b"3 2 0 3", b"-3 2 0 3", "a list length of 0 or more"),
        (b"3 2 0 3", b"3.5 2 0 3", "a list length of 0 or more"),
        (b"3 2 0 3", b"3 2 0 3 7", "1 more"),
        (b"ply\n", b"ply\nproperty float lost\n", "line 2"),
    ],
)
def test_malformed_scans_are_refused_with_the_place(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    assert old in ASCII.replace(b"0.0", b"0").replace(b"1.0 200", b"1 200") or old in ASCII
    content = ASCII.replace(b"0.0", b"0").replace(b"1.0 200", b"1 200")
    content = content.replace(b"format ascii 1\n", b"format ascii 1.0\n").replace(old, new, 1)
    with pytest.raises(BadInputError, match=message):
        read(tmp_path, content)


def test_a_header_without_end_is_not_searched_forever(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="end_header within 65536 bytes"):
        read(tmp_path, b"ply\n" + b"comment x\n" * 100_000 + ASCII[4:])
