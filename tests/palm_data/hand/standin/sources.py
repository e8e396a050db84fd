"""The builder's inputs, read once for all its tests."""

from functools import cache

from palm_data.hand.standin.build import ASSETS
from palm_data.hand.standin.cut import BONES, HandMesh, cut_hand
from palm_data.hand.standin.frame import HandPoints, HandSource, read_hand_source
from palm_data.hand.standin.makehuman import BaseMesh, read_base_mesh, read_bone_weights
from palm_data.hand.standin.measures import Tape, lay_tape

MAKEHUMAN = ASSETS / "makehuman"


@cache
def body() -> BaseMesh:
    return read_base_mesh(MAKEHUMAN / "base.obj")


@cache
def hand_mesh() -> HandMesh:
    weights = read_bone_weights(MAKEHUMAN / "weights.default.json", BONES, len(body().vertices))
    return cut_hand(body(), weights)


@cache
def hand_source() -> HandSource:
    return read_hand_source(MAKEHUMAN, body(), hand_mesh())


@cache
def tape() -> Tape:
    return lay_tape(hand_source().base, hand_mesh())


def scaled(hand: HandPoints, factor: float) -> HandPoints:
    return HandPoints(hand.vertices * factor, hand.joints * factor, hand.tips * factor)
