"""The registered hands of a release, as the prior is told of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from palm_data.hand.layer import HandLayer
from palm_data.hand.model import HandModel
from palm_data.loader.release import Release
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.poses import Poses, posed_hands
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.errors import StoreError
from schemas.ids import SubjectId
from schemas.prior_skinning import SkinningSettings


@dataclass(frozen=True, eq=False)
class ReleasedHands:
    """All fitted captures of some people of a release, one row each."""

    model: HandModel
    subject_ids: tuple[SubjectId, ...]
    """In the order of the code book's rows."""
    keys: tuple[tuple[SubjectId, int], ...]
    """Subject and frame of each row."""
    poses: Poses
    grids: SkinningGrids
    """Rows are those of `poses`."""
    skinning_settings: SkinningSettings

    def row(self, subject_id: SubjectId, frame: int) -> int:
        """Where a capture's hand is.

        Raises:
            StoreError: if the capture is not here, or has no fitted hand.
        """
        try:
            return self._rows[subject_id, frame]
        except KeyError:
            raise StoreError(
                f"prior: subject {subject_id}, frame {frame}: expected a fitted hand, found none."
            ) from None

    @cached_property
    def _rows(self) -> dict[tuple[SubjectId, int], int]:
        return {key: row for row, key in enumerate(self.keys)}

    def to(self, device: torch.device | str) -> "ReleasedHands":
        """The same hands on a device."""
        return replace(self, poses=self.poses.to(device), grids=self.grids.to(device))

    def select(self, rows: Sequence[int]) -> tuple[Poses, InverseSkinning]:
        """Some of the hands, and their skinning, in that order."""
        chosen = torch.tensor(rows, dtype=torch.int64, device=self.poses.bones.device)
        return self.poses.select(chosen), InverseSkinning(self.grids.for_poses(chosen), self.skinning_settings)


def released_hands(
    release: Release, model: HandModel, settings: SkinningSettings, *, subject_ids: Sequence[SubjectId] | None = None
) -> ReleasedHands:
    """The hands of a release; about a second for each person.

    Args:
        subject_ids: the people in the order of the code book; None: all of the release.

    Raises:
        StoreError: if the version has no labels, was fitted with another hand model, or holds no fitted hand.
    """
    people = tuple(release.subject_ids if subject_ids is None else subject_ids)
    found = [sample for sample in release if sample.subject_id in people and sample.hand is not None]
    if not found:
        raise StoreError(f"{release}: expected captures with a fitted hand, found none.")
    convention = release.hand_convention
    if model.convention() != convention:
        raise StoreError(
            f"hand model: expected {convention.model_id} ({convention.model_sha256}), found {model.model_id} "
            f"({model.sha256}). Load the one that the hands were fitted with."
        )
    hands = [sample.hand for sample in found if sample.hand is not None]
    columns = {
        name: torch.tensor(np.stack([getattr(hand, name) for hand in hands]), dtype=torch.float32)
        for name in ("betas", "global_orient", "hand_pose", "transl")
    }
    subject = torch.tensor([people.index(sample.subject_id) for sample in found])
    with torch.no_grad():
        poses = posed_hands(HandLayer(model), **columns, subject=subject)
    return ReleasedHands(
        model=model,
        subject_ids=people,
        keys=tuple((sample.subject_id, sample.frame) for sample in found),
        poses=poses,
        grids=SkinningGrids.build(model, poses.betas, settings),
        skinning_settings=settings,
    )
