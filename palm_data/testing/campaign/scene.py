"""What the cases start from: a tiny workspace, one version published, another about to be."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from palm_data.store.manifest import versions
from palm_data.store.release import publish_release
from palm_data.store.verify import verify_release
from palm_data.store.workspace import Workspace
from palm_data.testing.campaign.kind import BrokenPromise
from palm_data.testing.reading import read_everything, why_unreadable
from palm_data.testing.tiny import add_subject, tiny_workspace
from schemas.errors import StoreError
from schemas.ids import Sha256
from schemas.release import Manifest
from schemas.settings import Settings

OLD, NEW = "0.1.0", "0.2.0"


@dataclass(frozen=True)
class Scene:
    """Releases of which the old version is published, and what both versions hold once the new one is, too."""

    settings: Settings
    merkle_root: Sha256
    """Of the new version."""
    contents: dict[str, Sha256]
    """Version → digest of all that a consumer reads."""

    def copy(self, name: str) -> Settings:
        """Settings that publish from the same workspace into a copy of the releases, the new version not in it."""
        releases = self.settings.releases_folder.with_name(name)
        shutil.copytree(self.settings.releases, releases)
        return self.settings.model_copy(update={"releases": releases})


def publish_new(settings: Settings) -> Manifest:
    """Publish the new version."""
    return publish_release(NEW, Workspace(settings.workspace), settings)


def make_scene(root: Path) -> Scene:
    """One subject, published as the old version, and registered again since."""
    made = tiny_workspace(root, ["0001"])
    publish_release(OLD, made.workspace, made.settings)
    add_subject(made.workspace, made.settings, "0001", seed=3)
    scene = Scene(settings=made.settings, merkle_root="", contents={})
    reference = scene.copy("reference")
    root_hash = publish_new(reference).merkle_root
    contents = {version: read_everything(reference.releases, version) for version in (OLD, NEW)}
    return Scene(settings=made.settings, merkle_root=root_hash, contents=contents)


def check_whole(scene: Scene, releases: Path) -> bool:
    """Hold what is there to what was published; whether the new version exists.

    Raises:
        BrokenPromise: if a version is torn, can be read and is wrong, or the old one is gone.
    """
    there = versions(releases)
    if OLD not in there:
        raise BrokenPromise(f"the old version is gone: {there}")
    for version in there:
        report = verify_release(releases / version)
        if not report.passed:
            raise BrokenPromise(f"torn version {version}: {'; '.join(map(str, report.problems[:3]))}")
        if read_everything(releases, version) != scene.contents.get(version):
            raise BrokenPromise(f"version {version} can be read and is wrong")
    if NEW not in there and not isinstance(why_unreadable(releases, NEW), StoreError):
        raise BrokenPromise("a version that does not exist can be opened")
    return NEW in there


def check_converges(scene: Scene, settings: Settings) -> None:
    """Publish again, and hold the result to the undisturbed one.

    Raises:
        BrokenPromise: if it is another, or work in progress is left behind.
    """
    found = publish_new(settings).merkle_root
    if found != scene.merkle_root:
        raise BrokenPromise(f"published again: merkle root {found}, expected {scene.merkle_root}")
    check_whole(scene, settings.releases_folder)
    left = sorted(path.name for path in (settings.releases_folder / ".partial").iterdir())
    if left != ["install.lock"]:
        raise BrokenPromise(f"work in progress was left behind: {left}")
