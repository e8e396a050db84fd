"""Figures of a trained prior against what is true of a simulated session, beside the baked baseline on the same views.

The prior is a callable: nothing here knows how it was made. Keys without an end are of the held-out cameras, those with
`_train` and `_new_pose` of views trained on and of held-out gestures. Pictures are scored where the released training
mask meets the true skin, `_baked` is the better of two ways of baking (colours of the person's training captures, or of
the capture itself), `_grown` the same picture without its silhouette, and `_covered` leaves both sides only the pixels
that the registered mesh covers wholly.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from palm_data.evaluate.baked import BakedColours, bake_capture, show
from palm_data.evaluate.light import Radiance, irradiance_correlation, read_environment
from palm_data.evaluate.predicted_surface import Mesh, SurfaceScore, TrueSurface, score_depth, score_mesh
from palm_data.evaluate.prior_scores import (
    AlbedoScore,
    Figures,
    PictureScores,
    ViewRegion,
    grown,
    input_albedo,
    mean_or_none,
    normal_errors_deg,
    picture_names,
    silhouette_iou,
)
from palm_data.evaluate.prior_views import (
    Kind,
    ScoredView,
    choose_views,
    training_cameras,
    training_captures,
)
from palm_data.evaluate.true_views import TrueViews
from palm_data.hand.model import HandModel
from palm_data.loader.release import Release
from palm_data.maps.predicted import PredictedView
from schemas.camera import Camera
from schemas.ids import SubjectId
from schemas.prior import HeldOut
from schemas.prior_evaluation import PriorEvaluationSettings

Progress = Callable[[str, int, int], None]
"""Told which view was scored, how many are, and how many there are."""


@dataclass(frozen=True)
class PriorToScore:
    """A prior as the evaluation sees it."""

    render: Callable[[Camera, SubjectId, int], PredictedView]
    """What it says that a camera sees of a person's capture (frame)."""
    lights: Sequence[Radiance] = ()
    """The lights that it recovered: one for all, or one for each person; none without materials."""
    mesh: Callable[[SubjectId, int], Mesh] | None = None
    """The surface of a capture, in the world; without it, surfaces are taken from views' depths."""


@dataclass
class _Collected:
    """Everything measured."""

    figures: Figures = field(default_factory=Figures)
    normals: dict[Kind, list[Float[ndarray, " n"]]] = field(default_factory=dict)
    albedo: AlbedoScore = field(default_factory=AlbedoScore)
    input: AlbedoScore = field(default_factory=AlbedoScore)
    surfaces: list[SurfaceScore] = field(default_factory=list)


class BakedHands:
    """The baseline's hands: registered meshes and the colours baked on them, by person and by capture."""

    def __init__(self, release: Release, held_out: HeldOut, model: HandModel) -> None:
        self._release, self._held_out, self._model = release, held_out, model
        self._of_person: dict[SubjectId, dict[int, BakedColours]] = {}

    def vertices(self, subject_id: SubjectId, frame: int) -> Float[ndarray, "v 3"]:
        """The registered mesh.

        Raises:
            StoreError: if the capture is not in the release, has no hand, or one of another model.
        """
        hand = self._release.capture(subject_id, frame).labels.hand
        assert hand is not None  # noqa: S101 - only captures with a hand are chosen
        return hand.vertices(self._model)

    def views(self, scored: ScoredView, factor: int) -> dict[str, PredictedView]:
        """The view with the person's colours and, where it was trained on, with those of the capture itself."""
        name = scored.name
        baked = self._baked(name.subject_id)
        person = sum(baked.values(), BakedColours.none(len(self._model.v_template)))
        ways = {"person": person.mean(self._model.faces)}
        if name.frame in baked:
            ways["capture"] = baked[name.frame].mean(self._model.faces, fallback=person)
        vertices = self.vertices(name.subject_id, name.frame)
        return {way: show(vertices, one, self._model, name.camera, factor=factor) for way, one in ways.items()}

    def _baked(self, subject_id: SubjectId) -> dict[int, BakedColours]:
        if subject_id not in self._of_person:
            captures = training_captures(self._release.subject(subject_id), self._held_out)
            self._of_person[subject_id] = {
                one.frame: bake_capture(
                    one, self.vertices(subject_id, one.frame), self._model, training_cameras(one, self._held_out)
                )
                for one in captures
            }
        return self._of_person[subject_id]


def evaluate_prior(
    release: Release,
    truth: TrueViews,
    prior: PriorToScore,
    held_out: HeldOut,
    *,
    scores: PictureScores,
    settings: PriorEvaluationSettings,
    model: HandModel,
    progress: Progress = lambda *_: None,
) -> dict[str, float | int | str | None]:
    """The prior's figures, flat; None where the prior does not say what would have to be scored.

    Args:
        release: the people whom the prior knows, with labels.
        model: what the release's hands were fitted with.

    Raises:
        BadInputError: if the truth is not that of the release, or there is nothing to score.
        StoreError: if the release has no labels, or hands of another model.
    """
    chosen, found = choose_views(release, held_out, settings), _Collected()
    baseline = BakedHands(release, held_out, model)
    for done, scored in enumerate(chosen, 1):
        region = ViewRegion.of(scored.view, truth[scored.name])
        if region.pixels.any():
            predicted = prior.render(scored.name.camera, scored.name.subject_id, scored.name.frame)
            _score_pictures(found, scored, region, predicted, scores)
            views = baseline.views(scored, settings.supersample)
            _score_baseline(found, scored, region, predicted, scores, views=views)
            _score_geometry(found, scored, region, predicted, settings)
            if prior.mesh is None and scored.kind is Kind.NEW_CAMERA:
                true = TrueSurface(truth.surface(scored.name))
                found.surfaces.append(score_depth(predicted, region, true, settings))
        progress(str(scored.name), done, len(chosen))
    if prior.mesh is not None:
        captures = {(one.name.subject_id, one.name.frame): one.name for one in chosen if one.kind is not Kind.TRAIN}
        for name in captures.values():
            true = TrueSurface(truth.surface(name))
            found.surfaces.append(score_mesh(prior.mesh(name.subject_id, name.frame), true, settings))
    return _figures(found, prior, truth, settings)


