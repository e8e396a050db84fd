"""Where the rig puts things: a subject's folder, its gestures' folders, and how files are called.

    <raw>/<subject_id>/session.json
    <raw>/<subject_id>/<gesture>/<gesture>.<frame:06d>.NN_X.{png,bmp,tif,jpg}
    <raw>/<subject_id>/<gesture>/<gesture>.<frame:06d>.{obj,ply}  (+ .mtl and texture image)

Names are read, contents are not. Links that lead out of the raw root are refused.
"""

import hashlib
import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from palm_data.capture.raw_files import is_inside
from palm_data.capture.tables import SESSION_FILE
from schemas.errors import BadInputError
from schemas.ids import CameraId, SubjectId, camera_id_from_raw

_SUBJECT = re.compile(r"^\d{4}$")
_SLUG = re.compile(r"^[a-z0-9]+(_[a-z0-9]+)*$")
_IMAGE = re.compile(r"^(?P<gesture>.+)\.(?P<frame>\d{6})\.(?P<camera>\d{2}_[ABC])\.(?:png|bmp|tiff?|jpe?g)$", re.I)
_SCAN = re.compile(r"^(?P<gesture>.+)\.(?P<frame>\d{6})\.(?:obj|ply)$", re.I)
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class CaptureFiles:
    """The files of one capture, by name."""

    gesture: str
    raw_frame: int
    images: dict[CameraId, tuple[Path, ...]]
    """More than one: the camera delivered several for the same frame."""
    scans: tuple[Path, ...]


@dataclass(frozen=True)
class MisplacedFile:
    """A file or folder that belongs to no capture."""

    gesture: str
    error: BadInputError


@dataclass(frozen=True)
class SessionFiles:
    """All files of a subject's session."""

    captures: tuple[CaptureFiles, ...]
    """Sorted by gesture and raw frame."""
    companions: dict[str, tuple[Path, ...]]
    """By gesture: files that are neither image nor scan; a scan may name them."""
    misplaced: tuple[MisplacedFile, ...]


def raw_subjects(raw: Path) -> list[SubjectId]:
    """The subjects who have a folder, sorted; consent and contents are not looked at.

    Raises:
        BadInputError: if there is no such raw root.
    """
    if not raw.is_dir():
        raise BadInputError(
            raw, field="raw root", expected="a folder of raw sessions", found="none", hint="Give it with --raw."
        )
    return sorted(path.name for path in raw.iterdir() if _SUBJECT.match(path.name) and path.is_dir())


def find_files(raw: Path, subject_id: SubjectId) -> SessionFiles:
    """Sort a subject's files into captures by their names.

    Raises:
        BadInputError: if the subject has no folder inside the raw root.
    """
    folder = raw / subject_id
    if not folder.is_dir() or not is_inside(folder, raw):
        raise BadInputError(folder, field="folder", expected="a folder inside the raw root", found="none")
    captures: list[CaptureFiles] = []
    companions: dict[str, tuple[Path, ...]] = {}
    misplaced: list[MisplacedFile] = []
    for path in _visible(folder):
        if path.is_dir():
            if not _SLUG.match(path.name) or not is_inside(path, raw):
                expected = "a gesture's folder: lower case, digits and single underscores, inside the raw root"
                misplaced.append(_misplaced(path, path.name, expected))
                continue
            captures += _gesture_captures(raw, path, companions, misplaced)
        elif path.name != SESSION_FILE:
            misplaced.append(_misplaced(path, "", f"{SESSION_FILE} and gesture folders"))
    return SessionFiles(tuple(captures), companions, tuple(misplaced))


def listing_digest(folder: Path) -> str:
    """Digest over path, size and time of change of every file below a folder; links are described, not followed."""
    rows = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            status = path.stat() if path.exists() else path.lstat()
            rows.append([path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def _visible(folder: Path) -> list[Path]:
    """The folder's entries, sorted, without what operating systems leave about."""
    return sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES
    )


def _misplaced(path: Path, gesture: str, expected: str) -> MisplacedFile:
    return MisplacedFile(gesture, BadInputError(path, field="file name", expected=expected, found=path.name))


def _gesture_captures(
    raw: Path, folder: Path, companions: dict[str, tuple[Path, ...]], misplaced: list[MisplacedFile]
) -> list[CaptureFiles]:
    gesture = folder.name
    images: dict[int, dict[CameraId, list[Path]]] = defaultdict(lambda: defaultdict(list))
    scans: dict[int, list[Path]] = defaultdict(list)
    others: list[Path] = []
    for path in _visible(folder):
        if path.is_symlink() and not is_inside(path, raw):
            misplaced.append(_misplaced(path, gesture, "a file inside the raw root, not a link out of it"))
            continue
        image, scan = _IMAGE.match(path.name), _SCAN.match(path.name)
        match = image or scan
        if path.is_dir():
            continue
        if match is None:
            others.append(path)
        elif match["gesture"] != gesture:
            misplaced.append(_misplaced(path, gesture, f"{gesture}.<frame>…, as the folder is called"))
        elif image is not None:
            images[int(image["frame"])][camera_id_from_raw(image["camera"].upper())].append(path)
        else:
            scans[int(match["frame"])].append(path)
    companions[gesture] = tuple(others)
    return [
        CaptureFiles(
            gesture=gesture,
            raw_frame=frame,
            images={camera: tuple(paths) for camera, paths in sorted(images.get(frame, {}).items())},
            scans=tuple(scans.get(frame, ())),
        )
        for frame in sorted(images.keys() | scans.keys())
    ]
