"""Publishers that are killed."""

import shutil
from pathlib import Path

from palm_data.testing.apart import killed_after, run
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.campaign.scene import NEW, check_converges, check_whole, make_scene, publish_new

_WARM = 3


def kills(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Kill a publish at a random moment; see what is left, and whether the next one finishes."""
    scene = make_scene(root)
    runs = []
    for number in range(_WARM):
        settings = scene.copy(f"warm-{number}")
        runs.append(run(publish_new, settings))
    longest, changes = max(ended.seconds for ended in runs), runs[-1].changes

    def attempt(case: int) -> None:
        rng = cases.rng(case)
        settings = scene.copy(f"killed-{case}")
        if case % 2:
            ended = run(publish_new, settings, at=int(rng.integers(changes)))
        else:
            ended = killed_after(rng.uniform(0, longest), publish_new, settings)
        folder = settings.releases_folder / NEW
        state = "the new version existed" if check_whole(scene, settings.releases_folder) else "the old one only"
        if folder.exists() and state == "the old one only":
            state = "a folder without a manifest"
        if not ended.killed:
            if ended.exitcode:
                raise BrokenPromise(f"the publisher was not killed and failed: {ended.error}")
            state = "done before the kill"
        cases.counts[state] += 1
        check_converges(scene, settings)
        shutil.rmtree(settings.releases)

    return tried(
        cases, attempt, progress,
        promise="0 torn versions, 0 readable but wrong, a re-run converges to the same merkle root",
        how="SIGKILL of a publishing process: even cases after a random time, odd ones as it begins a random change to the "
        "file system. Every version there is then verified deeply and read whole through the loader, and published again.",
        figures=lambda: {"changes_of_a_publish": changes, "seconds_of_a_publish": round(longest, 3)},
    )  # fmt: skip
