"""Compiled loops: one way to compile them, single-threaded and the same bytes on every run."""

import inspect
import typing
from collections.abc import Callable

import numba

Function = typing.TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """The function, compiled at its first call and kept beside the source, or in memory where nothing is writable.

    What it calls must stand in its own file: a compiled function is kept until that file changes.
    """
    return compiled_with(function)


def compiled_with(function: Function, **options: typing.Any) -> Function:
    """The same, with more of numba's options."""
    plain = inspect.unwrap(function)  # under a shape checker the function comes wrapped, and numba needs its bare code
    try:
        kept = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(plain)
    except RuntimeError:  # numba finds no folder it may write its cache to: a read-only installation
        kept = numba.njit(nogil=True, error_model="numpy", **options)(plain)
    return typing.cast(Function, kept)
