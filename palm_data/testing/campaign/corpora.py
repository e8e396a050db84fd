"""Pickles and archives that want more than to be read."""

import io
import pickle
import tempfile
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from palm_data.hand.npz import read_npz
from palm_data.hand.pickle_reader import read_pickled_arrays, read_pickled_tree
from palm_data.interop.zip_files import ZipFiles
from palm_data.testing.archives import hostile_zips
from palm_data.testing.bounded import bounded
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.pickles import hostile_pickles
from schemas.errors import PalmError

_READ, _REFUSED = "read", "refused"
_LIMITS = "512 MiB of address space to spare and 5 s of processor time each"
_MAX_NPZ_BYTES = 256 << 20
_HONEST = {"v_template": np.arange(6.0).reshape(2, 3), "f": np.arange(3, dtype=np.uint32)}


def pickles(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Read hostile pickles; see that nothing ran, and that an honest one reads as before."""
    return _whole_corpus(
        cases, root, progress, len(_pickles(root)), partial(_attempt_pickle, root),
        promise="0 executions; only our errors, no hang, and an honest pickle reads the same afterwards",
        how="a fixed corpus, always whole: calls of dangerous names by GLOBAL, STACK_GLOBAL, INST, OBJ, NEWOBJ, NEWOBJ_EX, EXT, "
        f"persistent ids; states for classes and functions; memo, hash, print and size bombs; shapes that lie. {_LIMITS}.",
    )  # fmt: skip


def archives(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Read hostile archives; see that nothing is written anywhere, and no more memory taken than allowed."""
    return _whole_corpus(
        cases, root, progress, len(_archives(root)), partial(_attempt_archive, root),
        promise="0 escapes: nothing is written outside, no link is made or followed; only our errors",
        how="a fixed corpus, always whole: names that climb, are absolute, of other systems, in Unicode disguise; links, devices, "
        "pipes; doubled names; bombs and lying sizes; damaged directories; each as an official subject's zip and as .npz. "
        f"Nothing here unpacks tar archives. {_LIMITS}.",
    )  # fmt: skip


def _whole_corpus(
    cases: Cases, root: Path, progress: Progress, count: int, attempt: Callable[[int], str], *, promise: str, how: str
) -> KindReport:
    every = Cases(cases.kind, count, cases.seed, only=cases.only)
    outcomes = bounded(attempt, list(every))

    def judge(_: int) -> None:
        _, said = next(outcomes)
        if said not in (_READ, _REFUSED):
            raise BrokenPromise(said)
        every.counts[said] += 1

    return tried(every, judge, progress, promise=promise, how=how)


def _attempt_pickle(root: Path, case: int) -> str:
    marker = root / "marker"
    folder = _folder(root)
    honest = folder / "honest.pkl"
    if case < 0:
        honest.write_bytes(pickle.dumps(_HONEST, protocol=2))
        _check_honest(honest)
        return str(len(_pickles(root)))
    name, content = _pickles(root)[case]
    path = folder / "hostile.pkl"
    path.write_bytes(content)
    said = _outcome([lambda: read_pickled_arrays(path), lambda: read_pickled_tree(content, path)])
    if marker.exists():
        marker.unlink()
        return f"{name}: RAN"
    try:
        _check_honest(honest)
    except (AssertionError, PalmError) as error:
        return f"{name}: an honest pickle read afterwards: {error}"
    return said if said in (_READ, _REFUSED) else f"{name}: {said}"


def _check_honest(path: Path) -> None:
    found = read_pickled_arrays(path)
    for name, array in _HONEST.items():
        if not np.array_equal(np.asarray(found[name]), array):
            raise AssertionError(name)


def _attempt_archive(root: Path, case: int) -> str:
    if case < 0:
        return str(len(_archives(root)))
    name, content = _archives(root)[case]
    folder = _folder(root)
    inside, beside = folder / "inside", folder / "beside"
    inside.mkdir(exist_ok=True)
    beside.mkdir(exist_ok=True)
    path = inside / "0001.zip"
    path.write_bytes(content)
    before = _tree(folder)
    said = _outcome(
        [lambda: _read_zip(path), lambda: read_npz(path, ("x", "cameras", "bomb"), max_bytes=_MAX_NPZ_BYTES)]
    )
    escaped = (_tree(folder) - before) | {str(one) for one in _ELSEWHERE if one.exists()}
    if escaped:
        return f"{name}: ESCAPED to {sorted(escaped)}"
    return said if said in (_READ, _REFUSED) else f"{name}: {said}"


_ELSEWHERE = (Path("/etc/escaped"), Path("/var/palm-escaped"), Path("escaped"))


def _read_zip(path: Path) -> None:
    files = ZipFiles(path)
    for member in files.paths():
        files.read(member)


def _outcome(readers: Sequence[Callable[[], object]]) -> str:
    """Refused if any of them refuses; the defect if one of them has one."""
    said = _READ
    for read in readers:
        try:
            read()
        except PalmError as error:
            said = _REFUSED
            str(error)
        except Exception as error:
            return f"{type(error).__name__}: {str(error)[:200]}"
    return said


def _tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@cache
def _pickles(root: Path) -> Sequence[tuple[str, bytes]]:
    return list(hostile_pickles(root / "marker"))


@cache
def _archives(root: Path) -> Sequence[tuple[str, bytes]]:
    return list(hostile_zips(root / "beside", {"cameras.npy": _npy(np.eye(3)), "x.npy": _npy(np.zeros(4))}))


@cache
def _folder(root: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=root))


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()
