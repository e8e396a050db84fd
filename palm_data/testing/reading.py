"""Reading all that a version holds, the way a consumer does: through the loader."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import palm_data
from palm_data.loader.release import Release
from palm_data.loader.sample import Sample
from palm_data.loader.tables import MODELS
from palm_data.store.label_tables import LABEL_MODELS
from palm_data.store.tables import table_bytes
from schemas.errors import PalmError
from schemas.ids import Sha256, SubjectId, VersionId

_METADATA = "/zarr.json"
_FRAME_PARTS = 4
"""An image array's objects are named by frame, view, y, x and maybe channel; a table's by row and maybe column."""


def read_everything(location: str | Path, version: VersionId | None = None) -> Sha256:
    """Open a version, ask for everything it holds, and give the digest of what was read.

    Tables, labels, documents, scans, and every image array of every subject in every tier; of the manifest all but
    when it was made, so that the same contents published twice give the same digest.

    Raises:
        StoreError: if there is no such version.
        IntegrityError: if any of it is not what was published.
    """
    release = palm_data.open_release(location, version)
    digest = hashlib.sha256(release.manifest.model_dump_json(exclude={"created", "manifest_sha256"}).encode())
    for name in (*MODELS, *(LABEL_MODELS if release.labelled else ())):
        digest.update(table_bytes(release.tables[name]))
    for path in release.documents:
        digest.update(release.document(path))
    for subject_id in release.subject_ids:
        for name in _image_arrays(release, subject_id):
            _images(digest, release, subject_id, name)
    for sample in release:
        for values in _sample(sample, labelled=release.labelled):
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def why_unreadable(location: str | Path, version: VersionId | None = None) -> PalmError | None:
    """The error that asking for everything ends with; None if all of it can be read."""
    try:
        read_everything(location, version)
    except PalmError as error:
        return error
    return None


def _image_arrays(release: Release, subject_id: SubjectId) -> list[str]:
    """The arrays of a subject that hold one object a frame, sorted."""
    objects = [path.partition("/c/") for path in release.tables.shard_files(subject_id)]
    return sorted({name for name, _, index in objects if index.count("/") + 1 >= _FRAME_PARTS})


def _images(digest: "hashlib._Hash", release: Release, subject_id: SubjectId, name: str) -> None:
    shard = release.shard(subject_id)
    for row in range(release.subject(subject_id).captures.num_rows):
        digest.update(shard.frame(name, row).tobytes())


def _sample(sample: Sample, *, labelled: bool) -> Iterator[np.ndarray]:
    """What a capture computes from what was read, and its scan."""
    scan = sample.scan
    yield from (one for one in (scan.vertices, scan.faces, scan.uv, scan.uv_faces, scan.texture) if one is not None)
    yield sample.depth
    if labelled:
        yield sample.keypoints.points
        yield from (view.keypoints_px for view in sample.views)
        if sample.hand is not None:
            yield sample.hand.hand_pose
