from pathlib import Path

import numpy as np
import pytest

from palm_data.capture.scan import ScanMesh, non_manifold_edges, read_scan
from palm_data.testing.scan_files import TETRAHEDRON, TETRAHEDRON_FACES
from schemas.errors import BadInputError
from schemas.settings import IngestSettings
from tests.palm_data.capture.scans import SURFACE, TINY, written_obj

CORNERS = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n"


def read(folder: Path, text: str | bytes, limits: IngestSettings = TINY) -> ScanMesh:
    path = folder / "scan.obj"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_scan(path, limits=limits)


def test_a_scan_reads_as_it_was_written(tmp_path: Path) -> None:
    mesh = read_scan(written_obj(tmp_path), limits=IngestSettings())
    np.testing.assert_allclose(mesh.vertices, SURFACE.vertices, atol=5e-7)
    np.testing.assert_array_equal(mesh.faces, SURFACE.faces)
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    np.testing.assert_allclose(mesh.uv, SURFACE.uv, atol=5e-7)
    np.testing.assert_array_equal(mesh.uv_faces, SURFACE.uv_faces)
    assert (mesh.texture, mesh.material) == (tmp_path / "scan_tex.png", tmp_path / "scan.mtl")
    assert (mesh.vertices.dtype, mesh.faces.dtype, mesh.degenerate_faces, mesh.problems) == (
        np.float64,
        np.int32,
        0,
        (),
    )
    assert non_manifold_edges(mesh.faces) == 0


FACES = "f 1 3 2\nf 1 2 4\nf 2 3 4\nf 3 1 4\n"


@pytest.mark.parametrize(
    "text",
    [
        CORNERS + FACES,
        (CORNERS + FACES).replace("\n", "\r\n"),
        (CORNERS + FACES).replace("\n", "\r"),
        (CORNERS + FACES).rstrip("\n"),
        "# comment\n\no hand\ng a\nusemtl red\ns off\n" + CORNERS + "vn 0 0 1\n" + FACES.replace("\nf 2", "\nusemtl blue\nf 2"),
        CORNERS.replace("v ", "v\t").replace(" 0 0\n", "  0   0 \n") + FACES,
        CORNERS.replace("v ", "  v ") + FACES.replace("f ", " f "),
        CORNERS + FACES.replace("1 3 2", "1 \\\n3 2").replace("1 2 4", "1 2\\\r\n 4"),
        CORNERS.replace("\n", " 0.5 0.5 0.5\n") + FACES,
        CORNERS.replace("\n", " 1.0\n") + FACES,
        CORNERS + "vn 0 0 1\n" + FACES.replace("1", "1//1").replace("2", "2//1").replace("3", "3//1").replace("4", "4//1"),
        CORNERS + "f -4 -2 -3\nf -4 -3 -1\nf -3 -2 -1\nf -2 -4 -1\n",
        "v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -1 -2\nv 0 0 1\nf 1 2 -1\nf 2 3 4\nf 3 1 -1\n",
        FACES + CORNERS,
    ],
    ids=[
        "plain", "crlf", "cr", "no-last-newline", "statements-of-others", "blanks", "indented", "continued", "colours",
        "w", "normals", "negative", "negative-midway", "faces-first",
    ],
)  # fmt: skip
def test_the_ways_to_write_a_tetrahedron_are_one(tmp_path: Path, text: str) -> None:
    mesh = read(tmp_path, text)
    np.testing.assert_array_equal(mesh.vertices, TETRAHEDRON)
    np.testing.assert_array_equal(mesh.faces, TETRAHEDRON_FACES)
    assert mesh.uv is None


def test_polygons_become_fans_in_place(tmp_path: Path) -> None:
    ring = "".join(f"v {np.cos(a):.6f} {np.sin(a):.6f} 0\n" for a in np.arange(6))
    mesh = read(tmp_path, ring + "f 1 2 3\nf 1 3 4 5 6\nf 6 1 2\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [5, 0, 1]]


def test_texture_indices_follow_their_corners(tmp_path: Path) -> None:
    text = (
        CORNERS
        + "vt 0 0\nvt 1 0\nvt 0 1\nvn 0 0 1\nf 1/1 3/2 2/3\nf 1/1/1 2/2/1 4/3/1\nf 2/-3 3/-2 4/-1\nf 3/1 1/2 4/3\n"
    )
    mesh = read(tmp_path, text)
    assert mesh.uv is not None
    assert mesh.uv_faces is not None
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [0, 1]]
    assert mesh.uv_faces.tolist() == [[0, 1, 2]] * 4


