"""All kinds of faults, one after the other, into one report."""

import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from palm_data.testing.campaign.corpora import archives, pickles
from palm_data.testing.campaign.flips import cuts, flips
from palm_data.testing.campaign.full_disk import full_disk
from palm_data.testing.campaign.kills import kills
from palm_data.testing.campaign.kind import Cases, KindReport, Run
from palm_data.testing.campaign.mutations import mutations
from palm_data.testing.campaign.races import races
from palm_data.testing.campaign.store_faults import store_faults
from schemas.errors import SettingsError
from schemas.version import VERSION


@dataclass(frozen=True)
class Kind:
    """A kind of fault, and how often it is tried in a whole campaign; 0: a corpus that is always tried whole."""

    run: Run
    count: int


KINDS: dict[str, Kind] = {
    "kills": Kind(kills, 200),
    "flips": Kind(flips, 1000),
    "cuts": Kind(cuts, 320),  # each file in each way, and some twice
    "races": Kind(races, 100),
    "full_disk": Kind(full_disk, 150),
    "store_faults": Kind(store_faults, 60),
    "pickles": Kind(pickles, 0),
    "archives": Kind(archives, 0),
    **{f"mutated_{kind}": Kind(partial(mutations, kind), 10_000) for kind in ("obj", "ply", "tka", "png", "json")},
}


class CampaignReport(BaseModel):
    """What all kinds came to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    passed: bool
    seed: int
    share: Annotated[float, Field(description="Of each kind's cases, how many were tried.")]
    code_version: str
    machine: str
    python: str
    seconds: float
    kinds: dict[str, KindReport]

    def json_text(self) -> str:
        """As `make faults` prints it."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def run_campaign(
    kinds: Sequence[str] = tuple(KINDS), *, share: float = 1.0, seed: int = 0, case: int | None = None
) -> CampaignReport:
    """Try these kinds of faults; progress goes to stderr.

    Args:
        share: try this share of each kind's cases, at least one.
        case: try this case alone.

    Raises:
        SettingsError: if there is no such kind.
    """
    for name in kinds:
        if name not in KINDS:
            raise SettingsError(f"kinds: expected some of {', '.join(KINDS)}, found {name!r}.")
    began = time.perf_counter()
    reports: dict[str, KindReport] = {}
    for name in kinds:
        root = Path(tempfile.mkdtemp(prefix=f"palm-faults-{name}-"))
        try:
            count = max(1, round(KINDS[name].count * share))
            reports[name] = KINDS[name].run(Cases(name, count, seed, only=case), root, _show)
        finally:
            _remove(root)
        _told(reports[name])
    return CampaignReport(
        passed=all(report.passed for report in reports.values()), seed=seed, share=share, code_version=VERSION,
        machine=platform.machine(), python=platform.python_version(),
        seconds=round(time.perf_counter() - began, 1), kinds=reports,
    )  # fmt: skip


def _show(kind: str, done: int, count: int) -> None:
    if sys.stderr.isatty() or done == count or done % max(1, count // 10) == 0:
        sys.stderr.write(f"\r{kind}: {done} of {count}" + ("" if sys.stderr.isatty() and done < count else "\n"))
        sys.stderr.flush()


def _told(report: KindReport) -> None:
    word = "kept" if report.passed else "BROKEN"
    sys.stderr.write(f"{report.kind}: {word} in {report.kept} of {report.tries} cases, {report.seconds:.0f} s\n")
    for failure in report.failures[:5]:
        sys.stderr.write(f"  {report.kind}:{failure.case} {failure.what}\n")


def _remove(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(root)
