"""Who comes to the rig: a cohort with the bands of the paper's Figure 3, and hands that go with the body.

Each band is filled in proportion, subject by subject, so that a cohort of any size is close to the figure and the first
four people have four different skin tones. Who gets what is shuffled within blocks of four by the seed.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import cast

import numpy as np

from schemas.capture import AgeBand, Consent, HeightBand, Sex, SkinTone, Subject

BLOCK = 4
AGE_SHARES = MappingProxyType({"21-30": 0.24, "31-40": 0.33, "41-50": 0.26, "51-60": 0.10, "61-70": 0.07})
HEIGHT_SHARES = MappingProxyType({"145-170": 0.48, "171-180": 0.35, "181-190": 0.13, "191-200": 0.04})
TONE_SHARES = MappingProxyType({"medium": 0.38, "dark": 0.27, "tan": 0.20, "light": 0.15})
SEX_SHARES = MappingProxyType({"female": 0.5, "male": 0.5})
# Hand length against stature in ANSUR II, by sex: intercept mm, slope mm per mm, residual SD mm (least squares on the
# survey's published table).
_ANSUR: dict[str, tuple[float, float, float]] = {"female": (16.23, 0.10123, 7.67), "male": (21.74, 0.09767, 7.35)}
_FIRST_CONSENT = date(2024, 1, 8)
_CONSENT_DAYS = 365
_DEMOGRAPHICS_STREAM = 11


@dataclass(frozen=True)
class Person:
    """A simulated person: the published bands, and the body measures behind them."""

    subject: Subject
    stature_mm: float
    hand_length_mm: float
    """Wrist crease to middle finger tip, as ANSUR II measures it."""


def draw_person(seed: int, number: int) -> Person:
    """The person with a number (from 1) in the cohort of a seed; the same whatever the size of the cohort."""
    block, place = divmod(number - 1, BLOCK)
    rng = np.random.default_rng([seed, _DEMOGRAPHICS_STREAM, block])
    ages = rng.permutation(_quota_block(AGE_SHARES, block))
    tones = rng.permutation(_quota_block(TONE_SHARES, block))
    sexes = rng.permutation(_quota_block(SEX_SHARES, block))
    heights = _heights_by_sex(rng, _quota_block(HEIGHT_SHARES, block), list(sexes))
    own = np.random.default_rng([seed, _DEMOGRAPHICS_STREAM, block, place])
    sex, height = str(sexes[place]), heights[place]
    stature = _stature_mm(own, height)
    intercept, slope, spread = _ANSUR[sex]
    hand_length = intercept + slope * stature + spread * float(np.clip(own.standard_normal(), -2.0, 2.0))
    return Person(
        subject=Subject(
            subject_id=f"{number:04d}",
            sex=cast(Sex, sex),
            age_band=cast(AgeBand, str(ages[place])),
            height_band=cast(HeightBand, height),
            skin_tone=cast(SkinTone, str(tones[place])),
            consent=Consent.GRANTED,
            consent_date=_FIRST_CONSENT + timedelta(days=int(own.integers(_CONSENT_DAYS))),
        ),
        stature_mm=stature,
        hand_length_mm=hand_length,
    )


def _quota_block(shares: MappingProxyType[str, float], block: int) -> list[str]:
    """The bands of one block of people: each in turn takes the band that is furthest below its share."""
    counts = dict.fromkeys(shares, 0)
    taken: list[str] = []
    for place in range(1, BLOCK * (block + 1) + 1):
        band = max(shares, key=lambda name: shares[name] * place - counts[name])
        counts[band] += 1
        taken.append(band)
    return taken[-BLOCK:]


def _heights_by_sex(rng: np.random.Generator, heights: list[str], sexes: list[str]) -> list[str]:
    """Hand out the block's height bands so that men tend to be the taller ones."""
    drawn = rng.standard_normal(BLOCK) + np.array([1.5 if sex == "male" else 0.0 for sex in sexes])
    ranked = sorted(heights, key=list(HEIGHT_SHARES).index)
    result = [""] * BLOCK
    for band, place in zip(ranked, np.argsort(drawn, kind="stable"), strict=True):
        result[int(place)] = band
    return result


def _stature_mm(rng: np.random.Generator, band: str) -> float:
    """Somewhere in a height band; the widest band thins out towards its short end."""
    low, high = (float(part) * 10 for part in band.split("-"))
    return low + (high - low) * float(rng.beta(2.0, 1.3 if low < 1500 else 2.0))
