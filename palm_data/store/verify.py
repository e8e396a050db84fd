"""Verification: every byte of a published version against its files table, manifest and merkle root."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import VersionId


class FileProblem(BaseModel):
    """A file that is not what was published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, Field(description="Relative to the version's folder, forward slashes.")]
    expected: str
    found: str


class VerifyReport(BaseModel):
    """What a verification looked at, and what it found wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: VersionId | None
    deep: Annotated[bool, Field(description="True: every byte was read; False: presence and sizes only.")]
    files: Annotated[int, Field(ge=0, description="Files looked at.")]
    bytes: Annotated[int, Field(ge=0, description="Their size, bytes.")]
    merkle_root: str | None
    problems: tuple[FileProblem, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def verify_release(folder: Path, *, deep: bool = True) -> VerifyReport:
    """Compare a version's folder with what was published, file by file; nothing is changed."""
    raise NotImplementedError
