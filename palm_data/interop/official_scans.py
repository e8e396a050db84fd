"""Scans of an official release: files whose form, names and unit nobody has written down.

A scan is an .obj or .ply; its capture is the last number in its name, or in its folder's name; its unit is the one in which
it is as large as a hand and lies inside the images. A subject's scans are imported if every capture has one.
"""

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import zarr

from palm_data.capture.raw_files import read_bounded
from palm_data.capture.scan import SCAN_SUFFIXES, ScanMesh, read_scan
from palm_data.capture.units import metres_per_unit
from palm_data.interop.official_source import SubjectSource
from palm_data.interop.zip_files import ZipFiles
from palm_data.store.files import LocalFiles
from palm_data.store.scans import write_scans
from schemas.camera import Camera
from schemas.capture import CaptureRecord, RawFile, ScanRecord
from schemas.errors import BadInputError
from schemas.settings import Settings

_NUMBERS = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class ScanFile:
    """A scan that was imported."""

    path: str
    """Relative to the folder or archive of scans."""
    sha256: str
    vertices: int
    faces: int


@dataclass(frozen=True)
class Meshes:
    """The scans that lie beside a subject."""

    source: SubjectSource
    cameras: Sequence[Camera]
    numbers: Sequence[int]
    """The captures' file numbers."""
    settings: Settings
    met: list[str]
    """What was set aside is noted here."""

    def write(self, group: zarr.Group, scratch: Path) -> Mapping[int, ScanFile]:
        """Write the captures' scans into the subject's group; file number → what was written, nothing if not all are there.

        Args:
            scratch: where an archive of scans may be unpacked for the while.
        """
        if self.source.meshes is None:
            self.met.append("meshes: none beside the subject: its captures have no scan")
            return {}
        try:
            with _unpacked(self.source.meshes, scratch) as folder:
                records = self._records(folder)
                if len(records) < len(self.numbers):
                    found = f"{len(records)} of {len(self.numbers)}"
                    self.met.append(f"meshes: usable scans of {found} captures: none was imported")
                    return {}
                sizes = write_scans(group, records, folder, self.settings)
        except BadInputError as error:
            self.met.append(
                f"meshes: {error.field}: expected {error.expected}, found {error.found}: no scan was imported"
            )
            return {}
        return {
            number: ScanFile(record.scan.mesh.path, record.scan.mesh.sha256, size.vertices, size.faces)
            for number, record, size in zip(self.numbers, records, sizes, strict=True)
        }

    def _records(self, folder: Path) -> list[CaptureRecord]:
        found = self._files(folder)
        records = []
        for number in self.numbers:
            if number not in found:
                self.met.append(f"meshes: none for file {number:06d}")
                continue
            try:
                scan = _scan(folder, found[number], self.cameras, self.settings)
            except BadInputError as error:
                self.met.append(
                    f"meshes/{found[number]}: {error.field}: expected {error.expected}, found {error.found}"
                )
                continue
            records.append(
                CaptureRecord(
                    subject_id=self.source.subject_id, frame=number, gesture="unknown", raw_frame=number,
                    calibration_id=self.cameras[0].calibration_id, images=(), scan=scan,
                )
            )  # fmt: skip
        return records

    def _files(self, folder: Path) -> dict[int, str]:
        """File number → scan."""
        files = LocalFiles(folder)
        found: dict[int, str] = {}
        for path in sorted(one for one in files.paths() if one.lower().endswith(SCAN_SUFFIXES)):
            number = _number(path)
            if number is None or number not in self.numbers or found.setdefault(number, path) != path:
                self.met.append(f"meshes/{path}: not one of the captures', or a second one; not read")
        return found


def _scan(folder: Path, path: str, cameras: Sequence[Camera], settings: Settings) -> ScanRecord:
    mesh: ScanMesh = read_scan(folder / path, limits=settings.ingest)
    return ScanRecord(
        mesh=_raw_file(folder, folder / path, settings),
        material=None if mesh.material is None else _raw_file(folder, mesh.material, settings),
        texture=None if mesh.texture is None else _raw_file(folder, mesh.texture, settings),
        metres_per_unit=metres_per_unit(mesh, cameras, folder / path),
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
    )


def _raw_file(folder: Path, path: Path, settings: Settings) -> RawFile:
    content = read_bounded(path, max_bytes=settings.ingest.max_scan_bytes)
    name = path.relative_to(folder).as_posix()
    return RawFile(path=name, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def _number(path: str) -> int | None:
    plain = PurePosixPath(path)
    for name in (plain.stem, plain.parent.name):
        if numbers := _NUMBERS.findall(name):
            return int(numbers[-1][-9:])
    return None


@contextmanager
def _unpacked(place: Path, scratch: Path) -> Iterator[Path]:
    """The folder of scans, or that of an archive, unpacked for the while; its names were checked, its sizes are bounded."""
    if place.is_dir():
        yield place
        return
    files = ZipFiles(place)
    with TemporaryDirectory(prefix=".scans.", dir=scratch) as name:
        for path in files.paths():
            content = files.read(path)
            target = Path(name) / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as stream:
                    stream.write(content)
            except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
                raise BadInputError(
                    place, field=path, expected="files that may lie in one folder", found=error.strerror or "others"
                ) from error
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                raise BadInputError(
                    place, field=path[:80], expected="a name that a disk can hold", found=f"{len(path)} characters"
                ) from error
        yield Path(name)
