"""InterHand2.6M as it lies on a disk: its cameras, joints, MANO fits and images in our units, axes and joint order.

    <root>/annotations/<split>/InterHand2.6M_<split>_{data,camera,joint_3d,MANO_NeuralAnnot}.json
    <root>/images/<split>/Capture<c>/<sequence>/cam<camera>/image<frame>.jpg

Only frames with one hand are taken: right ones, and left ones in a mirror when that is wanted, so that every hand is a
right one. Millimetres become metres, the camera's centre its translation, and principal points count from the corner of
the first pixel, not from its centre. MANO fits are already full axis-angle offsets from the mean pose, in metres.

Source: the dataset's public description and the reading code of its repository, of which facts only were taken.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.capture.raw_files import is_inside
from palm_data.hand.conventions import HandPose, mirrored
from palm_data.hand.joints import JointOrder, from_order
from palm_data.interop.interhand_json import AnnotationFile
from schemas.camera import Camera, Matrix3, Row3
from schemas.errors import BadInputError
from schemas.ids import SubjectId

Split = Literal["train", "val", "test"]
Left = Literal["skip", "mirror"]
_SPLIT_DIGIT: Mapping[Split, int] = {"train": 1, "val": 2, "test": 3}
_MM = 1000.0
_JOINTS = 21
_FLIP = np.array([-1.0, 1.0, 1.0])
_ORTHONORMAL = 1e-3
_LIMITS = {"capture": (0, 99), "frame_idx": (0, 1 << 40), "width": (1, 1 << 14), "height": (1, 1 << 14)}


@dataclass(frozen=True)
class Picture:
    """One image, not read yet."""

    path: Path
    width: int
    height: int


@dataclass(frozen=True)
class Frame:
    """One moment of one hand, as a right hand."""

    sequence: str
    frame_idx: int
    pictures: Mapping[str, Picture]
    """By camera, six digits."""
    joints: Float[ndarray, "21 3"]
    """World, metres, our order; NaN = not valid."""
    hand: HandPose | None
    """The MANO fit; None if there is none."""


@dataclass(frozen=True)
class Source:
    """One capture's frames of one side: what becomes a subject of a release."""

    subject_id: SubjectId
    capture: int
    mirrored: bool
    """Whether these are left hands, and cameras and numbers are those of the mirror image."""
    cameras: tuple[Camera, ...]
    """Sorted by name; of the (mirrored) images."""
    frames: tuple[Frame, ...]
    """By sequence and number."""

    def without_hands(self) -> "Source":
        """The same without MANO fits."""
        return replace(self, frames=tuple(replace(frame, hand=None) for frame in self.frames))


@dataclass(frozen=True)
class Wanted:
    """Which frames and cameras to import; None: all."""

    captures: Collection[int] | None = None
    sequences: Collection[str] | None = None
    cameras: Collection[str] | None = None
    """By their six digits."""
    every: int = 30
    """Of each sequence's frames with a hand, only each n-th."""
    left: Left = "skip"
    """Whether left hands are left out, or taken in a mirror as subjects of their own."""

    def side(self, annotation: Mapping[str, Any]) -> str | None:
        """The side that an annotated image is imported under; None if it is not wanted."""
        sides = ("right", "left") if self.left == "mirror" else ("right",)
        kind = annotation.get("hand_type")
        return kind if annotation.get("hand_type_valid") and isinstance(kind, str) and kind in sides else None

    def has(self, image: "_Image") -> bool:
        """Whether an image is wanted."""
        asked = ((self.captures, image.capture), (self.sequences, image.sequence), (self.cameras, image.camera))
        return all(allowed is None or value in allowed for allowed, value in asked)


def read_interhand(root: Path, split: Split, wanted: Wanted) -> tuple[Source, ...]:
    """What a split holds of what is wanted, by subject; image files are not opened.

    Raises:
        BadInputError: if a file is missing, is not what the dataset describes, or nothing is left to import.
    """
    if wanted.every < 1:
        raise BadInputError(root, field="every", expected="at least 1", found=wanted.every)
    files = {
        name: AnnotationFile(root / "annotations" / split / f"InterHand2.6M_{split}_{name}.json")
        for name in ("data", "camera", "joint_3d", "MANO_NeuralAnnot")
    }
    found = []
    for (capture, side), frames in sorted(_grouped(files["data"], root / "images" / split, wanted).items()):
        pictures = {key: frames[key] for keys in _by_sequence(frames) for key in keys[:: wanted.every]}
        found.append(
            Source(
                subject_id=f"{_SPLIT_DIGIT[split]}{capture:02d}{int(side == 'left')}",
                capture=capture,
                mirrored=side == "left",
                cameras=_cameras(files["camera"], capture, pictures, mirror=side == "left"),
                frames=tuple(
                    Frame(*key, taken, *_labels((str(capture), str(key[1])), side, files))
                    for key, taken in pictures.items()
                ),
            )
        )
    if not found:
        raise files["data"].refused("images", "frames of one hand that were asked for", "none")
    return tuple(found)


@dataclass(frozen=True)
class _Image:
    capture: int
    sequence: str
    camera: str
    frame_idx: int
    picture: Picture


_Key = tuple[str, int]
"""Sequence and frame number."""
_Pictures = dict[_Key, dict[str, Picture]]


def _grouped(data: AnnotationFile, images: Path, wanted: Wanted) -> dict[tuple[int, str], _Pictures]:
    """Capture and side → frame → camera → picture."""
    sides: dict[Any, str] = {}
    for _, annotation in data.objects("annotations"):
        side = wanted.side(annotation)
        if side is not None:
            sides[annotation.get("image_id")] = side
    groups: dict[tuple[int, str], _Pictures] = defaultdict(lambda: defaultdict(dict))
    for where, entry in data.objects("images"):
        if entry.get("id") not in sides:
            continue
        image = _image(data, where, entry, images)
        if wanted.has(image):
            groups[image.capture, sides[entry["id"]]][image.sequence, image.frame_idx][image.camera] = image.picture
    return groups


