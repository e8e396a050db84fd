import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from palm_model.prior import encoding as encoding_module
from palm_model.prior import encoding_autograd
from palm_model.prior.encoding import HashEncoding, Implementation, implementation_for
from palm_model.prior.encoding_levels import levels_of, openings
from palm_model.prior.encoding_reference import encode_reference
from schemas.errors import SettingsError
from schemas.prior_encoding import EncodingSettings

SMALL = EncodingSettings(levels=6, log2_table_size=9, base_resolution=4, growth=1.6, first_value=1.0)
"""4 to 42 vertices a side; the first two levels are dense."""
AWKWARD = [
    [0.0, 0.0, 0.0],
    [1.0, 1.0, 1.0],
    [1.0, 0.0, 0.5],
    [1.0 / 3.0, 2.0 / 3.0, 1.0],
    [-0.2, 0.4, 1.3],
    [1e30, -1e30, 0.5],
    [float("inf"), float("-inf"), 0.1],
    [float("nan"), 0.3, 0.7],
    [0.3, float("nan"), float("nan")],
]
each_implementation = pytest.mark.parametrize("implementation", ["kernel", "reference"])


def _pair(config: EncodingSettings, seed: int = 0) -> tuple[HashEncoding, HashEncoding]:
    kernel = HashEncoding(config, implementation="kernel", generator=torch.Generator().manual_seed(seed))
    reference = copy.deepcopy(kernel)
    reference.implementation = "reference"
    return kernel, reference


def _points(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))


def _run(encoding: HashEncoding, points: Tensor, open_levels: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Features, and the gradients of a fixed sum of them with respect to the points and the table."""
    encoding.table.grad = None
    leaf = points.clone(memory_format=torch.preserve_format).requires_grad_()
    encoded = encoding(leaf, open_levels)
    weights = torch.randn(encoded.shape, generator=torch.Generator().manual_seed(2), dtype=encoded.dtype)
    (encoded * weights).sum().backward()
    assert leaf.grad is not None
    assert encoding.table.grad is not None
    return encoded.detach(), leaf.grad, encoding.table.grad


def _assert_close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, expected, strict=True):
        scale = float(other.nan_to_num(0.0).abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * max(1.0, scale), equal_nan=True)


@pytest.fixture
def threads() -> Iterator[None]:
    """Whatever number the test sets is taken back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@each_implementation
def test_a_dense_grid_reproduces_affine_functions(implementation: Implementation) -> None:
    encoding = HashEncoding(
        EncodingSettings(levels=1, features=2, log2_table_size=12, base_resolution=9), implementation=implementation
    )
    line = torch.linspace(0.0, 1.0, 9)
    z, y, x = torch.meshgrid(line, line, line, indexing="ij")
    slopes, start = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]), torch.tensor([0.25, -7.0])
    vertices = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    encoding.table.data = vertices @ slopes.T + start
    points = _points(200).requires_grad_()
    encoded = encoding(points)
    torch.testing.assert_close(encoded, points @ slopes.T + start, rtol=0, atol=4e-6)
    (slope,) = torch.autograd.grad(encoded[:, 1].sum(), points)
    torch.testing.assert_close(slope, slopes[1].expand(200, 3), rtol=0, atol=3e-5)


@each_implementation
def test_a_fine_grid_keeps_its_vertices_where_the_published_hash_says(implementation: Implementation) -> None:
    config = EncodingSettings(levels=1, features=2, log2_table_size=7, base_resolution=50, first_value=1.0)
    encoding = HashEncoding(config, implementation=implementation, generator=torch.Generator().manual_seed(0))
    table = encoding.table.detach().numpy().astype(np.float64)
    points = _points(40)
    for point, found in zip(points.numpy(), encoding(points).detach().numpy(), strict=True):
        scaled = point * np.float32(49)
        expected = np.zeros(2)
        for corner in np.ndindex(2, 2, 2):
            vertex = np.floor(scaled).astype(np.uint32) + np.array(corner, np.uint32)
            terms = vertex * np.array([1, 2654435761, 805459861], np.uint32)  # wraps at 2³²
            inside = scaled - np.floor(scaled)
            weight = np.prod(np.where(corner, inside, 1 - inside))
            expected += weight * table[np.bitwise_xor.reduce(terms) % 128]
        assert np.allclose(found, expected, atol=1e-5)


