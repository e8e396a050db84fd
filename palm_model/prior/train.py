"""Training: a function of a release and settings, that a kill does not make start again.

Whatever is random in a step follows from the seed and the step's number, and so does its batch, whatever the number
of processes. A training that goes on from its last state ends with the same weights as one that was never stopped (on
one thread, or on as many as before).
"""

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from palm_data.loader.release import Release
from palm_model.prior.batches import Batch, Batches
from palm_model.prior.colour import srgb
from palm_model.prior.distributed import current_ranks
from palm_model.prior.hands import ReleasedHands
from palm_model.prior.losses import total
from palm_model.prior.network import PalmNet
from palm_model.prior.optimizer import make_optimizer, set_rates
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.perceptual import PerceptualNetwork, perceptual_network
from palm_model.prior.progress import progress_at
from palm_model.prior.relight import relit
from palm_model.prior.sampling import Sampler, sampler_for
from palm_model.prior.schedule import active
from palm_model.prior.state import load_state, save_state
from palm_model.prior.terms import EXTRA_NUMBERS, Step, loss_terms
from schemas.errors import SettingsError, TrainingError
from schemas.ids import Sha256
from schemas.prior import PriorSettings
from schemas.prior_card import PriorCard

CODE_VERSION = "1"
_VALIDATION_RAYS = 512
_MOST_REFUSED = 20
"""Steps in a row whose numbers are not finite: then something is wrong that no later step mends."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """Told after a step."""

    step: int
    """Steps done."""
    steps: int
    """Steps to do."""
    losses: Mapping[str, float]
    """Each term unweighted, and `total`."""
    validation_psnr: float | None
    """On the views set aside, dB, if they were looked at after this step."""


@dataclass(frozen=True, eq=False)
class TrainedPrior:
    """A prior, and what its card says."""

    network: PalmNet
    card: PriorCard


class PriorTraining:
    """One training of a prior, from its first step or its last state."""

    def __init__(
        self,
        release: Release,
        hands: ReleasedHands,
        settings: PriorSettings,
        start: PalmNet,
        *,
        state_file: Path,
        device: torch.device,
    ) -> None:
        """Make all ready.

        Args:
            start: the network before its first step, its geometry pre-trained.
            state_file: what a killed training goes on from.

        Raises:
            BadInputError: as `Batches`, if the release cannot teach these settings.
            SettingsError: if there are more processes and parts of a step than bundles and patches.
            TrainingError: if processes do not go on from the same step.
        """
        self.settings, self.ranks, self.device = settings, current_ranks(), device
        self._check_parts()
        model = hands.model
        self.sampler: Sampler = sampler_for(settings.volume.sampling, model.v_template, model.faces)
        self.batches = Batches(release, hands.to(device), settings, numbers=self.sampler.numbers + EXTRA_NUMBERS)
        self.network = start.to(device)
        self._perceptual = self._perceptual_network()
        self._optimizer = make_optimizer(self.network, settings.training)
        self._state_file = state_file
        self.state = load_state(state_file, self.network, self._optimizer)
        self._check_same_step()
        self._looked_at = list(self.batches.validation_batches(_VALIDATION_RAYS))
        self._refused_in_a_row = 0

    def run(self, report: Callable[[Report], None] = lambda report: None) -> TrainedPrior:
        """Take the steps that are left, and return the prior that was best on the views set aside.

        Raises:
            TrainingError: if many steps in a row give numbers that are not finite; the weights never do.
        """
        training = self.settings.training
        for step, parts in self._loaded():
            losses = self._step(step, parts)
            self.state.step = step + 1
            last = self.state.step == training.steps
            looked = self._validate() if last or self.state.step % training.validate_every == 0 else None
            if self.ranks.first and (last or self.state.step % training.save_every == 0):
                save_state(self._state_file, self.network, self._optimizer, self.state)
            report(Report(self.state.step, training.steps, losses, looked))
        if self.state.best:
            self.network.load_state_dict(self.state.best)
        else:
            self.state.best_step = self.state.step
        self.network.open = progress_at(self.settings, self.state.best_step)
        return TrainedPrior(self.network.eval(), self._card())

    def _loaded(self) -> Iterator[tuple[int, list[Batch]]]:
        """Each step with its parts of the batch, the next one read while this one is learned from."""
        micro, training = self.settings.training.micro_batches, self.settings.training

        def parts(step: int) -> list[Batch]:
            rank, count = self.ranks.rank, self.ranks.count
            # All processes' shares of a part together are what one process alone has in it.
            return [self.batches.share(step, part + micro * rank, micro * count) for part in range(micro)]

        with ThreadPoolExecutor(1) as reader:
            steps = range(self.state.step, training.steps)
            ahead = {step: reader.submit(parts, step) for step in steps[:1]}
            for step in steps:
                now = ahead.pop(step).result()
                if step + 1 < training.steps:
                    ahead[step + 1] = reader.submit(parts, step + 1)
                yield step, now

    def _step(self, step: int, parts: list[Batch]) -> dict[str, float]:
        """One step of the optimiser; returns its losses."""
        training = self.settings.training
        self.network.train()
        set_rates(self._optimizer, training, step)
        self._optimizer.zero_grad(set_to_none=True)
        losses: dict[str, float] = {}
        for batch in parts:
            value, named = self._loss(step, batch.to(self.device))
            (value / len(parts)).backward()
            losses = {name: losses.get(name, 0.0) + one / len(parts) for name, one in named.items()}
        parameters = [one for one in self.network.parameters() if one.requires_grad]
        self.ranks.average_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, training.clip_norm)
        own = [*losses.values(), float(sum(batch.skipped for batch in parts))]
        *means, skipped = self.ranks.summed(torch.tensor(own, dtype=torch.float64, device=self.device)).tolist()
        losses = {name: one / self.ranks.count for name, one in zip(losses, means, strict=True)}
        self.state.skipped += round(skipped)
        self._take(step, norm, losses)
        return losses

    def _take(self, step: int, norm: Tensor, losses: Mapping[str, float]) -> None:
        """The optimiser's step, unless it would spoil the weights."""
        if math.isfinite(float(norm)):
            self._optimizer.step()
            self._refused_in_a_row = 0
            return
        self.state.refused += 1
        self._refused_in_a_row += 1
        _log.warning("step %d: not taken, its gradients are not finite: %s", step, dict(losses))
        if self._refused_in_a_row >= _MOST_REFUSED:
            raise TrainingError(
                f"prior: step {step}: expected finite gradients, found none in {_MOST_REFUSED} steps in a row "
                f"(losses {dict(losses)}). Take smaller learning rates."
            )

    def _loss(self, step: int, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The part's share of the loss: over all processes the shares' mean is the whole batch's loss."""
        poses, skinning = self.batches.hands.select(batch.hands)
        progress = progress_at(self.settings, step)
        schedules = self.settings.losses.schedules()
        wanted = active(schedules, step)
        rendered = self.network(
            batch.rays,
            poses,
            skinning=skinning,
            sampler=self.sampler,
            uniform=batch.uniform[:, : self.sampler.numbers],
            progress=progress,
            materials="pbr_colour" in wanted,  # no other term asks what the rays see of it
        )
        made = loss_terms(
            Step(self.network, self._perceptual, batch, poses, skinning, rendered, progress, self.settings.losses),
            wanted,
        )
        counts = torch.tensor([term.of for term in made.values()], dtype=torch.float64, device=self.device)
        whole = self.ranks.summed(counts.clone()).clamp(min=1.0) / self.ranks.count
        terms = {
            name: term.value * (count / all_ranks)
            for (name, term), count, all_ranks in zip(made.items(), counts.float(), whole.float(), strict=True)
        }
        return total(terms, schedules, step)

    @torch.no_grad()
    def _validate(self) -> float | None:
        """PSNR on pixels of the hand in the views set aside, of every branch that is trained by now, dB.

        Keeps the weights if it is the best so far. Those from before all terms of the loss counted are not kept longer
        than that: they lack what these teach.
        """
        if not self._looked_at:
            return None
        self.network.eval()
        squared, count = 0.0, 0
        for batch in self._looked_at:
            moved = batch.to(self.device)
            for colour in self._looks(moved):
                squared += float((srgb(colour) - moved.colour).square().sum())
                count += moved.colour.numel()
        psnr = -10.0 * math.log10(max(squared / count, 1e-12))
        early = self.state.best_step <= _all_weigh_from(self.settings) < self.state.step
        if early or psnr > self.state.best_psnr:
            self.state.best_psnr, self.state.best_step = psnr, self.state.step
            self.state.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}
        return psnr

    def _looks(self, batch: Batch) -> Iterator[Tensor]:
        """Linear colours of a batch's rays, by each branch."""
        poses, skinning = self.batches.hands.select(batch.hands)
        progress = progress_at(self.settings, self.state.step)
        seen = self.network.render(batch.rays, poses, skinning=skinning, sampler=self.sampler, progress=progress)
        yield seen.colour
        branch = branch_of(self.network)
        if branch is not None and "pbr_colour" in active(self.settings.losses.schedules(), self.state.step - 1):
            random = torch.Generator(self.device).manual_seed(self.settings.seed)
            yield relit(branch, self.network, seen, batch.rays, poses, skinning=skinning, random=random)

    def _check_parts(self) -> None:
        training = self.settings.training
        parts, most = self.ranks.count * training.micro_batches, training.bundles + training.patches
        if parts > most:
            raise SettingsError(
                f"prior: expected at most {most} processes × micro_batches, as many as a step has bundles and patches, "
                f"found {self.ranks.count} × {training.micro_batches}. Take more bundles, or fewer processes."
            )

    def _check_same_step(self) -> None:
        own = self.state.step
        steps = self.ranks.summed(torch.tensor([own, own**2], dtype=torch.float64, device=self.device)).tolist()
        if steps != [own * self.ranks.count, own**2 * self.ranks.count]:
            raise TrainingError(
                f"prior: expected all {self.ranks.count} processes to go on from one step, found step {own} here and "
                "others elsewhere. Give them the same state file, or none."
            )

    def _perceptual_network(self) -> PerceptualNetwork | None:
        losses = self.settings.losses
        if losses.perceptual is None or not self.settings.training.patches:
            return None
        return perceptual_network(losses.perceptual_network).to(self.device)

    def _card(self) -> PriorCard:
        release = self.batches.release
        looked_at = {"validation_psnr": round(self.state.best_psnr, 4)} if self.state.best else {}
        return PriorCard(
            name="PALM-Net prior",
            code_version=CODE_VERSION,
            settings=self.settings,
            release_version=release.version,
            merkle_root=release.manifest.merkle_root,
            data_digest=hashlib.sha256(self.batches.digest().encode()).hexdigest(),
            subjects=self.batches.hands.subject_ids,
            hand_model=self.batches.hands.model.sha256,
            views=self.batches.learned_from,
            step=self.state.best_step,
            figures={
                "steps": self.state.step,
                "best_step": self.state.best_step,
                **looked_at,
                "validation_views": len(self._looked_at),
                "views_left_out": self.state.skipped,
                "steps_refused": self.state.refused,
            },
        )


def _all_weigh_from(settings: PriorSettings) -> int:
    """The first step at which every term of the loss that is on counts."""
    schedules = settings.losses.schedules().values()
    return max((one.step for one in schedules if one.kind == "from_step"), default=0)


def training_digest(data_digest: str, settings: PriorSettings) -> Sha256:
    """What a training's result follows from, as one digest."""
    said = [CODE_VERSION, data_digest, settings.model_dump(mode="json", exclude={"training": {"save_every"}})]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
