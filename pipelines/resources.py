"""What assets are given: where things are, and where subjects are worked on.

Belongs here: resources, thin. Does not belong here: computation (see `compute`), settings (see `schemas.settings`).
"""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
from pydantic import Field

from palm_data.store.workspace import Workspace
from pipelines.compute import Outcome, StageFunction, map_keys
from schemas.settings import Settings, load_settings


class Places(dg.ConfigurableResource):
    """Where sessions are read and results written. What is not given comes from `palm.toml` and `PALM_*`."""

    raw: str | None = Field(default=None, description="Raw sessions; read only.")
    workspace_root: str | None = Field(default=None, description="Where stages write.")
    releases: str | None = Field(default=None, description="Where releases are published.")

    @classmethod
    def of(cls, settings: Settings) -> "Places":
        """The places that settings name, as absolute paths."""
        return cls(
            raw=str(settings.raw.absolute()),
            workspace_root=str(settings.workspace.absolute()),
            releases=settings.releases_place,
        )

    def settings(self) -> Settings:
        """Everything a run may be told.

        Raises:
            SettingsError: if a value is unknown or out of range.
        """
        return load_settings(raw=_path(self.raw), workspace=_path(self.workspace_root), releases=_path(self.releases))

    def workspace(self) -> Workspace:
        """The workspace that stages write to."""
        return Workspace(self.settings().workspace)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


class Compute(dg.ConfigurableResource):
    """Maps a stage over subjects, in this process or in local worker processes: the same bytes either way."""

    where: str | None = Field(default=None, description="`here` or `processes`; None: as the settings say.")
    workers: int | None = Field(default=None, description="Worker processes; None: as the settings say.")

    def map(
        self, function: StageFunction, keys: Sequence[str], workspace: Workspace, settings: Settings, *, label: str = ""
    ) -> list[Outcome]:
        """The outcome of every key, in the order given; a failing key stops no other."""
        given = {"where": self.where, "workers": self.workers}
        update = {name: value for name, value in given.items() if value is not None}
        chosen = type(settings.compute).model_validate({**settings.compute.model_dump(), **update})
        return map_keys(function, keys, workspace, settings, where=chosen.where, workers=chosen.workers, label=label)
