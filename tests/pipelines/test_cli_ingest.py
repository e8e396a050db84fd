from pathlib import Path

import pytest
from typer.testing import CliRunner

from palm_data.testing.raw_session import RawSession, write_raw_session
from pipelines.cli.console import console
from pipelines.cli.main import app


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RawSession:
    monkeypatch.setenv("PALM_COMPUTE__WHERE", "here")
    monkeypatch.setattr(console, "width", 200)  # wide enough for one line a row, whoever made the console first
    return write_raw_session(
        tmp_path / "raw", subjects=2, image_size=(48, 40), pods=2, mono=False, portrait_pod=None, withdrawn=("0002",)
    )


def palm_ingest(session: RawSession, *subjects: str) -> tuple[int, str]:
    places = ("--raw", str(session.raw), "--workspace", str(session.raw.parent / "workspace"))
    result = CliRunner().invoke(app, ["ingest", *places, *subjects])
    return result.exit_code, result.output + (f"{result.exception}" if result.exception else "")


def test_what_is_bad_is_listed_and_the_rest_is_indexed(session: RawSession) -> None:
    session.image_path("0001", "flat", "MCU_01").write_bytes(b"")
    (session.raw / "0001" / "fist" / "note.txt").write_bytes(b"x")
    code, output = palm_ingest(session)
    assert code == 0
    assert "indexed in" in output
    assert "ConsentError" in output  # the withdrawn subject
    assert "0001/fist/note.txt: file name: expected" in output
    assert "0001/flat: frame 11, images: expected 2 usable colour images or more, found 1 (the whole capture)" in output
    assert "unchanged" in palm_ingest(session, "0001")[1]


def test_nothing_indexed_is_a_failure(session: RawSession) -> None:
    assert palm_ingest(session, "0002")[0] == 1
    for path in session.raw.glob("0001/*/*.png"):
        path.unlink()
    code, output = palm_ingest(session, "0001")
    assert code == 1
    assert "Nothing could be indexed" in output


def test_a_subject_that_is_not_there_is_named(session: RawSession) -> None:
    code, output = palm_ingest(session, "0009")
    assert code == 1
    assert "0009" in output
