"""A few people and captures, made once for all tests of the simulation."""

from functools import lru_cache

import numpy as np

from palm_data.simulate.hand import CapturedHand, pose_captured_hand
from palm_data.simulate.scan import ScanKind, SimulatedScan, make_scan
from palm_data.simulate.skin import SkinTextures
from palm_data.simulate.subject import SimulatedSubject, make_subject

SEED = 7


@lru_cache(maxsize=8)
def person(number: int) -> SimulatedSubject:
    return make_subject(SEED, number)


@lru_cache(maxsize=16)
def capture(number: int, gesture: str) -> CapturedHand:
    return pose_captured_hand(person(number), gesture)


@lru_cache(maxsize=4)
def textures(number: int, size: int = 192) -> SkinTextures:
    return person(number).textures(size)


@lru_cache(maxsize=4)
def scan(number: int, gesture: str, kind: ScanKind = ScanKind.PLAIN) -> SimulatedScan:
    return make_scan(capture(number, gesture), textures(number), np.random.default_rng(number), kind=kind, faces=12_000)
