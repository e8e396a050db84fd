"""A training step of preset `cpu`, ours and as one writes it plainly, on the session of `make prior-bench`."""

import os
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import palm_data
from palm_data.hand.model import load_hand_model
from palm_model.prior.hands import released_hands
from tests.benchmarks.duel import Result, write_results
from tests.benchmarks.prior_session import FOLDER, VERSION, PriorBench

PLACE = Path(os.environ.get("PRIOR_BENCH", FOLDER))


@pytest.mark.skipif(not (PLACE / "releases" / VERSION).exists(), reason="make prior-bench has not been run here")
@pytest.mark.benchmark(group="prior, a whole duel")
def test_step(benchmark: BenchmarkFixture) -> None:
    bench = PriorBench(PLACE)
    release = palm_data.open_release(PLACE / "releases", version=VERSION)
    hands = released_hands(release, load_hand_model(), bench.settings.skinning)
    result: Result = benchmark.pedantic(lambda: bench.step(release, hands), rounds=1)
    benchmark.extra_info.update(result.entry())
    write_results([result.entry()], [])
