"""Where randomness comes from: one stream for each purpose and place, so that order and worker never matter."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What a random stream is for."""

    PLATE = 41
    BALL = 42
    BALL_NOISE = 43
    RENDER = 44
    SENSOR = 45
    SCAN = 46
    LABEL_CHOICE = 47
    LABEL_NOISE = 48
    WRONG_LABELS = 49
    SESSION = 50
    FAULTS = 51


def generator(seed: int, stream: Stream, *place: int) -> np.random.Generator:
    """The generator of a stream at a place (a subject, a gesture, a camera…)."""
    return np.random.default_rng([seed, int(stream), *place])


def render_seed(seed: int, stream: Stream, *place: int) -> int:
    """The same as a 32-bit number, for Mitsuba's samplers."""
    return int(np.random.SeedSequence([seed, int(stream), *place]).generate_state(1)[0])
