"""Reading hand models: what is shipped, what is refused, and that nothing is ever executed."""

import dataclasses
import hashlib
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palm_data.hand.model import SHIPPED_MODEL, load_hand_model
from palm_data.hand.npz import read_npz
from palm_data.hand.standin.build import write_model
from schemas.errors import BadInputError, GeometryError
from tests.palm_data.hand.reference import MANO_FACES, MANO_RIM, MANO_VERTICES, mano_sized_arrays, mano_sized_model

Arrays = dict[str, np.ndarray]


def test_every_shipped_asset_has_the_digest_on_record() -> None:
    folder = SHIPPED_MODEL.parent
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    recorded = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS"]
    assert {path.relative_to(folder).as_posix() for path in files} == set(recorded)
    for path in files:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        assert found == recorded[path.relative_to(folder).as_posix()], path


def test_the_shipped_model_loads_and_names_its_convention() -> None:
    model = load_hand_model()
    convention = model.convention()
    assert convention.model_id == "hand_standin_right"
    assert convention.model_sha256 == hashlib.sha256(SHIPPED_MODEL.read_bytes()).hexdigest()
    assert convention.tip_vertex_ids == model.tip_vertex_ids
    assert (convention.side, convention.flat_hand_mean) == ("right", False)


def test_a_models_arrays_cannot_be_changed() -> None:
    model = load_hand_model()
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0


def test_the_rim_is_one_closed_walk_along_the_border() -> None:
    model = load_hand_model()
    rim = model.rim_vertices()
    edges = {(int(a), int(b)) for face in model.faces for a, b in zip(face, np.roll(face, -1), strict=True)}
    for a, b in zip(rim.tolist(), np.roll(rim, -1).tolist(), strict=True):
        assert (a, b) in edges
        assert (b, a) not in edges
    assert len(set(rim.tolist())) == len(rim) == sum((b, a) not in edges for a, b in edges)


def test_a_file_of_manos_sizes_without_texture_is_a_hand_model(tmp_path: Path) -> None:
    model = mano_sized_model(tmp_path)
    assert model.v_template.shape == (MANO_VERTICES, 3)
    assert model.faces.shape == (MANO_FACES, 3)
    assert model.vt is None
    assert model.ft is None
    assert len(model.rim_vertices()) == MANO_RIM


@pytest.mark.parametrize("hole", [-1, 1], ids=["elsewhere", "that touches the rim"])
def test_a_second_hole_leaves_no_rim(tmp_path: Path, hole: int) -> None:
    model = mano_sized_model(tmp_path)
    with pytest.raises(GeometryError, match="more than one"):
        dataclasses.replace(model, faces=np.delete(model.faces, hole, axis=0)).rim_vertices()


def test_a_closed_mesh_has_no_rim(tmp_path: Path) -> None:
    tetrahedron = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    with pytest.raises(GeometryError, match="closed"):
        dataclasses.replace(mano_sized_model(tmp_path), faces=tetrahedron).rim_vertices()


def put(name: str, value: object) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = np.asarray(value)

    return change


def spoil(name: str, value: float, row: int = 0) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].flat[row] = value

    return change


