"""Where a version lies: from what a person types to the files of one version."""

import io
from pathlib import Path

from palm_data.store.cache import CachedFiles, CacheFolder, default_cache
from palm_data.store.fetched import FETCHED_FILE, PartialFiles, read_fetched
from palm_data.store.files import Files, LocalFiles
from palm_data.store.manifest import FILES_FILE, MANIFEST_FILE, is_version, read_manifest, versions
from palm_data.store.places import place_at
from palm_data.store.remote import is_url
from schemas.errors import StoreError
from schemas.ids import VersionId


def version_files(location: str | Path, version: VersionId | None = None, *, cache: Path | bool = False) -> Files:
    """The files of a version, given where all releases are or that version itself: a path or a URL.

    Args:
        version: the highest published one by default, if the location holds several. A web server does not say which
            it has, so behind one the version, or its own URL, is to be given.
        cache: where to keep what is read of a remote version; True: as the settings say; False: nowhere.

    Raises:
        SettingsError: if the settings of the cache are wrong.
        StoreError: if no such version is published there, or a remote place refuses or does not answer.
    """
    if is_url(location):
        files = _remote_version(str(location), version)
        return files if cache is False else CachedFiles(files, _cache_folder(cache))
    files = LocalFiles(version_folder(location, version))
    fetched = read_fetched(files) if files.size(FETCHED_FILE) is not None else None
    return files if fetched is None else PartialFiles(files.root, fetched)


def version_folder(location: str | Path, version: VersionId | None = None) -> Path:
    """The folder of a version on this machine; as `version_files`."""
    folder = Path(location).expanduser().absolute()
    if (folder / MANIFEST_FILE).is_file():
        if version not in (None, folder.name):
            raise StoreError(f"{folder}: expected version {version}, found the folder of version {folder.name}.")
        return folder
    if (folder / FILES_FILE).is_file():
        read_manifest(LocalFiles(folder))  # a version that lost its manifest: says so
    _check_number(version)
    published = versions(folder) if folder.is_dir() else []
    if not published or (version is not None and version not in published):
        found = published or ("none" if folder.is_dir() else "no such folder")
        raise _unpublished(str(folder), version, found)
    return folder / (version or published[-1])


def _cache_folder(cache: Path | bool) -> CacheFolder:
    from schemas.settings import load_settings  # which opening a local release does not need

    chosen = load_settings().cache
    folder = cache if isinstance(cache, Path) else chosen.folder or default_cache()
    return CacheFolder(folder.expanduser().absolute(), int(chosen.max_gb * 1e9))


def _remote_version(location: str, version: VersionId | None) -> Files:
    """The version at a URL, with as few questions as will do: a version that is named is looked at when it is opened."""
    place = place_at(location)
    name = place.name.rpartition("/")[2]
    if is_version(name):
        if version not in (None, name):
            raise StoreError(f"{place.name}: expected version {version}, found the address of version {name}.")
        return place.files()
    _check_number(version)
    if version is not None:
        return place.files(version)
    try:
        published = versions(place)
    except io.UnsupportedOperation:
        raise StoreError(
            f"{place.name}: expected a version to be named, since a web server does not say which it has; found none. "
            f'Open it with version="…", or as {place.name}/VERSION.'
        ) from None
    if not published:
        raise _unpublished(place.name, None, "none")
    return place.files(published[-1])


def labelled_beside(files: Files, version: VersionId) -> tuple[str, VersionId | None]:
    """Where the releases are that a version is one of, and the highest other version there that has labels, if known."""
    name = files.name.rpartition("/")[0]
    try:
        place = place_at(name)
        labelled = [one for one in versions(place) if one != version and _has_labels(place.files(one))]
    except (io.UnsupportedOperation, StoreError):
        return name, None
    return name, labelled[-1] if labelled else None


def _has_labels(files: Files) -> bool:
    try:
        return read_manifest(files).settings.get("release.labels") is True
    except StoreError:
        return False


def _check_number(version: VersionId | None) -> None:
    if version is not None and not is_version(version):
        raise StoreError(f"version: expected MAJOR.MINOR.PATCH, found {version!r}.")


def _unpublished(name: str, version: VersionId | None, found: str | list[VersionId]) -> StoreError:
    wanted = "a published version" if version is None else f"version {version}"
    listed = found if isinstance(found, str) else ", ".join(found)
    return StoreError(f"{name}: expected {wanted}, found {listed}. Publish one with: palm release VERSION.")
