"""What has to be erased when somebody withdraws: in every version, and on this machine."""

import hashlib
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from palm_data.capture.index import load_index, subject_digest
from palm_data.store.atomic import file_sha256
from palm_data.store.files import Files, LocalFiles
from palm_data.store.learned import models_below, read_seen
from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, read_manifest, versions
from palm_data.store.places import Place
from palm_data.store.side import SHARDS, Side, published_side
from palm_data.store.withdrawals import mark_erased, people_of
from palm_data.store.workspace import StageRecord, Workspace
from schemas.errors import IntegrityError, StoreError
from schemas.ids import Sha256, SubjectId, VersionId
from schemas.release import FileRow
from schemas.settings import Settings
from schemas.withdrawal import LocalItem, ReleasedErasure, ReleasedFile, VersionFiles

_AGAIN = "erased by palm withdraw --erase; made again without them by the next palm materialize"


def person_digest(workspace: Workspace, subject_id: SubjectId) -> Sha256 | None:
    """Who a subject is, told by their images; None if they are not indexed here any more."""
    try:
        return subject_digest(load_index(workspace, subject_id))
    except StoreError:
        return None


def released_files(releases: Place, subject_id: SubjectId) -> list[VersionFiles]:
    """The files of every version that are about a person or contain them, lowest version first.

    Raises:
        IntegrityError: if a version's manifest, files table or a table is damaged: what it holds is not known then.
        StoreError: if a remote place refuses or does not answer.
    """
    places = (releases.files(version) for version in versions(releases))
    return [_files_of(files, subject_id) for files in places if subject_id in people_of(files)]


def _files_of(version: Files, subject_id: SubjectId) -> VersionFiles:
    side, manifest = published_side(version), read_manifest(version)
    files = []
    for path, row in sorted(side.rows.items()):
        if row.subject_id == subject_id or path.startswith(f"{SHARDS}{subject_id}.zarr/"):
            files.append(ReleasedFile(path=path, bytes=row.bytes, sha256=row.sha256, holds="about"))
        elif _contains(side, row, subject_id):
            files.append(ReleasedFile(path=path, bytes=row.bytes, sha256=row.sha256, holds="contains"))
    for name in (FILES_FILE, MANIFEST_FILE):
        content = version.read(name)
        digest = hashlib.sha256(content).hexdigest()
        files.append(ReleasedFile(path=name, bytes=len(content), sha256=digest, holds="contains"))
    return VersionFiles(version=manifest.version, merkle_root=manifest.merkle_root, files=tuple(files))


def _contains(side: Side, row: FileRow, subject_id: SubjectId) -> bool:
    """Whether a file has the person among others: tables by their rows, texts and pictures if they may."""
    if row.modality == "table":
        table = side.table(row.path.removeprefix("tables/").removesuffix(".parquet"))
        return "subject_id" in table.column_names and subject_id in table["subject_id"].to_pylist()
    if row.modality != "document":
        return False
    return row.path.startswith("report/") or subject_id.encode() in side.read(row.path)


def local_items(
    settings: Settings,
    workspace: Workspace,
    told: ReleasedErasure,
    models: Collection[Path] = (),
) -> list[LocalItem]:
    """Everything on this machine that is about a person, or contains or learned from them, but the versions.

    Args:
        told: who they are, and which versions show them.
        models: files and folders to look for trained networks in, beside the workspace.
    """
    subject_id, person = told.subject_id, told.person
    roots = frozenset(one.merkle_root for one in told.versions)
    return [
        *_raw(settings.raw, subject_id),
        *_stages(workspace, subject_id, person),
        *_models([workspace.root / "stages", *models], subject_id, person, roots),
        *_leftovers(workspace, subject_id),
    ]


def _raw(raw: Path, subject_id: SubjectId) -> Iterator[LocalItem]:
    folder = raw / subject_id
    if folder.exists():
        yield LocalItem(
            path=str(folder), kind="raw", bytes=tree_bytes(folder), holds="about",
            remedy="delete it, and its copies: the raw root is read-only to palm",
        )  # fmt: skip
    names = {
        raw / "subjects.csv": (rb"(?m)^\W*%s\b", "set consent to withdrawn"),
        **dict.fromkeys(sorted((raw / "annotations").glob("*.json")), (rb'["/]%s/', "remove their images and labels")),
    }
    for path, (pattern, remedy) in names.items():
        if path.is_file() and re.search(pattern % subject_id.encode(), path.read_bytes()):
            yield LocalItem(path=str(path), kind="raw", bytes=path.stat().st_size, holds="contains", remedy=remedy)


