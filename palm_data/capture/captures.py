"""One capture: its scan and images validated, hashed and recorded; each image read and decoded once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from palm_data.camera.turn import turn_image
from palm_data.capture.images import as_camera_delivers, decode_image, max_image_bytes, read_image
from palm_data.capture.layout import CaptureFiles
from palm_data.capture.quarantine import relative_source, set_aside
from palm_data.capture.raw_files import read_bounded
from palm_data.capture.scan import ScanMesh, non_manifold_edges, read_scan
from palm_data.capture.tables import RowTable
from palm_data.capture.units import metres_per_unit
from palm_data.report.pictures import fit_within
from palm_data.store.atomic import file_sha256
from schemas.camera import Camera
from schemas.capture import CaptureRecord, Gesture, ImageRecord, Quarantined, RawFile, ScanRecord, Session
from schemas.errors import BadInputError, StoreError
from schemas.ids import CameraId, SubjectId, is_colour_camera
from schemas.settings import IngestSettings

MIN_COLOUR_IMAGES = 2
THUMBNAIL_PX = 240


@dataclass(frozen=True)
class SessionContext:
    """What a capture is judged against."""

    raw: Path
    subject_id: SubjectId
    session: Session
    gestures: RowTable[Gesture]
    cameras: Mapping[CameraId, Camera]
    """Turned into the rig's common orientation; raw images are not."""
    limits: IngestSettings


@dataclass
class CaptureOutcome:
    """What became of a capture: a record, or the reasons why not; and what there is to show of it."""

    record: CaptureRecord | None = None
    set_aside: list[Quarantined] = field(default_factory=list)
    companions: set[Path] = field(default_factory=set)
    """Material and texture files that the scan names."""
    scan: ScanMesh | None = None
    scan_sha256: str | None = None
    non_manifold_edges: int = 0
    thumbnails: dict[CameraId, UInt8[ndarray, "..."]] = field(default_factory=dict)


def read_capture(
    files: CaptureFiles, frame: int, context: SessionContext, scans_seen: Mapping[str, str], *, thumbnails: bool
) -> CaptureOutcome:
    """Validate a capture. What is wrong with it is in the outcome; only a failing disk raises.

    Args:
        frame: the number the capture has been given.
        scans_seen: digest of each scan read before → the name of the capture it belongs to.
        thumbnails: also keep small copies of the images, turned into the common orientation.

    Raises:
        StoreError: if the disk would not give a file.
    """
    reader = _CaptureReader(files, frame, context, scans_seen, thumbnails=thumbnails)
    try:
        reader.outcome.record = reader.read()
    except BadInputError as error:
        reader.set_aside(error, whole_capture=True)
    return reader.outcome


