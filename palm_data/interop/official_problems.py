"""What can be wrong with a folder in the official layout."""

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias


class Problem(NamedTuple):
    """A place where a folder is not what the official code expects."""

    path: str
    """Relative to the folder that was checked, forward slashes."""
    field: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: expected {self.expected}, found {self.found}."


Problems: TypeAlias = Iterator[Problem]
