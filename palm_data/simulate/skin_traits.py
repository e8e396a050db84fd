"""What varies in skin from person to person."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from palm_data.simulate.demographics import Person
from schemas.capture import SkinTone

MELANIN_BY_TONE: MappingProxyType[SkinTone, tuple[float, float]] = MappingProxyType(
    {"light": (0.024, 0.042), "medium": (0.062, 0.082), "tan": (0.108, 0.140), "dark": (0.195, 0.290)}
)
"""Volume share of melanosomes on the back of the hand."""
_PALM_MELANIN = 0.14
_PALM_MELANIN_BASE = 0.012
_AGE_SPOTS = {"21-30": 0.0, "31-40": 0.05, "41-50": 0.2, "51-60": 0.5, "61-70": 0.9}


@dataclass(frozen=True)
class SkinTraits:
    """One person's skin."""

    melanin: float
    """Volume share of melanosomes in the epidermis of the back of the hand."""
    palm_melanin: float
    blood: float
    """Volume share of blood in the dermis of the back of the hand."""
    palm_blood: float
    mottling: float
    """Strength of the blotches of blood and melanin."""
    freckles: float
    """0 none, 1 many."""
    age_spots: float
    veins: float
    """How clearly veins show."""
    roughness: float
    """GGX α of the back of the hand."""
    specular: float
    """Disney/Mitsuba `specular` of the back of the hand: F0 = 0.08 × specular; 0.35 is skin's index of 1.4."""
    moisture: float
    """0 dry, 1 moist: moist palms shine."""
    seed: int


def draw_skin(person: Person, rng: np.random.Generator) -> SkinTraits:
    """Skin that goes with a person's tone and age."""
    subject = person.subject
    melanin = float(rng.uniform(*MELANIN_BY_TONE[subject.skin_tone]))
    blood = float(rng.uniform(0.014, 0.030))
    fair = subject.skin_tone in ("light", "medium")
    return SkinTraits(
        melanin=melanin,
        palm_melanin=_PALM_MELANIN_BASE + _PALM_MELANIN * melanin,
        blood=blood,
        palm_blood=blood * float(rng.uniform(1.5, 2.2)),
        mottling=float(rng.uniform(0.7, 1.3)),
        freckles=float(rng.beta(1.2, 3.0)) * (1.0 if fair else 0.25),
        age_spots=_AGE_SPOTS[subject.age_band] * float(rng.uniform(0.5, 1.2)),
        veins=float(rng.uniform(0.6, 1.2)) * (1.0 if fair else 0.7),
        roughness=float(rng.uniform(0.28, 0.42)),
        specular=float(rng.uniform(0.28, 0.46)),
        moisture=float(rng.uniform(0.0, 1.0)),
        seed=int(rng.integers(2**31)),
    )
