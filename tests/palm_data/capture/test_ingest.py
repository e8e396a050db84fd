import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from palm_data.capture.index import load_index
from palm_data.capture.ingest import FRAMES_FILE, STAGE, ingest_subject
from palm_data.store.atomic import file_sha256
from palm_data.store.workspace import StageReport, Workspace
from palm_data.testing.raw_session import RawSession, write_raw_session
from schemas.capture import CaptureIndex, Quarantined
from schemas.errors import BadInputError, ConsentError, IntegrityError, StoreError
from schemas.settings import Settings


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two subjects, three gestures; the second subject's scans are in millimetres."""
    folder = tmp_path_factory.mktemp("delivered")
    write_raw_session(folder / "raw", subjects=2, gestures=3, image_size=(48, 40), pods=3, portrait_pod=3)
    return folder / "raw"


class Place:
    """A copy of the delivery that a test may damage, and a workspace."""

    def __init__(self, delivered: Path, folder: Path) -> None:
        self.raw = folder / "raw"
        shutil.copytree(delivered, self.raw)
        self.settings = Settings(raw=self.raw, workspace=folder / "workspace")
        self.workspace = Workspace(self.settings.workspace)

    def ingest(self, subject_id: str = "0001") -> StageReport:
        return ingest_subject(subject_id, self.workspace, self.settings)

    def index(self, subject_id: str = "0001") -> CaptureIndex:
        self.ingest(subject_id)
        return load_index(self.workspace, subject_id)

    def file(self, name: str) -> Path:
        return self.raw / "0001" / name

    def aside(self) -> list[Quarantined]:
        return list(self.index().quarantined)


@pytest.fixture
def place(delivered: Path, tmp_path: Path) -> Place:
    return Place(delivered, tmp_path)


def test_a_clean_session_is_indexed_whole(place: Place) -> None:
    index = place.index()
    assert [(item.frame, item.gesture, item.raw_frame) for item in index.captures] == [
        (1, "fist", 21), (2, "flat", 11), (3, "half_open", 31),
    ]  # fmt: skip
    assert not index.quarantined
    assert [gesture.gesture for gesture in index.gestures] == ["fist", "flat", "half_open"]
    capture = index.captures[1]
    assert [image.camera_id for image in capture.images] == [
        "MCU_01", "MCU_01_A", "MCU_01_B", "MCU_02", "MCU_02_A", "MCU_02_B", "MCU_03", "MCU_03_A", "MCU_03_B",
    ]  # fmt: skip
    image = capture.image("MCU_03")
    assert image is not None
    assert image.raw.path == "0001/flat/flat.000011.03_C.png"
    assert image.raw.sha256 == file_sha256(place.raw / image.raw.path)
    assert (image.raw_width, image.raw_height) == (40, 48)  # portrait, as delivered
    assert capture.scan.material is not None
    assert capture.scan.texture is not None
    assert capture.scan.texture.path == "0001/flat/flat.000011_tex.png"
    assert (capture.scan.metres_per_unit, capture.scan.faces) == (1.0, 1656)
    assert {item.scan.metres_per_unit for item in place.index("0002").captures} == {0.001}


def test_figures_and_picture_come_with_the_report(place: Place) -> None:
    report = place.ingest()
    assert report.figures["captures"] == 3
    assert report.figures["images"] == 27
    assert report.figures["metres_per_unit"] == "1"
    assert report.picture is not None
    assert cv2.imread(str(report.picture)).shape[1] > 100


def test_ingesting_again_does_nothing(place: Place) -> None:
    first = place.ingest()
    again = place.ingest()
    assert (first.ran, again.ran) == (True, False)
    assert first.digest == again.digest


def test_the_index_does_not_depend_on_where_and_when(place: Place, tmp_path: Path) -> None:
    place.file("flat/flat.000011.01_C.png").write_bytes(b"damaged")
    here = place.ingest()
    elsewhere = Place(place.raw, tmp_path / "elsewhere" / "deeper")
    for path in elsewhere.raw.rglob("*"):
        os.utime(path, ns=(1, 1))
    assert elsewhere.ingest().digest == here.digest