@settings(max_examples=12)
@given(
    levels=st.integers(1, 7),
    features=st.sampled_from([1, 2, 8]),
    log2_table_size=st.integers(4, 12),
    base_resolution=st.integers(2, 20),
    growth=st.floats(1.0, 2.5),
    open_levels=st.none() | st.floats(0.0, 8.0),
    seed=st.integers(0, 1000),
)
def test_the_kernel_equals_the_reference(
    levels: int,
    features: int,
    log2_table_size: int,
    base_resolution: int,
    growth: float,
    open_levels: float | None,
    seed: int,
) -> None:
    config = EncodingSettings(
        levels=levels,
        features=features,  # type: ignore[arg-type]
        log2_table_size=log2_table_size,
        base_resolution=base_resolution,
        growth=growth,
        first_value=1.0,
    )
    kernel, reference = _pair(config, seed)
    points = 1.2 * _points(60, seed) - 0.1
    _assert_close(_run(kernel, points, open_levels), _run(reference, points, open_levels))


def test_the_kernel_equals_the_reference_at_the_published_sizes_levels() -> None:
    config = EncodingSettings(levels=16, log2_table_size=15, first_value=1.0)
    kernel, reference = _pair(config)
    points = _points(3000)
    _assert_close(_run(kernel, points), _run(reference, points))


def test_borders_and_places_outside_or_nowhere_are_the_same_on_both() -> None:
    kernel, reference = _pair(SMALL)
    points = torch.tensor(AWKWARD)
    found, expected = _run(kernel, points), _run(reference, points)
    _assert_close(found, expected)
    features, slope, _ = found
    assert torch.isfinite(features[:7]).all()
    assert torch.isnan(features[7:]).all(), "a place that is not a number must show"
    assert (slope[4, [0, 2]] == 0).all(), "outside, moving away changes nothing"
    assert (slope[0] != 0).all(), "the border belongs to the cube"
    torch.testing.assert_close(kernel(points[4:5]), kernel(points[4:5].clamp(0, 1)))


def test_any_strides_and_any_precision_of_the_points_will_do() -> None:
    kernel, reference = _pair(SMALL)
    across = _points(3).T.contiguous().T
    assert not across.is_contiguous()
    _assert_close(_run(kernel, across), _run(reference, across.contiguous()))
    assert kernel(across.to(torch.bfloat16)).dtype == torch.float32
    assert kernel(torch.zeros(0, 3)).shape == (0, kernel.width)


def test_the_kernels_gradients_are_those_of_its_values() -> None:
    config = EncodingSettings(levels=3, log2_table_size=6, base_resolution=3, growth=2.0, first_value=1.0)
    encoding = HashEncoding(config, implementation="kernel", generator=torch.Generator().manual_seed(0)).double()
    points = (0.98 * _points(4).double() + 0.01).requires_grad_()

    def encode(points: Tensor, table: Tensor) -> Tensor:
        levels = encoding_autograd.OpenLevels(encoding.levels, (1.0, 1.0, 0.3), config.table_size)
        return encoding_autograd.encode_by_kernel(points, table, levels)

    assert torch.autograd.gradcheck(encode, (points, encoding.table), eps=1e-6, atol=1e-7)


def test_the_reference_has_derivatives_of_second_order() -> None:
    config = EncodingSettings(levels=2, log2_table_size=5, base_resolution=3, growth=2.0, first_value=1.0)
    encoding = HashEncoding(config, implementation="reference", generator=torch.Generator().manual_seed(0)).double()
    points = (0.98 * _points(3).double() + 0.01).requires_grad_()

    def slope(table: Tensor) -> Tensor:
        encoded = torch.func.functional_call(encoding, {"table": table}, (points,))
        (found,) = torch.autograd.grad((encoded**2).sum(), points, create_graph=True)
        return found

    assert torch.autograd.gradcheck(slope, (encoding.table,), eps=1e-6, atol=1e-6)


def test_a_second_derivative_through_the_kernel_says_what_to_do_instead() -> None:
    kernel, _ = _pair(SMALL)
    points = _points(5).requires_grad_()
    (slope,) = torch.autograd.grad(kernel(points).square().sum(), points, create_graph=True)
    assert torch.isfinite(slope).all()
    with pytest.raises(SettingsError, match=r"expected reference .* found kernel.*finite differences"):
        slope.square().sum().backward()


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_changes_no_bit() -> None:
    kernel, _ = _pair(SMALL)
    points = _points(5000)  # ten points an entry: any other order of a sum would show
    found = []
    for count in (1, 2, 3, 5):
        torch.set_num_threads(count)
        found += [_run(kernel, points, 5.5) for _ in range(2)]
    for other in found[1:]:
        assert all(torch.equal(one, two) for one, two in zip(found[0], other, strict=True))


