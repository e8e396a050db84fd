"""What changed in a subject's arrays from one version to another.

Files are told apart by their digests. Only where an array is packed otherwise (other tiles or codecs), or where its
rows are those of other captures, are values decoded and compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from palm_data.store.side import SHARDS, Side
from schemas.arrays import OFFSETS
from schemas.ids import Sha256, SubjectId

_META = "zarr.json"
_CHUNKS = "/c/"
_WORDS = ("description",)
"""Attributes that explain, and change no value's meaning."""
_PACKING = ("chunk_grid", "chunk_key_encoding", "codecs", "storage_transformers")

Frames = Mapping[int, int]
"""Frame of each capture → its row of the arrays."""


@dataclass(frozen=True)
class ArrayChanges:
    """What changed in one subject's arrays."""

    added: frozenset[str]
    removed: frozenset[str]
    frames: Mapping[str, frozenset[int]]
    """Array → captures whose values differ."""


@dataclass(frozen=True)
class _Group:
    """A subject's arrays in one version."""

    side: Side
    prefix: str
    frames: Frames
    files: Mapping[str, Mapping[str, Sha256]]
    """Array → its files, relative to the array → digest."""

    decoded: dict[str, np.ndarray]
    """Arrays of rows that were decoded already."""

    def meta(self, name: str) -> dict[str, Any]:
        """The array's own metadata."""
        return self.side.json(f"{self.prefix}{name}/{_META}")

    def capture(self, name: str, row: int) -> np.ndarray:
        """Decoded values of one capture, given its row of the arrays."""
        if _by_capture(self.meta(name)):
            return self._decode(name, f"c/{row}/", slice(row, row + 1))
        rows = slice(row, row + 1)
        if name in OFFSETS:
            offsets = self._whole(OFFSETS[name])
            rows = slice(int(offsets[row]), int(offsets[row + 1]))
        return self._whole(name)[rows]

    def _whole(self, name: str) -> np.ndarray:
        if name not in self.decoded:
            self.decoded[name] = self._decode(name, "c/", slice(None))
        return self.decoded[name]

    def _decode(self, name: str, prefix: str, rows: slice) -> np.ndarray:
        import zarr
        from zarr.core.buffer import default_buffer_prototype
        from zarr.storage import MemoryStore

        buffer = default_buffer_prototype().buffer
        wanted = [path for path in self.files[name] if path == _META or path.startswith(prefix)]
        content = {path: buffer.from_bytes(self.side.read(f"{self.prefix}{name}/{path}")) for path in wanted}
        return np.asarray(zarr.open_array(MemoryStore(content), mode="r", zarr_format=3)[rows])


def changed_arrays(subject_id: SubjectId, before: Side, after: Side, earlier: Frames, later: Frames) -> ArrayChanges:
    """Compare a subject's groups of two versions.

    Args:
        earlier: the subject's captures before.
        later: the subject's captures after.

    Raises:
        IntegrityError: if a file that has to be read is damaged.
    """
    old, new = _group(subject_id, before, earlier), _group(subject_id, after, later)
    frames = {}
    for name in sorted(old.files.keys() & new.files.keys()):
        if old.files[name] != new.files[name]:
            changed = _changed(name, old, new)
            if changed:
                frames[name] = changed
    return ArrayChanges(
        added=frozenset(new.files.keys() - old.files.keys()),
        removed=frozenset(old.files.keys() - new.files.keys()),
        frames=frames,
    )


def _group(subject_id: SubjectId, side: Side, frames: Frames) -> _Group:
    prefix = f"{SHARDS}{subject_id}.zarr/"
    found: dict[str, dict[str, Sha256]] = {}
    inner = side.group_files.get(subject_id, {})
    for path, sha256 in inner.items():
        name, chunk, rest = path.partition(_CHUNKS)
        if chunk:
            found.setdefault(name, {})[f"c/{rest}"] = sha256
    for name, files in found.items():
        files[_META] = inner.get(f"{name}/{_META}", "")
    return _Group(side=side, prefix=prefix, frames=frames, files=found, decoded={})


def _changed(name: str, old: _Group, new: _Group) -> frozenset[int]:
    """The captures of both whose values differ."""
    both = frozenset(old.frames.keys() & new.frames.keys())
    meta = old.meta(name), new.meta(name)
    if _meaning(meta[0]) != _meaning(meta[1]):
        return both
    repacked = [meta[0].get(key) for key in _PACKING] != [meta[1].get(key) for key in _PACKING]
    if not _by_capture(meta[0]) and not repacked and old.frames == new.frames:
        same = {path: sha256 for path, sha256 in old.files[name].items() if path != _META}
        return frozenset() if same == {p: s for p, s in new.files[name].items() if p != _META} else both
    return frozenset(frame for frame in both if not _same_capture(name, frame, old, new, repacked=repacked))


def _same_capture(name: str, frame: int, old: _Group, new: _Group, *, repacked: bool) -> bool:
    first, second = old.frames[frame], new.frames[frame]
    if _by_capture(old.meta(name)) and not repacked:
        return _files(old, name, first) == _files(new, name, second)
    if name in OFFSETS.values():  # where rows begin says nothing; how many they are is told by the rows
        return True
    return np.array_equal(old.capture(name, first), new.capture(name, second))


def _files(group: _Group, name: str, row: int) -> dict[str, Sha256]:
    """The files of one capture, by what follows its row in their names."""
    prefix = f"c/{row}/"
    return {path.removeprefix(prefix): sha for path, sha in group.files[name].items() if path.startswith(prefix)}


def _by_capture(meta: Mapping[str, Any]) -> bool:
    """Whether the first axis is the capture, each with files of its own."""
    names = meta.get("dimension_names") or [None]
    return bool(names[0] == "frame")


def _meaning(meta: Mapping[str, Any]) -> dict[str, Any]:
    """All but how values are packed, how many captures there are, and words."""
    attributes = {key: value for key, value in meta.get("attributes", {}).items() if key not in _WORDS}
    kept = {key: value for key, value in meta.items() if key not in (*_PACKING, "attributes", "shape")}
    return {**kept, "attributes": attributes, "shape": meta.get("shape", [])[1:]}
