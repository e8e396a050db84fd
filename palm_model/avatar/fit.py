"""Personalisation (eq. 16): a trained prior is fitted to photographs of one person; its networks stay as they are.

Everything random in a step follows from the seed and the step's number: a fit that goes on from its last state ends
as one that was never stopped.
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from palm_model.avatar.person import CorrectedHands, PersonCodes, person_network, told_by, trained_conditioning
from palm_model.avatar.photo import Photo
from palm_model.avatar.rays import PhotoPixels, PhotoRays
from palm_model.avatar.state import FitState, load_fit, save_fit
from palm_model.prior import losses
from palm_model.prior.colour import srgb
from palm_model.prior.inverse_skinning import InverseSkinning
from palm_model.prior.pbr_branch import PbrBranch, branch_of
from palm_model.prior.prior import Prior
from palm_model.prior.skinning_grid import SkinningGrids
from schemas.avatar import AvatarSettings
from schemas.errors import TrainingError
from schemas.ids import Sha256

CODE_VERSION = "1"
_MOST_REFUSED = 20
"""Steps in a row whose numbers are not finite: then something is wrong that no later step mends."""
_BEYOND_SHARE = 0.3
"""Rate of what leaves the subspace, as a share of that within."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitReport:
    """Told after a step."""

    step: int
    """Steps done."""
    steps: int
    """Steps to do."""
    losses: Mapping[str, float]
    """Each term unweighted, and `total`."""


class Fitted(NamedTuple):
    """What a fit ends with."""

    codes: PersonCodes
    hands: CorrectedHands
    light: PbrBranch | None
    """The branch that shades, with the photographs' light; None where the prior has none."""
    refused: int
    """Steps not taken since their gradients were not finite."""


