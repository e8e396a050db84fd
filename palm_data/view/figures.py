"""The text beside the scene: whose capture it is, and how good its labels are."""

from html import escape

from palm_data.view.scene import Scene
from palm_data.view.selection import Entry
from schemas.quality import QualityRow
from schemas.release import SubjectRow

_PARTS = (
    ("score", "Score (0 to 1)", "{:.3f}"),
    ("coverage", "Joints triangulated", "{:.0%}"),
    ("reprojection_px", "Reprojection", "{:.2f} px"),
    ("fit_mm", "Joints: fit to triangulated", "{:.2f} mm"),
    ("model_to_scan_mm", "Hand to scan", "{:.2f} mm"),
    ("scan_to_model_mm", "Scan to hand", "{:.2f} mm"),
    ("silhouette_iou", "Silhouette overlap", "{:.3f}"),
    ("capture_iou", "Scan against images", "{:.3f}"),
)
_GOOD, _BAD = "#51cf66", "#ff8787"
_LINE = '<div style="padding: 0 0.9em 0.5em; font-size: 0.85em; line-height: 1.45">'


def page_text(entry: Entry, person: SubjectRow, scene: Scene, position: tuple[int, int]) -> str:
    """HTML; whatever comes from a table is escaped."""
    at, of = position
    missing = [one.camera_id for one in scene.cameras if one.image is None]
    joints = 0 if scene.joints is None else int((scene.joints[:, 0] != scene.joints[:, 0]).sum())
    notes = [
        scene.no_hand,
        f"No image of {', '.join(missing)}." if missing else "",
        f"{joints} joints are missing." if joints else "",
        "The scan has no texture." if scene.scan_glb is None else "",
    ]
    height = person.height_band and f"{person.height_band} cm"
    parts = [
        f"<b>Subject {escape(entry.subject_id)}, {escape(entry.gesture)}</b> (frame {entry.frame})",
        escape(
            ", ".join(filter(None, (person.sex, person.age_band, height, person.skin_tone)))
            or "Nothing is known of them"
        ),
        f"Split {escape(entry.split)} · capture {at} of {of}",
        *(escape(note) for note in notes if note),
    ]
    return f"{_LINE}{'<br>'.join(parts)}{'' if scene.quality is None else _quality(scene.quality)}</div>"


def nothing_text() -> str:
    """What to say if no capture passes the filters."""
    return f"{_LINE}<b>No capture passes these filters.</b></div>"


def error_text(entry: Entry, error: Exception) -> str:
    """What to say of a capture that cannot be read."""
    name = f"Subject {escape(entry.subject_id)}, {escape(entry.gesture)}"
    return f'{_LINE}<b>{name}</b> (frame {entry.frame})<div style="color: {_BAD}">{escape(str(error))}</div></div>'


def _quality(row: QualityRow) -> str:
    values = [(label, getattr(row, name), form) for name, label, form in _PARTS]
    lines = "".join(
        f'<tr><td>{escape(label)}</td><td style="text-align: right">{"–" if value is None else form.format(value)}</td></tr>'
        for label, value, form in values
    )
    colour, verdict = (_GOOD, "Quality ok") if row.quality_ok else (_BAD, "Quality not ok")
    reasons = f"<div>{escape(row.reasons)}</div>" if row.reasons else ""
    return (
        f'<div style="margin-top: 0.4em; color: {colour}"><b>{verdict}</b></div>{reasons}'
        f'<table style="width: 100%; border-collapse: collapse">{lines}</table>'
    )
