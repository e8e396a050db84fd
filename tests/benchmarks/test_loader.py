"""`make bench`: the loader against PNG containers, zarr-python and the official layout, on 28 rendered images."""

from collections.abc import Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.duel import Result, write_results
from tests.benchmarks.imports import import_duel
from tests.benchmarks.loader_duels import LoaderDuels, Measures, one_thread
from tests.benchmarks.session import FOLDER, full_size_release

# webdataset leaves the tars that it reads open.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
DUELS = (
    "patch_vs_webdataset_png",
    "patch_vs_parquet_png",
    "patch_vs_webdataset_png_tiles",
    "patch_vs_zarr_python",
    "official_sample",
    "sequential_frames",
)


@pytest.fixture(scope="module")
def duels() -> Iterator[LoaderDuels]:
    release = full_size_release()
    made = LoaderDuels(release, FOLDER / "containers", Measures())
    if len(made._views) < 28 or made.release[0].views[0].camera.width != 2448:
        pytest.fail("expected at least 28 views of 2448×2048")
    with one_thread():
        yield made


@pytest.mark.parametrize("name", DUELS)
@pytest.mark.benchmark(group="loader, a whole duel")
def test_duel(benchmark: BenchmarkFixture, duels: LoaderDuels, name: str) -> None:
    result: Result = benchmark.pedantic(getattr(duels, name), rounds=1, iterations=1)
    benchmark.extra_info.update(result.entry())
    write_results([result.entry()], [])


@pytest.mark.benchmark(group="loader, megabytes of an image")
def test_sizes(benchmark: BenchmarkFixture, duels: LoaderDuels) -> None:
    sizes = benchmark.pedantic(duels.sizes, rounds=1, iterations=1)
    write_results([], sizes)


@pytest.mark.benchmark(group="loader, its import")
def test_import(benchmark: BenchmarkFixture) -> None:
    result: Result = benchmark.pedantic(import_duel, rounds=1, iterations=1)
    benchmark.extra_info.update(result.entry())
    write_results([result.entry()], [])
