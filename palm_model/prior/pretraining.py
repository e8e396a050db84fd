"""Pre-training: the geometry network learns the hand model's canonical surfaces before it sees a person.

It is told β, and pose and shape codes as in training, of which the surface does not depend on the latter two: the
network learns to do without them. Levels of the hash grid that are finer than a hand's shape stay closed: opening
them later changes nothing at first. The result is a function of the settings, the hand model and the network's first
weights (on one thread, or on as many as before).
"""

import hashlib
import json
import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from palm_data.hand.model import HandModel
from palm_model.prior.canonical_sdf import CanonicalSdf, Told
from palm_model.prior.encoding_levels import levels_of
from palm_model.prior.network import PalmNet
from palm_model.prior.pretraining_figures import figures
from palm_model.prior.schedule import rising_and_falling
from palm_model.prior.sdf_samples import SdfSamples, random_shapes, sample_hands
from schemas.errors import TrainingError
from schemas.ids import Sha256
from schemas.prior_encoding import EncodingSettings
from schemas.prior_pretraining import PretrainingSettings

CODE_VERSION = "1"

Progress = Callable[[int, int, float], None]
"""Told the steps done, the steps to do and the loss."""


def pretrain_geometry(
    network: PalmNet,
    model: HandModel,
    settings: PretrainingSettings,
    *,
    progress: Progress = lambda done, total, loss: None,
) -> dict[str, float | int]:
    """Teach `network.geometry` the canonical hands of random shapes, in place; nothing else of the network changes.

    Returns:
        Its errors on shapes that it did not see, as `figures` has them.

    Raises:
        SettingsError: if the network's parts are not those that are trained.
        TrainingError: if a step's gradients are not finite; the weights stay those of the step before.
    """
    learned = learned_sdf(network, settings)
    random = torch.Generator().manual_seed(settings.seed)
    betas = random_shapes(settings.shapes, settings.shape_reach_std, random)
    samples = sample_hands(model, betas, learned.box, settings, seed=settings.seed).to(learned.device)
    mean_pose = torch.tensor(model.hands_mean, dtype=torch.float32)
    parameters = [one for one in learned.geometry.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1.0, betas=(0.9, 0.99), eps=1e-15)
    for step in range(settings.steps):
        share = rising_and_falling(
            step, settings.steps, warm_up=settings.warm_up * settings.steps, last=settings.last_rate
        )
        optimizer.param_groups[0]["lr"] = settings.learning_rate * share
        rows = torch.randint(samples.sdf.numel(), (settings.batch,), generator=random).to(learned.device)
        shapes = samples.betas[rows // samples.sdf.shape[1]]
        told = learned.told(shapes, mean_pose, settings.pose_std_rad, random)
        optimizer.zero_grad(set_to_none=True)
        loss = _loss(learned, samples, rows, told, settings)
        loss.backward()
        _check(parameters, step, float(loss.detach()), settings)
        optimizer.step()
        progress(step + 1, settings.steps, float(loss.detach()))
    optimizer.zero_grad(set_to_none=True)
    return figures(learned, model, settings)


def learned_sdf(network: PalmNet, settings: PretrainingSettings) -> CanonicalSdf:
    """A network's SDF with as many levels open as the pre-training opens.

    Raises:
        SettingsError: if the network's parts are not those that are trained.
    """
    whole = CanonicalSdf.of(network)
    levels = levels_to_open(whole.geometry.encoding.settings, settings)
    return CanonicalSdf(whole.geometry, whole.encoder, whole.box, levels)


def levels_to_open(encoding: EncodingSettings, settings: PretrainingSettings) -> int:
    """How many levels of a hash grid the pre-training opens: at least one."""
    return max(1, sum(level.vertices <= settings.finest_vertices for level in levels_of(encoding)))


def pretraining_digest(network: PalmNet, model: HandModel, settings: PretrainingSettings, network_seed: int) -> Sha256:
    """Of all that the pre-trained weights follow from.

    Args:
        network_seed: what the network's first weights were drawn with.

    Raises:
        SettingsError: if the network's parts are not those that are trained.
    """
    geometry = CanonicalSdf.of(network).geometry
    parts = (settings, geometry.settings, geometry.encoding.settings)
    said = [CODE_VERSION, model.sha256, network_seed, *(part.model_dump(mode="json") for part in parts)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _loss(
    learned: CanonicalSdf, samples: SdfSamples, rows: Int[Tensor, "n"], told: Told, settings: PretrainingSettings
) -> Float[Tensor, ""]:
    """Mean |s − d| / (1 + |d| / far), in half sides of the cube, and the weighted mean of (|∇s| − 1)²."""
    points, known = samples.points.flatten(0, 1)[rows], samples.sdf.flatten()[rows]
    off = (learned(points, told) - known).abs() / (1.0 + known.abs() / settings.far_m)
    loss = off.mean() / learned.box.half_side
    if settings.eikonal:
        some = slice(settings.eikonal_points)
        slope = torch.linalg.vector_norm(
            learned.gradient(points[some], told.rows(some), settings.tetrahedron_m), dim=-1
        )
        loss = loss + settings.eikonal * (slope - 1.0).square().mean()
    return loss


def _check(parameters: list[torch.nn.Parameter], step: int, loss: float, settings: PretrainingSettings) -> None:
    norm = torch.nn.utils.get_total_norm([one.grad for one in parameters if one.grad is not None])
    if not math.isfinite(float(norm)):
        raise TrainingError(
            f"pre-training: step {step}: expected finite gradients, found others (loss {loss}). "
            f"Take a smaller learning_rate than {settings.learning_rate}."
        )
