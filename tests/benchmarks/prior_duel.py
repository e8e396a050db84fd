"""The same training step of the prior twice: ours, and as one writes it plainly."""

from pathlib import Path

import torch

from palm_data.loader.release import Release
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.network import PalmNet
from palm_model.prior.train import PriorTraining
from schemas.prior import PriorSettings
from tests.benchmarks.duel import Result, duel
from tests.benchmarks.prior_peer import PlainTraining

BAR = 8.0
REPEATS = 8
FIRST_STEP = 1001
"""All terms of the loss count by then."""
_ALIKE = {"colour": 0.05, "segmentation": 0.05, "perceptual": 0.05, "normal": 0.05}
"""How far apart the two sides' terms may be, as a share. The others are of gradients, which are found differently."""


def step_duel(
    release: Release, hands: ReleasedHands, settings: PriorSettings, start: PalmNet, *, repeats: int = REPEATS
) -> Result:
    """Time whole steps, reading included, with every level of the grids open; both sides see the same batches.

    Raises:
        AssertionError: if the two do not lose alike on the first batch.
    """
    every = settings.model_copy(
        update={"training": settings.training.model_copy(update={"levels": None, "bands": None})}
    )
    peer = PlainTraining(release, hands, every, start)
    nowhere = Path("never-written.safetensors")
    ours = PriorTraining(release, hands, every, start, state_file=nowhere, device=torch.device("cpu"))
    ours.network.train()
    check_alike(_losses(ours), _losses(peer))
    training, sampling = settings.training, settings.volume.sampling
    rays = training.bundles * training.bundle_rays + training.patches * training.patch_px**2
    sample = (
        f"{rays} rays × {sampling.samples if sampling.kind == 'guided' else sampling.steps} samples, "
        f"{settings.geometry_encoding.levels} levels, width {settings.fields.width}, {training.patches} patch of "
        f"{training.patch_px}², all losses without PBR, {torch.get_num_threads()} threads; reading included"
    )
    return duel("prior_step_cpu", _stepping(ours), _stepping(peer), sample=sample, repeats=repeats, bar=BAR)


def check_alike(ours: dict[str, float], peer: dict[str, float]) -> None:
    """Fail unless both sides have the same terms, and those of values are alike."""
    assert set(ours) == set(peer)
    for name in _ALIKE.keys() & ours.keys():
        assert abs(ours[name] - peer[name]) <= _ALIKE[name] * abs(peer[name]), (name, ours[name], peer[name])


def _losses(training: PriorTraining) -> dict[str, float]:
    with torch.no_grad():
        return training._loss(FIRST_STEP, training.batches.share(FIRST_STEP, 0, 1))[1]


def _stepping(training: PriorTraining):  # type: ignore[no-untyped-def]
    def step(turn: int) -> dict[str, float]:
        at = FIRST_STEP + turn
        return training._step(at, [training.batches.share(at, 0, 1)])

    return step
