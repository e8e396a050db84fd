"""The loader against other containers: what is compared, that both sides give the same pixels, and how many bytes each takes."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pyarrow as pa
import torch
import zarr
from numcodecs import blosc
from threadpoolctl import threadpool_limits

from palm_data.loader.order import sample_generator
from palm_data.loader.release import Release
from palm_data.loader.window import Window
from palm_data.store.arrays import create_group, create_image_array, write_frame
from palm_data.store.layout import shard_file
from tests.benchmarks.containers import (
    OfficialFolder,
    ParquetPngs,
    WebdatasetPngs,
    WebdatasetTiles,
    all_views,
    normal_png,
    png,
)
from tests.benchmarks.duel import Result, duel
from tests.benchmarks.session import SILHOUETTE, silhouettes

_EPOCHS = 40


@dataclass(frozen=True)
class Measures:
    """How much is measured; tests take less."""

    patch_px: int = 128
    rays: int = 1027
    tile_px: int = 256
    rounds: int = 10
    """How often each image comes."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Everything that computes in threads of its own has one."""
    before = cv2.getNumThreads(), torch.get_num_threads(), pa.cpu_count(), blosc.get_nthreads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    blosc.set_nthreads(1)
    with threadpool_limits(1), zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1}):
        try:
            yield
        finally:
            cv2.setNumThreads(before[0])
            torch.set_num_threads(before[1])
            pa.set_cpu_count(before[2])
            blosc.set_nthreads(before[3])


