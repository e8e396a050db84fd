"""Pre-training so small that a test can wait for it."""

import functools

from palm_data.hand.model import load_hand_model
from palm_model.prior.build import build_palm_net
from palm_model.prior.network import PalmNet
from palm_model.prior.presets import preset
from palm_model.prior.pretraining import pretrain_geometry
from schemas.prior import PriorSettings
from schemas.prior_encoding import EncodingSettings
from schemas.prior_pretraining import PretrainingSettings

MODEL = load_hand_model()
SMALL = PretrainingSettings(
    steps=120,
    batch=1024,
    shapes=24,
    points=1024,
    eikonal_points=64,
    unseen_shapes=2,
    finest_vertices=64,
)


def small_prior() -> PriorSettings:
    encoding = EncodingSettings(levels=6, log2_table_size=12, growth=1.5)
    return preset("tiny").model_copy(
        update={"geometry_encoding": encoding, "radiance_encoding": encoding, "pretraining": SMALL}
    )


def fresh() -> PalmNet:
    return build_palm_net(small_prior(), MODEL, 2)


@functools.cache
def taught() -> tuple[PalmNet, dict[str, float | int]]:
    """A network after the small pre-training, not to be changed, and its figures."""
    network = fresh()
    return network, pretrain_geometry(network, MODEL, SMALL)
