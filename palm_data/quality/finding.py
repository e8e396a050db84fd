"""What the gate found of one thing that it looked at."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_NAMED = 5


class GateFinding(BaseModel):
    """One thing that was looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$", description="What was looked at; stable, for machines.")]
    passed: bool
    found: Annotated[str, Field(description="What is there.")]
    expected: Annotated[str, Field(description="What has to be there.")]
    blocking: Annotated[bool, Field(description="True: a failure keeps the subject out of a release.")]
    detail: Annotated[str, Field(description="Where to look; empty if there is nothing to add.")] = ""


def some(items: Sequence[str]) -> str:
    """The first few of the items, and how many more there are."""
    rest = f"; and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return "; ".join(items[:_NAMED]) + rest