def test_touching_a_file_looks_again_and_finds_the_same(place: Place) -> None:
    first = place.ingest()
    os.utime(place.file("flat/flat.000011.01_C.png"), ns=(1, 1))
    again = place.ingest()
    assert again.ran
    assert again.digest == first.digest


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("light", "tan", "subjects.csv"),
        ("The hand as in flat", "A flat hand", "gestures.csv"),
        ("TEST-1", "TEST-2", "0001/session.json"),
        ("%f 25", "%f 25.0001", "calibrations/rig_a/01_C.tka"),
    ],
)
def test_what_the_index_depends_on_makes_it_again(place: Place, old: str, new: str, name: str) -> None:
    place.ingest()
    path = place.raw / name
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode(), 1))
    assert place.ingest().ran


def test_what_it_does_not_depend_on_does_not(place: Place) -> None:
    place.ingest()
    subjects = place.raw / "subjects.csv"
    subjects.write_text(subjects.read_text().replace("0002,male,31-40", "0002,male,41-50"))
    with (place.raw / "gestures.csv").open("a") as stream:
        stream.write("point,Index finger out,false\n")
    assert not place.ingest().ran


def deliver_again(place: Place, source: str, gesture: str, frame: int) -> None:
    """A new capture, with the files of another but a scan of its own."""
    folder = place.file(gesture)
    folder.mkdir(exist_ok=True)
    origin, old = source.split("/")
    for path in place.file(origin).glob(f"{old}.*"):
        shutil.copy(path, folder / f"{gesture}.{frame:06d}{path.name.removeprefix(old)}")
    (scan,) = folder.glob(f"{gesture}.{frame:06d}.obj")
    scan.write_bytes(scan.read_bytes() + b"# again\n")


def test_numbers_stay_when_captures_are_added_removed_and_brought_back(place: Place) -> None:
    def numbers() -> dict[tuple[str, int], int]:
        return {(item.gesture, item.raw_frame): item.frame for item in place.index().captures}

    first = {("fist", 21): 1, ("flat", 11): 2, ("half_open", 31): 3}
    assert numbers() == first
    deliver_again(place, "flat/flat.000011", "fist", 5)  # would sort before everything
    assert numbers() == {**first, ("fist", 5): 4}
    place.file("flat").rename(place.raw / "flat_away")
    assert numbers() == {("fist", 5): 4, ("fist", 21): 1, ("half_open", 31): 3}
    deliver_again(place, "fist/fist.000005", "half_open", 7)
    assert numbers()[("half_open", 7)] == 5
    (place.raw / "flat_away").rename(place.file("flat"))
    assert numbers()[("flat", 11)] == 2
    assert not place.ingest().ran


def test_a_quarantined_capture_keeps_its_number_until_it_is_whole(place: Place) -> None:
    scan = place.file("flat/flat.000011.obj")
    content = scan.read_bytes()
    scan.write_bytes(content[:100])
    assert [item.frame for item in place.index().captures] == [1, 3]
    scan.write_bytes(content)
    assert [item.frame for item in place.index().captures] == [1, 2, 3]


def test_lost_numbers_are_not_made_up(place: Place) -> None:
    place.ingest()
    (place.workspace.output(STAGE, "0001") / FRAMES_FILE).write_text("[]x")
    with pytest.raises(IntegrityError, match="numbers of the subject's captures"):
        place.ingest()


def test_withdrawn_consent_stops_before_any_file_is_read_and_removes_the_index(place: Place) -> None:
    place.ingest()
    subjects = place.raw / "subjects.csv"
    subjects.write_text(subjects.read_text().replace("granted", "withdrawn", 1))
    shutil.rmtree(place.file("."))  # nothing there to read
    with pytest.raises(ConsentError, match="0001: expected consent granted, found withdrawn"):
        place.ingest()
    with pytest.raises(StoreError):
        load_index(place.workspace, "0001")
    assert place.ingest("0002").ran


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("subjects.csv", lambda text: text.replace("light", "blue"), "skin_tone"),
        ("subjects.csv", lambda text: text.replace("0001,", "1,"), "a row for '0001'"),
        ("0001/session.json", lambda text: text[:20], "session.json"),
        ("0001/session.json", lambda text: text.replace("rig_a", "rig_b"), "rig_b"),
    ],
)
def test_a_bad_subject_costs_one_subject(place: Place, name: str, change: Callable[[str], str], message: str) -> None:
    path = place.raw / name
    path.write_text(change(path.read_text()))
    with pytest.raises(BadInputError, match=message):
        place.ingest()
    assert place.ingest("0002").figures["captures"] == 3


