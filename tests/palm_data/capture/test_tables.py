from pathlib import Path

import pytest

from palm_data.capture.tables import read_gestures, read_session, read_subjects
from schemas.errors import BadInputError

HEADER = "subject_id,sex,age_band,height_band,skin_tone,consent,consent_date"
ROW = "0001,female,21-30,145-170,light,granted,2025-02-01"


def write(folder: Path, name: str, content: str | bytes) -> Path:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{ROW}\n",
        f"{HEADER}\r\n{ROW}\r\n\r\n",
        b"\xef\xbb\xbf" + f"{HEADER}\n{ROW}".encode(),
        f" subject_id ,{HEADER.split(',', 1)[1]}\n 0001 ,{ROW.split(',', 1)[1]} \n",
        "sex,subject_id,age_band,height_band,skin_tone,consent,consent_date\nfemale,0001,21-30,145-170,light,granted,2025-02-01\n",
    ],
    ids=["plain", "crlf-and-blank-line", "byte-order-mark", "blanks", "columns-in-another-order"],
)
def test_the_ways_to_write_a_table_are_one(tmp_path: Path, content: str | bytes) -> None:
    table = read_subjects(write(tmp_path, "subjects.csv", content))
    assert table.row("0001").height_band == "145-170"
    assert not table.problems


def test_latin_1_tables_read(tmp_path: Path) -> None:
    content = "gesture,description,simple\nok,Daumen über Zeigefinger,true\n".encode("latin-1")
    assert read_gestures(write(tmp_path, "gestures.csv", content)).row("ok").description == "Daumen über Zeigefinger"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW.replace("21-30", "18-20"), r"line 2, age_band: .* found '18-20'"),
        (ROW.replace("light", "blue"), "line 2, skin_tone"),
        (ROW.replace("granted", "maybe"), "line 2, consent"),
        (ROW.replace("2025-02-01", "February"), "line 2, consent_date"),
        (ROW.replace(",2025-02-01", ""), "line 2, consent_date"),
        (f"{ROW}\n{ROW}", "line 3, subject_id: expected one row for each, found '0001' again"),
        (f"{ROW}\n{ROW}\n{ROW}", "again"),
    ],
)
def test_a_bad_row_costs_its_subject_only(tmp_path: Path, row: str, message: str) -> None:
    table = read_subjects(write(tmp_path, "subjects.csv", f"{HEADER}\n{row}\n{ROW.replace('0001', '0002')}\n"))
    assert table.row("0002").subject_id == "0002"
    with pytest.raises(BadInputError, match=message):
        table.row("0001")


def test_a_missing_row_hints_at_lost_zeros(tmp_path: Path) -> None:
    table = read_subjects(write(tmp_path, "subjects.csv", f"{HEADER}\n{ROW.replace('0001', '1')}\n"))
    with pytest.raises(BadInputError, match=r"a row for '0001'.*leading zeros"):
        table.row("0001")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER},name\n{ROW},Ada\n", r"line 1 \(columns\).*name"),
        (f"{HEADER.replace(',sex', '')}\n", r"line 1 \(columns\)"),
        (f"{HEADER},sex\n{ROW},male\n", r"line 1 \(columns\)"),
        (HEADER.replace(",", ";") + "\n", "separated by commas"),
        (f"{HEADER}\n{ROW},more\n", "line 2: expected 7 cells, found more"),
        (f'{HEADER}\n"{"x" * 200_000}"\n', "a CSV row"),
        ("\n", "columns"),
        ("", "empty"),
    ],
)
def test_a_table_of_other_columns_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_subjects(write(tmp_path, "subjects.csv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"calibration_id": "rig_a", "captured_at": "2025-03-01T10:00:00Z"}', "rig_serial: .*required"),
        ('{"calibration_id": "../x", "captured_at": "2025-03-01", "rig_serial": "1"}', "calibration_id"),
        ('{"calibration_id": "a", "captured_at": "today", "rig_serial": "1"}', "captured_at"),
        (
            '{"calibration_id": "a", "captured_at": "2025-03-01", "rig_serial": "1", "name": "Ada"}',
            "name: .*not permitted",
        ),
        ("[" * 100_000, "content"),
        ("", "empty"),
        (b"\xff\xfe", "content"),
    ],
)
def test_a_session_that_is_none_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / "0001").mkdir()
    write(tmp_path / "0001", "session.json", content)
    with pytest.raises(BadInputError, match=message):
        read_session(tmp_path, "0001")


def test_a_session_behind_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    raw, outside = tmp_path / "raw", tmp_path / "outside"
    (raw / "0001").mkdir(parents=True)
    outside.mkdir()
    write(outside, "session.json", '{"calibration_id": "a", "captured_at": "2025-03-01", "rig_serial": "1"}')
    (raw / "0001" / "session.json").symlink_to(outside / "session.json")
    with pytest.raises(BadInputError, match="link out of it"):
        read_session(raw, "0001")
