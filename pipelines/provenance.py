"""Where an output comes from: a typed record, attached to every materialization.

Belongs here: reading a stage's record into what a person or a later check wants to compare. Does not belong here:
deciding what is stale; the workspace does that from the same record.
"""

import hashlib
import json
from typing import Annotated

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from palm_data.store.workspace import StageRecord
from schemas.ids import Sha256
from schemas.version import VERSION


class Provenance(BaseModel):
    """What made an output, from what."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    key: str
    palm_version: Annotated[str, Field(description="Version of this software that reported the output.")] = VERSION
    code_version: Annotated[str, Field(description="Version of the stage's own code.")]
    settings_sha256: Annotated[Sha256, Field(description="Digest of the settings the stage depends on.")]
    inputs: Annotated[dict[str, str], Field(description="Name of each input → its digest.")]
    fingerprint: Annotated[Sha256, Field(description="Digest of all of the above: same fingerprint, no new work.")]
    digest: Annotated[Sha256, Field(description="Digest of the output's content.")]

    @classmethod
    def of(cls, record: StageRecord) -> "Provenance":
        """The provenance of a finished output."""
        settings = json.dumps(record.settings, sort_keys=True, separators=(",", ":"))
        return cls(
            stage=record.stage,
            key=record.key,
            code_version=record.code_version,
            settings_sha256=hashlib.sha256(settings.encode()).hexdigest(),
            inputs=record.inputs,
            fingerprint=record.fingerprint,
            digest=record.digest,
        )

    def metadata(self) -> dict[str, dg.MetadataValue]:
        """As Dagster shows it."""
        return {"provenance": dg.MetadataValue.json(self.model_dump()), "digest": dg.MetadataValue.text(self.digest)}
