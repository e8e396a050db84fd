"""Hand dimensions of real people: rows of the ANSUR II survey (2012, public domain)."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from palm_data.hand.standin.measures import MEASURES
from schemas.errors import BadInputError

_FILES = ("ansur2_female_hand_mm.csv", "ansur2_male_hand_mm.csv")


def read_people(path: Path) -> Float[np.ndarray, "people 5"]:
    """Every person's dimensions, columns in the order of `MEASURES`, millimetres.

    Raises:
        BadInputError: if a column is missing or a value is not a number.
    """
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    try:
        return np.array([[float(row[name]) for name in MEASURES] for row in rows])
    except (KeyError, ValueError, TypeError) as error:
        raise BadInputError(path, field="columns", expected=f"numbers in {', '.join(MEASURES)}", found=error) from None


def choose_people(folder: Path, per_sex: int) -> Float[np.ndarray, "people 5"]:
    """As many women as men, spread evenly over the range of hand lengths of each, so that moments are kept.

    Raises:
        BadInputError: if a survey file is damaged.
    """
    chosen = []
    for name in _FILES:
        people = read_people(folder / name)
        people = people[np.lexsort(people.T[::-1])]
        middle_of_each_share = (np.arange(per_sex) + 0.5) / per_sex
        chosen.append(people[(middle_of_each_share * len(people)).astype(int)])
    return np.concatenate(chosen)
