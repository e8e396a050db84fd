"""One kind of fault: how often it was tried, and which cases broke the promise."""

import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

_FAILURES_SHOWN = 50


class BrokenPromise(Exception):  # noqa: N818 - it is not an error of the campaign
    """What a case found that should not be."""


class Failure(BaseModel):
    """A case that broke the promise; `palm_data.testing.campaign --case KIND:CASE` tries it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    case: int
    what: str


class KindReport(BaseModel):
    """What came out of all cases of a kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    promise: str
    how: Annotated[str, Field(description="What exactly was done, and what not.")]
    seed: int
    tries: int
    kept: Annotated[int, Field(description="Cases in which the promise was kept.")]
    seconds: float
    figures: Annotated[dict[str, Any], Field(description="What the cases met, counted.")]
    failures: tuple[Failure, ...]
    passed: bool


class Cases:
    """The cases of a kind that are to be tried, each with a generator of its own."""

    def __init__(self, kind: str, count: int, seed: int, *, only: int | None = None) -> None:
        """Take how many cases there are, and which of them alone is wanted, if one is."""
        self.kind, self.count, self.seed, self.only = kind, count, seed, only
        self.counts: Counter[str] = Counter()
        """What the cases met; they count here."""

    def __iter__(self) -> Iterator[int]:
        """The numbers of the cases."""
        return iter(range(self.count) if self.only is None else [self.only])

    def rng(self, case: int) -> np.random.Generator:
        """The generator of one case, whichever others are tried."""
        return np.random.default_rng([self.seed, zlib.crc32(self.kind.encode()), case])


Progress = Callable[[str, int, int], None]
Run = Callable[[Cases, Path, Progress], KindReport]


def tried(
    cases: Cases,
    attempt: Callable[[int], None],
    progress: Progress,
    *,
    promise: str,
    how: str,
    allowed: int = 0,
    figures: Callable[[], dict[str, Any]] = dict,
) -> KindReport:
    """Try every case; a `BrokenPromise` is counted with its case, anything else ends the campaign.

    Args:
        allowed: how many cases may break the promise, as the promise says.
    """
    failures: list[Failure] = []
    began, tries = time.perf_counter(), 0
    for case in cases:
        tries += 1
        try:
            attempt(case)
        except BrokenPromise as broken:
            failures.append(Failure(case=case, what=str(broken)))
        progress(cases.kind, tries, cases.count if cases.only is None else 1)
    return KindReport(
        kind=cases.kind, promise=promise, how=how, seed=cases.seed, tries=tries, kept=tries - len(failures),
        seconds=round(time.perf_counter() - began, 1), figures={**dict(sorted(cases.counts.items())), **figures()},
        failures=tuple(failures[:_FAILURES_SHOWN]), passed=len(failures) <= allowed and tries > 0,
    )  # fmt: skip
