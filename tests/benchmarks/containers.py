"""The same images as other people keep them, and one training read from each, as their tools give it.

Every read returns pixels (y, x[, channel]), RGB. Decoding is OpenCV's everywhere, the fastest at hand.
"""

import io
import itertools
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from palm_data.loader.release import Release
from palm_data.loader.sample import Sample, View
from palm_data.loader.window import Window

PNG_LEVEL = 3
_MAPS = ("rgb", "mask", "normal", "silhouette")


def png(pixels: np.ndarray, level: int = PNG_LEVEL) -> bytes:
    """RGB or grey, compressed."""
    ordered = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    done, encoded = cv2.imencode(".png", np.ascontiguousarray(ordered), [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not done:
        raise AssertionError("expected a PNG")
    return encoded.tobytes()


def decoded(content: bytes) -> np.ndarray:
    """RGB, or grey if it was grey."""
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if pixels.ndim == 3 else pixels


def all_views(release: Release) -> list[tuple[Sample, int, View]]:
    """Every view that the rig delivered, in order, with its position in the capture."""
    return [(sample, at, view) for sample in release for at, view in enumerate(sample.every_view) if view.present]


class WebdatasetPngs:
    """One PNG a sample, in a tar that is read from its start, as webdataset does."""

    def __init__(self, images: Sequence[np.ndarray], path: Path) -> None:
        _write_tar(path, {f"{number:05d}.png": png(image) for number, image in enumerate(images)})
        self._stream = _samples(path)

    def patch(self, window: Window) -> np.ndarray:
        """A piece of the next image."""
        return decoded(next(self._stream)["png"])[window.slices]


class WebdatasetTiles:
    """Each image as a grid of PNG tiles, an image a sample; the tiles that a patch touches are decoded."""

    def __init__(self, images: Sequence[np.ndarray], path: Path, side: int) -> None:
        self._side = side
        files = {}
        for number, image in enumerate(images):
            for y, x in itertools.product(range(0, image.shape[0], side), range(0, image.shape[1], side)):
                files[f"{number:05d}.{y // side}_{x // side}.png"] = png(image[y : y + side, x : x + side])
        _write_tar(path, files)
        self._stream = _samples(path)

    def patch(self, window: Window) -> np.ndarray:
        """A piece of the next image."""
        sample, side = next(self._stream), self._side
        top, left = window.y // side, window.x // side
        rows = range(top, (window.y + window.height - 1) // side + 1)
        columns = range(left, (window.x + window.width - 1) // side + 1)
        whole = np.vstack([np.hstack([decoded(sample[f"{row}_{column}.png"]) for column in columns]) for row in rows])
        return whole[Window(window.x - left * side, window.y - top * side, window.width, window.height).slices]


class ParquetPngs:
    """One PNG a row, a row a row group, so that one can be read alone."""

    def __init__(self, images: Sequence[np.ndarray], path: Path) -> None:
        table = pa.table({"png": pa.array([png(image) for image in images], pa.binary())})
        pq.write_table(table, path, row_group_size=1, compression="none", use_dictionary=False)
        self._file = pq.ParquetFile(path)

    def patch(self, number: int, window: Window) -> np.ndarray:
        """A piece of an image."""
        (content,) = self._file.read_row_group(number, columns=["png"], use_threads=False)["png"].to_pylist()
        return decoded(content)[window.slices]


class OfficialFolder:
    """PNGs of image, mask, normals and the hand's silhouette, as the official release has them, decoded whole.

    Our own reading of how that loader works (it is not run here): four files are decoded, then rays are picked.
    Whole images are not turned to float here, which that loader does as well.
    """

    def __init__(self, maps: Sequence[Sequence[np.ndarray]], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        for number, arrays in enumerate(maps):
            for name, pixels in zip(_MAPS, arrays, strict=True):
                self.path(number, name).write_bytes(png(pixels))

    def path(self, number: int, name: str) -> Path:
        """A file."""
        return self._folder / f"{number:05d}.{name}.png"

    def image(self, number: int) -> np.ndarray:
        """A whole image."""
        return decoded(self.path(number, "rgb").read_bytes())

    def rays(self, number: int, count: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Pixels drawn uniformly from the mask, and what is there."""
        rgb, mask, normal, silhouette = (decoded(self.path(number, name).read_bytes()) for name in _MAPS)
        seen = np.flatnonzero(mask == 255)
        chosen = seen[random.choice(len(seen), count, replace=len(seen) < count)]
        y, x = np.divmod(chosen, mask.shape[1])
        return {
            "x": x, "y": y, "rgb": rgb[y, x], "mask": mask[y, x] == 255, "silhouette": silhouette[y, x] == 255,
            "normal": normal[y, x].astype(np.float32) * (2 / 255) - 1,
        }  # fmt: skip


def normal_png(normal: np.ndarray) -> np.ndarray:
    """(y, x, 3) uint8: unit normals as 8-bit PNGs hold them; 0 = none."""
    stored = np.rint((normal + 1) * 127.5).clip(1, 255).astype(np.uint8)
    stored[~normal.any(axis=-1)] = 0
    return stored


def _write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _samples(path: Path) -> Iterator[dict[str, Any]]:
    """The samples of a tar, again and again."""
    import webdataset

    while True:
        yield from webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
