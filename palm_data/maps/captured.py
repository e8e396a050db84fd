"""What was captured, as the maps and the calibration's verification use it: read from raw, checked, put in order."""

from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from palm_data.camera.turn import turn_image
from palm_data.capture.images import as_camera_delivers, decode_image
from palm_data.capture.scan import read_scan
from palm_data.maps.surface import Surface, build_surface
from palm_data.store.sources import ingested
from schemas.camera import Camera
from schemas.capture import CaptureRecord, ImageRecord
from schemas.errors import BadInputError
from schemas.settings import Settings


def read_surface(capture: CaptureRecord, settings: Settings) -> Surface:
    """The capture's scan in metres, welded and without its floating fragments.

    Raises:
        BadInputError: if the scan is not the one that was ingested.
    """
    record = capture.scan
    for file in (record.mesh, record.material):
        if file is not None:
            ingested(settings.raw, file)
    mesh = read_scan(settings.raw / record.mesh.path, limits=settings.ingest)
    return build_surface(mesh.vertices * record.metres_per_unit, mesh.faces)


def read_view_image(
    record: ImageRecord, camera: Camera, settings: Settings
) -> UInt8[ndarray, "height width *channels"]:
    """The image as the camera describes it: turned to the common orientation, still distorted.

    Raises:
        BadInputError: if the image is not the one that was ingested, or not of the camera's size.
    """
    source = Path(record.raw.path)
    image = decode_image(ingested(settings.raw, record.raw), source, max_pixels=settings.ingest.max_image_pixels)
    turned = turn_image(as_camera_delivers(image, record.camera_id, source), camera.turn_deg)
    if turned.shape[:2] != (camera.height, camera.width):
        raise BadInputError(
            source, field="size", expected=f"{camera.width}×{camera.height}, once turned",
            found=f"{turned.shape[1]}×{turned.shape[0]}", hint="Ingest the subject again.",
        )  # fmt: skip
    return turned
