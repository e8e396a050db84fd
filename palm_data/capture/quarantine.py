"""What is set aside, and why; in words that do not depend on where the raw root lies."""

from pathlib import Path

from schemas.capture import Quarantined
from schemas.errors import BadInputError
from schemas.ids import SubjectId


def set_aside(
    error: BadInputError, *, raw: Path, subject_id: SubjectId, gesture: str, raw_frame: int | None, whole_capture: bool
) -> Quarantined:
    """The record of something that was refused."""
    return Quarantined(
        subject_id=subject_id,
        gesture=gesture,
        raw_frame=raw_frame,
        source=relative_source(raw, error.source),
        field=error.field,
        expected=error.expected,
        found=error.found,
        whole_capture=whole_capture,
    )


def relative_source(raw: Path, source: Path | str) -> str:
    """A file's path relative to the raw root, with forward slashes; other sources as they are."""
    path = Path(source)
    return path.relative_to(raw).as_posix() if path.is_relative_to(raw) else str(source)