class LoaderDuels:
    """The comparisons, on the images of one release."""

    def __init__(self, release: Release, folder: Path, measures: Measures) -> None:
        """Take the release, and a folder for the other containers, which are written when they are needed."""
        self.release, self._folder, self._measures = release, folder, measures
        self._views = all_views(release)
        self._patches = release.patches(measures.patch_px, fields=["rgb"])
        if len(self._patches) != len(self._views):
            raise AssertionError("expected the hand in every view")

    def patch_vs_webdataset_png(self) -> Result:
        """Whole PNGs in a tar, one decoded for each patch."""
        peer = WebdatasetPngs(self._images, self._place("png.tar"))
        return self._patch_duel("patch128_vs_webdataset_png", lambda turn: peer.patch(self._window(turn)), bar=50)

    def patch_vs_parquet_png(self) -> Result:
        """Whole PNGs in Parquet, a row group each, one decoded for each patch."""
        peer, count = ParquetPngs(self._images, self._place("png.parquet")), len(self._views)
        return self._patch_duel(
            "patch128_vs_parquet_png", lambda turn: peer.patch(turn % count, self._window(turn)), bar=50
        )

    def patch_vs_webdataset_png_tiles(self) -> Result:
        """PNG tiles of our tiles' size in a tar; only those that the patch touches are decoded."""
        peer = WebdatasetTiles(self._images, self._place("tiles.tar"), self._measures.tile_px)
        return self._patch_duel("patch128_vs_webdataset_png_tiles", lambda turn: peer.patch(self._window(turn)))

    def patch_vs_zarr_python(self) -> Result:
        """zarr-python on the very files that ours reads; both start from an open array and a known window."""
        name = f"{self.release.tables.files.name}/shards"
        opened = {
            subject_id: zarr.open_array(f"{name}/{subject_id}.zarr/rgb/full", mode="r")
            for subject_id in self.release.subject_ids
        }

        def ours(turn: int) -> np.ndarray:
            _, _, view = self._views[turn % len(self._views)]
            return view.window(*self._window(turn)).rgb

        def peer(turn: int) -> np.ndarray:
            sample, at, _ = self._views[turn % len(self._views)]
            row, slices = sample.capture.array_index, self._window(turn).slices
            return np.asarray(opened[sample.subject_id][(row, at, *slices)])

        return self._duel("patch128_vs_zarr_python", ours, peer, sample=self._patch_sample, bar=2)

    def official_sample(self) -> Result:
        """A training sample as the official loader takes it: four maps, rays over the hand."""
        count, views = self._measures.rays, len(self._views)
        dataset = self.release.rays(count, fields=["rgb", "mask", "normal"], normals="camera")
        fourth = silhouettes(self.release, self._place("silhouettes"))
        peer = self._official

        def ours(turn: int) -> dict[str, np.ndarray]:
            number = turn % views
            found = dataset[turn // views, number]
            sample, at, _ = self._views[number]
            x, y = np.floor(found["points_px"].numpy()).astype(np.int64).T
            shard, row = fourth[sample.subject_id], sample.capture.array_index
            return {**found, "x": x, "y": y, "silhouette": shard.pixels(SILHOUETTE, row, at, x, y) != 0}

        def theirs(turn: int) -> dict[str, np.ndarray]:
            return peer.rays(turn % views, count, sample_generator(0, turn // views, turn % views))

        for turn in range(views):
            left, right = ours(turn), theirs(turn)
            for key in ("x", "y", "rgb", "mask", "silhouette"):
                np.testing.assert_array_equal(left[key], right[key], err_msg=f"{key} of image {turn}")
            np.testing.assert_allclose(left["normal"], right["normal"], atol=1 / 100)
        text = f"{count} rays uniform over the mask; image, mask, normals and a silhouette, of {views} views"
        return duel("official_sample_1027_rays", ours, theirs, sample=text, repeats=self._repeats, bar=8)

    def sequential_frames(self) -> Result:
        """Whole images in their order."""
        peer, views = self._official, len(self._views)

        def ours(turn: int) -> np.ndarray:
            sample, at, _ = self._views[turn % views]
            return self.release.shard(sample.subject_id).frame("rgb/full", sample.capture.array_index, at)

        sample = f"whole images in order, one PNG file each; {views} views"
        return self._duel("sequential_frames_vs_png", ours, lambda turn: peer.image(turn % views), sample=sample, bar=1)

    def sizes(self) -> list[dict[str, object]]:
        """Mean megabytes of an image in each container, background kept and zeroed."""
        masked = [np.where(view.mask[..., None], view.rgb, 0) for _, _, view in self._views]
        coverage = float(np.mean([view.mask.mean() for _, _, view in self._views]))
        choices: list[tuple[str, Callable[[np.ndarray], int]]] = [
            (f"PNG level {level}", lambda image, level=level: len(png(image, level))) for level in (1, 3, 6)
        ]
        choices.append((f"ours, tiles of {self._measures.tile_px} px", self._stored_bytes))
        return [
            {
                "choice": name,
                "mb_per_image_full": round(float(np.mean([size(image) for image in self._images])) / 1e6, 3),
                "mb_per_image_masked": round(float(np.mean([size(image) for image in masked])) / 1e6, 3),
                "images": len(self._views),
                "hand_share_of_pixels": round(coverage, 3),
            }
            for name, size in choices
        ]

    def _stored_bytes(self, image: np.ndarray) -> int:
        with TemporaryDirectory() as place:
            shape = (1, 1, *image.shape)
            array = create_image_array(
                create_group(Path(place)), "rgb/full", shape, np.uint8, tile_px=self._measures.tile_px
            )
            write_frame(array, 0, image[None])
            return (Path(place) / shard_file("rgb/full", 0, len(shape))).stat().st_size

    def _patch_duel(self, name: str, peer: Callable[[int], np.ndarray], *, bar: float | None = None) -> Result:
        return self._duel(name, self._patch, peer, sample=self._patch_sample, bar=bar)

    def _duel(
        self,
        name: str,
        ours: Callable[[int], np.ndarray],
        peer: Callable[[int], np.ndarray],
        *,
        sample: str,
        bar: float | None,
    ) -> Result:
        views = len(self._views)
        for turn in range(views):
            np.testing.assert_array_equal(ours(turn), peer(turn), err_msg=f"{name}: image {turn}")
        return duel(name, ours, peer, sample=sample, repeats=self._repeats // views * views, bar=bar)

    def _patch(self, turn: int) -> np.ndarray:
        """A patch as a training loop gets it: drawn, cut, and made a tensor."""
        found: np.ndarray = self._patches[turn // len(self._views), turn % len(self._views)]["rgb"].numpy()
        return found

    @cached_property
    def _corners(self) -> list[tuple[int, int]]:
        turns = itertools.product(range(min(self._measures.rounds + 3, _EPOCHS)), range(len(self._views)))
        return [tuple(self._patches[key]["corner_px"].tolist()) for key in turns]

    def _window(self, turn: int) -> Window:
        """Where the dataset draws the patch of a turn."""
        return Window(*self._corners[turn], self._measures.patch_px, self._measures.patch_px)

    @property
    def _patch_sample(self) -> str:
        side = self._measures.patch_px
        return f"patches of {side}×{side} drawn about the hand, each of another of {len(self._views)} views in turn"

    @property
    def _repeats(self) -> int:
        return self._measures.rounds * len(self._views)

    @cached_property
    def _images(self) -> list[np.ndarray]:
        return [view.rgb for _, _, view in self._fresh()]

    @cached_property
    def _official(self) -> OfficialFolder:
        fourth = silhouettes(self.release, self._place("silhouettes"))
        maps = []
        for sample, at, view in self._fresh():
            row = sample.capture.array_index
            worn = fourth[sample.subject_id].frame(SILHOUETTE, row, at)
            maps.append((view.rgb, view.mask.astype(np.uint8) * 255, normal_png(view.normal), worn))
        return OfficialFolder(maps, self._place("official"))

    def _fresh(self) -> list[tuple]:
        """The views, none of which has kept what it read."""
        return all_views(self.release)

    def _place(self, name: str) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / name
