"""Importing a MANO file: MANO's sizes and key types, made here; no pickle makes us run code."""

import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_matrix

from palm_data.hand.layer import HandLayer
from palm_data.hand.mano_import import MANO_TIP_VERTICES, has_shape_sign_defect, import_mano
from palm_data.hand.model import HandModel, load_hand_model
from palm_data.hand.pickle_reader import read_pickled_arrays
from schemas.errors import BadInputError

VERTICES, FACES = 778, 1538


class Ch:
    def __init__(self, x: np.ndarray) -> None:
        self.x = x


class Select:
    def __init__(self, a: Ch, idxs: np.ndarray, preferred_shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


@pytest.fixture
def chumpy() -> Iterator[None]:
    """Have our two classes pickled under chumpy's names, as old MANO files have them."""
    names = {"chumpy": {}, "chumpy.ch": {"Ch": Ch}, "chumpy.reordering": {"Select": Select}}
    for name, members in names.items():
        module = types.ModuleType(name)
        for member in members.items():
            setattr(module, *member)
        sys.modules[name] = module
    old = Ch.__module__, Select.__module__
    Ch.__module__, Select.__module__ = "chumpy.ch", "chumpy.reordering"
    yield
    Ch.__module__, Select.__module__ = old
    for name in names:
        del sys.modules[name]


def mano_content(model: HandModel) -> dict[str, object]:
    """A dict with MANO's keys, types and exact sizes, its numbers taken from the stand-in."""
    rng = np.random.default_rng(0)
    shapedirs = np.asarray(model.shapedirs[:VERTICES], dtype=np.float64)
    regressor = np.asarray(model.joint_regressor[:, :VERTICES], dtype=np.float64) + 1e-6
    weights = np.asarray(model.weights[:VERTICES], dtype=np.float64)
    return {
        "v_template": np.asarray(model.v_template[:VERTICES], dtype=np.float64),
        "f": rng.integers(0, VERTICES, (FACES, 3)).astype(np.uint32),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "shapedirs": Select(Ch(shapedirs), np.arange(shapedirs.size), shapedirs.shape),
        "posedirs": np.asarray(model.posedirs[:VERTICES], dtype=np.float64),
        "J_regressor": csc_matrix(regressor / regressor.sum(axis=1, keepdims=True)),
        "kintree_table": np.stack([np.where(model.parents < 0, 2**32 - 1, model.parents), np.arange(16)]).astype(
            np.uint32
        ),
        "J": np.zeros((16, 3)),
        "hands_mean": np.asarray(model.hands_mean, dtype=np.float64),
        "hands_components": np.asfortranarray(model.hands_components, dtype=np.float64),
        "hands_coeffs": np.zeros((1554, 45)),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def dense(value: object) -> object:
    return value.toarray() if isinstance(value, csc_matrix) else value.a.x if isinstance(value, Select) else value


@pytest.mark.usefixtures("chumpy")
@pytest.mark.parametrize("protocol", range(6))
def test_a_mano_pickle_of_any_protocol_becomes_a_model(tmp_path: Path, protocol: int) -> None:
    content = mano_content(load_hand_model())
    (tmp_path / "MANO_RIGHT.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    report = import_mano(tmp_path / "MANO_RIGHT.pkl", tmp_path / "mano_right.npz", side="right")
    assert (report.vertices, report.faces, report.mended_shape_sign) == (VERTICES, FACES, False)
    model = load_hand_model(tmp_path / "mano_right.npz")
    assert model.tip_vertex_ids == MANO_TIP_VERTICES
    for key, array in [("v_template", model.v_template), ("shapedirs", model.shapedirs), ("J_regressor", model.joint_regressor),
                       ("hands_components", model.hands_components), ("f", model.faces)]:  # fmt: skip
        assert np.allclose(array, dense(content[key]), atol=1e-6)
    posed = HandLayer(model)(torch.zeros(1, 3), torch.zeros(1, 45), torch.zeros(1, 10), torch.zeros(1, 3))
    assert posed.vertices.shape == (1, VERTICES, 3)


@pytest.mark.usefixtures("chumpy")
def test_an_npz_with_the_same_arrays_becomes_the_same_model(tmp_path: Path) -> None:
    content = {key: dense(value) for key, value in mano_content(load_hand_model()).items()}
    np.savez(tmp_path / "mano.npz", **content)
    (tmp_path / "mano.pkl").write_bytes(pickle.dumps(content))
    one = import_mano(tmp_path / "mano.npz", tmp_path / "a" / "m.npz", side="right")
    other = import_mano(tmp_path / "mano.pkl", tmp_path / "b" / "m.npz", side="right")
    assert one.sha256 == other.sha256


def mirrored(model: HandModel) -> tuple[np.ndarray, np.ndarray]:
    template, shapedirs = model.v_template.copy(), model.shapedirs.copy()
    template[:, 0] *= -1
    shapedirs[:, 0] *= -1
    return template, shapedirs


@pytest.mark.usefixtures("chumpy")
def test_the_left_hands_sign_defect_is_detected_and_mended(tmp_path: Path) -> None:
    right = load_hand_model()
    template, shapedirs = mirrored(right)
    assert not has_shape_sign_defect(template, shapedirs)
    assert has_shape_sign_defect(template, right.shapedirs)
    arrays = {key: dense(value) for key, value in mano_content(right).items() if not isinstance(value, str)}
    arrays |= {"v_template": template[:VERTICES], "shapedirs": right.shapedirs[:VERTICES]}
    np.savez(tmp_path / "left.npz", **arrays)
    report = import_mano(tmp_path / "left.npz", tmp_path / "mano_left.npz", side="left")
    assert report.mended_shape_sign
    model = load_hand_model(tmp_path / "mano_left.npz")
    assert model.side == "left"
    assert np.allclose(model.shapedirs, shapedirs[:VERTICES], atol=1e-7)


class Runs:
    """Pickles into a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def evil(marker: Path) -> list[bytes]:
    command = f"touch {marker}"
    return [
        pickle.dumps(Runs(os.system, command)),
        pickle.dumps({"v_template": Runs(os.system, command)}),
        pickle.dumps({"f": [Runs(eval, f"__import__('os').system({command!r})")]}),
        pickle.dumps({"f": Runs(getattr, Runs(__import__, "os"), "system")}, protocol=0),
        f"cchumpy.ch\nsystem\n(S'{command}'\ntR.".encode(),
        f"cposix\nsystem\n(S'{command}'\ntR.".encode(),
        f"cnumpy.core.multiarray\nsystem\n(S'{command}'\ntR.".encode(),
        b"\x80\x04\x8c\x08builtins\x8c\x0dset.__class__\x93.",
        b"\x80\x04\x8c\x08builtins\x8c\x04open\x93\x8c"
        + bytes([len(str(marker))])
        + str(marker).encode()
        + b"\x8c\x01w\x86R.",
    ]


@pytest.mark.parametrize("index", range(9))
def test_no_pickle_makes_us_run_code(tmp_path: Path, index: int) -> None:
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pkl"
    path.write_bytes(evil(marker)[index])
    with pytest.raises(BadInputError, match="executed"):
        read_pickled_arrays(path)
    assert not marker.exists()


@pytest.mark.usefixtures("chumpy")
@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_pickle_is_read_or_refused_but_never_worse(
    tmp_path: Path, position: float, byte: int, cut: bool
) -> None:
    small = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": csc_matrix(np.eye(3)),
        "c": Select(Ch(np.ones(4)), np.arange(4), (2, 2)),
    }
    content = bytearray(pickle.dumps(small, protocol=2))
    at = int(position * len(content))
    content[at] = byte
    path = tmp_path / "damaged.pkl"
    path.write_bytes(bytes(content[:at] if cut else content))
    try:
        arrays = read_pickled_arrays(path)
    except BadInputError:
        return
    assert all(isinstance(value, str) or value.dtype.kind in "fiub" for value in arrays.values())


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "half.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((778, 3))}))
    with pytest.raises(BadInputError, match=r"half\.pkl: f: expected an array, found none"):
        import_mano(tmp_path / "half.pkl", tmp_path / "out.npz", side="right")
    assert not (tmp_path / "out.npz").exists()