def _score_pictures(
    found: _Collected, scored: ScoredView, region: ViewRegion, predicted: PredictedView, scores: PictureScores
) -> None:
    end, figures = picture_names(scored.kind), found.figures
    figures.add(f"psnr_fg{end}", region.picture(scores.psnr, predicted.rgb))
    figures.add(f"ssim_fg{end}", region.picture(scores.ssim, predicted.rgb))
    if predicted.pbr_rgb is not None:
        figures.add(f"psnr_fg{end}_pbr", region.picture(scores.psnr, predicted.pbr_rgb))
        figures.add(f"ssim_fg{end}_pbr", region.picture(scores.ssim, predicted.pbr_rgb))
    if predicted.albedo is not None and scored.kind is Kind.NEW_CAMERA:
        found.albedo.add(predicted.albedo, region)
    if scored.kind is Kind.NEW_CAMERA:
        found.input.add(input_albedo(region), region)


def _score_baseline(
    found: _Collected,
    scored: ScoredView,
    region: ViewRegion,
    predicted: PredictedView,
    scores: PictureScores,
    *,
    views: dict[str, PredictedView],
) -> None:
    """The baseline's pictures, each way of baking by itself; and both sides on the pixels that its mesh covers."""
    end, figures = picture_names(scored.kind), found.figures
    for way, baked in views.items():
        figures.add(f"psnr{end}/{way}", region.picture(scores.psnr, baked.rgb))
        figures.add(f"ssim{end}/{way}", region.picture(scores.ssim, baked.rgb))
        figures.add(f"grown{end}/{way}", region.picture(scores.psnr, grown(baked)))
        covered = ViewRegion(region.view, region.true, region.pixels & (baked.opacity > 1.0 - 1e-6))
        if covered.pixels.any():
            figures.add(f"covered{end}/{way}", covered.picture(scores.psnr, baked.rgb))
            if way == "person":
                figures.add(f"psnr_fg{end}_covered", covered.picture(scores.psnr, predicted.rgb))


def _score_geometry(
    found: _Collected,
    scored: ScoredView,
    region: ViewRegion,
    predicted: PredictedView,
    settings: PriorEvaluationSettings,
) -> None:
    found.normals.setdefault(scored.kind, []).append(normal_errors_deg(predicted, region, settings.opaque))
    iou = silhouette_iou(predicted, region.view, settings.opaque)
    found.figures.add(f"silhouette_iou_mean{picture_names(scored.kind)}", iou)


def _better(found: _Collected, measure: str, end: str) -> float | None:
    """The better of the two ways of baking, each a mean over the same views."""
    means = [found.figures.mean(f"{measure}{end}/{way}") for way in ("person", "capture")]
    return max((one for one in means if one is not None), default=None)


def _figures(
    found: _Collected, prior: PriorToScore, truth: TrueViews, settings: PriorEvaluationSettings
) -> dict[str, float | int | str | None]:
    mean = found.figures.mean
    figures: dict[str, float | int | str | None] = {}
    for kind in (Kind.TRAIN, Kind.NEW_CAMERA, Kind.NEW_POSE):
        end = picture_names(kind)
        figures |= {
            f"psnr_fg{end}": mean(f"psnr_fg{end}"),
            f"psnr_fg{end}_baked": _better(found, "psnr", end),
            f"psnr_fg{end}_pbr": mean(f"psnr_fg{end}_pbr"),
            f"psnr_fg{end}_baked_grown": _better(found, "grown", end),
            f"psnr_fg{end}_covered": mean(f"psnr_fg{end}_covered"),
            f"psnr_fg{end}_covered_baked": _better(found, "covered", end),
            f"ssim_fg{end}": mean(f"ssim_fg{end}"),
            f"ssim_fg{end}_baked": _better(found, "ssim", end),
            f"ssim_fg{end}_pbr": mean(f"ssim_fg{end}_pbr"),
            f"normal_deg_mean{end}": mean_or_none(found.normals.get(kind, [])),
            f"silhouette_iou_mean{end}": mean(f"silhouette_iou_mean{end}"),
        }
    to_true = mean_or_none([one.to_true_mm for one in found.surfaces])
    from_true = mean_or_none([one.from_true_mm for one in found.surfaces])
    environment = read_environment(truth.truth) if prior.lights else np.zeros((1, 2, 3))
    lights = [irradiance_correlation(one, environment, settings.light_rows) for one in prior.lights]
    return figures | {
        "surface_mm_mean": None if to_true is None or from_true is None else (to_true + from_true) / 2.0,
        "surface_to_true_mm_mean": to_true,
        "surface_from_true_mm_mean": from_true,
        "surface_source": "depth" if prior.mesh is None else "mesh",
        "floaters": sum(one.floaters for one in found.surfaces),
        "albedo_error": found.albedo.error(),
        "albedo_error_input": found.input.error(),
        "irradiance_correlation": float(np.mean(lights)) if lights else None,
        **{f"views_{kind}": found.figures.count(f"psnr_fg{picture_names(kind)}") for kind in Kind},
        "spp": settings.spp,
    }