WRONG = {
    "template of points in the plane": ("v_template", put("v_template", np.zeros((778, 2)))),
    "template with a NaN": ("v_template", spoil("v_template", np.nan)),
    "template with an infinity": ("v_template", spoil("v_template", np.inf)),
    "template beyond single precision": ("v_template", spoil("v_template", 1e300)),
    "template of whole numbers": ("v_template", put("v_template", np.zeros((778, 3), int))),
    "template of text": ("v_template", put("v_template", np.full((778, 3), "0"))),
    "template of one vertex": ("v_template", put("v_template", np.zeros((1, 3)))),
    "no vertices at all": ("v_template", put("v_template", np.zeros((0, 3)))),
    "faces that are numbers with fractions": ("f", put("f", np.zeros((3, 3)))),
    "faces beyond the last vertex": ("f", spoil("f", 778)),
    "no faces": ("f", put("f", np.zeros((0, 3), int))),
    "quads": ("f", put("f", np.zeros((5, 4), int))),
    "weights that do not sum to one": ("weights", spoil("weights", 2.0)),
    "negative weights": ("weights", put("weights", np.tile([2.0, -1.0] + [0.0] * 14, (778, 1)))),
    "weights of too few joints": ("weights", put("weights", np.ones((778, 1)))),
    "weights of other vertices": ("weights", put("weights", np.full((777, 16), 1 / 16))),
    "too few shape directions": ("shapedirs", put("shapedirs", np.zeros((778, 3, 9)))),
    "flattened pose directions": ("posedirs", put("posedirs", np.zeros((778 * 3, 135)))),
    "a regressor that shrinks joints": ("J_regressor", put("J_regressor", np.zeros((16, 778)))),
    "a transposed regressor": ("J_regressor", put("J_regressor", np.full((778, 16), 1 / 778))),
    "a tree with a parent after its child": ("kintree_table", spoil("kintree_table", 9, row=1)),
    "a joint that is its own parent": ("kintree_table", spoil("kintree_table", 3, row=3)),
    "a second root": ("kintree_table", spoil("kintree_table", -1, row=4)),
    "a root with a parent": ("kintree_table", spoil("kintree_table", 0, row=0)),
    "a tree in another order": ("kintree_table", spoil("kintree_table", 5, row=20)),
    "a mean pose with a wrist": ("hands_mean", put("hands_mean", np.zeros(48))),
    "six components": ("hands_components", put("hands_components", np.eye(45)[:6])),
    "negative tips": ("tip_vertex_ids", spoil("tip_vertex_ids", -1)),
    "four tips": ("tip_vertex_ids", put("tip_vertex_ids", [1, 2, 3, 4])),
    "texture faces without coordinates": ("vt", put("ft", np.zeros((1538, 3), int))),
    "texture coordinates without faces": ("ft", put("vt", np.zeros((9, 2)))),
    "a third side": ("side", put("side", "both")),
    "two sides": ("side", put("side", ["right", "left"])),
    "a side that is no text": ("side", put("side", 1)),
    "a side beyond Unicode": ("side", put("side", np.array(0x7FFFFFFF, np.uint32).view("U1"))),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_array_is_refused_by_its_name(tmp_path: Path, case: str) -> None:
    field, change = WRONG[case]
    arrays = mano_sized_arrays()
    change(arrays)
    path = tmp_path / "wrong.npz"
    write_model(path, arrays)
    with pytest.raises(BadInputError) as caught:
        load_hand_model(path)
    assert caught.value.field == field
    assert caught.value.source == str(path)


@pytest.mark.parametrize("name", sorted(mano_sized_arrays()))
def test_a_missing_array_is_named(tmp_path: Path, name: str) -> None:
    arrays = mano_sized_arrays()
    del arrays[name]
    path = tmp_path / "missing.npz"
    write_model(path, arrays)
    with pytest.raises(BadInputError) as caught:
        load_hand_model(path)
    assert caught.value.field == name


class Bomb:
    """Leaves a mark in the file system if anybody unpickles it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_pickled_object_is_refused_and_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    objects = np.empty((778, 3), dtype=object)
    objects[:] = [[Bomb(mark)] * 3] * 778
    path = tmp_path / "evil.npz"
    np.savez(path, **mano_sized_arrays() | {"v_template": objects})
    with pytest.raises(BadInputError) as caught:
        load_hand_model(path)
    assert caught.value.field == "v_template"
    assert not mark.exists()


def test_a_bare_pickle_is_refused_and_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    path = tmp_path / "evil.npz"
    path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(BadInputError):
        load_hand_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("v_template.npy", pickle.dumps(Bomb(mark)))
    with pytest.raises(BadInputError):
        load_hand_model(path)
    assert not mark.exists()


def npy_header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00",
        npy_header("__import__('os').abort()"),
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (100000000000, 3)}"),
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-778, 3)}"),
        npy_header("{'descr': '<f4', 'fortran_order': False}"),
        npy_header("{'descr': '|O', 'fortran_order': False, 'shape': ()}"),
        npy_header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}"),
        npy_header("(" * 2000),
        npy_header(" " * 60000),
        npy_header("{'descr': '<x9', 'fortran_order': False, 'shape': ()}"),
        npy_header("{'descr': '<f3', 'fortran_order': False, 'shape': ()}"),
        npy_header("{'descr': '<U0', 'fortran_order': False, 'shape': (999999999999,)}"),
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 999999999999, 999999999999)}"),
        npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "0, " * 99 + ")}"),
    ],
    ids=[
        "empty",
        "magic",
        "version",
        "code",
        "huge",
        "negative",
        "no shape",
        "object",
        "record",
        "nested",
        "long",
        "type",
        "width",
        "widthless",
        "hollow",
        "deep",
    ],
)
def test_a_damaged_array_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("v_template.npy", content)
    with pytest.raises(BadInputError) as caught:
        load_hand_model(path)
    assert caught.value.field in {"v_template", "archive"}


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_an_exotic_compression_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "exotic.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("v_template.npy", b"0" * 1000)
    with pytest.raises(BadInputError, match="deflated"):
        load_hand_model(path)


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, zeros=np.zeros(1_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(BadInputError, match="unpacked size"):
        read_npz(path, ["zeros"], max_bytes=1_000_000)
    assert read_npz(path, ["other"], max_bytes=1_000_000) == {}
    with pytest.raises(BadInputError, match="file size"):
        read_npz(path, ["zeros"], max_bytes=100)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(BadInputError):
            load_hand_model(path)


def small_archive() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, v_template=np.arange(12.0).reshape(4, 3), f=np.arange(3))
    return buffer.getvalue()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.integers(0, len(small_archive()) - 1), value=st.integers(0, 255), cut=st.booleans())
def test_a_flipped_or_cut_byte_raises_nothing_but_bad_input(tmp_path: Path, where: int, value: int, cut: bool) -> None:
    content = bytearray(small_archive())
    content[where] = value
    path = tmp_path / "fuzzed.npz"
    path.write_bytes(content[:where] if cut else content)
    try:
        arrays = read_npz(path, ["v_template", "f"], max_bytes=1 << 20)
    except BadInputError:
        return
    assert all(array.nbytes <= 1 << 20 for array in arrays.values())


def test_arrays_in_fortran_order_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "fortran.npz"
    values = np.arange(12.0).reshape(3, 4)
    np.savez(path, a=np.asfortranarray(values), b=values)
    arrays = read_npz(path, ["a", "b"], max_bytes=1 << 20)
    np.testing.assert_array_equal(arrays["a"], arrays["b"])
