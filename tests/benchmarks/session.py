"""What the loader is measured on: a release of 28 rendered images at full size, and the same images in other containers.

    python -m tests.benchmarks.session        makes what is missing below .benchmarks/loader; interrupted, it goes on

The images are the simulation's own, taken through the factory like any others: two people, two gestures each, seven
colour views of 2448×2048.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

import palm_data
from palm_data.calibration.verify import verify_calibration
from palm_data.capture.ingest import ingest_subject
from palm_data.loader.release import Release
from palm_data.loader.shards import Shard
from palm_data.maps.scan_maps import make_scan_maps
from palm_data.simulate.options import SimulateOptions
from palm_data.simulate.rig import CALIBRATION_ID
from palm_data.simulate.session import Estimate, simulate_session
from palm_data.store.arrays import create_group, create_image_array, write_frame
from palm_data.store.files import LocalFiles
from palm_data.store.release import publish_release
from palm_data.store.shard import build_subject_shard
from palm_data.store.workspace import Workspace
from schemas.errors import StoreError
from schemas.settings import Settings, without_labels

FOLDER = Path(".benchmarks") / "loader"
VERSION = "0.1.0"
OPTIONS = SimulateOptions(subjects=2, gestures=2, scale=1.0, rgb_spp=24, mono=False)
SILHOUETTE = "silhouette/full"


def full_size_release() -> Release:
    """The release, made first if it is not there: about 25 minutes on two idle cores, once."""
    settings = without_labels(
        Settings(raw=FOLDER / "session/raw", workspace=FOLDER / "workspace", releases=FOLDER / "releases")
    )
    try:
        return palm_data.open_release(settings.releases, VERSION)
    except StoreError:
        pass
    simulate_session(FOLDER / "session", OPTIONS, jobs=2, progress=_told, announce=_announced)
    workspace = Workspace(settings.workspace)
    subject_ids = [f"{number:04d}" for number in range(1, OPTIONS.subjects + 1)]
    for subject_id in subject_ids:
        _say(f"{subject_id}: ingest")
        ingest_subject(subject_id, workspace, settings)
    _say("calibration")
    verify_calibration(CALIBRATION_ID, workspace, settings)
    for subject_id in subject_ids:
        _say(f"{subject_id}: maps and shard")
        make_scan_maps(subject_id, workspace, settings)
        build_subject_shard(subject_id, workspace, settings)
    _say(f"release {VERSION}")
    publish_release(VERSION, workspace, settings)
    return palm_data.open_release(settings.releases, VERSION)


def silhouettes(release: Release, folder: Path) -> dict[str, Shard]:
    """For each subject a fourth map, in the place of the fitted hand's: the mask, worn off by five pixels.

    A release with labels has `hand_mask`; its labels cost more to make than all else here, and its bytes are alike.
    """
    import cv2

    kernel = np.ones((11, 11), np.uint8)
    found = {}
    for subject_id in release.subject_ids:
        place = folder / subject_id
        captures = release.subject(subject_id)
        if not place.exists():
            shape = (len(captures), *captures[0].mask.shape)
            array = create_image_array(
                create_group(place), SILHOUETTE, shape, np.uint8, tile_px=_tile(release, subject_id)
            )
            for row, sample in enumerate(captures):
                worn = [cv2.erode(mask.astype(np.uint8) * 255, kernel) for mask in sample.mask]
                write_frame(array, row, np.stack(worn))
        listed = {
            path.relative_to(place).as_posix(): (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
            for path in place.rglob("*") if path.is_file()
        }  # fmt: skip
        found[subject_id] = Shard(LocalFiles(folder), subject_id, listed)
    return found


def _tile(release: Release, subject_id: str) -> int:
    return release.shard(subject_id)._reader("mask/full").layout.tile[-1]


def _told(label: str, done: int, total: int) -> None:
    _say(f"simulation: {done} of {total} pieces, last {label}")


def _announced(estimate: Estimate) -> None:
    _say(f"simulation: {estimate.captures} captures, about {estimate.wall_minutes:.0f} minutes on idle cores")


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    made = full_size_release()
    _say(f"{made} is there")
