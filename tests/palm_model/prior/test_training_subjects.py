"""People who are held out of a training are in none of its views, and have no row in the code book."""

import pytest

from palm_data.loader.release import Release
from palm_model.prior.batches import Batches, training_subjects
from palm_model.prior.hands import released_hands
from schemas.errors import BadInputError
from schemas.prior import HeldOut
from tests.palm_model.prior.released import MODEL
from tests.palm_model.prior.settings import SMALL


def test_somebody_held_out_is_in_no_view(release: Release) -> None:
    settings = SMALL.model_copy(update={"held_out": HeldOut(subjects=("0002",))})
    people = training_subjects(release, settings)
    assert people == ("0001", "0003")
    hands = released_hands(release, MODEL, settings.skinning, subject_ids=people)
    batches = Batches(release, hands, settings, numbers=1)
    assert {key.subject_id for key in batches.views} == {"0001", "0003"}


@pytest.mark.parametrize("out", [("0009",), ("0001", "0002", "0003")])
def test_strangers_and_everybody_cannot_be_held_out(release: Release, out: tuple[str, ...]) -> None:
    settings = SMALL.model_copy(update={"held_out": HeldOut(subjects=out)})
    with pytest.raises(BadInputError, match="held-out subjects: expected some, but not all, of 0001, 0002, 0003"):
        training_subjects(release, settings)
