"""A wrong camera is named as a camera, a wrong scan as a capture, a wrong image as a view; the others are judged."""

from datetime import UTC, date, datetime

from palm_data.calibration.verification import CameraCheck, Status, Verification
from palm_data.maps.views import ViewRow
from palm_data.quality.finding import GateFinding
from palm_data.quality.silhouettes import silhouette_findings
from schemas.capture import CaptureIndex, CaptureRecord, Consent, ImageRecord, RawFile, ScanRecord, Session, Subject
from schemas.settings import QualitySettings

SUBJECT, CAMERAS, CAPTURES = "0007", 7, 3
GOOD = 0.97


def camera_id(number: int) -> str:
    return f"MCU_{number:02d}"


def file(name: str) -> RawFile:
    return RawFile(path=f"{SUBJECT}/flat/{name}", bytes=1, sha256="0" * 64)


def capture(frame: int) -> CaptureRecord:
    images = tuple(
        ImageRecord(
            subject_id=SUBJECT, frame=frame, camera_id=camera_id(number), raw=file(f"flat.{frame:06d}.{number:02d}_C.png"),
            raw_width=4, raw_height=4,
        )
        for number in range(1, CAMERAS + 1)
    )  # fmt: skip
    scan = ScanRecord(mesh=file(f"flat.{frame:06d}.ply"), metres_per_unit=1.0, vertices=3, faces=1)
    return CaptureRecord(
        subject_id=SUBJECT, frame=frame, gesture="flat", raw_frame=frame, calibration_id="rig_a", images=images, scan=scan
    )  # fmt: skip


INDEX = CaptureIndex(
    subject=Subject(
        subject_id=SUBJECT, sex="female", age_band="31-40", height_band="171-180", skin_tone="tan",
        consent=Consent.GRANTED, consent_date=date(2026, 1, 2),
    ),
    session=Session(calibration_id="rig_a", captured_at=datetime(2026, 1, 3, tzinfo=UTC), rig_serial="T"),
    gestures=(),
    captures=tuple(capture(frame) for frame in range(1, CAPTURES + 1)),
    quarantined=(),
)  # fmt: skip


def verification(flagged: set[int]) -> Verification:
    def check(number: int) -> CameraCheck:
        status: Status = "flagged" if number in flagged else "agrees"
        return CameraCheck(
            camera_id=camera_id(number), status=status, views=3, silhouette_iou=0.6, contour_offset_px=3.0, motion_px=8.0,
            max_contour_offset_px=1.5, max_motion_px=0.6, roll_deg=0.0,
            reason="contour motion 8.00 px > 0.60 px" if number in flagged else "",
        )  # fmt: skip

    cameras = tuple(check(number) for number in range(1, CAMERAS + 1))
    return Verification(calibration_id="rig_a", cameras=cameras, views=(), problems=())


def findings(wrong: dict[tuple[int, int], float | None], *, flagged: set[int] | None = None) -> dict[str, GateFinding]:
    """The findings with every view good but those (frame, camera)."""
    rows = [
        ViewRow(
            frame=frame, camera_id=camera_id(number), mask_px=9, silhouette_iou=wrong.get((frame, number), GOOD),
            contour_offset_px=None,
        )
        for frame in range(1, CAPTURES + 1)
        for number in range(1, CAMERAS + 1)
    ]  # fmt: skip
    found = silhouette_findings(INDEX, rows, verification(flagged or set()), QualitySettings())
    return {item.name: item for item in found}


def failing(found: dict[str, GateFinding]) -> set[str]:
    return {name for name, item in found.items() if not item.passed}


def test_nothing_is_named_where_nothing_is_wrong() -> None:
    assert failing(findings({})) == set()


def test_an_image_without_a_hand_is_named_by_its_file_and_costs_nobody_anything() -> None:
    found = findings({(2, 3): 0.1})
    assert failing(found) == {"silhouette_iou_view"}
    assert found["silhouette_iou_view"].detail == "frame 2 MCU_03: 0.100, 0007/flat/flat.000002.03_C.png"
    assert found["silhouette_iou_mean"].found == f"{GOOD:.4f}"


def test_half_a_scan_is_named_by_its_file_and_costs_one_capture() -> None:
    found = findings({(2, number): 0.6 for number in range(1, CAMERAS + 1)})
    assert failing(found) == {"silhouette_iou_view", "silhouette_iou_capture"}
    named = found["silhouette_iou_capture"]
    assert (named.detail, named.blocking) == ("frame 2: 0.600, 0007/flat/flat.000002.ply", False)
    assert found["silhouette_iou_mean"].found == f"{GOOD:.4f}"


def test_a_capture_of_which_nothing_could_be_measured_is_named() -> None:
    found = findings({(2, number): None for number in range(1, CAMERAS + 1)})
    assert failing(found) == {"silhouette_iou_capture"}
    assert found["silhouette_iou_capture"].detail == "frame 2: not measured, 0007/flat/flat.000002.ply"


def test_half_scans_of_most_captures_keep_the_subject_out() -> None:
    found = findings({(frame, number): 0.6 for frame in (1, 2) for number in range(1, CAMERAS + 1)})
    assert (found["silhouette_iou_mean"].passed, found["silhouette_iou_mean"].found) == (False, "0.7233")
    assert "0007/flat/flat.000001.ply" in found["silhouette_iou_capture"].detail


def test_a_moved_camera_is_named_by_its_calibration_file_and_not_held_against_the_scans() -> None:
    found = findings({(frame, 4): 0.5 for frame in range(1, CAPTURES + 1)}, flagged={4})
    assert failing(found) == {"cameras_flagged", "silhouette_iou_view"}
    named = found["cameras_flagged"]
    assert named.detail == "calibrations/rig_a/04_C.tka: contour motion 8.00 px > 0.60 px"
    assert (named.found, named.blocking) == ("MCU_04", False)
    assert found["silhouette_iou_mean"].found == f"{GOOD:.4f}"


def test_too_many_moved_cameras_keep_the_subject_out() -> None:
    wrong = {(frame, number): 0.5 for frame in range(1, CAPTURES + 1) for number in (1, 2, 3)}
    assert findings(wrong, flagged={1, 2, 3})["cameras_flagged"].blocking
    assert not findings(wrong, flagged={1, 2})["cameras_flagged"].blocking


def test_all_cameras_flagged_measure_nothing_and_block() -> None:
    found = findings({}, flagged=set(range(1, CAMERAS + 1)))
    assert (found["silhouette_iou_mean"].passed, found["silhouette_iou_mean"].blocking) == (False, True)
    assert found["silhouette_iou_mean"].found == "no view could be measured"


def test_no_good_capture_blocks_with_the_mean_of_all() -> None:
    found = findings({(frame, n): 0.2 for frame in range(1, CAPTURES + 1) for n in range(1, CAMERAS + 1)})
    assert (found["silhouette_iou_mean"].passed, found["silhouette_iou_mean"].found) == (False, "0.2000")
