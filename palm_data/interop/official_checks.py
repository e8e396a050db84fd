"""Whether a folder is what the official loader and training code expect, item by item, without running them.

Each expectation was read in the public code of the official release; `docs/interop.md` lists them, and what is unknown.
"""

import re
from collections.abc import Callable
from pathlib import Path

from palm_data.hand.model import HandModel
from palm_data.interop.official_layout import (
    CAMERA_IDS,
    CAMERAS_FILE,
    FOLDERS,
    KINDS,
    POSES_FILE,
    QUALITY_FILE,
    frame_name,
    pictures,
    quality_key,
)
from palm_data.interop.official_numbers import check_cameras, check_metres, check_poses, check_reach, read_dict
from palm_data.interop.official_pictures import check_pictures
from palm_data.interop.official_problems import Problem, Problems

_SUBJECT = re.compile(r"[0-9]{4}")


def check_official(
    folder: Path, *, model: HandModel | None = None, progress: Callable[[int, int], None] | None = None
) -> tuple[Problem, ...]:
    """Everything in the folder that the official code would stumble over, or silently read as something else.

    Args:
        folder: what lies in `load/PALM/<version>`: the folder that holds `folders`.
        model: the hand model that the poses are of; without it, the reach of the hands is not checked.
        progress: called with subjects done and subjects in all.
    """
    folders = folder / FOLDERS
    if not folders.is_dir():
        return (Problem(FOLDERS, "folder", "a folder of subjects", "none"),)
    problems: list[Problem] = []
    names = sorted(path.name for path in folders.iterdir())
    if not names:
        problems.append(Problem(FOLDERS, "subjects", "at least one", "none"))
    frames: dict[str, int] = {}
    for done, name in enumerate(names, start=1):
        if _SUBJECT.fullmatch(name) and (folders / name).is_dir():
            frames[name] = _check_subject(folder, f"{FOLDERS}/{name}", model, problems)
        else:
            problems.append(Problem(f"{FOLDERS}/{name}", "name", "a folder of four digits", name))
        if progress is not None:
            progress(done, len(names))
    problems += _check_quality(folder, frames)
    return tuple(problems)


def _check_subject(folder: Path, home: str, model: HandModel | None, problems: list[Problem]) -> int:
    """Add what is wrong with a subject; how many frames there are."""
    cameras_path, poses_path = f"{home}/{CAMERAS_FILE}", f"{home}/{POSES_FILE}"
    cameras, poses = read_dict(folder, cameras_path, problems), read_dict(folder, poses_path, problems)
    size, in_cameras = check_cameras(cameras_path, cameras) if cameras is not None else (None, [])
    rows, in_poses = check_poses(poses_path, poses) if poses is not None else (None, [])
    problems += [*in_cameras, *in_poses]
    if cameras is not None and poses is not None and not in_cameras and not in_poses:
        problems += check_metres(cameras_path, cameras, poses)
    if poses is not None and not in_poses and model is not None:
        problems += check_reach(poses_path, poses, model)
    frames = _frames_on_disk(folder / home) if rows is None else rows
    problems += _check_files(folder / home, home, frames)
    for frame in range(1, frames + 1):
        for camera_id in CAMERA_IDS:
            problems += check_pictures(folder, home, camera_id, frame, size)
    return frames


def _frames_on_disk(home: Path) -> int:
    return len(list((home / KINDS[0] / CAMERA_IDS[0]).glob("*.png")))


def _check_files(home: Path, name: str, frames: int) -> Problems:
    """No picture missing, none too many."""
    expected = {picture.file for picture in pictures(frames)}
    found = {path.relative_to(home).as_posix() for kind in KINDS for path in (home / kind).rglob("*") if path.is_file()}
    for file in sorted(expected - found):
        yield Problem(f"{name}/{file}", "file", "a PNG", "none")
    for file in sorted(found - expected):
        wanted = f"{frame_name(1)} to {frame_name(frames)} of {CAMERA_IDS[0]} to {CAMERA_IDS[-1]} only"
        yield Problem(f"{name}/{file}", "file", wanted, "one more")


def _check_quality(folder: Path, frames: dict[str, int]) -> list[Problem]:
    problems: list[Problem] = []
    found = read_dict(folder, QUALITY_FILE, problems)
    if found is None:
        return problems
    expected = {quality_key(name, frame) for name, count in frames.items() for frame in range(1, count + 1)}
    for key in sorted(expected - set(map(str, found))):
        problems.append(Problem(QUALITY_FILE, key, "an error, or the frame is never used", "no such key"))
    for key in sorted(set(map(str, found)) - expected):
        problems.append(Problem(QUALITY_FILE, key, "only frames that are there", "a frame that is not"))
    for name, value in found.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < float("inf"):
            problems.append(Problem(QUALITY_FILE, str(name), "a finite number", str(value)))
    return problems