@each_implementation
def test_levels_open_one_after_the_other(implementation: Implementation) -> None:
    encoding, _ = _pair(SMALL)
    encoding.implementation = implementation
    points = _points(50)
    whole, _, whole_gradient = _run(encoding, points)
    part, _, gradient = _run(encoding, points, 2.25)
    assert torch.equal(part[:, :4], whole[:, :4])
    torch.testing.assert_close(part[:, 4:6], 0.25 * whole[:, 4:6])
    assert (part[:, 6:] == 0).all()
    third, fourth = encoding.levels[2], encoding.levels[3]
    torch.testing.assert_close(
        gradient[third.first : fourth.first], 0.25 * whole_gradient[third.first : fourth.first], rtol=1e-5, atol=1e-6
    )
    assert (gradient[fourth.first :] == 0).all()
    for every in (6.0, 6, 100.0, float("inf")):
        assert torch.equal(encoding(points, every), whole)
    assert (_run(encoding, points, 0.0)[0] == 0).all()


def test_a_closed_level_is_never_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    visited: dict[str, set[int]] = {}

    def watched(name: str) -> None:
        original = getattr(encoding_autograd, name)

        def call(*arguments: object) -> None:
            (grid,) = [one for one in arguments if isinstance(one, encoding_autograd.Grid)]
            visited.setdefault(name, set()).add(int(grid.vertices))
            original(*arguments)

        monkeypatch.setattr(encoding_autograd, name, call)

    for name in ("interpolate", "scatter", "slope"):
        watched(name)
    kernel, _ = _pair(SMALL)
    _run(kernel, _points(20), 1.5)
    assert visited == {"interpolate": {4, 6}, "scatter": {4, 6}, "slope": {4, 6}}


@pytest.mark.parametrize("open_levels", [-0.5, float("nan")])
def test_an_impossible_number_of_open_levels_is_refused(open_levels: float) -> None:
    encoding, _ = _pair(SMALL)
    with pytest.raises(SettingsError, match="open_levels: expected a number from 0 on"):
        encoding(_points(2), open_levels)


def test_openings_grow_without_a_jump() -> None:
    assert openings(3, None) == (1.0, 1.0, 1.0)
    assert openings(3, 0.0) == ()
    assert openings(3, 1.5) == (1.0, 0.5)
    assert openings(3, 2.0) == (1.0, 1.0)
    assert openings(3, np.nextafter(2.0, 3.0)) == pytest.approx((1.0, 1.0, 0.0))


def test_each_device_gets_its_implementation() -> None:
    assert implementation_for(torch.device("cpu")) == "kernel"
    assert implementation_for(torch.device("cuda", 1)) == "compiled"
    assert implementation_for(torch.device("meta")) == "reference"
    assert implementation_for(torch.device("mps")) == "reference"


def test_a_device_without_kernels_takes_the_reference() -> None:
    encoding = HashEncoding(SMALL).to("meta")
    encoded = encoding(torch.zeros(7, 3, device="meta"), 2.5)
    assert encoded.shape == (7, 12)
    assert encoded.device.type == "meta"


def test_the_path_of_cuda_equals_the_reference_and_is_not_compiled_anew_as_levels_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs: list[torch.fx.GraphModule] = []

    def counted(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(encode_reference, dynamic=True, fullgraph=True, backend=counted)
    monkeypatch.setattr(encoding_module, "_compiled_reference", lambda: compiled)
    encoding, reference = _pair(SMALL)
    encoding.implementation = "compiled"
    for count, open_levels in ((50, 3.25), (30, 4.5), (20, 3.0)):
        points = _points(count)
        _assert_close(_run(encoding, points, open_levels), _run(reference, points, open_levels))
    assert len(graphs) == 1, "torch gives up compiling after a few graphs: one a level would be too many"


def test_a_seed_makes_the_table_and_the_table_alone_is_kept() -> None:
    one, two = (HashEncoding(SMALL, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one.table, two.table)
    assert one.table.abs().max() <= SMALL.first_value
    assert list(one.state_dict()) == ["table"]


def test_the_defaults_are_the_published_grid() -> None:
    published = EncodingSettings()
    levels = levels_of(published)
    assert published.width == 64
    assert levels[15].vertices == 4096
    assert sum(level.dense for level in levels) == 5  # 16, 23, 34, 49 and 70 vertices a side
    assert 2 * sum(level.entries for level in levels) == pytest.approx(29.4e6, rel=0.01)
    assert [level.first for level in levels[1:]] == np.cumsum([level.entries for level in levels])[:-1].tolist()


def test_a_grid_too_fine_to_count_is_refused() -> None:
    with pytest.raises(ValidationError, match="fewer levels or a smaller growth"):
        EncodingSettings(levels=32, growth=1.8)
