"""Files of a published version that are damaged."""

from pathlib import Path

import numpy as np

from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE
from palm_data.store.verify import verify_release
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.damage import CUTS, cut, files_below, flip_bit, restored, writable_copy
from palm_data.testing.reading import read_everything, why_unreadable
from palm_data.testing.tiny import make_tiny_release
from schemas.errors import IntegrityError, StoreError

KINDS = ("manifest", "files table", "table", "convention", "document", "zarr.json", "shard tile", "shard index")
_UNDETECTED_AT_READ = 1000
"""One in so many may go unseen when it is read."""
_INDEX_ENTRY = 16
_CRC = 4


def kind_of(path: str) -> str:
    """Which kind of file of a version it is."""
    if path in (MANIFEST_FILE, FILES_FILE):
        return "manifest" if path == MANIFEST_FILE else "files table"
    if path.startswith("tables/"):
        return "table" if path.endswith(".parquet") else "convention"
    if path.startswith("shards/"):
        return "zarr.json" if path.endswith("zarr.json") else "shard tile"
    return "document"


def flips(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Flip one bit of a version; see whether it is found, and whether it is met when everything is read."""
    folder = writable_copy(make_tiny_release(root, ["0001"]), root / "damaged" / "0.1.0")
    whole = read_everything(folder)
    files: dict[str, list[Path]] = {kind: [] for kind in KINDS}
    for path in files_below(folder):
        files[kind_of(path.relative_to(folder).as_posix())].append(path)
    files["shard index"] = files["shard tile"]

    def attempt(case: int) -> None:
        rng, kind = cases.rng(case), KINDS[case % len(KINDS)]
        path = files[kind][int(rng.integers(len(files[kind])))]
        bit = _bit(path, kind, rng)
        name = path.relative_to(folder).as_posix()
        with restored(path):
            flip_bit(path, bit)
            named = _named(folder)
            error = why_unreadable(folder)
            harmless = error is None and read_everything(folder) == whole
        cases.counts[f"{kind}: flipped"] += 1
        cases.counts["found by deep verify"] += name in named
        cases.counts["found at read"] += error is not None
        cases.counts["named at read"] += error is not None and name in str(error)
        if named != {name}:
            raise BrokenPromise(f"{name}, bit {bit}: verify named {sorted(named)}")
        if error is None:
            cases.counts[f"{kind}: not met at read"] += 1
            if not harmless:
                raise BrokenPromise(f"{name}, bit {bit}: read without an error, with other contents")

    report = tried(
        cases, attempt, progress,
        promise="all found by deep verify, and named; at least 999 of 1,000 found at read, 0 read as other contents",
        how="one bit of one file, the kinds of files in turn. Read: everything the loader gives, each file held to what it "
        "is checked by; documents (README.md, LICENSE, reports) through Release.document.",
    )  # fmt: skip
    unseen = report.tries - cases.counts["found at read"]
    return report.model_copy(update={"passed": report.passed and unseen * _UNDETECTED_AT_READ <= report.tries})


def cuts(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Delete or truncate files of a version, each in each way; see whether they are named."""
    folder = writable_copy(make_tiny_release(root, ["0001"]), root / "cut" / "0.1.0")
    targets = [(path, how) for path in files_below(folder) for how in CUTS]
    order = np.random.default_rng(cases.seed).permutation(len(targets))

    def attempt(case: int) -> None:
        path, how = targets[order[case % len(targets)]]
        name = path.relative_to(folder).as_posix()
        with restored(path):
            cut(path, how, cases.rng(case))
            named = _named(folder)
            shallow = _named(folder, deep=False)
            error = why_unreadable(folder)
        cases.counts[how] += 1
        for what, names in (("deep verify", named), ("shallow verify", shallow)):
            if name not in names:
                raise BrokenPromise(f"{name} {how}: {what} named {sorted(names)}")
        if error is None or name not in str(error):
            raise BrokenPromise(f"{name} {how}: at read: {error}")
        cases.counts["named at read"] += 1

    return tried(
        cases, attempt, progress,
        promise="any file that is deleted or truncated is named, by verify (deep and shallow) and at read",
        how="each file of a version deleted, emptied, cut by its last byte, cut at random.",
        figures=lambda: {"files": len(targets) // len(CUTS)},
    )  # fmt: skip


def _named(folder: Path, *, deep: bool = True) -> set[str]:
    """What a verification names; without a manifest there is no version, which names the manifest."""
    try:
        return {problem.path for problem in verify_release(folder, deep=deep).problems}
    except StoreError as error:
        return {MANIFEST_FILE} if f"/{MANIFEST_FILE}:" in str(error) else {f"{type(error).__name__}: {error}"}


def _bit(path: Path, kind: str, rng: np.random.Generator) -> int:
    """A bit of the file; of a shard, one of its index (at the end: offsets, lengths, checksum) or one before it."""
    size = path.stat().st_size
    if not kind.startswith("shard"):
        return int(rng.integers(8 * size))
    index = _index_bytes(path)
    start, stop = (size - index, size) if kind == "shard index" else (0, size - index)
    return int(rng.integers(8 * start, 8 * stop))


def _index_bytes(path: Path) -> int:
    """The length of a shard's index: the first of its entries points at the file's start, and its tiles fill the rest."""
    content = path.read_bytes()
    for tiles in range(1, (len(content) - _CRC) // _INDEX_ENTRY + 1):
        index = tiles * _INDEX_ENTRY + _CRC
        table = np.frombuffer(content[-index:-_CRC], dtype="<u8").reshape(-1, 2)
        if table[0, 0] == 0 and int(table[:, 1].sum()) == len(content) - index:
            return index
    raise IntegrityError(f"{path}: expected a shard with its index at the end, found none.")