def test_texture_coordinates_on_some_faces_only_are_left_out_and_told(tmp_path: Path) -> None:
    mesh = read(tmp_path, CORNERS + "vt 0 0\nf 1/1 3/1 2/1\nf 1 2 4\nf 2 3 4\nf 3 1 4\n")
    assert mesh.uv is None
    assert [problem.field for problem in mesh.problems] == ["texture coordinates"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("hello\n", "vertices and faces"),
        (CORNERS, "4 and 0"),
        (FACES, "0 and 4"),
        (CORNERS + "f 1 2\n", r"line 5 \(f\): expected three corners or more, found 2"),
        (CORNERS + "f \n", r"line 5 \(f\)"),
        (CORNERS + "f 0 1 2\n", r"line 5 \(f\): expected vertex indices from 1, or negative, found 0"),
        (CORNERS + "f 1 2 5\n", r"triangle 0: expected vertex indices below 4 .*\[0, 1, 4\]"),
        (CORNERS + "f 1 2 -5\n", "triangle 0: expected vertex indices below 4"),
        (CORNERS + "f 1 2 99999999999999999999\n", "triangle 0|whole numbers"),
        (CORNERS + "f 1 2 3.5\n", "whole numbers"),
        (CORNERS + "f 1 2 x\n", "whole numbers"),
        (CORNERS + "f 1/2 3 4/7/5\n", "alike within a line"),
        (CORNERS + "f 1/1/1/1 2/1/1/1 3/1/1/1\n", "alike within a line"),
        (CORNERS + "f 1/ 2/ 3/\n", "whole numbers"),
        (CORNERS + "vt 0 0\nf 1/1 2/1 3/2\n", "texture coordinate indices below 1"),
        (CORNERS + "vt 0 0\nf 1/1 2/1 3/-2\n", "texture coordinate indices below 1"),
        (CORNERS + "vt nan 0\nf 1/1 2/1 3/1\n", "texture coordinates: expected finite numbers"),
        (CORNERS.replace("v 0 0 1", "v 0 0") + FACES, r"line 4 \(v\): expected 3 or 4 or 6 or 7 numbers"),
        (CORNERS.replace("v 0 0 1", "v 0 0 1 1") + FACES, r"line 4 \(v\)"),
        ("v 0 0\nv 0 0 0 0\nv 0 0 0\n" + FACES, r"line 1 \(v\)"),
        (CORNERS.replace("v 0 0 1", "v 0 0 one") + FACES, "v: expected numbers"),
        (CORNERS.replace("v 0 0 1", "v 0 0 nan") + FACES, "vertex 3: expected finite coordinates"),
        (CORNERS.replace("v 0 0 1", "v 0 0 1e300") + FACES, "vertex 3: expected finite coordinates"),
        (CORNERS + "v 5 5 5\nv 5 5 6\n" + FACES, "33% unused"),
        ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\nf 1 1 2\n", "1 triangles or more, found 0"),
    ],
)
def test_malformed_scans_are_refused_with_the_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read(tmp_path, text)


def test_triangles_without_area_are_dropped_and_counted(tmp_path: Path) -> None:
    mesh = read(tmp_path, CORNERS + "v 0.5 0 0\n" + FACES + "f 1 1 2\nf 1 5 2\nf 2 2 2\n")
    assert mesh.degenerate_faces == 3
    np.testing.assert_array_equal(mesh.faces, TETRAHEDRON_FACES)


def test_edges_of_three_triangles_are_counted(tmp_path: Path) -> None:
    mesh = read(tmp_path, CORNERS + "v 1 1 1\n" + FACES + "f 1 2 5\n")
    assert non_manifold_edges(mesh.faces) == 1


def test_too_few_triangles_and_too_many_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="500 triangles or more, found 4"):
        read(tmp_path, CORNERS + FACES, IngestSettings())
    with pytest.raises(BadInputError, match="at most 10 bytes"):
        read(tmp_path, CORNERS + FACES, IngestSettings(max_scan_bytes=10))


def with_material(folder: Path, mtl: str | None, line: str = "mtllib scan.mtl") -> ScanMesh:
    if mtl is not None:
        (folder / "scan.mtl").write_text(mtl)
    return read(folder, f"{line}\n{CORNERS}{FACES}")


def test_the_texture_is_found_through_the_material(tmp_path: Path) -> None:
    (tmp_path / "skin one.png").write_bytes(b"x")
    (tmp_path / "skin.png").write_bytes(b"x")
    assert with_material(tmp_path, "newmtl a\n\tmap_Kd skin one.png\n").texture == tmp_path / "skin one.png"
    assert with_material(tmp_path, "newmtl a\nmap_Kd -o 0 0 0 skin.png\n").texture == tmp_path / "skin.png"
    assert with_material(tmp_path, "newmtl a\nnewmtl b\nmap_Kd skin.png\n").texture == tmp_path / "skin.png"
    assert with_material(tmp_path, "newmtl a\nKd 1 1 1\n").texture is None


def test_a_missing_texture_costs_the_texture_only(tmp_path: Path) -> None:
    for mtl, expected in (
        ("map_Kd lost.png\n", "the file lost.png"),
        (None, "the file other.mtl"),
        ("", "at least one byte"),
    ):
        line = "mtllib other.mtl" if mtl is None else "mtllib scan.mtl"
        mesh = with_material(tmp_path, mtl, line)
        assert mesh.texture is None
        assert [problem.expected for problem in mesh.problems] == [expected]
        (tmp_path / "scan.mtl").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "C:\\secret.png", "..\\secret.png", "out/secret.png"]
)
def test_references_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    capture = tmp_path / "capture"
    capture.mkdir()
    (tmp_path / "secret.png").write_bytes(b"x")
    (capture / "out").symlink_to(tmp_path)
    with pytest.raises(BadInputError, match="a file beside this one"):
        with_material(capture, f"map_Kd {name}\n")
    with pytest.raises(BadInputError, match="a file beside this one"):
        with_material(capture, None, f"mtllib {name}")


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"\.obj or \.ply"):
        read_scan(tmp_path / "scan.stl", limits=TINY)


def test_a_file_that_ends_in_a_continuation_is_refused_by_its_last_line(tmp_path: Path) -> None:
    path = tmp_path / "scan.obj"
    path.write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2\\")
    with pytest.raises(BadInputError, match=r"line 5 \(f\): expected three corners or more, found 2"):
        read_scan(path, limits=TINY)
    path.write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\\")
    assert read_scan(path, limits=TINY).faces.tolist() == [[0, 1, 2]]
