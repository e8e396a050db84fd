"""What a trained prior says of itself."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from schemas.ids import Sha256, SubjectId, VersionId
from schemas.prior import PriorSettings

_FROZEN = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class PriorCard(BaseModel):
    """What a prior learned from, how, and how well it did on views of its people that it did not see."""

    model_config = _FROZEN

    name: str
    code_version: str
    settings: Annotated[PriorSettings, Field(description="All that the weights follow from, beside the release.")]
    release_version: Annotated[VersionId, Field(description="The version that it learned from.")]
    merkle_root: Annotated[Sha256, Field(description="That version's identity: no other data has it.")]
    data_digest: Annotated[Sha256, Field(description="Digest of what was drawn from it, and how.")]
    subjects: Annotated[
        tuple[SubjectId, ...], Field(description="The people seen, in the order of the code book's rows.")
    ]
    hand_model: Annotated[Sha256, Field(description="Digest of the hand model that the hands were fitted with.")]
    views: Annotated[int, Field(ge=0, description="Images that were learned from.")]
    step: Annotated[
        int | None,
        Field(ge=0, description="Training steps that the weights have had; None: all, with every encoding open."),
    ] = None
    figures: Annotated[dict[str, float | int], Field(description="Steps, samples left out, and validation.")]
