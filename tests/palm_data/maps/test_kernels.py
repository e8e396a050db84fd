import numba
import pytest

from palm_data.maps.kernels import compiled


def test_a_kernel_compiles_in_memory_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    original = numba.njit

    def refuse_cache(*functions: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return original(*functions, **options)

    monkeypatch.setattr(numba, "njit", refuse_cache)

    @compiled
    def double(value: int) -> int:
        return 2 * value

    assert double(21) == 42
