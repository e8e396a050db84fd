"""Damaged files of every kind: refused with a reason or read, never anything else."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palm_data.capture.images import decode_image
from palm_data.capture.scan import read_scan
from palm_data.capture.tka import read_tka
from palm_data.testing.scan_files import TETRAHEDRON, TETRAHEDRON_FACES, ply_bytes
from palm_data.testing.shapes import Surface
from schemas.errors import BadInputError
from tests.palm_data.capture.scans import TINY, written_obj

_IMAGE = np.random.default_rng(0).integers(0, 256, (9, 11, 3)).astype(np.uint8)
_TETRAHEDRON = Surface(
    TETRAHEDRON, TETRAHEDRON_FACES.astype(np.int32), TETRAHEDRON[:, :2], TETRAHEDRON_FACES.astype(np.int32)
)
_POLYGONS = [[0, 2, 1], [0, 1, 3, 2], [1, 2, 3]]


def _scan(path: Path) -> None:
    mesh = read_scan(path, limits=TINY)
    assert np.isfinite(mesh.vertices).all()
    assert (mesh.faces >= 0).all()
    assert (mesh.faces < len(mesh.vertices)).all()
    if mesh.uv is not None and mesh.uv_faces is not None:
        assert np.isfinite(mesh.uv).all()
        assert (mesh.uv_faces >= 0).all()
        assert (mesh.uv_faces < len(mesh.uv)).all()
        assert mesh.uv_faces.shape == mesh.faces.shape


def _image(path: Path) -> None:
    image = decode_image(path.read_bytes(), path, max_pixels=10_000)
    assert image.dtype == np.uint8
    assert image.size > 0


def _tka(path: Path) -> None:
    assert np.isfinite(read_tka(path).rotation).all()


def _seeds(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], None]]]:
    example = Path(__file__).parent / "tka" / "synthetic_04_C.tka"
    seeds: dict[str, tuple[bytes, Callable[[Path], None]]] = {
        "scan.obj": (written_obj(folder, _TETRAHEDRON).read_bytes(), _scan),
        "camera.tka": (example.read_bytes(), _tka),
    }
    for order in ("ascii", "binary_little_endian", "binary_big_endian"):
        seeds[f"{order}.ply"] = (ply_bytes(order, extra_element=True), _scan)
        seeds[f"{order}_mixed.ply"] = (ply_bytes(order, polygons=_POLYGONS), _scan)
    for suffix in ("png", "jpg", "bmp", "tif"):
        seeds[f"image.{suffix}"] = (cv2.imencode(f".{suffix}", _IMAGE)[1].tobytes(), _image)
    return seeds


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """A few edits: bytes set, spans removed, doubled, replaced by junk or by numbers that readers trip over."""
    junk = st.binary(min_size=1, max_size=8) | st.sampled_from(
        [
            b"nan",
            b"inf",
            b"-1",
            b"1e999",
            b"4294967295",
            b"9" * 25,
            b"\n",
            b"/",
            b"//",
            b" ",
            b"\\\n",
            b"\xff" * 4,
            b"\0" * 8,
        ]
    )
    edits = draw(
        st.lists(
            st.tuples(st.sampled_from("setdjx"), st.floats(0, 1, exclude_max=True), st.integers(1, 40), junk),
            min_size=1,
            max_size=4,
        )
    )

    def mutate(content: bytes) -> bytes:
        for kind, where, length, replacement in edits:
            at = int(where * len(content))
            if kind == "s":
                content = content[:at] + replacement[:1] + content[at + 1 :]
            elif kind == "e":
                content = content[:at] + content[at + length :]
            elif kind == "t":
                content = content[:at]
            elif kind == "d":
                content = content[: at + length] + content[at:]
            elif kind == "j":
                content = content[:at] + replacement + content[at:]
            else:
                content = content[:at] + replacement + content[at + len(replacement) :]
        return content

    return mutate


@pytest.mark.parametrize("name", [
    "scan.obj", "camera.tka", "ascii.ply", "binary_little_endian.ply", "binary_big_endian.ply", "ascii_mixed.ply",
    "binary_little_endian_mixed.ply", "binary_big_endian_mixed.ply", "image.png", "image.jpg", "image.bmp", "image.tif",
])  # fmt: skip
def test_damage_is_refused_or_harmless(tmp_path: Path, name: str) -> None:
    content, read = _seeds(tmp_path)[name]
    path = tmp_path / f"mutated_{name}"
    path.write_bytes(content)
    read(path)  # the seed itself is good

    @given(mutations())
    @settings(max_examples=150)
    def attempt(mutate: Callable[[bytes], bytes]) -> None:
        path.write_bytes(mutate(content))
        with suppress(BadInputError):
            read(path)

    attempt()
