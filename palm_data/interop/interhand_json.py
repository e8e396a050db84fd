"""A JSON file of annotations whose values are checked when they are used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from palm_data.capture.raw_files import read_bounded
from schemas.errors import BadInputError

_MAX_BYTES = 6 << 30
_LONGEST = 80


class AnnotationFile:
    """Nested objects; whatever is wrong with one is said with the file and its keys."""

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            BadInputError: if there is none, it is too large, or not a JSON object.
        """
        self.path = path
        try:
            values = json.loads(read_bounded(path, max_bytes=_MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise self.refused("file", "JSON", error) from None
        if not isinstance(values, dict):
            raise self.refused("file", "a JSON object", type(values).__name__)
        self._values: dict[str, Any] = values

    def get(self, *keys: str) -> Any:
        """A value by its keys; None if there is none."""
        value: Any = self._values
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def numbers(self, shape: tuple[int, ...], *keys: str) -> ndarray:
        """Finite float64 numbers of a shape, nested in whatever way.

        Raises:
            BadInputError: if they are missing or others.
        """
        value, field = self.get(*keys), ".".join(keys)
        if value is None:
            raise self.refused(field, f"numbers of shape {shape}", "none")
        try:
            array = np.array(value, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise self.refused(field, f"numbers of shape {shape}", type(value).__name__) from None
        if array.size != np.prod(shape) or not np.isfinite(array).all():
            raise self.refused(field, f"finite numbers of shape {shape}", f"shape {array.shape}")
        return array.reshape(shape)

    def objects(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a list, each with where it is.

        Raises:
            BadInputError: if it is no list of objects.
        """
        values = self._values.get(name)
        if not isinstance(values, list):
            raise self.refused(name, "a list", type(values).__name__)
        for row, value in enumerate(values):
            if not isinstance(value, dict):
                raise self.refused(f"{name}[{row}]", "an object", type(value).__name__)
            yield f"{name}[{row}]", value

    def refused(self, field: str, expected: str, found: object) -> BadInputError:
        """What to raise about a field."""
        return BadInputError(self.path, field=field, expected=expected, found=str(found)[:_LONGEST])
