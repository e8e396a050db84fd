"""The raw listing: counts what is there, and judges nothing."""

from pathlib import Path

import pytest

from palm_data.capture.listing import list_session
from palm_data.store.workspace import Workspace
from palm_data.testing.raw_session import write_raw_session
from schemas.errors import BadInputError, ConsentError
from schemas.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write_raw_session(tmp_path / "raw", subjects=1, gestures=2)
    return Settings(raw=tmp_path / "raw", workspace=tmp_path / "workspace", releases=tmp_path / "releases")


def test_what_was_delivered_is_counted_and_shown(settings: Settings) -> None:
    subject_id = next(path.name for path in settings.raw.iterdir() if path.name.isdigit())
    report = list_session(subject_id, Workspace(settings.workspace), settings)
    assert report.figures["gesture_folders"] == 2
    assert report.figures["images"] == 2 * 21
    assert report.figures["scans"] == 2
    assert report.picture is not None
    assert not list_session(subject_id, Workspace(settings.workspace), settings).ran


def test_an_unreadable_image_is_a_red_tile_not_an_error(settings: Settings) -> None:
    subject_id = next(path.name for path in settings.raw.iterdir() if path.name.isdigit())
    next((settings.raw / subject_id).rglob("*.01_C.png")).write_bytes(b"not an image")
    assert list_session(subject_id, Workspace(settings.workspace), settings).picture is not None


def test_a_session_that_is_not_there_says_so(settings: Settings) -> None:
    subject_id = next(path.name for path in settings.raw.iterdir() if path.name.isdigit())
    (settings.raw / subject_id).rename(settings.raw / "elsewhere")
    with pytest.raises(BadInputError, match="session"):
        list_session(subject_id, Workspace(settings.workspace), settings)


def test_no_file_of_a_person_who_withdrew_is_opened(tmp_path: Path) -> None:
    write_raw_session(tmp_path / "raw", subjects=1, gestures=1, withdrawn=["0001"])
    settings = Settings(raw=tmp_path / "raw", workspace=tmp_path / "workspace", releases=tmp_path / "releases")
    with pytest.raises(ConsentError):
        list_session("0001", Workspace(settings.workspace), settings)
