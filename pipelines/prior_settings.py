"""The settings of a prior that somebody asks for, on the command line or in the asset's page: a preset, and what differs."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from palm_model.prior.presets import preset as preset_named
from palm_model.prior.presets import with_pbr
from schemas.errors import SettingsError
from schemas.prior import PriorSettings
from schemas.prior_losses import LOSS_NAMES


def prior_settings(
    preset: str,
    *,
    steps: int | None = None,
    least_subjects: int | None = None,
    held_out: Mapping[str, Sequence[str] | None] = MappingProxyType({}),
    seed: int | None = None,
    pbr: bool = False,
    without: Sequence[str] = (),
    changes: Sequence[str] = (),
) -> PriorSettings:
    """A preset's settings with what a person wants otherwise; None and nothing leave a value as it is.

    Args:
        steps: as for `preset`.
        held_out: names by a field of `HeldOut`.
        pbr: with the branch that shades material by light, where the preset has none.
        without: terms of the loss to leave out.
        changes: `path.to.setting=value`, the value as JSON or as plain text.

    Raises:
        SettingsError: if a preset, a term of the loss or a setting is unknown, or a value does not fit.
    """
    try:
        plain = preset_named(preset, steps=steps)
        values = (with_pbr(plain) if pbr and plain.pbr is None else plain).model_dump(mode="json")
        values["held_out"] |= {name: list(value) for name, value in held_out.items() if value}
        values["seed"] = values["seed"] if seed is None else seed
        if least_subjects is not None:
            values["training"]["least_subjects"] = least_subjects
        for name in without:
            if name not in LOSS_NAMES:
                raise SettingsError(f"--without: expected one of {', '.join(LOSS_NAMES)}, found {name!r}.")
            values["losses"][name] = None
        for change in changes:
            _change(values, change)
        return PriorSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{where}: {first['msg']}, found {first['input']!r:.80}.") from None


def _change(values: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    *above, name = path.split(".")
    at: Any = values
    for part in above:
        at = at.get(part) if isinstance(at, dict) else None
    if not equals or not isinstance(at, dict) or name not in at:
        known = ", ".join(sorted(at)) if isinstance(at, dict) else ", ".join(sorted(values))
        raise SettingsError(f"--set: expected setting=value with one of {known}, found {change!r}.")
    try:
        at[name] = json.loads(text)
    except ValueError:
        at[name] = text
