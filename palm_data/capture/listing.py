"""The listing of a subject's raw session: what was delivered, before anything of it is judged."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from palm_data.capture.images import read_image
from palm_data.capture.tables import read_subjects
from palm_data.report.pictures import BAD, contact_sheet, fit_within, framed, write_png
from palm_data.store.places import place_at
from palm_data.store.withdrawals import require_consent
from palm_data.store.workspace import StageReport, Workspace
from schemas.capture import Consent
from schemas.errors import BadInputError, ConsentError
from schemas.ids import SubjectId
from schemas.settings import IngestSettings, Settings

STAGE = "raw_session"
CODE_VERSION = "1"

_CAMERA_IMAGE = re.compile(r"\.\d{2}_[ABC]\.(png|jpe?g|bmp|tiff?)$", re.IGNORECASE)
_COLOUR_IMAGE = re.compile(r"\.(\d{2})_C\.[A-Za-z]+$")
_TILE_PX = 300


class ListedFile(BaseModel):
    """A file of a raw session, as the file system describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(description="Relative to the subject's folder, forward slashes.")]
    bytes: Annotated[int, Field(ge=0, description="Size, bytes.")]
    changed_ns: Annotated[int, Field(description="Time of the last change, nanoseconds since 1970.")]


def list_session(subject_id: SubjectId, workspace: Workspace, settings: Settings) -> StageReport:
    """List what the rig delivered for a subject, with a picture of the first capture's colour images.

    Raises:
        ConsentError: if the subject withdrew consent; no file of theirs is opened.
        BadInputError: if there is no such folder, or nothing in it, or no row of the subject.
    """
    person = read_subjects(settings.raw).row(subject_id)
    if person.consent is not Consent.GRANTED:
        raise ConsentError(f"subject {subject_id}: consent: expected granted, found {person.consent}.")
    require_consent(place_at(settings.releases), [subject_id])
    folder = settings.raw / subject_id
    files = listed_files(folder)
    if not files:
        raise BadInputError(
            folder, field="session", expected="a folder with files", found="none", hint="Copy it from the rig."
        )
    listing = json.dumps([item.model_dump() for item in files], separators=(",", ":")).encode()

    def work(output: Path) -> None:
        (output / "files.json").write_bytes(listing)
        (output / "figures.json").write_text(json.dumps(_figures(files), indent=1))
        _write_picture(folder, files, settings.ingest, output / "picture.png")

    return workspace.run_stage(
        STAGE,
        subject_id,
        code_version=CODE_VERSION,
        settings={"max_image_pixels": settings.ingest.max_image_pixels},
        inputs={"listing": hashlib.sha256(listing).hexdigest()},
        work=work,
    )


def listed_files(folder: Path) -> tuple[ListedFile, ...]:
    """Every regular file below a folder, sorted by path; links are not followed."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                relative = path.relative_to(folder).as_posix()
                found.append(ListedFile(path=relative, bytes=status.st_size, changed_ns=status.st_mtime_ns))
    return tuple(sorted(found, key=lambda item: item.path))


def _figures(files: tuple[ListedFile, ...]) -> dict[str, int]:
    images = sum(_CAMERA_IMAGE.search(item.path) is not None for item in files)
    scans = sum(item.path.lower().endswith((".obj", ".ply")) for item in files)
    return {
        "gesture_folders": len({item.path.split("/")[0] for item in files if "/" in item.path}),
        "images": images,
        "scans": scans,
        "other_files": len(files) - images - scans,
        "files": len(files),
        "bytes": sum(item.bytes for item in files),
    }


def _write_picture(folder: Path, files: tuple[ListedFile, ...], limits: IngestSettings, output: Path) -> None:
    """The first capture's colour images; one that cannot be read is a red tile."""
    colour = [item.path for item in files if _COLOUR_IMAGE.search(item.path)]
    first = [path for path in colour if path.rsplit(".", 2)[0] == colour[0].rsplit(".", 2)[0]]
    tiles, labels = [], []
    for path in first:
        try:
            tile = fit_within(read_image(folder / path, max_pixels=limits.max_image_pixels), _TILE_PX, _TILE_PX)
        except BadInputError:
            tile = framed(np.zeros((_TILE_PX, _TILE_PX), dtype=np.uint8), BAD)
        tiles.append(tile)
        labels.append(path.rsplit(".", 2)[1])
    if tiles:
        write_png(output, contact_sheet(tiles, labels, 4, tile_px=_TILE_PX))
