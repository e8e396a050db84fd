"""Files of the kinds that strangers hand us, mutated: refused with our errors or read, never anything else."""

import tempfile
import warnings
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from palm_data.testing.bounded import bounded
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.campaign.seeds import Seed, seeds_of
from schemas.errors import PalmError

_EXTRA_BYTES = 512 << 20
_SECONDS = 5.0
_READ, _REFUSED = "read", "refused"


def mutations(kind: str, cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Mutate valid files of a kind, and have each read under a memory cap and a time limit."""
    numbers = list(cases)
    outcomes = bounded(partial(_attempt, kind, cases, root), numbers, extra_bytes=_EXTRA_BYTES, seconds=_SECONDS)

    def attempt(_: int) -> None:
        _, said = next(outcomes)
        if said not in (_READ, _REFUSED):
            raise BrokenPromise(said)
        cases.counts[said] += 1

    return tried(
        cases, attempt, progress, promise="only our errors, or a valid result",
        how=f"seeded mutations of valid {kind} files: bits, bytes, spans, words and lines; numbers replaced by nan, inf, "
        f"huge ones; structure where there is one (chunks with fitting checksums, JSON values, sealed manifests). Each is "
        f"read in a process with {_EXTRA_BYTES >> 20} MiB of address space to spare and {_SECONDS:g} s of processor time.",
    )  # fmt: skip


def mutated(kind: str, cases: Cases, folder: Path, case: int) -> tuple[Seed, bytes]:
    """The seed and the mutated content of a case, to look at it."""
    return _mutated(_seeds(kind, folder), cases, case)


def _mutated(seeds: Sequence[Seed], cases: Cases, case: int) -> tuple[Seed, bytes]:
    rng = cases.rng(case)
    seed = seeds[int(rng.integers(len(seeds)))]
    return seed, seed.mutate(seed.content, rng)


def _attempt(kind: str, cases: Cases, root: Path, case: int) -> str:
    """What reading a mutated file came to; −1 reads the seeds themselves."""
    seeds = _seeds(kind, root)
    if case < 0:
        for seed in seeds:
            seed.path.write_bytes(seed.content)
            seed.read(seed.path)
        return _READ
    seed, content = _mutated(seeds, cases, case)
    seed.path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numbers that got away
            seed.read(seed.path)
    except PalmError:
        return _REFUSED
    except Exception as error:
        return f"{seed.name}: {type(error).__name__}: {str(error)[:200]}"
    finally:
        seed.path.write_bytes(seed.content)
    return _READ


@cache
def _seeds(kind: str, root: Path) -> Sequence[Seed]:
    return seeds_of(kind, Path(tempfile.mkdtemp(dir=root)))
