"""A trained prior joined to its evaluation, which knows neither torch's networks nor how pictures are measured."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray

from palm_data.evaluate.light import Radiance
from palm_data.evaluate.predicted_surface import Mesh
from palm_data.evaluate.prior import PriorToScore, evaluate_prior
from palm_data.evaluate.prior_scores import PictureScore, PictureScores
from palm_data.evaluate.prior_views import choose_views
from palm_data.evaluate.true_views import TrueViews
from palm_data.loader.release import Release
from palm_data.maps.predicted import PredictedView
from palm_model.metrics.psnr import psnr
from palm_model.metrics.ssim import ssim
from palm_model.prior.light import EnvironmentLight
from palm_model.prior.pbr_branch import branch_of
from palm_model.prior.prior import Prior
from schemas.camera import Camera
from schemas.errors import StoreError
from schemas.ids import SubjectId
from schemas.prior_evaluation import PriorEvaluationSettings

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many views are, and how many there are."""


@dataclass(frozen=True)
class Truth:
    """Where what is true of a session lies, and where its views are kept once rendered."""

    folder: Path
    views: Path
    threads: int = 2


def score_prior(
    prior: Prior,
    release: Release,
    truth: Truth,
    settings: PriorEvaluationSettings,
    *,
    mesh: Callable[[SubjectId, int], Mesh] | None = None,
    progress: Progress = lambda *_: None,
) -> dict[str, float | int | str | None]:
    """The prior's figures against the truth of the session that its release was made of.

    Args:
        release: the version that it learned from, whole.
        mesh: the prior's surface of a capture in the world; from the views' depths without.

    Raises:
        StoreError: if it is another version, or one without labels.
        BadInputError: if the truth is another session's, or nothing was held out.
    """
    if release.manifest.merkle_root != prior.card.merkle_root:
        raise StoreError(
            f"{release}: merkle_root: expected {prior.card.merkle_root} (version {prior.card.release_version}), which the "
            f"prior learned from, found {release.manifest.merkle_root}. Name that version: --release FOLDER"
        )
    theirs, held_out = scored_release(prior, release), prior.settings.held_out
    views = TrueViews(truth.folder, truth.views, settings, threads=truth.threads)
    names = [one.name for one in choose_views(theirs, held_out, settings)]
    views.make(names, lambda name, done, total: progress(f"true view {name}", done, total))
    return {
        "release": release.version,
        "merkle_root": release.manifest.merkle_root,
        "subjects": len(prior.card.subjects),
        "preset": prior.settings.preset,
        "seed": prior.settings.seed,
        **evaluate_prior(
            theirs,
            views,
            PriorToScore(renderer(prior, theirs), recovered_lights(prior), mesh),
            held_out,
            scores=PICTURE_SCORES,
            settings=settings,
            model=prior.model,
            progress=lambda name, done, total: progress(f"scoring {name}", done, total),
        ),
    }


def scored_release(prior: Prior, release: Release) -> Release:
    """The captures that the prior could have learned from, and those of its people that were held out."""
    training = prior.settings.training
    good = {"quality_ok": True} if training.quality_ok else None
    return release.at_tier(training.tier).filtered(subjects=prior.card.subjects, where=good)


def renderer(prior: Prior, release: Release) -> Callable[[Camera, SubjectId, int], PredictedView]:
    """What the prior says that a camera sees of a capture, on the network's device."""
    hands = prior.hands(release).to(next(prior.network.parameters()).device)
    shaded = branch_of(prior.network) is not None

    def render(camera: Camera, subject_id: SubjectId, frame: int) -> PredictedView:
        poses, skinning = hands.select([hands.row(subject_id, frame)])
        view = prior.view(camera, poses, skinning)
        # Without a light nothing has taught the material.
        return view if shaded else replace(view, albedo=None, roughness=None)

    return render


def recovered_lights(prior: Prior) -> tuple[Radiance, ...]:
    """The lights that the prior learned: one for all its people, or one for each; none without the shaded branch."""
    branch = branch_of(prior.network)
    if branch is None:
        return ()
    people = 1 if branch.settings.shared_environment else len(prior.card.subjects)
    return tuple(_of_tensors(branch.light_of(row)) for row in range(people))


def _of_tensors(light: EnvironmentLight) -> Radiance:
    def radiance(directions: ndarray) -> ndarray:
        with torch.no_grad():
            like = next(light.parameters())
            return np.asarray(light.radiance(torch.from_numpy(directions).to(like)).cpu(), np.float64)

    return radiance


def _of_arrays(score: Callable[..., float]) -> PictureScore:
    def scored(predicted: ndarray, target: ndarray, mask: ndarray) -> float:
        first, second = (torch.from_numpy(np.ascontiguousarray(one, np.float64)) for one in (predicted, target))
        return score(first, second, torch.from_numpy(np.ascontiguousarray(mask)), region="mask")

    return scored


PICTURE_SCORES = PictureScores(psnr=_of_arrays(psnr), ssim=_of_arrays(ssim))
"""PSNR and SSIM as `palm_model.metrics` has them, in the region `mask`."""
