"""16384 points in a hash encoding of 16 levels × 2 features, table 2¹⁷: the compiled loops against eager torch.

Eager torch twice: the reference, which takes all levels at once, and the fastest that we could write, level by level.
"""

from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from palm_model.prior.encoding import HashEncoding, Implementation
from palm_model.prior.encoding_levels import HASH_PRIMES, Level
from schemas.prior_encoding import EncodingSettings

SETTINGS = EncodingSettings(levels=16, log2_table_size=17, first_value=1.0)
POINTS = 16384

Encode = Callable[[Tensor], Tensor]


def _level_by_level(encoding: HashEncoding, points: Tensor) -> Tensor:
    return torch.cat([_one_level(encoding, level, points) for level in encoding.levels], dim=1)


def _one_level(encoding: HashEncoding, level: Level, points: Tensor) -> Tensor:
    scaled = points * (level.vertices - 1)
    cell = scaled.detach().long().clamp(max=level.vertices - 2)
    fraction = scaled - cell
    both = torch.stack([cell, cell + 1], dim=-1)
    x, y, z = both[:, 0, None, None, :], both[:, 1, None, :, None], both[:, 2, :, None, None]
    if level.dense:
        entries = x + level.vertices * (y + level.vertices * z)
    else:
        entries = (x ^ y * HASH_PRIMES[1] ^ z * HASH_PRIMES[2]) & (SETTINGS.table_size - 1)
    sides = torch.stack([1.0 - fraction, fraction], dim=-1)
    weights = sides[:, 2, :, None, None] * sides[:, 1, None, :, None] * sides[:, 0, None, None, :]
    corners = encoding.table.index_select(0, entries.flatten() + level.first).view(len(points), 8, -1)
    return (weights.reshape(-1, 8, 1) * corners).sum(dim=1)


@pytest.fixture(params=["kernel", "eager-reference", "eager-by-level"])
def encoding(request: pytest.FixtureRequest) -> tuple[HashEncoding, Encode]:
    chosen: Implementation = "kernel" if request.param == "kernel" else "reference"
    module = HashEncoding(SETTINGS, implementation=chosen, generator=torch.Generator().manual_seed(0))
    return module, (lambda points: _level_by_level(module, points)) if request.param == "eager-by-level" else module


@pytest.fixture(scope="module")
def points() -> Tensor:
    return torch.rand(POINTS, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def expected(points: Tensor) -> Tensor:
    with torch.no_grad():
        return HashEncoding(SETTINGS, implementation="reference", generator=torch.Generator().manual_seed(0))(points)


@pytest.mark.benchmark(group="hash encoding, values", min_rounds=7, max_time=0.2, warmup=True, warmup_iterations=1)
def test_values(
    benchmark: BenchmarkFixture, encoding: tuple[HashEncoding, Encode], points: Tensor, expected: Tensor
) -> None:
    _, encode = encoding
    with torch.no_grad():
        found = benchmark(encode, points)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.benchmark(
    group="hash encoding, values and gradient of the table",
    min_rounds=7,
    max_time=0.2,
    warmup=True,
    warmup_iterations=1,
)
def test_values_and_gradient_of_the_table(
    benchmark: BenchmarkFixture, encoding: tuple[HashEncoding, Encode], points: Tensor
) -> None:
    _both_ways(benchmark, encoding, points)


@pytest.mark.benchmark(
    group="hash encoding, values and gradients of table and points",
    min_rounds=7,
    max_time=0.2,
    warmup=True,
    warmup_iterations=1,
)
def test_values_and_gradients_of_table_and_points(
    benchmark: BenchmarkFixture, encoding: tuple[HashEncoding, Encode], points: Tensor
) -> None:
    _both_ways(benchmark, encoding, points.clone().requires_grad_())


def _both_ways(benchmark: BenchmarkFixture, encoding: tuple[HashEncoding, Encode], points: Tensor) -> None:
    module, encode = encoding
    weights = torch.randn(POINTS, SETTINGS.width, generator=torch.Generator().manual_seed(2))

    def step() -> None:
        module.table.grad = points.grad = None
        encode(points).backward(weights)

    benchmark(step)
    assert module.table.grad is not None