@pytest.mark.parametrize("name", ["subjects.csv", "gestures.csv", "calibrations/rig_a/01_C.tka", "calibrations/rig_a"])
def test_links_out_of_the_raw_root_are_not_followed(place: Place, name: str) -> None:
    away = place.raw.parent / "away"
    (place.raw / name).rename(away)
    (place.raw / name).symlink_to(away)
    with pytest.raises(BadInputError, match="inside the raw root, found a link out of it"):
        place.ingest()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def swap_sides(path: Path) -> None:
    cv2.imwrite(str(path), np.rot90(cv2.imread(str(path))))


def shrink(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path))[::2, ::2])


def make_grey(path: Path) -> None:
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def copy_as_bmp(path: Path) -> None:
    cv2.imwrite(str(path.with_suffix(".bmp")), cv2.imread(str(path)))


@pytest.mark.parametrize(
    ("harm", "field", "expected", "found"),
    [
        (truncate, "length", "a whole file", None),
        (swap_sides, "size", "48×40, as in its .tka file", "40×48 (turned on its side)"),
        (shrink, "size", "48×40, as in its .tka file", "24×20"),
        (make_grey, "channels", "RGB, from a colour camera", "grey"),
        (copy_as_bmp, "frame 11, MCU_02", "one file", "flat.000011.02_C.bmp, flat.000011.02_C.png"),
        (lambda path: path.write_bytes(b""), "size", "at least one byte", "an empty file"),
    ],
    ids=["truncated", "turned", "small", "grey", "twice", "empty"],
)
def test_a_bad_image_costs_one_image(
    place: Place, harm: Callable[[Path], object], field: str, expected: str, found: str | None
) -> None:
    harm(place.file("flat/flat.000011.02_C.png"))
    index = place.index()
    (item,) = index.quarantined
    assert (item.gesture, item.raw_frame, item.whole_capture) == ("flat", 11, False)
    assert item.source.startswith("0001/flat")
    assert (item.field, item.expected) == (field, expected)
    assert found is None or item.found == found
    assert index.captures[1].image("MCU_02") is None
    assert len(index.captures[1].images) == 8
    assert place.ingest().figures["cameras_absent"] == "MCU_02 ×1"


def test_a_missing_camera_is_absent_not_an_error(place: Place) -> None:
    for path in place.raw.glob("0001/*/*.02_A.png"):
        path.unlink()
    index = place.index()
    assert not index.quarantined
    assert place.ingest().figures["cameras_absent"] == "MCU_02_A ×3"


def test_images_of_a_camera_without_calibration_are_set_aside(place: Place) -> None:
    (place.raw / "calibrations" / "rig_a" / "02_A.tka").write_text("damaged")
    index = place.index()
    assert {(item.field, item.found, item.whole_capture) for item in index.quarantined} == {
        ("camera", "MCU_02_A", False)
    }
    assert len(index.captures) == 3


def scale_scan(place: Place, factor: float) -> None:
    path = place.file("flat/flat.000011.obj")
    lines = path.read_text().splitlines()
    scaled = [
        f"v {' '.join(str(factor * float(word)) for word in line.split()[1:])}" if line.startswith("v ") else line
        for line in lines
    ]
    path.write_text("\n".join(scaled) + "\n")


def rename_gesture(place: Place) -> None:
    for path in place.file("flat").iterdir():
        path.rename(path.with_name(path.name.replace("flat", "flap", 1)))
    place.file("flat").rename(place.file("flap"))


