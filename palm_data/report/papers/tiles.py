"""Small pictures of captures, cut to the hand, as data a page can hold."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import pyarrow.compute as pc
from jaxtyping import UInt8
from numpy import ndarray

from palm_data.report.papers.arrays import Arrays
from palm_data.report.papers.facts import ReleaseFacts
from palm_data.report.pictures import GOOD, NEUTRAL, draw_contours, normals_to_rgb
from schemas.ids import CameraId, SubjectId
from schemas.tier import FULL

TILE_PX = 176
MAX_PICTURE_BYTES = 2_400_000
"""All pictures of a page together, as text in it; those that would go beyond are left out, and the page says how many."""
_QUALITY = 78
_MARGIN = 0.08
_NORMAL_ONE = 32767.0
_EMPTY = 24


@dataclass(frozen=True)
class Capture:
    """One capture of the captures table."""

    subject_id: SubjectId
    frame: int
    row: int
    gesture: str


@dataclass(frozen=True)
class Seen:
    """One camera's image of a capture."""

    camera_id: CameraId
    view: int
    mask_px: int


@dataclass
class Tiles:
    """Draws pictures until the page has enough of them."""

    facts: ReleaseFacts
    arrays: Arrays
    spent: int = 0
    left_out: int = 0
    _seen: dict[tuple[SubjectId, int], tuple[Seen, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Know which images there are."""
        images = self.facts.tables["images"]
        for row in images.filter(pc.field("present")).select(
            ["subject_id", "frame", "camera_id", "view_index", "mask_px"]
        ).to_pylist():  # fmt: skip
            key = row["subject_id"], row["frame"]
            one = Seen(row["camera_id"], row["view_index"], row["mask_px"])
            self._seen[key] = (*self._seen.get(key, ()), one)

    def seen(self, capture: Capture) -> tuple[Seen, ...]:
        """The images of a capture, in the order of the cameras."""
        return self._seen.get((capture.subject_id, capture.frame), ())

    def best(self, capture: Capture) -> Seen | None:
        """The image with most of the hand in it; None if there is no image."""
        return max(self.seen(capture), key=lambda one: (one.mask_px, -one.view), default=None)

    def photo(self, capture: Capture, seen: Seen, *, outlined: bool = False, side: int = TILE_PX) -> str | None:
        """The image cut to the hand, with the outlines of scan (blue) and fitted hand (green) if asked for."""
        pixels, box = self._cut(capture, seen, "rgb")
        picture = _scaled(pixels, side)
        if outlined:
            for name, colour in (("mask", NEUTRAL), ("hand_mask", GOOD)):
                if self.arrays.has(capture.subject_id, f"{name}/{FULL}"):
                    mask = self._view(capture, seen, name)[box]
                    picture = draw_contours(picture, _nearest(mask, picture), colour)
        return self._encoded(picture)

    def normals(self, capture: Capture, seen: Seen, *, side: int = TILE_PX) -> str | None:
        """The scan's normals in false colours, cut to the hand."""
        pixels, _ = self._cut(capture, seen, "normal")
        return self._encoded(_scaled(normals_to_rgb(pixels.astype(np.float64) / _NORMAL_ONE), side))

    def _cut(self, capture: Capture, seen: Seen, name: str) -> tuple[ndarray, tuple[slice, slice]]:
        mask = self._view(capture, seen, "mask")
        if self.facts.labelled:
            hand = self._view(capture, seen, "hand_mask")
            mask = hand if hand.any() else mask
        box = _box(mask)
        return self._view(capture, seen, name)[box], box

    def _view(self, capture: Capture, seen: Seen, name: str) -> ndarray:
        return self.arrays.view(capture.subject_id, f"{name}/{FULL}", capture.row, seen.view)

    def _encoded(self, picture: UInt8[ndarray, "height width 3"]) -> str | None:
        """The picture as a data URL; None if the page has enough pictures already."""
        _, content = cv2.imencode(
            ".webp", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, _QUALITY]
        )
        url = "data:image/webp;base64," + base64.b64encode(content.tobytes()).decode()
        if self.spent + len(url) > MAX_PICTURE_BYTES:
            self.left_out += 1
            return None
        self.spent += len(url)
        return url


def captures_of(facts: ReleaseFacts) -> list[Capture]:
    """All captures, by subject and frame."""
    rows = facts.tables["captures"].select(["subject_id", "frame", "array_index", "gesture"]).to_pylist()
    return [Capture(row["subject_id"], row["frame"], row["array_index"], row["gesture"]) for row in rows]


def scores(facts: ReleaseFacts) -> Mapping[tuple[SubjectId, int], float]:
    """How good each capture is: its quality score, or without labels how well its scan meets its images."""
    if facts.labelled:
        rows = facts.tables["quality"].select(["subject_id", "frame", "score"]).to_pylist()
        return {(row["subject_id"], row["frame"]): row["score"] for row in rows}
    rows = facts.tables["captures"].select(["subject_id", "frame", "silhouette_iou_mean"]).to_pylist()
    return {
        (row["subject_id"], row["frame"]): row["silhouette_iou_mean"]
        for row in rows
        if row["silhouette_iou_mean"] is not None
    }


def _box(mask: ndarray) -> tuple[slice, slice]:
    """The rows and columns of what the mask shows, with a margin; the whole image if it shows nothing."""
    if not mask.any():
        return slice(0, mask.shape[0]), slice(0, mask.shape[1])
    spans = []
    for axis in (1, 0):
        places = np.flatnonzero(mask.any(axis=axis))
        spans.append((int(places[0]), int(places[-1]) + 1))
    side = int(np.ceil(max(stop - start for start, stop in spans) * (1 + 2 * _MARGIN)))
    cut = []
    for (start, stop), size in zip(spans, mask.shape, strict=True):
        first = max(0, min((start + stop - side) // 2, size - side))
        cut.append(slice(first, min(size, first + side)))
    return cut[0], cut[1]


def _scaled(pixels: ndarray, side: int) -> UInt8[ndarray, "side side 3"]:
    """The pixels in the middle of a square of this side."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.full((side, side, 3), _EMPTY, dtype=np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = shrunk
    return square


def _nearest(mask: ndarray, picture: ndarray) -> ndarray:
    """The mask where `_scaled` puts the pixels."""
    side = picture.shape[0]
    height, width = mask.shape
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((side, side), dtype=np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return square
