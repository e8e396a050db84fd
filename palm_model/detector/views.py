"""The images that the detector looks at: undistorted, in the stored orientation, each with its box about the scan."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float, UInt8
from numpy import ndarray

from palm_data.camera.pinhole import undistort_image, undistortion_maps
from palm_data.maps.captured import read_surface, read_view_image
from palm_model.detector.crops import CropBox, hand_vertices, scan_box
from schemas.camera import Camera
from schemas.capture import CaptureRecord, ImageRecord
from schemas.ids import CameraId
from schemas.settings import Settings


@dataclass(frozen=True)
class View:
    """One image and where in it the hand is."""

    record: ImageRecord
    camera: Camera
    """Of the distorted image."""
    image: UInt8[ndarray, "height width *channels"]
    """Undistorted."""
    box: CropBox


class ViewReader:
    """Reads images; keeps each camera's undistortion, which many images share."""

    def __init__(self, cameras: Sequence[Camera], settings: Settings) -> None:
        self._cameras = {camera.camera_id: camera for camera in cameras}
        self._settings = settings
        self._maps: dict[CameraId, tuple[Float[ndarray, "h w"], Float[ndarray, "h w"]]] = {}

    def views(self, capture: CaptureRecord, wanted: Collection[CameraId]) -> Iterator[View]:
        """The capture's images of the wanted cameras that have a calibration and see the scan.

        Raises:
            BadInputError: if a raw file is not the one that was ingested.
        """
        detector = self._settings.detector
        vertices = hand_vertices(read_surface(capture, self._settings), detector.reach_m)
        for record in capture.images:
            camera = self._cameras.get(record.camera_id)
            if camera is None or record.camera_id not in wanted:
                continue
            box = scan_box(vertices, camera, detector.crop_margin)
            if box is not None:
                yield View(record, camera, self._undistorted(record, camera), box)

    def _undistorted(self, record: ImageRecord, camera: Camera) -> UInt8[ndarray, "height width *channels"]:
        if camera.camera_id not in self._maps:
            self._maps[camera.camera_id] = undistortion_maps(camera)
        image = read_view_image(record, camera, self._settings)
        return undistort_image(image, camera, self._maps[camera.camera_id])