def remove_colour(place: Place) -> None:
    for pod in ("02", "03"):
        place.file(f"flat/flat.000011.{pod}_C.png").unlink()


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda place: place.file("flat/flat.000011.obj").unlink(), "scan: expected one file, found none"),
        (lambda place: place.file("flat/flat.000011.obj").write_bytes(b""), "empty"),
        (lambda place: place.file("flat/flat.000011.ply").write_bytes(b"x"), "found flat.000011.obj, flat.000011.ply"),
        (lambda place: scale_scan(place, 3.0), "unit: expected one unit"),
        (rename_gesture, "a row for 'flap'"),
        (remove_colour, "2 usable colour images or more, found 1"),
    ],
    ids=["no-scan", "empty-scan", "two-scans", "odd-unit", "unknown-gesture", "one-colour-image"],
)
def test_a_bad_capture_costs_one_capture(place: Place, harm: Callable[[Place], object], message: str) -> None:
    harm(place)
    index = place.index()
    assert len(index.captures) == 2
    (item,) = (item for item in index.quarantined if item.whole_capture)
    assert message in f"{item.field}: expected {item.expected}, found {item.found}"


def test_the_same_scan_again_is_a_duplicate_frame(place: Place) -> None:
    for path in list(place.file("flat").iterdir()):
        shutil.copy(path, path.with_name(path.name.replace("000011", "000012")))
    index = place.index()
    assert [item.raw_frame for item in index.captures if item.gesture == "flat"] == [11]
    (item,) = (item for item in index.quarantined if item.whole_capture)
    assert (item.raw_frame, item.field, item.found) == (12, "content", "that of flat 11")


def test_a_damaged_texture_costs_the_texture(place: Place) -> None:
    truncate(place.file("flat/flat.000011_tex.png"))
    index = place.index()
    assert index.captures[1].scan.texture is None
    assert [(item.source, item.whole_capture) for item in index.quarantined] == [
        ("0001/flat/flat.000011_tex.png", False)
    ]


def test_a_texture_out_of_the_folder_costs_the_capture(place: Place) -> None:
    place.file("flat/flat.000011.mtl").write_text("map_Kd ../../subjects.csv\n")
    assert [item.field for item in place.aside() if item.whole_capture] == ["texture"]


def test_stray_files_are_told(place: Place) -> None:
    place.file("flat/flat.12.01_C.png").write_bytes(b"x")
    place.file("notes.txt").write_bytes(b"x")
    place.file("Fist").mkdir()
    assert [(item.gesture, item.source, item.field) for item in place.aside()] == [
        ("", "0001/notes.txt", "file name"),
        ("Fist", "0001/Fist", "file name"),
        ("flat", "0001/flat/flat.12.01_C.png", "file name"),
    ]


def test_a_session_without_a_usable_capture_still_gives_its_reasons(place: Place) -> None:
    for path in place.raw.glob("0001/*/*.obj"):
        path.unlink()
    for path in place.raw.glob("0001/*/*.ply"):
        path.unlink()
    index = place.index()
    assert not index.captures
    assert sum(item.whole_capture for item in index.quarantined) == 3
    assert place.ingest().picture is None


def test_reasons_name_no_place_of_this_machine(place: Place) -> None:
    for path in place.raw.glob("0001/*/*"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    text = (place.workspace.output(STAGE, "0001") if place.ingest() else Path()).joinpath("index.json").read_text()
    assert str(place.raw.parent) not in text
    assert json.loads(text)["quarantined"]


def test_a_failing_disk_is_nobodys_fault(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = place.file("flat/flat.000011.02_C.png")
    real = Path.open

    def broken(self: Path, *args: object, **kwargs: object) -> object:
        if self == victim:
            raise OSError(5, "Input/output error")
        return real(self, *args, **kwargs)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", broken)
        with pytest.raises(StoreError, match="Input/output error"):
            place.ingest()
    assert len(place.index().captures[1].images) == 9


def test_an_index_that_was_damaged_says_so(place: Place) -> None:
    place.ingest()
    (place.workspace.output(STAGE, "0001") / "index.json").write_text("{}")
    with pytest.raises(IntegrityError, match="capture index"):
        load_index(place.workspace, "0001")


def test_the_factory_and_ingest_agree_on_every_count(tmp_path: Path) -> None:
    session: RawSession = write_raw_session(
        tmp_path / "raw", gestures=1, mono=False, pods=2, portrait_pod=None, image_size=(48, 40)
    )
    settings = Settings(raw=session.raw, workspace=tmp_path / "workspace")
    report = ingest_subject("0001", Workspace(settings.workspace), settings)
    assert report.figures["images"] == len(session.cameras)
    assert report.figures["scan_faces"] == len(session.surfaces["0001", "flat"].faces)