def _image(data: AnnotationFile, where: str, entry: Mapping[str, Any], images: Path) -> _Image:
    numbers: dict[str, int] = {}
    for name, (low, high) in _LIMITS.items():
        value = entry.get(name)
        if not isinstance(value, int) or not low <= value <= high:
            raise data.refused(f"{where}.{name}", f"a whole number from {low} to {high}", repr(value))
        numbers[name] = value
    texts = {name: entry.get(name) for name in ("file_name", "seq_name", "camera")}
    for name, text in texts.items():
        if not isinstance(text, str) or not text:
            raise data.refused(f"{where}.{name}", "a text", repr(text))
    file, sequence, camera = (cast("str", text) for text in texts.values())
    if not (len(camera) == 6 and camera.isascii() and camera.isdigit()):
        raise data.refused(f"{where}.camera", "six digits", camera)
    if ".." in PurePosixPath(file).parts or "\0" in file or not is_inside(images / file, images):
        raise data.refused(f"{where}.file_name", f"a file below {images}", file)
    picture = Picture(images / file, numbers["width"], numbers["height"])
    return _Image(numbers["capture"], sequence, camera, numbers["frame_idx"], picture)


def _by_sequence(frames: _Pictures) -> Iterator[list[_Key]]:
    found: dict[str, list[_Key]] = defaultdict(list)
    for key in sorted(frames):
        found[key[0]].append(key)
    yield from found.values()


def _cameras(file: AnnotationFile, capture: int, pictures: _Pictures, *, mirror: bool) -> tuple[Camera, ...]:
    """The cameras that took any of the pictures; images of all sizes lie at the upper left of the largest."""
    sizes: dict[str, tuple[int, int]] = {}
    for taken in pictures.values():
        for name, picture in taken.items():
            size = (picture.width, picture.height)
            if sizes.setdefault(name, size) != size:
                raise BadInputError(picture.path, field="size", expected=f"{sizes[name]}, as before", found=size)
    width, height = (max(size[axis] for size in sizes.values()) for axis in (0, 1))
    upright = [_camera(file, capture, name, (width, height)) for name in sorted(sizes)]
    return tuple(mirrored_camera(one, sizes[camera_name(one)][0]) for one in upright) if mirror else tuple(upright)


def camera_name(camera: Camera) -> str:
    """The six digits that the dataset calls a camera by."""
    return camera.camera_id.removeprefix("IH_")


def mirrored_camera(camera: Camera, image_width: int) -> Camera:
    """The camera that sees the world's mirror image (x ↦ −x) as the picture's mirror image.

    Args:
        image_width: of the picture that is turned over, px; it lies at the left of the camera's.
    """
    rotation = np.asarray(camera.rotation) * np.outer(_FLIP, _FLIP)
    translation = np.asarray(camera.translation) * _FLIP
    return camera.model_copy(
        update={
            "cx": image_width - camera.cx,
            "rotation": cast("Matrix3", rotation.tolist()),
            "translation": cast("Row3", translation.tolist()),
        }
    )


def _camera(file: AnnotationFile, capture: int, name: str, size: tuple[int, int]) -> Camera:
    keys = {part: (str(capture), part, name) for part in ("campos", "camrot", "focal", "princpt")}
    rotation = file.numbers((3, 3), *keys["camrot"])
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > _ORTHONORMAL or np.linalg.det(rotation) < 0:
        raise file.refused(".".join(keys["camrot"]), "a rotation matrix", rotation.tolist())
    focal, middle = file.numbers((2,), *keys["focal"]), file.numbers((2,), *keys["princpt"]) + 0.5
    if focal.min() <= 0:
        raise file.refused(".".join(keys["focal"]), "positive focal lengths", focal.tolist())
    translation = -rotation @ file.numbers((3,), *keys["campos"]) / _MM
    return Camera(
        camera_id=f"IH_{name}", calibration_id=f"interhand_capture{capture}", width=size[0], height=size[1],
        fx=focal[0], fy=focal[1], cx=middle[0], cy=middle[1],
        rotation=cast("Matrix3", rotation.tolist()), translation=cast("Row3", translation.tolist()),
    )  # fmt: skip


def _labels(
    keys: tuple[str, str], side: str, files: Mapping[str, AnnotationFile]
) -> tuple[Float[ndarray, "21 3"], HandPose | None]:
    """Joints and fit of a capture's frame, as those of a right hand."""
    file, half = files["joint_3d"], slice(0, _JOINTS) if side == "right" else slice(_JOINTS, 2 * _JOINTS)
    points = file.numbers((2 * _JOINTS, 3), *keys, "world_coord")[half] / _MM
    valid = file.numbers((2 * _JOINTS, 1), *keys, "joint_valid")[half] > 0
    points = from_order(np.where(valid, points, np.nan), JointOrder.INTERHAND)
    hand = _hand(files["MANO_NeuralAnnot"], (*keys, side))
    if side == "right":
        return points, hand
    return points * _FLIP, None if hand is None else mirrored(hand)


def _hand(fits: AnnotationFile, keys: tuple[str, ...]) -> HandPose | None:
    if fits.get(*keys) is None:
        return None
    pose, shape, transl = (
        fits.numbers((1, size), *keys, name) for name, size in (("pose", 48), ("shape", 10), ("trans", 3))
    )
    return HandPose(global_orient=pose[:, :3], hand_pose=pose[:, 3:], betas=shape, transl=transl)
