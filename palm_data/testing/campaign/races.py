"""Two publishers of one version."""

import shutil
from pathlib import Path

from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.testing.apart import Ended, raced, run
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.tiny import tiny_workspace
from schemas.errors import ConflictError
from schemas.ids import Sha256
from schemas.release import Manifest
from schemas.settings import Settings

_VERSION = "1.0.0"


def _publish(settings: Settings) -> Manifest:
    return publish_release(_VERSION, Workspace(settings.workspace), settings)


def races(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Let two processes publish one version at once: even cases different contents, odd ones the same."""
    candidates = [tiny_workspace(root / f"candidate-{seed}", ["0001"], seed=seed).settings for seed in range(2)]
    takes = max(run(_publish, _into(one, root / f"warm-{number}")).seconds for number, one in enumerate(candidates))

    def attempt(case: int) -> None:
        rng, releases, same = cases.rng(case), root / f"race-{case}", case % 2 == 1
        pair = [candidates[0], candidates[0 if same else 1]]
        delays = rng.permutation([0.0, rng.uniform(0, takes / 2)]).tolist()
        ended = raced([(_publish, (_into(one, releases),)) for one in pair], delays)
        winners = [one for one in ended if one.error is None]
        expected = 2 if same else 1
        if len(winners) != expected:
            raise BrokenPromise(f"{len(winners)} succeeded, expected {expected}: {[str(one.error) for one in ended]}")
        roots = {one.result.merkle_root for one in winners}
        _check(releases, roots, ended)
        kind = "same contents" if same else "different contents"
        cases.counts[kind] += 1
        if not same:
            cases.counts[f"{kind}: the first to start won"] += ended[0].error is None
        shutil.rmtree(releases)

    return tried(
        cases, attempt, progress,
        promise="exactly one wins; the other gets a ConflictError, or the same manifest for the same contents",
        how="two processes publish one version, one up to half a publish's time after the other; even cases different "
        "contents, odd ones the same. What is there afterwards is verified deeply.",
        figures=lambda: {"seconds_of_a_publish": round(takes, 3)},
    )  # fmt: skip


def _into(settings: Settings, releases: Path) -> Settings:
    return settings.model_copy(update={"releases": releases})


def _check(releases: Path, roots: set[Sha256], ended: list[Ended]) -> None:
    report = verify_release(releases / _VERSION)
    if not report.passed or {report.merkle_root} != roots:
        raise BrokenPromise(f"published {roots}, found {report.merkle_root}, problems {report.problems[:3]}")
    for one in ended:
        told = isinstance(one.error, ConflictError) and str(report.merkle_root) in str(one.error)
        if one.error is not None and not told:
            raise BrokenPromise(f"the loser was told: {type(one.error).__name__}: {one.error}")
    left = sorted(path.name for path in releases.iterdir())
    if left != [".partial", _VERSION] or [path.name for path in (releases / ".partial").iterdir()] != ["install.lock"]:
        raise BrokenPromise(f"left behind: {left}")
