from pathlib import Path

import pytest
from pydantic import ValidationError

from palm_data.simulate.options import SimulateOptions, claim_folder
from schemas.errors import SettingsError


def test_a_folder_is_claimed_once_and_again_with_equal_options(tmp_path: Path) -> None:
    claim_folder(tmp_path / "out", SimulateOptions())
    claim_folder(tmp_path / "out", SimulateOptions())


def test_other_options_are_refused_and_named(tmp_path: Path) -> None:
    claim_folder(tmp_path, SimulateOptions())
    with pytest.raises(SettingsError, match="seed 7 → 8"):
        claim_folder(tmp_path, SimulateOptions(seed=8))


def test_raw_data_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(SettingsError, match="earlier simulation"):
        claim_folder(tmp_path, SimulateOptions())
    assert not (tmp_path / "truth").exists()


def test_damaged_options_are_named(tmp_path: Path) -> None:
    claim_folder(tmp_path, SimulateOptions())
    (tmp_path / "truth" / "options.json").write_text("{")
    with pytest.raises(SettingsError, match=r"options\.json"):
        claim_folder(tmp_path, SimulateOptions())


def test_unknown_options_are_refused() -> None:
    with pytest.raises(ValidationError):
        SimulateOptions(people=3)  # type: ignore[call-arg]


def test_faults_may_be_added_to_a_session_and_stay(tmp_path: Path) -> None:
    claim_folder(tmp_path, SimulateOptions())
    claim_folder(tmp_path, SimulateOptions(faults=True))
    claim_folder(tmp_path, SimulateOptions(faults=True))
    with pytest.raises(SettingsError, match="faults True → False"):
        claim_folder(tmp_path, SimulateOptions())
    with pytest.raises(SettingsError, match="seed 7 → 8, faults True → False"):
        claim_folder(tmp_path, SimulateOptions(seed=8))


def test_faults_added_to_other_options_are_refused(tmp_path: Path) -> None:
    claim_folder(tmp_path, SimulateOptions())
    with pytest.raises(SettingsError, match="seed 7 → 8, faults False → True"):
        claim_folder(tmp_path, SimulateOptions(seed=8, faults=True))
