"""Damage to files: bits flipped, files cut short or lost."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from schemas.errors import StoreError

Cut = Literal["deleted", "emptied", "last byte lost", "cut at random"]
CUTS: tuple[Cut, ...] = ("deleted", "emptied", "last byte lost", "cut at random")


def flip_bit(path: Path, bit: int) -> None:
    """Flip one bit of a file in place; the second call mends it.

    Args:
        bit: from 0 to 8 × its size − 1.

    Raises:
        StoreError: if the file has no such bit.
    """
    content = bytearray(path.read_bytes())
    if not 0 <= bit < 8 * len(content):
        raise StoreError(f"{path}: expected a bit below {8 * len(content)}, found {bit}.")
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def cut(path: Path, how: Cut, rng: np.random.Generator) -> None:
    """Delete a file or cut its end off."""
    if how == "deleted":
        path.unlink()
        return
    size = path.stat().st_size
    left = {"emptied": 0, "last byte lost": size - 1, "cut at random": int(rng.integers(0, size))}[how]
    with path.open("rb+") as stream:
        stream.truncate(left)


@contextmanager
def restored(path: Path) -> Iterator[None]:
    """Put a file back as it was after the block."""
    content = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(content)


def writable_copy(folder: Path, target: Path) -> Path:
    """A copy of a published version that may be damaged; the version itself shares its files with others."""
    shutil.copytree(folder, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