class AvatarFit:
    """One fit, from its first step or its last state."""

    def __init__(
        self,
        prior: Prior,
        photos: Sequence[Photo],
        settings: AvatarSettings,
        *,
        state_file: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Make all ready.

        Args:
            state_file: what a killed fit goes on from; None: it begins again.

        Raises:
            BadInputError: if a photograph's hand and mask have nothing in common.
            GeometryError: if the hand's shape does not fit into the canonical cube.
        """
        self.settings, self.device = settings, device or torch.device("cpu")
        trained = trained_conditioning(prior.network)
        self.codes = PersonCodes(trained, settings.components).to(self.device)
        self.light = neutral_light(prior)
        self.network = told_by(prior.network, self.codes, self.light).to(self.device).eval()
        self.hands = CorrectedHands([photo.fit for photo in photos], prior.model).to(self.device)
        grids = SkinningGrids.build(prior.model, self.hands.betas, prior.settings.skinning)
        rows = torch.zeros(len(photos), dtype=torch.int64, device=self.device)
        self.skinning = InverseSkinning(grids.for_poses(rows), prior.settings.skinning)
        self.sampler = prior.sampler
        with torch.no_grad():
            self._pixels = PhotoPixels(photos, self.hands().vertices.cpu())
        self._optimizer = self._make_optimizer()
        self._state_file = state_file
        digest = fit_digest(prior, photos, settings)
        self.state = (
            FitState() if state_file is None else load_fit(state_file, digest, self._learned(), self._optimizer)
        )
        self._digest, self._refused_in_a_row = digest, 0

    def run(self, report: Callable[[FitReport], None] = lambda report: None) -> Fitted:
        """Take the steps that are left.

        Raises:
            TrainingError: if many steps in a row give numbers that are not finite; what is learned never does.
        """
        for step in range(self.state.step, self.settings.steps):
            told = self._step(step)
            self.state.step = step + 1
            last = self.state.step == self.settings.steps
            if self._state_file is not None and (last or self.state.step % self.settings.save_every == 0):
                save_fit(self._state_file, self._digest, self._learned(), self._optimizer, self.state)
            report(FitReport(self.state.step, self.settings.steps, told))
        return Fitted(self.codes, self.hands, self.light, self.state.refused)

    def _learned(self) -> nn.ModuleDict:
        parts: dict[str, nn.Module] = {"codes": nn.ModuleList(self.codes.parts()), "hands": self.hands}
        if self.light is not None:
            parts["light"] = self.light
        return nn.ModuleDict(parts)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        """Adam; a group's `full_rate` is its learning rate before warm-up and cosine."""
        settings = self.settings
        groups: list[dict[str, object]] = []
        for part in self.codes.parts():
            rate = settings.code_rate * float(part.spread)
            groups.append({"params": [part.code.coefficients], "full_rate": rate, "from": 0})
            groups.append({"params": [part.code.beyond], "full_rate": _BEYOND_SHARE * rate, "from": settings.free_from})
        hands = self.hands
        angles = {"params": [hands.turn, hands.bend], "full_rate": settings.pose_rate, "from": settings.pose_from}
        groups += [angles, {"params": [hands.shift], "full_rate": settings.place_rate, "from": settings.pose_from}]
        if self.light is not None:
            own = list(self.light.parameters())
            groups.append({"params": own, "full_rate": settings.light_rate, "from": settings.pbr_from})
        return torch.optim.Adam(groups, lr=1.0, betas=(0.9, 0.99), eps=1e-15)

    def _step(self, step: int) -> dict[str, float]:
        settings = self.settings
        if step >= settings.free_from:
            self.codes.free()
        if step >= settings.pose_from:
            self.hands.free()
        for group in self._optimizer.param_groups:
            group["lr"] = group["full_rate"] * self._rate_share(step) if step >= group["from"] else 0.0
        self._optimizer.zero_grad(set_to_none=True)
        seen = self._pixels.draw(
            step,
            rays=settings.rays,
            outside_share=settings.outside_share,
            numbers=self.sampler.numbers,
            seed=settings.seed,
        )
        loss, named = self._loss(step, seen.to(self.device))
        loss.backward()
        learned = [one for group in self._optimizer.param_groups for one in group["params"] if one.grad is not None]
        self._take(step, torch.nn.utils.clip_grad_norm_(learned, settings.clip_norm), named)
        return named

    def _take(self, step: int, norm: Tensor, named: Mapping[str, float]) -> None:
        """The optimiser's step, unless it would spoil what is learned."""
        if math.isfinite(float(norm)):
            self._optimizer.step()
            self._refused_in_a_row = 0
            return
        self.state.refused += 1
        self._refused_in_a_row += 1
        _log.warning("step %d: not taken, its gradients are not finite: %s", step, dict(named))
        if self._refused_in_a_row >= _MOST_REFUSED:
            raise TrainingError(
                f"avatar: step {step}: expected finite gradients, found none in {_MOST_REFUSED} steps in a row "
                f"(losses {dict(named)}). Is the prior sound, and the hand's fit?"
            )

    def _loss(self, step: int, seen: PhotoRays) -> tuple[Tensor, dict[str, float]]:
        """Eq. 16 over the rays that pass the hand; others, as through the forearm, have nothing to learn from."""
        poses = self.hands()
        rendered = self.network(seen.rays, poses, skinning=self.skinning, sampler=self.sampler, uniform=seen.uniform)
        near = rendered.samples.valid.any(dim=1)
        weights, terms = self.settings.losses, {}
        terms["colour"] = (weights.colour, losses.colour(srgb(rendered.colour), seen.colour, near))
        if bool(near.any()):
            found = losses.segmentation(rendered.opacity[near], seen.mask[near])
            terms["segmentation"] = (weights.segmentation, found)
        terms["latent"] = (weights.latent, self.codes.distance())
        terms["pose"] = (weights.pose, self.hands.size())
        if self.light is not None and step >= self.settings.pbr_from and weights.pbr_colour > 0:
            random = torch.Generator(self.device).manual_seed((self.settings.seed << 24) + step)
            shaded = self.light.shade(self.network, rendered, seen.rays, poses, skinning=self.skinning, random=random)
            shown = losses.colour(srgb(shaded.colour), seen.colour, near & shaded.valid)
            terms["pbr_colour"] = (weights.pbr_colour, shown)
        loss = torch.stack([weight * term for weight, term in terms.values()]).sum()
        values = torch.stack([loss.detach(), *(term.detach() for _, term in terms.values())]).tolist()
        return loss, dict(zip(["total", *terms], values, strict=True))

    def _rate_share(self, step: int) -> float:
        """Linear warm-up, then a cosine."""
        settings = self.settings
        rising = min((step + 1.0) / (settings.warm_up + 1.0), 1.0)
        falling = 0.5 * (1.0 + math.cos(math.pi * step / settings.steps))
        return rising * (settings.last_rate + (1.0 - settings.last_rate) * falling)


def neutral_light(prior: Prior) -> PbrBranch | None:
    """The branch that shades, for one person in neutral light: not the one that the prior learned in its studio.

    Returns:
        None for a prior that was trained without that branch: its material means nothing.
    """
    branch = branch_of(person_network(prior.settings, prior.model))
    return None if branch is None else branch.requires_grad_(True)


def fit_digest(prior: Prior, photos: Sequence[Photo], settings: AvatarSettings) -> Sha256:
    """What a fit's result follows from, as one digest."""
    said = [
        CODE_VERSION,
        prior.card.model_dump(mode="json"),
        weights_digest(prior.network),
        [photo.describe().model_dump(mode="json") for photo in photos],
        settings.model_dump(mode="json", exclude={"save_every"}),
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def weights_digest(network: nn.Module) -> Sha256:
    """Digest of all a network's numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
