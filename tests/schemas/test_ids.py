import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.errors import BadInputError
from schemas.ids import (
    CalibrationId,
    CameraId,
    Sha256,
    Slug,
    SubjectId,
    VersionId,
    camera_id_from_raw,
    is_colour_camera,
    raw_from_camera_id,
)


@given(st.integers(0, 99), st.sampled_from("ABC"))
def test_raw_names_and_ours_are_inverses(pod: int, letter: str) -> None:
    raw = f"{pod:02d}_{letter}"
    ours = camera_id_from_raw(raw)
    assert raw_from_camera_id(ours) == raw
    assert is_colour_camera(ours) == (letter == "C")


def test_cameras_are_called_as_in_the_official_release() -> None:
    assert [camera_id_from_raw(name) for name in ("03_A", "03_B", "03_C")] == ["MCU_03_A", "MCU_03_B", "MCU_03"]


@pytest.mark.parametrize("name", ["3_C", "03_D", "03_c", "03C", "003_C", "03_C ", "03_C\n", "٣٣_C", ""])
def test_what_the_rig_never_calls_a_camera_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="camera name: expected NN_A, NN_B or NN_C"):
        camera_id_from_raw(name)


@pytest.mark.parametrize("name", ["MCU_3", "MCU_03_C", "03_C", ""])
def test_what_is_not_a_camera_id_is_refused(name: str) -> None:
    with pytest.raises(BadInputError, match="camera_id: expected MCU_NN"):
        raw_from_camera_id(name)
    assert not is_colour_camera(name)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (SubjectId, ["0001", "9999"], ["1", "00001", "000a", "0001\n", "../1", "٠٠٠١"]),
        (Slug, ["fist", "half_open", "v2"], ["Fist", "_a", "a_", "a__b", "a-b", "a/b", "", "a" * 65]),
        (CameraId, ["MCU_01", "MCU_07_A"], ["MCU_1", "MCU_01_C", "mcu_01"]),
        (CalibrationId, ["rig_a", "2024-05.1"], ["", ".hidden", "a/b", "a" * 65]),
        (VersionId, ["0.1.0", "10.20.30"], ["1.0", "01.0.0", "1.0.0-rc1", "v1.0.0"]),
        (Sha256, ["0" * 64], ["0" * 63, "G" * 64, "A" * 64]),
    ],
)
def test_identifiers_are_held_to_their_form(kind: object, good: list[str], bad: list[str]) -> None:
    adapter = TypeAdapter(kind)
    for text in good:
        assert adapter.validate_python(text) == text
    for text in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(text)