class _CaptureReader:
    """The steps of reading one capture; they share the outcome."""

    def __init__(
        self,
        files: CaptureFiles,
        frame: int,
        context: SessionContext,
        scans_seen: Mapping[str, str],
        *,
        thumbnails: bool,
    ) -> None:
        self._files, self._frame, self._context, self._scans_seen = files, frame, context, scans_seen
        self._thumbnails = thumbnails
        self.outcome = CaptureOutcome()

    def set_aside(self, error: BadInputError, *, whole_capture: bool) -> None:
        """Note something refused."""
        record = set_aside(
            error,
            raw=self._context.raw,
            subject_id=self._context.subject_id,
            gesture=self._files.gesture,
            raw_frame=self._files.raw_frame,
            whole_capture=whole_capture,
        )
        self.outcome.set_aside.append(record)

    def read(self) -> CaptureRecord:
        """The capture's record.

        Raises:
            BadInputError: if the capture is of no use.
        """
        self._context.gestures.row(self._files.gesture)
        scan = self._scan()
        images = self._images()
        colour = sum(is_colour_camera(image.camera_id) for image in images)
        if colour < MIN_COLOUR_IMAGES:
            raise self._bad("images", f"{MIN_COLOUR_IMAGES} usable colour images or more", f"{colour}")
        return CaptureRecord(
            subject_id=self._context.subject_id,
            frame=self._frame,
            gesture=self._files.gesture,
            raw_frame=self._files.raw_frame,
            calibration_id=self._context.session.calibration_id,
            images=images,
            scan=scan,
        )

    def _bad(self, where: str, expected: str, found: str) -> BadInputError:
        folder = self._context.raw / self._context.subject_id / self._files.gesture
        return BadInputError(folder, field=f"frame {self._files.raw_frame}, {where}", expected=expected, found=found)

    def _one(self, paths: tuple[Path, ...], what: str) -> Path:
        """The only file of its kind; of several, none can be trusted."""
        if len(paths) != 1:
            raise self._bad(what, "one file", ", ".join(path.name for path in paths) or "none")
        return paths[0]

    def _scan(self) -> ScanRecord:
        path = self._one(self._files.scans, "scan")
        mesh = read_scan(path, limits=self._context.limits)
        self.outcome.companions = {named for named in (mesh.material, mesh.texture) if named is not None}
        digest = _file_digest(path)
        if digest in self._scans_seen:
            expected = "a scan of its own"
            raise BadInputError(path, field="content", expected=expected, found=f"that of {self._scans_seen[digest]}")
        unit = metres_per_unit(mesh, list(self._context.cameras.values()), path)
        for problem in mesh.problems:
            self.set_aside(problem, whole_capture=False)
        self.outcome.scan, self.outcome.scan_sha256 = mesh, digest
        self.outcome.non_manifold_edges = non_manifold_edges(mesh.faces)
        return ScanRecord(
            mesh=self._raw_file(path, digest),
            material=self._raw_file(mesh.material, _file_digest(mesh.material)) if mesh.material else None,
            texture=self._texture(mesh.texture) if mesh.texture else None,
            metres_per_unit=unit,
            vertices=len(mesh.vertices),
            faces=len(mesh.faces),
        )

    def _texture(self, path: Path) -> RawFile | None:
        """The texture's record if it is a whole image; the scan does without it otherwise."""
        try:
            read_image(path, max_pixels=self._context.limits.max_image_pixels)
        except BadInputError as error:
            self.set_aside(error, whole_capture=False)
            return None
        return self._raw_file(path, _file_digest(path))

    def _raw_file(self, path: Path, digest: str) -> RawFile:
        return RawFile(path=relative_source(self._context.raw, path), bytes=path.stat().st_size, sha256=digest)

    def _images(self) -> tuple[ImageRecord, ...]:
        records = []
        for camera_id, paths in sorted(self._files.images.items()):
            try:
                records.append(self._image(camera_id, self._one(paths, camera_id)))
            except BadInputError as error:
                self.set_aside(error, whole_capture=False)
        return tuple(records)

    def _image(self, camera_id: CameraId, path: Path) -> ImageRecord:
        camera = self._context.cameras.get(camera_id)
        if camera is None:
            calibration = self._context.session.calibration_id
            raise BadInputError(
                path, field="camera", expected=f"a camera of calibration {calibration}", found=camera_id
            )
        max_pixels = self._context.limits.max_image_pixels
        content = read_bounded(path, max_bytes=max_image_bytes(max_pixels))
        image = as_camera_delivers(decode_image(content, path, max_pixels=max_pixels), camera_id, path)
        _require_size(image, camera, path)
        if self._thumbnails:
            small = fit_within(image, THUMBNAIL_PX, THUMBNAIL_PX)
            self.outcome.thumbnails[camera_id] = turn_image(small, camera.turn_deg)
        return ImageRecord(
            subject_id=self._context.subject_id,
            frame=self._frame,
            camera_id=camera_id,
            raw=RawFile(
                path=relative_source(self._context.raw, path),
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            ),
            raw_width=image.shape[1],
            raw_height=image.shape[0],
        )


def _require_size(image: UInt8[ndarray, "h w *channels"], camera: Camera, path: Path) -> None:
    """Raise unless the image is as large as its calibration says, in the raw orientation."""
    sideways = camera.turn_deg in (90, 270)
    width, height = (camera.height, camera.width) if sideways else (camera.width, camera.height)
    if image.shape[:2] != (height, width):
        turned = " (turned on its side)" if image.shape[:2] == (width, height) else ""
        raise BadInputError(
            path,
            field="size",
            expected=f"{width}×{height}, as in its .tka file",
            found=f"{image.shape[1]}×{image.shape[0]}{turned}",
        )


def _file_digest(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise StoreError(
            f"{path}: expected to read it, found {error.strerror}. Check the disk and run again."
        ) from error
