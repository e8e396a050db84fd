"""The benchmarks' own code on a tiny release, not timed; and the file of results."""

import json
import math
from pathlib import Path

import pytest

import palm_data
from palm_data.store.release import publish_release
from palm_data.testing.tiny import tiny_workspace
from palm_data.testing.tiny_labels import TILE
from schemas.settings import without_labels
from tests.benchmarks.duel import RESULTS, duel, table, write_results
from tests.benchmarks.loader_duels import LoaderDuels, Measures, one_thread
from tests.benchmarks.test_loader import DUELS

# webdataset leaves the tars that it reads open.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]
KEYS = {
    "name",
    "ours",
    "peer",
    "ratio",
    "unit",
    "bar",
    "ours_wall_ms",
    "peer_wall_ms",
    "ratio_wall",
    "repeats",
    "sample",
}


@pytest.fixture(scope="module")
def tiny_duels(tmp_path_factory: pytest.TempPathFactory) -> LoaderDuels:
    root = tmp_path_factory.mktemp("tiny")
    made = tiny_workspace(root, ("0001", "0002"))
    publish_release("0.1.0", made.workspace, without_labels(made.settings))
    release = palm_data.open_release(made.settings.releases, "0.1.0")
    return LoaderDuels(release, root / "containers", Measures(patch_px=5, rays=6, tile_px=TILE, rounds=1))


@pytest.mark.parametrize("name", DUELS)
def test_each_duel_compares_equal_pixels_and_gives_an_entry(tiny_duels: LoaderDuels, name: str) -> None:
    with one_thread():
        entry = getattr(tiny_duels, name)().entry()
    assert set(entry) == KEYS
    assert entry["repeats"] == 10  # views that the rig delivered
    assert min(entry[key] for key in ("ours", "peer", "ratio")) > 0  # type: ignore[type-var]


def test_sizes_are_given_for_each_container_with_and_without_background(tiny_duels: LoaderDuels) -> None:
    sizes = tiny_duels.sizes()
    assert [one["choice"] for one in sizes] == ["PNG level 1", "PNG level 3", "PNG level 6", "ours, tiles of 8 px"]
    assert all(
        {"mb_per_image_full", "mb_per_image_masked", "images", "hand_share_of_pixels"} < set(one) for one in sizes
    )


def test_a_duel_takes_turns_and_gives_medians() -> None:
    turns: list[str] = []
    result = duel(
        "x", lambda turn: turns.append(f"a{turn}"), lambda turn: turns.append(f"b{turn}"), sample="", repeats=3
    )
    assert turns == ["b0", "a0", "a1", "b1", "b2", "a2", "a3", "b3"]
    assert result.repeats == 3


def test_results_of_others_stay_when_some_are_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results([{"name": "a", "ratio": 1}, {"name": "b", "ratio": 2}], [{"choice": "PNG"}], path)
    write_results([{"name": "b", "ratio": 3}], [], path)
    found = json.loads(path.read_text())
    assert found["entries"] == [{"name": "a", "ratio": 1}, {"name": "b", "ratio": 3}]
    assert found["sizes"] == [{"choice": "PNG"}]
    assert {"cpu", "cores", "python", "packages", "date"} < set(found["machine"])


def test_results_are_shown_as_tables(tmp_path: Path) -> None:
    path, size = tmp_path / "results.json", {"choice": "PNG", "mb_per_image_full": 7.5, "mb_per_image_masked": 3}
    write_results([{"name": "a", "ours": 0.5, "peer": 100, "ratio": 200, "bar": 50}], [size], path)
    shown = table(path)
    assert "| `a` | 0.50 | 100.00 | 200.0 | ≥ 50 |" in shown
    assert "| PNG | 7.50 | 3.00 |" in shown


@pytest.mark.skipif(not RESULTS.exists(), reason="make bench has not been run here")
def test_the_file_of_results_is_whole() -> None:
    found = json.loads(RESULTS.read_text())
    for entry in found["entries"]:
        assert entry["ratio"] == pytest.approx(entry["peer"] / entry["ours"], rel=0.01)
        assert math.isfinite(entry["ratio"])
        assert {"name", "unit", "sample"} < set(entry)
    assert {"cpu", "cores", "python", "packages", "date"} < set(found["machine"])
