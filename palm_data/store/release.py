"""Publishing: a version is staged, verified, put in place and then made to exist by its manifest."""

from palm_data.store.workspace import Workspace
from schemas.ids import VersionId
from schemas.release import Manifest
from schemas.settings import Settings


def publish_release(
    version: VersionId, workspace: Workspace, settings: Settings, *, parent: VersionId | None = None
) -> Manifest:
    """Publish every subject that may be released as one immutable version, and return its manifest."""
    raise NotImplementedError