def _stages(workspace: Workspace, subject_id: SubjectId, person: Sha256 | None) -> Iterator[LocalItem]:
    for record in workspace.records():
        about = record.key == subject_id
        if not about and not _made_from(record, subject_id, person):
            continue
        size = sum(item.bytes for item in record.outputs)
        path = workspace.root / "stages" / record.stage / record.key
        yield LocalItem(
            path=str(path), kind="stage", bytes=size, holds="about" if about else "contains",
            remedy="erased by palm withdraw --erase" if about else _AGAIN,
        )  # fmt: skip


def _made_from(record: StageRecord, subject_id: SubjectId, person: Sha256 | None) -> bool:
    """Whether a stage that is not theirs names them among its inputs."""
    named = any(name == subject_id or name.startswith(f"{subject_id}/") for name in record.inputs)
    return named or (person is not None and any(person in value.split("+") for value in record.inputs.values()))


def _models(
    places: Collection[Path], subject_id: SubjectId, person: Sha256 | None, roots: frozenset[Sha256]
) -> Iterator[LocalItem]:
    for path in sorted({path for place in places for path in models_below(place)}):
        try:
            saw = read_seen(path).saw(subject_id, person, roots)
        except IntegrityError:
            saw = None
        if saw is False:
            continue
        remedy = "train it again without them, and what was made with it" if saw else "find out whom it saw"
        yield LocalItem(
            path=str(path), kind="model", bytes=path.stat().st_size, sha256=file_sha256(path),
            holds="learned" if saw else "unknown", remedy=remedy,
        )  # fmt: skip


def _leftovers(workspace: Workspace, subject_id: SubjectId) -> Iterator[LocalItem]:
    training, history = workspace.root / "training", workspace.root / "dagster"
    if any(path.is_file() for path in training.rglob("*")):
        yield LocalItem(
            path=str(training), kind="training", bytes=tree_bytes(training), holds="unknown",
            remedy="states of trainings that were stopped: erased by palm withdraw --erase",
        )  # fmt: skip
    for path in sorted(workspace.root.glob(f"partial/*/{subject_id}")):
        yield LocalItem(path=str(path), kind="stage", bytes=tree_bytes(path), holds="about", remedy="palm gc --delete")
    if history.is_dir():
        yield LocalItem(
            path=str(history), kind="history", bytes=tree_bytes(history), holds="contains",
            remedy="pictures of their stages: wipe those materializations in Dagster, or delete the folder",
        )  # fmt: skip


def erase_local(item: LocalItem, workspace: Workspace) -> LocalItem:
    """Erase what palm made itself and can make again; other items come back as they are."""
    path = Path(item.path)
    if item.kind == "stage" and path.parent.parent == workspace.root / "stages":
        workspace.forget(path.parent.name, path.name)
    elif item.kind == "training":
        shutil.rmtree(path, ignore_errors=True)
    elif not (item.kind == "model" and (workspace.root / "stages") in path.parents and not path.exists()):
        return item
    return item.model_copy(update={"erased": not path.exists()})


def erase_version(releases: Place, version: VersionId) -> int:
    """Delete a version whose status says that somebody withdrew, whole; the bytes that were its own.

    The status says so first, and the manifest goes before everything else: killed in between, what is left is no
    version, and `palm gc` removes it. Files that other versions share stay with them.

    Raises:
        StoreError: if nobody withdrew who is in it, or a store refuses or does not answer.
    """
    mark_erased(releases, version)
    files = releases.files(version)
    sizes = files.sizes()
    freed = own_bytes(files.root) if isinstance(files, LocalFiles) else sum(size or 0 for size in sizes.values())
    for path in sorted(sizes, key=lambda path: (path != MANIFEST_FILE, path)):
        releases.delete(f"{version}/{path}")
    return freed


def tree_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def own_bytes(folder: Path) -> int:
    """Bytes that deleting a folder frees: of files that have no other name."""
    stats = [path.lstat() for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()]
    return sum(one.st_size for one in stats if one.st_nlink == 1)
