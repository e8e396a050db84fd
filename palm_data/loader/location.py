"""Where a version lies: from what a person types to the files of one version."""

from pathlib import Path

from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import MANIFEST_FILE, is_version, read_manifest, versions
from schemas.errors import StoreError
from schemas.ids import VersionId


def version_files(location: str | Path, version: VersionId | None = None) -> Files:
    """The files of a version, given where all releases are or that version itself.

    Args:
        version: the highest published one by default, if the location holds several.

    Raises:
        StoreError: if the location is not a local path, or no such version is published there.
    """
    return LocalFiles(version_folder(location, version))


def version_folder(location: str | Path, version: VersionId | None = None) -> Path:
    """The folder of a version on this machine; as `version_files`."""
    if "://" in str(location):
        raise StoreError(
            f"{location}: expected a local path, found a URL. This version of the loader opens local paths only: "
            "copy the release here, or mount it."
        )
    folder = Path(location).expanduser().absolute()
    if (folder / MANIFEST_FILE).is_file():
        if version not in (None, folder.name):
            raise StoreError(f"{folder}: expected version {version}, found the folder of version {folder.name}.")
        return folder
    published = versions(folder) if folder.is_dir() else []
    if version is not None and not is_version(version):
        raise StoreError(f"version: expected MAJOR.MINOR.PATCH, found {version!r}.")
    if not published or (version is not None and version not in published):
        raise StoreError(
            f"{folder}: expected {'a published version' if version is None else f'version {version}'}, found "
            f"{', '.join(published) or ('none' if folder.is_dir() else 'no such folder')}. "
            "Publish one with: palm release VERSION."
        )
    return folder / (version or published[-1])


def labelled_beside(files: Files, version: VersionId) -> tuple[str, VersionId | None]:
    """Where the releases are that a version is one of, and the highest other version there that has labels."""
    if not isinstance(files, LocalFiles):
        return files.name.rpartition("/")[0], None
    releases = files.root.parent
    labelled = [one for one in versions(releases) if one != version and _has_labels(LocalFiles(releases / one))]
    return str(releases), labelled[-1] if labelled else None


def _has_labels(files: Files) -> bool:
    try:
        return read_manifest(files).settings.get("release.labels") is True
    except StoreError:
        return False
