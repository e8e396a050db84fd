"""Where an official release lies on a disk: subjects as folders or as zip archives, in each of the documented layouts.

<path>/folders/0000/…, <path>/zips/0000.zip, <path>/zips/0000/…, <path>/0000.zip, <path>/0000/…; or one subject's folder
or archive. An archive's root is where its `cameras.npy` is. Scans lie in meshes/0000.zip or meshes/0000/ beside them, or in
XR20A beside XR20B. What the public documents leave open is met with tolerance, and noted.
"""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from palm_data.interop.official_layout import CAMERAS_FILE, FOLDERS, QUALITY_FILE
from palm_data.interop.zip_files import ZipFiles
from palm_data.store.atomic import file_sha256
from palm_data.store.files import LocalFiles
from schemas.errors import BadInputError
from schemas.ids import Sha256, SubjectId

CHECKSUMS_FILE = "gt_checksums.json"
_PLACES = (FOLDERS, "zips", "")
_VERSIONS = ("XR20A", "XR20B")
_KNOWN = {*_PLACES, "meshes", QUALITY_FILE, CHECKSUMS_FILE, "scan_ids.txt", "MCU_04_env.exr"}
_SUBJECT = re.compile(r"[0-9]{4}")


@dataclass(frozen=True)
class SubjectSource:
    """One subject's files, and their scans if there are any."""

    subject_id: SubjectId
    place: Path
    """Their folder, or archive."""
    meshes: Path | None

    def files(self) -> LocalFiles | ZipFiles:
        """The files below the folder that holds `cameras.npy`.

        Raises:
            BadInputError: if there is none, or the archive will not do.
        """
        if self.place.is_dir():
            return LocalFiles(self.place)
        files = ZipFiles(self.place)
        roots = [path.removesuffix(CAMERAS_FILE) for path in files.paths() if PurePosixPath(path).name == CAMERAS_FILE]
        if len(roots) != 1:
            raise BadInputError(self.place, field=CAMERAS_FILE, expected="one in the archive", found=len(roots))
        return files.below(roots[0])

    def digest(self) -> Sha256:
        """SHA-256 of the archive, or of a folder's files and names; of the scans too."""
        parts = [_digest(place) for place in (self.place, self.meshes) if place is not None]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


@dataclass(frozen=True)
class OfficialSource:
    """An official release, or part of one."""

    root: Path
    subjects: tuple[SubjectSource, ...]
    quality: Path | None
    checksums: Path | None
    met: tuple[str, ...] = field(default=())
    """What the documents do not speak of."""


def find_official(path: Path) -> OfficialSource:
    """Look for subjects, scans, errors and checksums; nothing is opened yet.

    Raises:
        BadInputError: if there is no subject, or several versions to choose from.
    """
    path = path.expanduser().absolute()
    inner = [path / name for name in _VERSIONS if (path / name).is_dir()]
    if (path / "PALM").is_dir():
        return find_official(path / "PALM")
    if len(inner) == 1 and not (path / FOLDERS).is_dir():
        return find_official(inner[0])
    if inner:
        names = " and ".join(one.name for one in inner)
        raise BadInputError(path, field="versions", expected=f"one version's folder, such as {inner[0]}", found=names)
    if (path / CAMERAS_FILE).is_file() or path.suffix == ".zip":
        return _one(path)
    places: dict[SubjectId, Path] = {}
    met: list[str] = []
    for folder in (path / name for name in _PLACES):
        for place in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _is_subject(place) and places.setdefault(_name(place), place) != place:
                met.append(f"{place.relative_to(path)}: subject {_name(place)} is there twice; the other one was taken")
    if not places:
        expected = f"{FOLDERS}/NNNN, zips/NNNN.zip, NNNN.zip or NNNN"
        raise BadInputError(path, field="subjects", expected=expected, found="none" if path.is_dir() else "no folder")
    met += [f"{one.name}: not known, not read" for one in sorted(path.iterdir()) if not _is_known(one)]
    subjects = tuple(SubjectSource(name, places[name], _meshes(path, name)) for name in sorted(places))
    return OfficialSource(path, subjects, _quality(path), _first(path, CHECKSUMS_FILE), tuple(met))


def _one(path: Path) -> OfficialSource:
    if not _is_subject(path):
        raise BadInputError(path, field="name", expected="four digits: the subject", found=path.name)
    root = path.parent.parent if path.parent.name in _PLACES else path.parent
    subject = SubjectSource(_name(path), path, _meshes(root, _name(path)))
    return OfficialSource(root, (subject,), _quality(root), _first(root, CHECKSUMS_FILE))


def _name(place: Path) -> str:
    return place.stem if place.suffix == ".zip" else place.name


def _is_subject(place: Path) -> bool:
    return bool(_SUBJECT.fullmatch(_name(place))) and (place.is_dir() or (place.suffix == ".zip" and place.is_file()))


def _is_known(place: Path) -> bool:
    return place.name in _KNOWN or place.name.startswith(("palm_", ".")) or _is_subject(place) or _is_quality(place)


def _is_quality(place: Path) -> bool:
    return place.suffix == ".npy" and place.name.startswith("quality_dict")


def _quality(root: Path) -> Path | None:
    found = sorted(place for place in root.glob("*.npy") if _is_quality(place))
    return found[-1] if found else None


def _first(root: Path, name: str) -> Path | None:
    return next((folder / name for folder in (root, root.parent) if (folder / name).is_file()), None)


def _meshes(root: Path, subject_id: SubjectId) -> Path | None:
    homes = [root / "meshes", root.parent / _VERSIONS[0] / "meshes"]
    places = [home / name for home in homes for name in (subject_id, f"{subject_id}.zip")]
    return next((place for place in places if place.exists()), None)


def _digest(place: Path) -> Sha256:
    if place.is_file():
        return file_sha256(place)
    files = LocalFiles(place)
    names = sorted(path for path in files.paths() if files.size(path) is not None)
    lines = [f"{file_sha256(place / name)} {name}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
