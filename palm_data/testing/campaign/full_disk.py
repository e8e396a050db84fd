"""Publishers that run out of disk."""

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from palm_data.testing.apart import Ended, run
from palm_data.testing.campaign.kind import BrokenPromise, Cases, KindReport, Progress, tried
from palm_data.testing.campaign.scene import NEW, Scene, check_converges, check_whole, make_scene, publish_new
from palm_data.testing.little_room import mount_little_room, resize_room
from schemas.errors import StoreError
from schemas.settings import Settings

_PLENTY = 64 << 20
_HOW = (
    "in turn: a change to the file system (open for writing, mkdir, link, rename, …) is refused with ENOSPC, spread over "
    "all of them; the kernel refuses to write any file beyond a size (RLIMIT_FSIZE), spread over the sizes of the files; "
)


def full_disk(cases: Cases, root: Path, progress: Progress) -> KindReport:
    """Let the disk be full at a step of a publish; see that the old version is intact, and the next publish finishes."""
    scene = make_scene(root)
    measured = scene.copy("measured")
    changes = run(publish_new, measured).changes
    sizes = sorted({path.stat().st_size for path in (measured.releases_folder / NEW).rglob("*") if path.is_file()})
    room = run(_room_needed, scene, root)
    needed = room.result if room.error is None else 0
    ways: list[Callable[[float], Callable[[Settings], Ended]]] = [
        lambda at: lambda settings: run(publish_new, settings, at=int(at * changes), fault="full"),
        lambda at: lambda settings: run(publish_new, settings, max_file_bytes=max(0, sizes[int(at * len(sizes))] - 1)),
    ]
    names = ["a change is refused", "a file may not grow"]
    spread = -(-cases.count // (3 if needed else 2))

    def attempt(case: int) -> None:
        way, at = case % (3 if needed else 2), case // (3 if needed else 2) / spread
        if way == 2:
            ended = run(_in_little_room, scene, root, int(at * needed))
            if isinstance(ended.error, Exception):
                raise BrokenPromise(str(ended.error))
            cases.counts[f"the disk is full: {ended.result}"] += 1
            return
        settings = scene.copy(f"full-{case}")
        ended = ways[way](at)(settings)
        cases.counts[f"{names[way]}: {_judged(scene, settings, ended.error)}"] += 1
        check_converges(scene, settings)
        shutil.rmtree(settings.releases_folder)

    return tried(
        cases, attempt, progress,
        promise="the old version intact, a clean error, and the next publish finishes",
        how=_HOW + ("a file system of that many bytes (tmpfs in a mount name space), spread over what a publish needs"
                    if needed else f"this machine lets nobody mount a small file system ({room.error}), so that is left out"),
        figures=lambda: {"changes_of_a_publish": changes, "sizes_of_files": len(sizes), "bytes_needed": needed},
    )  # fmt: skip


def _judged(scene: Scene, settings: Settings, error: Exception | None) -> str:
    """What the publisher came to; what is there is whole in any case.

    Raises:
        BrokenPromise: if it is not, or the error is not one of ours.
    """
    finished = check_whole(scene, settings.releases_folder)
    if error is None:
        if not finished:
            raise BrokenPromise("the publisher succeeded, and there is no new version")
        return "done all the same"
    if not isinstance(error, StoreError):
        raise BrokenPromise(f"{type(error).__name__}: {error}")
    return "refused after the new version existed" if finished else "refused, the old version only"


def _room_needed(scene: Scene, root: Path) -> int:
    """How many bytes publishing needs beyond the old version, on a file system of its own."""
    there = _enter(scene, root)
    before = shutil.disk_usage(there.settings.releases_folder).used
    publish_new(there.settings)
    return shutil.disk_usage(there.settings.releases_folder).used - before


def _in_little_room(scene: Scene, root: Path, left: int) -> str:
    """Publish with so many bytes left, judge, make room, publish again."""
    there = _enter(scene, root)
    folder = there.settings.releases_folder.parent
    resize_room(folder, shutil.disk_usage(folder).used + left)
    error: Exception | None = None
    try:
        publish_new(there.settings)
    except (StoreError, OSError) as raised:
        error = raised
    cause = getattr(error, "__cause__", None)
    if isinstance(cause, OSError) and cause.errno != errno.ENOSPC:
        raise BrokenPromise(f"the disk was full, and the publisher met {cause!r}")
    said = _judged(there, there.settings, error)
    resize_room(folder, _PLENTY)
    check_converges(there, there.settings)
    return said


def _enter(scene: Scene, root: Path) -> Scene:
    """The scene with its releases, of which the new version is not in, on a small file system."""
    room = root / "room"
    room.mkdir(exist_ok=True)
    mount_little_room(room, _PLENTY)
    releases = room / "releases"
    shutil.copytree(scene.settings.releases_folder, releases)
    return replace(scene, settings=scene.settings.model_copy(update={"releases": releases}))
