"""Where a version lies: from what a person types to the folder that holds its manifest."""

from pathlib import Path

from palm_data.store.manifest import MANIFEST_FILE, is_version, versions
from schemas.errors import StoreError
from schemas.ids import VersionId


def version_folder(location: str | Path, version: VersionId | None = None) -> Path:
    """The folder of a version, given the folder of all releases or of that version itself.

    Args:
        version: the highest published one by default, if the location holds several.

    Raises:
        StoreError: if the location is not a local path, or no such version is published there.
    """
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
