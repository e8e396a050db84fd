"""Pickled dicts that old and new numpy load, and that we read without running anything."""

import os
import pickle
import pickletools
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from palm_data.hand.pickle_reader import read_pickled_tree
from palm_data.interop.pickled import object_npy, parse_object_npy, read_object_npy
from schemas.errors import BadInputError, StoreError

CONTENT = {
    "cameras": {"MCU_01": {"K": np.eye(3, dtype=np.float32), "height": 7}},
    "empty": np.zeros((0, 3)),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big": np.arange(3, dtype=">i4"),
    "text": "été",
    "list": [1, -2.5, "x"],
}
NUMPY = "1.23.5"
LOADS = """
import sys, numpy as np
assert np.__version__ == "1.23.5", np.__version__
home, quality = sys.argv[1:]
cameras = np.load(home + "/cameras.npy", allow_pickle=True).item()["cameras"]
assert sorted(cameras) == ["MCU_0%d" % n for n in range(1, 8)]
for camera in cameras.values():
    assert camera["K"].shape == (3, 3) and np.linalg.inv(camera["Rt"]).shape == (4, 4)
    assert camera["K"].flags.writeable and isinstance(camera["height"], int)
poses = np.load(home + "/poses.npy", allow_pickle=True).item()
assert poses["hand_pose"].shape[1] == 45 and poses["betas"].shape == (1, 10)
assert all(np.isfinite(value).all() for value in poses.values())
errors = np.load(quality, allow_pickle=True).item()
assert sorted(errors.items(), key=lambda item: item[1])
print(repr(float(poses["hand_pose"].sum())), len(errors))
"""


def assert_same(found: object, expected: object) -> None:
    if isinstance(expected, dict):
        assert isinstance(found, dict)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def test_numpy_gives_back_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(object_npy(CONTENT))
    assert_same(np.load(tmp_path / "a.npy", allow_pickle=True).item(), CONTENT)
    assert_same(read_object_npy(tmp_path / "a.npy"), CONTENT)
    assert object_npy(CONTENT) == object_npy(CONTENT)


def test_what_numpy_writes_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array({**CONTENT, "scalar": np.float32(0.5)}, dtype=object), allow_pickle=True)
    assert_same(read_object_npy(tmp_path / "a.npy"), {**CONTENT, "scalar": 0.5})


def test_only_names_that_old_numpy_has_are_mentioned() -> None:
    content = object_npy(CONTENT)
    names = {
        argument
        for code, argument, _ in pickletools.genops(content[content.index(b"\x80\x03") :])
        if code.name == "GLOBAL"
    }
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch pwned",)


def test_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("evil.npy", np.array({"cameras": Evil()}, dtype=object), allow_pickle=True)
    with pytest.raises(BadInputError, match="system"):
        read_object_npy(tmp_path / "evil.npy")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff{",
        object_npy({"a": 1})[:-9],
        b"PK\x03\x04",
        pickle.dumps({"a": 1}),
    ],
    ids=["empty", "magic", "header", "cut short", "zip", "bare pickle"],
)
def test_damage_is_an_error_of_ours(content: bytes) -> None:
    with pytest.raises(BadInputError):
        parse_object_npy(content, Path("a.npy"))


@pytest.mark.parametrize("value", [1 << 4000, [1 << 4000], {1 << 20_000: 1}])
def test_whole_numbers_that_no_array_could_hold_are_refused(value: object, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array({"a": value}, dtype=object), allow_pickle=True)
    with pytest.raises(BadInputError):
        read_object_npy(tmp_path / "a.npy")


def test_a_long_key_at_every_level_takes_no_memory() -> None:
    key, depth = pickle.BINUNICODE + (20_000).to_bytes(4, "little") + b"k" * 20_000 + pickle.BINPUT + b"\0", 200
    opened = pickle.EMPTY_DICT + key + (pickle.EMPTY_DICT + pickle.BINGET + b"\0") * (depth - 1)
    tracemalloc.start()
    try:
        read_pickled_tree(opened + pickle.NONE + pickle.SETITEM * depth + pickle.STOP, Path("a.npy"))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_plain_arrays_are_not_taken_for_a_dict(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(BadInputError, match="one pickled object"):
        read_object_npy(tmp_path / "a.npy")


@pytest.mark.parametrize("value", [None, True, object(), 1 << 40, np.array(["a"])])
def test_what_cannot_be_said_plainly_is_refused(value: object) -> None:
    with pytest.raises(StoreError):
        object_npy({"a": value})  # type: ignore[dict-item]


@pytest.mark.slow
def test_the_numpy_of_the_official_code_loads_an_export(exported: Path, tmp_path: Path) -> None:
    python = sys.executable if sys.version_info < (3, 12) else shutil.which("python3.11")
    if python is None:
        pytest.skip(f"numpy {NUMPY} has no build for Python {sys.version_info.major}.{sys.version_info.minor}")
    subprocess.run([python, "-m", "venv", str(tmp_path / "env")], check=True)
    inside = str(tmp_path / "env" / "bin" / "python")
    installed = subprocess.run(
        [inside, "-m", "pip", "install", "-q", "--only-binary=:all:", f"numpy=={NUMPY}"], capture_output=True, text=True, check=False
    )  # fmt: skip
    if installed.returncode:
        pytest.skip(f"numpy {NUMPY} cannot be installed here: {installed.stderr.strip()[-200:]}")
    home = exported / "folders" / "0003"
    command = [inside, "-W", "error", "-c", LOADS, str(home), str(exported / "quality_dict_feb_27.npy")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    total, errors = loaded.stdout.split()
    assert float(total) == float(np.load(home / "poses.npy", allow_pickle=True).item()["hand_pose"].sum())
    assert errors == "4"
