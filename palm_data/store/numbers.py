"""Version numbers: which of them may follow one, given what changed.

Semantic versioning, for data: PATCH repackages, MINOR adds, MAJOR changes or removes. Below 1.0.0, where nothing is
promised for long, the second number takes what would be MAJOR.
"""

from palm_data.store.changes import Level, ReleaseChanges
from palm_data.store.manifest import version_order
from schemas.errors import StoreError
from schemas.ids import VersionId

_NAMED = 6


def next_version(before: VersionId, level: Level) -> VersionId:
    """The lowest number after a version that may say this much."""
    major, minor, patch = version_order(before)
    if level == "patch":
        return f"{major}.{minor}.{patch + 1}"
    if level == "minor" or major == 0:
        return f"{major}.{minor + 1}.0"
    return f"{major + 1}.0.0"


def require_number(found: ReleaseChanges) -> None:
    """Hold the later version's number to what changed.

    Raises:
        StoreError: if the number promises less than what changed; says what did, and which number would do.
    """
    least = next_version(found.before, found.level)
    if version_order(found.after) >= version_order(least):
        return
    told = [reason.text for reason in found.reasons if reason.level == found.level]
    what = ", ".join(told[:_NAMED]) + (f" and {len(told) - _NAMED} more" if len(told) > _NAMED else "")
    raise StoreError(
        f"version: expected {least} or higher after {found.before}, found {found.after}, which {what}: that is "
        f"{found.level.upper()}{' (below 1.0.0 the second number takes it)' if found.before.startswith('0.') else ''}. "
        f"Publish as {least}. Nothing was published."
    )
