"""Faults of single images: not there, cut short, of the wrong size, delivered twice, or without a hand."""

import numpy as np

from palm_data.capture.images import read_image
from palm_data.simulate.faults.record import Outcome, Reason
from palm_data.simulate.faults.scene import Fault, Planted, Scene, cut_short, write_image
from schemas.ids import camera_id_from_raw

_MAX_PIXELS = 1 << 26


def _missing(scene: Scene) -> Planted:
    path = scene.image
    path.unlink()
    return Planted((scene.name(path),))


def _truncated(scene: Scene) -> Planted:
    path = scene.image
    size = cut_short(path)
    png = path.suffix.lower() == ".png"
    reason = Reason(
        source=scene.name(path),
        field="length" if png else "last bytes",
        expected="a whole file" if png else "JPEG's end marker",
        found=f"{size} bytes: it is cut short" if png else "none: the file is cut short",
    )
    return Planted((scene.name(path),), reason)


def _wrong_size(scene: Scene) -> Planted:
    path = scene.image
    image = read_image(path, max_pixels=_MAX_PIXELS)
    half = np.ascontiguousarray(image[::2, ::2])
    write_image(path, half)
    return Planted((scene.name(path),), _size(scene, image, half, ""))


def _on_its_side(scene: Scene) -> Planted:
    path = scene.image
    image = read_image(path, max_pixels=_MAX_PIXELS)
    turned = np.ascontiguousarray(np.rot90(image))
    write_image(path, turned)
    return Planted((scene.name(path),), _size(scene, image, turned, " (turned on its side)"))


def _size(scene: Scene, before: np.ndarray, after: np.ndarray, more: str) -> Reason:
    return Reason(
        source=scene.name(scene.image),
        field="size",
        expected=f"{before.shape[1]}×{before.shape[0]}, as in its .tka file",
        found=f"{after.shape[1]}×{after.shape[0]}{more}",
    )


def _doubled(scene: Scene) -> Planted:
    path = scene.image
    # As rigs do it that were told to change the format between two exports.
    again = path.with_suffix(".jpg" if path.suffix.lower() == ".png" else ".png")
    write_image(again, read_image(path, max_pixels=_MAX_PIXELS))
    reason = Reason(
        source=scene.name(path.parent),
        field=f"frame {scene.capture.raw_frame}, {camera_id_from_raw(scene.camera)}",
        expected="one file",
        found=", ".join(sorted((path.name, again.name))),
    )
    return Planted((scene.name(again),), reason)


def _without_hand(scene: Scene) -> Planted:
    path = scene.image
    empty = scene.empty_view(scene.camera, read_image(path, max_pixels=_MAX_PIXELS))
    write_image(path, empty)
    return Planted((scene.name(path),), Reason(source=scene.name(path), field="silhouette_iou", expected="", found=""))


IMAGE_MISSING = Fault(
    "image_missing", "A camera delivered no image.", Outcome.HANDLED, _missing, has_camera=True
)  # fmt: skip
IMAGE_TRUNCATED = Fault(
    "image_truncated", "An image was cut short on its way.", Outcome.FILE_SET_ASIDE, _truncated, has_camera=True
)
IMAGE_OF_WRONG_SIZE = Fault(
    "image_of_wrong_size", "An image has half the size of its calibration.", Outcome.FILE_SET_ASIDE, _wrong_size,
    has_camera=True,
)  # fmt: skip
IMAGE_ON_ITS_SIDE = Fault(
    "image_on_its_side", "An image was turned to portrait, its calibration was not.", Outcome.FILE_SET_ASIDE,
    _on_its_side, has_camera=True,
)  # fmt: skip
IMAGE_DOUBLED = Fault(
    "image_doubled", "A camera delivered one frame twice, in two formats.", Outcome.FILE_SET_ASIDE, _doubled,
    has_camera=True,
)  # fmt: skip
VIEW_WITHOUT_HAND = Fault(
    "view_without_hand", "An image was taken when nobody was there.", Outcome.VIEW_NAMED, _without_hand,
    has_camera=True,
)  # fmt: skip
